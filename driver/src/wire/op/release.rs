//! FUSE_RELEASE: closes a file.

use crate::wire::{FileHandle, LockOwner, Opcode, OpenFlags, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_RELEASE of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) fh: FileHandle,
    /// The flags the file was opened with.
    pub(crate) flags: OpenFlags,
    /// Whose `flock` lock on the file is given up, if the file has one.
    pub(crate) flock_owner: Option<LockOwner>,
}

/// `fuse_release_in`, which RELEASEDIR shares.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ReleaseArgs {
    fh: u64,
    flags: u32,
    release_flags: u32,
    lock_owner: u64,
}

/// `FUSE_RELEASE_FLOCK_UNLOCK`: `lock_owner` is set. The other flag, FLUSH, has an operation of its own.
const FLOCK_UNLOCK: u32 = 1 << 1;

impl ReleaseArgs {
    pub(crate) fn new(fh: FileHandle, flags: OpenFlags, flock_owner: Option<LockOwner>) -> Self {
        let (release_flags, lock_owner) = match flock_owner {
            Some(LockOwner(owner)) => (FLOCK_UNLOCK, owner),
            None => (0, 0),
        };
        Self { fh: fh.0, flags: flags.bits(), release_flags, lock_owner }
    }
}

impl Operation for Release {
    const OPCODE: Opcode = Opcode(18);
    type Args = ReleaseArgs;
    type Reply = ();

    fn args(&self) -> ReleaseArgs {
        ReleaseArgs::new(self.fh, self.flags, self.flock_owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            5, 0, 0, 0, 0, 0, 0, 1,     // fh
            2, 4, 0, 0,                 // flags
            2, 0, 0, 0,                 // release_flags: FLOCK_UNLOCK
            7, 0, 0, 0, 0, 0, 0, 2,     // lock_owner
        ];
        let flags = OpenFlags::READ_WRITE | OpenFlags::APPEND;
        let release = Release { fh: FileHandle(5 | 1 << 56), flags, flock_owner: Some(LockOwner(7 | 2 << 56)) };
        assert_eq!(golden::request(18, &release), golden);
        let without_lock = golden::request(18, &Release { flock_owner: None, ..release });
        assert_eq!(without_lock, golden::patched(&golden, 12, &[0; 12]));
    }
}
