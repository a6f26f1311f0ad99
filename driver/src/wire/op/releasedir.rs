//! FUSE_RELEASEDIR: closes a directory.

use super::release::ReleaseArgs;
use crate::wire::{FileHandle, Opcode, OpenFlags, Operation};

/// FUSE_RELEASEDIR of an open directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Releasedir {
    pub(crate) fh: FileHandle,
    /// The flags the directory was opened with.
    pub(crate) flags: OpenFlags,
}

impl Operation for Releasedir {
    const OPCODE: Opcode = Opcode(29);
    type Args = ReleaseArgs;
    type Reply = ();

    fn args(&self) -> ReleaseArgs {
        ReleaseArgs::new(self.fh, self.flags, None)
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
            0, 0, 1, 0,                 // flags
            0, 0, 0, 0,                 // release_flags
            0, 0, 0, 0, 0, 0, 0, 0,     // lock_owner
        ];
        let releasedir = Releasedir { fh: FileHandle(5 | 1 << 56), flags: OpenFlags::DIRECTORY };
        assert_eq!(golden::request(29, &releasedir), golden);
    }
}
