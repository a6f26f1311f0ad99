//! FUSE_GETLK: the lock that is in the way of another.

use crate::wire::lock::RawLock;
use crate::wire::{FileHandle, Lock, LockOwner, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_GETLK of an open file; only POSIX locks are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Getlk {
    pub(crate) fh: FileHandle,
    pub(crate) owner: LockOwner,
    /// The lock that its owner would like to have.
    pub(crate) lock: Lock,
}

/// `fuse_lk_in`, which SETLK and SETLKW share.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct LkArgs {
    fh: u64,
    owner: u64,
    lk: RawLock,
    lk_flags: u32,
    padding: u32,
}

/// `FUSE_LK_FLOCK`.
const FLOCK: u32 = 1;

impl LkArgs {
    pub(crate) fn new(fh: FileHandle, owner: LockOwner, lock: &Lock, flock: bool) -> Self {
        let lk_flags = if flock { FLOCK } else { 0 };
        Self { fh: fh.0, owner: owner.0, lk: RawLock::new(lock), lk_flags, padding: 0 }
    }
}

impl Operation for Getlk {
    const OPCODE: Opcode = Opcode(31);
    const OPTIONAL: bool = true;
    type Args = LkArgs;
    /// `None` if nothing is in the way.
    type Reply = Option<Lock>;

    fn args(&self) -> LkArgs {
        LkArgs::new(self.fh, self.owner, &self.lock, false)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Error;
    use crate::wire::{LockKind, golden};

    /// `fuse_lk_in` of [`getlk`].
    #[rustfmt::skip]
    pub(crate) const GOLDEN: [u8; 48] = [
        5, 0, 0, 0, 0, 0, 0, 1,     // fh
        7, 0, 0, 0, 0, 0, 0, 2,     // owner
        3, 0, 0, 0, 1, 0, 0, 0,     // lk.start
        9, 0, 0, 0, 2, 0, 0, 0,     // lk.end
        1, 0, 0, 0,                 // lk.type: F_WRLCK
        4, 1, 0, 0,                 // lk.pid
        0, 0, 0, 0,                 // lk_flags
        0, 0, 0, 0,                 // padding
    ];
    /// Where `lk_flags` is.
    pub(crate) const LK_FLAGS_AT: usize = 40;

    pub(crate) fn getlk() -> Getlk {
        let lock = Lock { kind: LockKind::Write, start: 0x1_0000_0003, end: 0x2_0000_0009, pid: 0x104 };
        Getlk { fh: FileHandle(5 | 1 << 56), owner: LockOwner(7 | 2 << 56), lock }
    }

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        assert_eq!(golden::request(31, &getlk()), GOLDEN);
    }

    #[test]
    fn a_reply_is_the_lock_that_is_in_the_way() {
        assert_eq!(golden::reply::<Getlk>(&GOLDEN[16..40]), Ok(Some(getlk().lock)));
        assert_eq!(golden::reply::<Getlk>(&golden::patched(&GOLDEN[16..40], 16, &[2])), Ok(None));
    }

    #[test]
    fn an_impossible_lock_breaks_the_protocol() {
        let backwards = golden::patched(&GOLDEN[16..40], 8, &[0; 8]);
        assert!(matches!(golden::reply::<Getlk>(&backwards), Err(Error::Protocol(_))));
    }
}
