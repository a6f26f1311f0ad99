//! FUSE_OPENDIR: opens a directory for listing.

use super::open::OpenArgs;
use crate::wire::{Opcode, OpenFlags, Opened, Operation};

/// FUSE_OPENDIR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opendir {
    pub(crate) flags: OpenFlags,
}

impl Operation for Opendir {
    const OPCODE: Opcode = Opcode(27);
    const OPTIONAL: bool = true;
    type Args = OpenArgs;
    type Reply = Opened;

    fn args(&self) -> OpenArgs {
        OpenArgs::new(self.flags, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FileHandle, FopenFlags, golden};

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            0, 0, 1, 0,     // flags
            0, 0, 0, 0,     // open_flags
        ];
        assert_eq!(golden::request(27, &Opendir { flags: OpenFlags::DIRECTORY }), golden);
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            5, 0, 0, 0, 0, 0, 0, 0,     // fh
            8, 0, 0, 0,                 // open_flags: CACHE_DIR
            0, 0, 0, 0,                 // backing_id
        ];
        assert_eq!(golden::reply::<Opendir>(&golden), Ok(Opened { fh: FileHandle(5), flags: FopenFlags::CACHE_DIR }));
    }
}
