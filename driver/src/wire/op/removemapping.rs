//! FUSE_REMOVEMAPPING: takes ranges out of the DAX window.

use crate::wire::{Opcode, Operation};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_REMOVEMAPPING; `count` entries of [`RemoveOne`] follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removemapping {
    pub(crate) count: u32,
}

/// `fuse_removemapping_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RemovemappingArgs {
    count: u32,
}

/// `fuse_removemapping_one`: a range of the window, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RemoveOne {
    pub(crate) window_offset: u64,
    pub(crate) length: u64,
}

impl Removemapping {
    /// The most entries of one request (`FUSE_REMOVEMAPPING_MAX_ENTRY`: as many as 4 KiB hold).
    pub(crate) const MAX_ENTRIES: usize = 4096 / size_of::<RemoveOne>();
}

impl Operation for Removemapping {
    const OPCODE: Opcode = Opcode(49);
    const OPTIONAL: bool = true;
    type Args = RemovemappingArgs;
    type Reply = ();

    fn args(&self) -> RemovemappingArgs {
        RemovemappingArgs { count: self.count }
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
            2, 0, 0, 0,     // count
        ];
        assert_eq!(golden::request(49, &Removemapping { count: 2 }), golden);
    }

    #[test]
    fn each_range_in_the_payload_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            0, 0, 0x30, 0, 2, 0, 0, 0,      // moffset
            0, 0, 0x10, 0, 0, 0, 0, 0,      // len
        ];
        assert_eq!(RemoveOne { window_offset: 0x2_0030_0000, length: 0x10_0000 }.as_bytes(), golden);
    }
}
