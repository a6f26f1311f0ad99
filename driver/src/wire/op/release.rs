//! FUSE_RELEASE: closes a file.

use crate::wire::{FileHandle, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_RELEASE of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) fh: FileHandle,
    /// The `O_` flags the file was opened with.
    pub(crate) flags: u32,
}

/// `fuse_release_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ReleaseArgs {
    fh: u64,
    flags: u32,
    release_flags: u32,
    lock_owner: u64,
}

impl ReleaseArgs {
    pub(crate) fn new(fh: FileHandle, flags: u32) -> Self {
        Self { fh: fh.0, flags, release_flags: 0, lock_owner: 0 }
    }
}

impl Operation for Release {
    const OPCODE: Opcode = Opcode(18);
    type Args = ReleaseArgs;
    type Reply = ();

    fn args(&self) -> ReleaseArgs {
        ReleaseArgs::new(self.fh, self.flags)
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
            2, 0, 1, 0,                 // flags
            0, 0, 0, 0,                 // release_flags
            0, 0, 0, 0, 0, 0, 0, 0,     // lock_owner
        ];
        assert_eq!(golden::request(18, &Release { fh: FileHandle(5 | 1 << 56), flags: 0x1_0002 }), golden);
    }
}
