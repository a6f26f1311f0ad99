//! FUSE_READ: reads from an open file.

use crate::wire::{FileHandle, Opcode, OpenFlags, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_READ of an open file; what is read comes as data. Fewer bytes than asked for mean the end of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) fh: FileHandle,
    pub(crate) offset: u64,
    pub(crate) size_bytes: u32,
    /// The flags the file was opened with.
    pub(crate) flags: OpenFlags,
}

/// `fuse_read_in`, which READDIR and READDIRPLUS share.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ReadArgs {
    fh: u64,
    offset: u64,
    size: u32,
    read_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
}

impl ReadArgs {
    pub(crate) fn new(fh: FileHandle, offset: u64, size_bytes: u32, flags: OpenFlags) -> Self {
        let flags = flags.bits();
        Self { fh: fh.0, offset, size: size_bytes, read_flags: 0, lock_owner: 0, flags, padding: 0 }
    }
}

impl Operation for Read {
    const OPCODE: Opcode = Opcode(15);
    type Args = ReadArgs;
    type Reply = ();

    fn args(&self) -> ReadArgs {
        ReadArgs::new(self.fh, self.offset, self.size_bytes, self.flags)
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
            6, 0, 0, 0, 1, 0, 0, 0,     // offset
            0, 0, 16, 0,                // size
            0, 0, 0, 0,                 // read_flags
            0, 0, 0, 0, 0, 0, 0, 0,     // lock_owner
            2, 0, 4, 0,                 // flags
            0, 0, 0, 0,                 // padding
        ];
        let flags = OpenFlags::READ_WRITE | OpenFlags::NOATIME;
        let read = Read { fh: FileHandle(5 | 1 << 56), offset: 0x1_0000_0006, size_bytes: 1 << 20, flags };
        assert_eq!(golden::request(15, &read), golden);
    }
}
