//! FUSE_SETUPMAPPING: maps a range of a file into the DAX window.

use crate::wire::{FileHandle, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_SETUPMAPPING of the inode that the header names: the range of the file from `offset` on appears at
/// `window_offset` in the DAX window (VIRTIO 1.3 §5.11.6.4), in the place of whatever is mapped there. All three are
/// multiples of what INIT says (`map_alignment`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setupmapping {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) window_offset: u64,
    /// Whether the guest may store into the mapping, too.
    pub(crate) writable: bool,
}

/// `FUSE_SETUPMAPPING_FLAG_WRITE`.
const WRITE: u64 = 1 << 0;
/// `FUSE_SETUPMAPPING_FLAG_READ`.
const READ: u64 = 1 << 1;
/// The file is named by its inode alone.
const NO_HANDLE: FileHandle = FileHandle(u64::MAX);

/// `fuse_setupmapping_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct SetupmappingArgs {
    fh: u64,
    foffset: u64,
    len: u64,
    flags: u64,
    moffset: u64,
}

impl Operation for Setupmapping {
    const OPCODE: Opcode = Opcode(48);
    const OPTIONAL: bool = true;
    type Args = SetupmappingArgs;
    type Reply = ();

    fn args(&self) -> SetupmappingArgs {
        let &Self { offset, length, window_offset, writable } = self;
        let flags = if writable { READ | WRITE } else { READ };
        SetupmappingArgs { fh: NO_HANDLE.0, foffset: offset, len: length, flags, moffset: window_offset }
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
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // fh: none
            0, 0, 0x20, 0, 1, 0, 0, 0,                          // foffset
            0, 0, 0x10, 0, 0, 0, 0, 0,                          // len
            2, 0, 0, 0, 0, 0, 0, 0,                             // flags: READ
            0, 0, 0x30, 0, 2, 0, 0, 0,                          // moffset
        ];
        let mapping =
            Setupmapping { offset: 0x1_0020_0000, length: 0x10_0000, window_offset: 0x2_0030_0000, writable: false };
        assert_eq!(golden::request(48, &mapping), golden);
        let writable = golden::request(48, &Setupmapping { writable: true, ..mapping });
        assert_eq!(writable, golden::patched(&golden, 24, &[3]));
    }
}
