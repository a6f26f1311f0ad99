//! FUSE_LSEEK: finds data or a hole in an open file.

use crate::Error;
use crate::wire::{FileHandle, FromBody, Opcode, Operation};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_LSEEK of an open file, from `offset` on. The server's file has no position that it would change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lseek {
    pub(crate) fh: FileHandle,
    pub(crate) offset: u64,
    pub(crate) whence: Whence,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// `SEEK_DATA`.
    Data = 3,
    /// `SEEK_HOLE`; the end of the file is one.
    Hole = 4,
}

/// `fuse_lseek_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct LseekArgs {
    fh: u64,
    offset: u64,
    whence: u32,
    padding: u32,
}

/// `fuse_lseek_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct LseekBody {
    offset: u64,
}

/// Where it was found. A server that breaks the protocol may say a place before the offset that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found(pub(crate) u64);

impl Operation for Lseek {
    const OPCODE: Opcode = Opcode(46);
    const OPTIONAL: bool = true;
    type Args = LseekArgs;
    type Reply = Found;

    fn args(&self) -> LseekArgs {
        LseekArgs { fh: self.fh.0, offset: self.offset, whence: self.whence as u32, padding: 0 }
    }
}

impl FromBody for Found {
    type Body = LseekBody;

    fn decode(body: LseekBody) -> Result<Self, Error> {
        match i64::try_from(body.offset) {
            Ok(_) => Ok(Self(body.offset)),
            Err(_) => Err(Error::Protocol("a seek leads to an offset larger than any")),
        }
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
            3, 0, 0, 0,                 // whence: SEEK_DATA
            0, 0, 0, 0,                 // padding
        ];
        let lseek = Lseek { fh: FileHandle(5 | 1 << 56), offset: 0x1_0000_0006, whence: Whence::Data };
        assert_eq!(golden::request(46, &lseek), golden);
        assert_eq!(golden::request(46, &Lseek { whence: Whence::Hole, ..lseek }), golden::patched(&golden, 16, &[4]));
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            3, 0, 0, 0, 1, 0, 0, 0,     // offset
        ];
        assert_eq!(golden::reply::<Lseek>(&golden), Ok(Found(0x1_0000_0003)));
    }

    #[test]
    fn an_offset_beyond_the_largest_breaks_the_protocol() {
        let largest = i64::MAX as u64;
        assert_eq!(golden::reply::<Lseek>(&largest.to_le_bytes()), Ok(Found(largest)));
        for offset in [1_u64 << 63, u64::MAX] {
            assert!(matches!(golden::reply::<Lseek>(&offset.to_le_bytes()), Err(Error::Protocol(_))), "{offset}");
        }
    }
}
