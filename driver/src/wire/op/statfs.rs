//! FUSE_STATFS: how full the file system is.

use crate::Error;
use crate::wire::{FromBody, Opcode, Operation};
use zerocopy::FromBytes;

/// FUSE_STATFS of the file system that holds the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statfs;

/// How full a file system is, as `statvfs` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// The unit of the block counts, in bytes.
    pub fragment_size_bytes: u32,
    /// The preferred size for I/O, in bytes.
    pub block_size_bytes: u32,
    /// All blocks.
    pub blocks: u64,
    /// Blocks not in use.
    pub blocks_free: u64,
    /// Blocks not in use that an ordinary user may take.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Inodes not in use.
    pub files_free: u64,
    /// The longest name, in bytes.
    pub name_max_bytes: u32,
}

/// `fuse_kstatfs`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct StatfsBody {
    blocks: u64,
    bfree: u64,
    bavail: u64,
    files: u64,
    ffree: u64,
    bsize: u32,
    namelen: u32,
    frsize: u32,
    padding: u32,
    spare: [u32; 6],
}

impl Operation for Statfs {
    const OPCODE: Opcode = Opcode(17);
    type Args = ();
    type Reply = StatFs;

    fn args(&self) {}
}

impl FromBody for StatFs {
    type Body = StatfsBody;

    fn decode(body: StatfsBody) -> Result<Self, Error> {
        Ok(StatFs {
            fragment_size_bytes: body.frsize,
            block_size_bytes: body.bsize,
            blocks: body.blocks,
            blocks_free: body.bfree,
            blocks_available: body.bavail,
            files: body.files,
            files_free: body.ffree,
            name_max_bytes: body.namelen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_no_arguments() {
        assert!(golden::request(17, &Statfs).is_empty());
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            0x51, 0, 0, 0, 0, 0, 0, 1,      // blocks
            0x52, 0, 0, 0, 0, 0, 0, 1,      // bfree
            0x53, 0, 0, 0, 0, 0, 0, 1,      // bavail
            0x54, 0, 0, 0, 0, 0, 0, 1,      // files
            0x55, 0, 0, 0, 0, 0, 0, 1,      // ffree
            0x56, 0, 0, 0,                  // bsize
            0xff, 0, 0, 0,                  // namelen
            0x57, 0, 0, 0,                  // frsize
            0x58, 0, 0, 0,                  // padding
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // spare
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
        ];
        let expected = StatFs {
            fragment_size_bytes: 0x57,
            block_size_bytes: 0x56,
            blocks: 0x51 | 1 << 56,
            blocks_free: 0x52 | 1 << 56,
            blocks_available: 0x53 | 1 << 56,
            files: 0x54 | 1 << 56,
            files_free: 0x55 | 1 << 56,
            name_max_bytes: 255,
        };
        assert_eq!(golden::reply::<Statfs>(&golden), Ok(expected));
    }

    #[test]
    fn any_reply_is_good() {
        assert!(golden::reply::<Statfs>(&[0; 80]).is_ok());
        assert_eq!(golden::reply::<Statfs>(&[0xff; 80]).unwrap().blocks, u64::MAX);
    }
}
