//! FUSE_GETATTR: the attributes of an inode.

use crate::Error;
use crate::wire::attr::{RawAttr, ttl};
use crate::wire::{FileHandle, FromBody, Opcode, Operation, ValidAttr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_GETATTR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Getattr {
    /// An open file of the inode, if there is one: the server may answer for a file that has no name any more.
    pub(crate) fh: Option<FileHandle>,
}

/// `fuse_getattr_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct GetattrArgs {
    getattr_flags: u32,
    dummy: u32,
    fh: u64,
}

/// `fuse_attr_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct GetattrBody {
    attr_valid: u64,
    attr_valid_nsec: u32,
    dummy: u32,
    attr: RawAttr,
}

/// `FUSE_GETATTR_FH`: `fh` is set.
const FH: u32 = 1;

impl Operation for Getattr {
    const OPCODE: Opcode = Opcode(3);
    type Args = GetattrArgs;
    type Reply = ValidAttr;

    fn args(&self) -> GetattrArgs {
        match self.fh {
            Some(FileHandle(fh)) => GetattrArgs { getattr_flags: FH, dummy: 0, fh },
            None => GetattrArgs { getattr_flags: 0, dummy: 0, fh: 0 },
        }
    }
}

impl FromBody for ValidAttr {
    type Body = GetattrBody;

    fn decode(body: GetattrBody) -> Result<Self, Error> {
        Ok(Self { attr: body.attr.decode()?, ttl: ttl(body.attr_valid, body.attr_valid_nsec) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use alloc::vec::Vec;
    use core::time::Duration;

    /// `fuse_attr_out`.
    fn body(attr: &[u8]) -> Vec<u8> {
        #[rustfmt::skip]
        let head: [u8; 16] = [
            0x41, 0, 0, 0, 0, 0, 0, 0,      // attr_valid
            0x42, 0, 0, 0,                  // attr_valid_nsec
            0x43, 0, 0, 0,                  // dummy
        ];
        [&head, attr].concat()
    }

    #[test]
    fn a_request_by_nodeid_is_all_zero() {
        assert_eq!(golden::request(3, &Getattr { fh: None }), [0; 16]);
    }

    #[test]
    fn a_request_by_file_handle_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            1, 0, 0, 0,                     // getattr_flags: FH
            0, 0, 0, 0,                     // dummy
            5, 0, 0, 0, 0, 0, 0, 1,         // fh
        ];
        assert_eq!(golden::request(3, &Getattr { fh: Some(FileHandle(5 | 1 << 56)) }), golden);
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        let valid = ValidAttr { attr: golden::attr(), ttl: Duration::new(0x41, 0x42) };
        assert_eq!(golden::reply::<Getattr>(&body(&golden::ATTR)), Ok(valid));
    }

    #[test]
    fn any_time_to_live_is_good() {
        for (at, patch, ttl) in [
            (8, &1_000_000_000_u32.to_le_bytes()[..], Duration::new(0x41, 999_999_999)),
            (8, &[0xff; 4], Duration::new(0x41, 999_999_999)),
            (0, &[0xff; 8], Duration::new(u64::MAX, 0x42)),
            (0, &[0xff; 16], Duration::MAX),
            (0, &[0; 16], Duration::ZERO),
        ] {
            let body = golden::patched(&body(&golden::ATTR), at, patch);
            assert_eq!(golden::reply::<Getattr>(&body), Ok(ValidAttr { attr: golden::attr(), ttl }));
        }
    }

    #[test]
    fn impossible_attributes_break_the_protocol() {
        for attr in golden::impossible_attrs() {
            assert!(matches!(golden::reply::<Getattr>(&body(&attr)), Err(Error::Protocol(_))), "{attr:x?}");
        }
    }
}
