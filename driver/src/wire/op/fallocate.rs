//! FUSE_FALLOCATE: allocates or frees space of an open file.

use crate::wire::{FileHandle, Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{Immutable, IntoBytes};

/// FUSE_FALLOCATE of a range of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallocate {
    pub(crate) fh: FileHandle,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) flags: AllocateFlags,
}

bitflags! {
    /// What becomes of a range of a file: Linux's `FALLOC_FL_` flags. Without any, space is allocated, and the file
    /// grows if the range goes beyond its end. Unknown ones are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AllocateFlags: u32 {
        /// The file does not grow.
        const KEEP_SIZE = 1 << 0;
        /// The range becomes a hole; needs `KEEP_SIZE`.
        const PUNCH_HOLE = 1 << 1;
        /// The range is taken out, and what is behind it moves up.
        const COLLAPSE_RANGE = 1 << 3;
        /// The range becomes zeroes.
        const ZERO_RANGE = 1 << 4;
        /// A hole is put in, and what is behind it moves away.
        const INSERT_RANGE = 1 << 5;
        const _ = !0;
    }
}

/// `fuse_fallocate_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct FallocateArgs {
    fh: u64,
    offset: u64,
    length: u64,
    mode: u32,
    padding: u32,
}

impl Operation for Fallocate {
    const OPCODE: Opcode = Opcode(43);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = FallocateArgs;
    type Reply = ();

    fn args(&self) -> FallocateArgs {
        let &Self { fh, offset, length, flags } = self;
        FallocateArgs { fh: fh.0, offset, length, mode: flags.bits(), padding: 0 }
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
            7, 0, 0, 0, 2, 0, 0, 0,     // length
            3, 0, 0, 0x80,              // mode: KEEP_SIZE, PUNCH_HOLE and one of the future
            0, 0, 0, 0,                 // padding
        ];
        let fallocate = Fallocate {
            fh: FileHandle(5 | 1 << 56),
            offset: 0x1_0000_0006,
            length: 0x2_0000_0007,
            flags: AllocateFlags::KEEP_SIZE | AllocateFlags::PUNCH_HOLE | AllocateFlags::from_bits_retain(1 << 31),
        };
        assert_eq!(golden::request(43, &fallocate), golden);
        let ranges = AllocateFlags::COLLAPSE_RANGE | AllocateFlags::ZERO_RANGE | AllocateFlags::INSERT_RANGE;
        let ranges = golden::request(43, &Fallocate { flags: ranges, ..fallocate });
        assert_eq!(ranges, golden::patched(&golden, 24, &[0x38, 0, 0, 0]));
    }
}
