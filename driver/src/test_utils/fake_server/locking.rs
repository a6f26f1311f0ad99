//! GETLK, SETLK, SETLKW, and the INTERRUPT that ends a wait.

use super::fuse::{self, init};
use super::locks::{HeldLock, Wait};
use super::operations::Answer;
use super::request::{Args, Failure, Header, violation};
use super::{FakeServer, replies};
use crate::Errno;
use alloc::format;
use alloc::vec::Vec;

/// The end of a lock that has none.
const TO_THE_END: u64 = i64::MAX as u64;

/// `fuse_lk_in`.
struct LockArgs {
    fh: u64,
    lock: HeldLock,
    unlocks: bool,
}

impl FakeServer {
    fn lock_args(&self, args: &mut Args<'_>) -> Result<LockArgs, Failure> {
        let (fh, owner, start, end) = (args.u64()?, args.u64()?, args.u64()?, args.u64()?);
        let (kind, pid, lk_flags) = (args.u32()?, args.u32()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        let is_flock = match lk_flags {
            0 => false,
            fuse::LK_FLOCK => true,
            _ => return violation(format!("lk_flags are {lk_flags:#x}")),
        };
        if !self.session.has(if is_flock { init::FLOCK_LOCKS } else { init::POSIX_LOCKS }) {
            return violation("locks of this kind were not negotiated");
        }
        if start > end || end > TO_THE_END || is_flock && (start, end) != (0, TO_THE_END) {
            return violation(format!("locks the bytes {start} to {end}"));
        }
        if !matches!(kind, fuse::F_RDLCK | fuse::F_WRLCK | fuse::F_UNLCK) {
            return violation(format!("the type of lock is {kind}"));
        }
        let lock = HeldLock { is_flock, owner, exclusive: kind == fuse::F_WRLCK, start, end, pid };
        Ok(LockArgs { fh, lock, unlocks: kind == fuse::F_UNLCK })
    }

    pub(super) fn getlk(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let LockArgs { fh, lock, unlocks } = self.lock_args(args)?;
        if unlocks || lock.is_flock {
            return violation("asks for no lock, or one of flock");
        }
        let file = self.opened_file(nodeid, fh, false)?;
        Ok(replies::lock(self.locks.conflict(file.node, &lock).as_ref()))
    }

    pub(super) fn setlk(&mut self, header: &Header, args: &mut Args<'_>, waits: bool) -> Answer {
        let LockArgs { fh, lock, unlocks } = self.lock_args(args)?;
        let file = self.opened_file(header.nodeid, fh, false)?;
        if unlocks {
            self.locks.release(file.node, &lock, false);
            return Ok(Vec::new());
        }
        if !lock.is_flock {
            if lock.exclusive { file.may_write()? } else { file.may_read()? }
        }
        let conflict = self.locks.conflict(file.node, &lock);
        if conflict.is_none() {
            self.locks.put(file.node, lock, false);
            self.session.note_flock(fh, &lock);
            return Ok(Vec::new());
        }
        if lock.is_flock {
            // As in Linux: the old lock goes before the new one is there.
            self.locks.release(file.node, &lock, false);
        }
        if !waits {
            return Err(Errno::EAGAIN.into());
        }
        self.locks.wait(Wait { unique: header.unique, fh, node: file.node, lock });
        Err(Failure::Waits)
    }

    pub(super) fn interrupt(&mut self, args: &mut Args<'_>) -> Answer {
        let unique = args.u64()?;
        args.end()?;
        if self.locks.give_up(unique) {
            self.answer_late(unique, Err(Errno::EINTR));
        } else {
            self.ignored_interrupts += 1;
        }
        Ok(Vec::new())
    }

    /// Ends the locks of the session. Who waits for one hears of it.
    pub(super) fn end_locks(&mut self) {
        let waiting: Vec<_> = self.locks.waiting().iter().map(|wait| wait.unique).collect();
        self.locks.end_session();
        for unique in waiting {
            self.answer_late(unique, Err(Errno::EIO));
        }
    }
}
