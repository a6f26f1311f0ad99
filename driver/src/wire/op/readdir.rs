//! FUSE_READDIR: lists a directory.

use crate::wire::{FileHandle, Opcode, OpenFlags, Operation, ReadArgs};

/// FUSE_READDIR of an open directory; entries (a sequence of `fuse_dirent`) come as data, none at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readdir {
    pub(crate) fh: FileHandle,
    /// Where to go on: the cookie of the last entry seen, 0 at first.
    pub(crate) cookie: u64,
    /// The most bytes of entries that the reply may carry.
    pub(crate) size_bytes: u32,
}

impl Operation for Readdir {
    const OPCODE: Opcode = Opcode(28);
    type Args = ReadArgs;
    type Reply = ();

    fn args(&self) -> ReadArgs {
        ReadArgs::new(self.fh, self.cookie, self.size_bytes, OpenFlags::empty())
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
            5, 0, 0, 0, 0, 0, 0, 1,                             // fh
            0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // offset: the cookie, any 64 bits
            0, 16, 0, 0,                                        // size
            0, 0, 0, 0,                                         // read_flags
            0, 0, 0, 0, 0, 0, 0, 0,                             // lock_owner
            0, 0, 0, 0,                                         // flags
            0, 0, 0, 0,                                         // padding
        ];
        let readdir = Readdir { fh: FileHandle(5 | 1 << 56), cookie: u64::MAX - 15, size_bytes: 4096 };
        assert_eq!(golden::request(28, &readdir), golden);
    }
}
