//! FUSE_COPY_FILE_RANGE: copies from one open file to another within the server.

use super::write::Written;
use crate::wire::{FileHandle, NodeId, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_COPY_FILE_RANGE from an open file of the inode that the request names. The reply has 32 bits: larger ranges are
/// for [`CopyFileRange64`](super::CopyFileRange64).
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyFileRange(pub(crate) CopyRange);

/// What is copied, and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyRange {
    pub(crate) fh: FileHandle,
    pub(crate) offset: u64,
    pub(crate) to_nodeid: NodeId,
    pub(crate) to_fh: FileHandle,
    pub(crate) to_offset: u64,
    pub(crate) length: u64,
}

/// `fuse_copy_file_range_in`, which COPY_FILE_RANGE_64 shares.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct CopyFileRangeArgs {
    fh_in: u64,
    off_in: u64,
    nodeid_out: u64,
    fh_out: u64,
    off_out: u64,
    len: u64,
    flags: u64,
}

impl CopyRange {
    pub(crate) fn args(&self) -> CopyFileRangeArgs {
        CopyFileRangeArgs {
            fh_in: self.fh.0,
            off_in: self.offset,
            nodeid_out: self.to_nodeid.0,
            fh_out: self.to_fh.0,
            off_out: self.to_offset,
            len: self.length,
            flags: 0,
        }
    }
}

impl Operation for CopyFileRange {
    const OPCODE: Opcode = Opcode(47);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = CopyFileRangeArgs;
    type Reply = Written;

    fn args(&self) -> CopyFileRangeArgs {
        self.0.args()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::golden;

    pub(crate) const RANGE: CopyRange = CopyRange {
        fh: FileHandle(5 | 1 << 56),
        offset: 0x1_0000_0006,
        to_nodeid: NodeId(7 | 2 << 56),
        to_fh: FileHandle(8 | 3 << 56),
        to_offset: 0x2_0000_0009,
        length: 0x3_0000_000a,
    };

    /// What [`RANGE`] is as arguments.
    #[rustfmt::skip]
    pub(crate) const GOLDEN: [u8; 56] = [
        5, 0, 0, 0, 0, 0, 0, 1,     // fh_in
        6, 0, 0, 0, 1, 0, 0, 0,     // off_in
        7, 0, 0, 0, 0, 0, 0, 2,     // nodeid_out
        8, 0, 0, 0, 0, 0, 0, 3,     // fh_out
        9, 0, 0, 0, 2, 0, 0, 0,     // off_out
        10, 0, 0, 0, 3, 0, 0, 0,    // len
        0, 0, 0, 0, 0, 0, 0, 0,     // flags
    ];

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        assert_eq!(golden::request(47, &CopyFileRange(RANGE)), GOLDEN);
    }

    #[test]
    fn a_reply_is_that_of_write() {
        assert_eq!(golden::reply::<CopyFileRange>(&[3, 2, 1, 0, 0, 0, 0, 0]), Ok(Written(0x1_0203)));
    }
}
