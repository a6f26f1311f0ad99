//! Locks on open files. The server keeps them, or nobody does.

use super::OpenFile;
use super::node::supported;
use crate::wire::{Access, Getlk, InitFlags, Lock, LockKind, LockOwner, Setlk, Setlkw};
use crate::{Errno, Error};
use core::sync::atomic::Ordering;

/// What is done when another lock is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The call fails with `EAGAIN`.
    No,
    /// The call waits until the lock is gone, or until [`Platform::interrupted`](crate::Platform::interrupted).
    Yes,
}

impl OpenFile {
    /// A POSIX lock that is in the way of `lock`, if there is one.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the server keeps no POSIX locks ([`InitFlags::POSIX_LOCKS`]); `EINVAL` for an impossible range.
    pub fn getlk(&self, owner: LockOwner, lock: &Lock) -> Result<Option<Lock>, Error> {
        self.expect_locks(InitFlags::POSIX_LOCKS)?;
        expect_range(lock)?;
        // Who asks holds nothing yet: the process is 0, as Linux sends it, and some servers insist.
        let lock = Lock { pid: 0, ..*lock };
        supported(self.node.call(&Getlk { fh: self.handle()?.fh(), owner, lock }))
    }

    /// Sets a POSIX lock, or gives it up. [`Self::flush`] gives up all those of an owner.
    ///
    /// # Errors
    ///
    /// As for [`Self::getlk`]; `EBADF` if the file is not open for reading or for writing, whichever is to be locked;
    /// `EAGAIN` if another lock is in the way, or `EINTR` and `ENOLCK` if it is waited for:
    /// the latter when waiting would leave too few requests for those who may unlock. A server may let nobody wait:
    /// `EOPNOTSUPP`.
    pub fn setlk(&self, owner: LockOwner, lock: &Lock, wait: Wait) -> Result<(), Error> {
        self.expect_locks(InitFlags::POSIX_LOCKS)?;
        expect_range(lock)?;
        match lock.kind {
            LockKind::Read => self.expect(Access::READ)?,
            LockKind::Write => self.expect(Access::WRITE)?,
            LockKind::Unlock => {}
        }
        self.set(owner, *lock, false, wait)
    }

    /// Locks the whole file for this open file, or gives that lock up (`flock`). It goes with the open file.
    ///
    /// # Errors
    ///
    /// As for [`Self::setlk`]; `EOPNOTSUPP` without [`InitFlags::FLOCK_LOCKS`].
    pub fn flock(&self, kind: LockKind, wait: Wait) -> Result<(), Error> {
        self.expect_locks(InitFlags::FLOCK_LOCKS)?;
        let lock = Lock { kind, start: 0, end: Lock::TO_THE_END, pid: self.node.credentials().pid };
        let handle = self.own_handle()?;
        handle.flocked.store(true, Ordering::Relaxed);
        self.set(handle.owner, lock, true, wait)
    }

    fn set(&self, owner: LockOwner, lock: Lock, flock: bool, wait: Wait) -> Result<(), Error> {
        let fh = self.handle()?.fh();
        if wait == Wait::No || lock.kind == LockKind::Unlock {
            return supported(self.node.call(&Setlk { fh, owner, lock, flock }));
        }
        let _waiter = self.node.session().wait_for_others().ok_or(Error::Invalid(Errno::ENOLCK))?;
        supported(self.node.call(&Setlkw { fh, owner, lock, flock }))
    }

    fn expect_locks(&self, flag: InitFlags) -> Result<(), Error> {
        if self.node.has(flag) { Ok(()) } else { Err(Error::Refused(Errno::EOPNOTSUPP)) }
    }
}

fn expect_range(lock: &Lock) -> Result<(), Error> {
    if lock.start <= lock.end && lock.end <= Lock::TO_THE_END { Ok(()) } else { Err(Error::Invalid(Errno::EINVAL)) }
}
