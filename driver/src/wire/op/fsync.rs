//! FUSE_FSYNC: makes what was written to a file durable.

use crate::wire::{FileHandle, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_FSYNC of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fsync {
    pub(crate) fh: FileHandle,
    /// Only the content, and what is needed to find it.
    pub(crate) data_only: bool,
}

/// `fuse_fsync_in`, which FSYNCDIR shares.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct FsyncArgs {
    fh: u64,
    fsync_flags: u32,
    padding: u32,
}

/// `FUSE_FSYNC_FDATASYNC`.
const FDATASYNC: u32 = 1;

impl FsyncArgs {
    pub(crate) fn new(fh: FileHandle, data_only: bool) -> Self {
        Self { fh: fh.0, fsync_flags: if data_only { FDATASYNC } else { 0 }, padding: 0 }
    }
}

impl Operation for Fsync {
    const OPCODE: Opcode = Opcode(20);
    const OPTIONAL: bool = true;
    type Args = FsyncArgs;
    type Reply = ();

    fn args(&self) -> FsyncArgs {
        FsyncArgs::new(self.fh, self.data_only)
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
            1, 0, 0, 0,                 // fsync_flags: FDATASYNC
            0, 0, 0, 0,                 // padding
        ];
        let fsync = Fsync { fh: FileHandle(5 | 1 << 56), data_only: true };
        assert_eq!(golden::request(20, &fsync), golden);
        assert_eq!(golden::request(20, &Fsync { data_only: false, ..fsync }), golden::patched(&golden, 8, &[0]));
    }
}
