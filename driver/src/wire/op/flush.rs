//! FUSE_FLUSH: a file descriptor is closed; errors of earlier writes show, and the owner's POSIX locks are given up.

use crate::wire::{FileHandle, LockOwner, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_FLUSH of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flush {
    pub(crate) fh: FileHandle,
    pub(crate) lock_owner: LockOwner,
}

/// `fuse_flush_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct FlushArgs {
    fh: u64,
    unused: u32,
    padding: u32,
    lock_owner: u64,
}

impl Operation for Flush {
    const OPCODE: Opcode = Opcode(25);
    const OPTIONAL: bool = true;
    type Args = FlushArgs;
    type Reply = ();

    fn args(&self) -> FlushArgs {
        FlushArgs { fh: self.fh.0, unused: 0, padding: 0, lock_owner: self.lock_owner.0 }
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
            0, 0, 0, 0,                 // unused
            0, 0, 0, 0,                 // padding
            7, 0, 0, 0, 0, 0, 0, 2,     // lock_owner
        ];
        let flush = Flush { fh: FileHandle(5 | 1 << 56), lock_owner: LockOwner(7 | 2 << 56) };
        assert_eq!(golden::request(25, &flush), golden);
    }
}
