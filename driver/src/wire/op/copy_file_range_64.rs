//! FUSE_COPY_FILE_RANGE_64: as FUSE_COPY_FILE_RANGE, with a reply of 64 bits (minor 45).

use super::copy_file_range::{CopyFileRangeArgs, CopyRange};
use crate::Error;
use crate::wire::{FromBody, Opcode, Operation};
use zerocopy::FromBytes;

/// FUSE_COPY_FILE_RANGE_64 from an open file of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyFileRange64(pub(crate) CopyRange);

/// `fuse_copy_file_range_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct CopyFileRangeBody {
    bytes_copied: u64,
}

/// How many bytes were copied. A server that breaks the protocol may say more than it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied(pub(crate) u64);

impl Operation for CopyFileRange64 {
    const OPCODE: Opcode = Opcode(53);
    const SINCE_MINOR: u32 = 45;
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = CopyFileRangeArgs;
    type Reply = Copied;

    fn args(&self) -> CopyFileRangeArgs {
        self.0.args()
    }
}

impl FromBody for Copied {
    type Body = CopyFileRangeBody;

    fn decode(body: CopyFileRangeBody) -> Result<Self, Error> {
        Ok(Self(body.bytes_copied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use crate::wire::op::copy_file_range::tests::{GOLDEN, RANGE};

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        assert_eq!(golden::request(53, &CopyFileRange64(RANGE)), GOLDEN);
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            3, 0, 0, 0, 1, 0, 0, 0,     // bytes_copied
        ];
        assert_eq!(golden::reply::<CopyFileRange64>(&golden), Ok(Copied(0x1_0000_0003)));
    }
}
