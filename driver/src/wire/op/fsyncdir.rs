//! FUSE_FSYNCDIR: makes the names in a directory durable.

use super::fsync::FsyncArgs;
use crate::wire::{FileHandle, Opcode, Operation};

/// FUSE_FSYNCDIR of an open directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fsyncdir {
    pub(crate) fh: FileHandle,
    /// Only the names, not the directory's own attributes.
    pub(crate) data_only: bool,
}

impl Operation for Fsyncdir {
    const OPCODE: Opcode = Opcode(30);
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
        let fsyncdir = Fsyncdir { fh: FileHandle(5 | 1 << 56), data_only: true };
        assert_eq!(golden::request(30, &fsyncdir), golden);
        assert_eq!(golden::request(30, &Fsyncdir { data_only: false, ..fsyncdir }), golden::patched(&golden, 8, &[0]));
    }
}
