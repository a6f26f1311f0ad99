//! The headers of every request and reply.

use super::{NodeId, Opcode, Unique};
use crate::{Errno, Error};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `fuse_in_header`: the start of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InHeader {
    /// The length of the whole request, this header included, in bytes.
    pub(crate) len: u32,
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) nodeid: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
    /// The length of request extensions, in units of 8 bytes (minor 38).
    pub(crate) total_extlen: u16,
    pub(crate) padding: u16,
}

impl InHeader {
    pub(crate) const BYTES: usize = size_of::<Self>();

    /// The header of a request by nobody in particular (uid 0, gid 0, pid 0); its length is filled in when it is sent.
    pub(crate) fn new(opcode: Opcode, nodeid: NodeId, unique: Unique) -> Self {
        Self {
            len: 0,
            opcode: opcode.0,
            unique: unique.0,
            nodeid: nodeid.0,
            uid: 0,
            gid: 0,
            pid: 0,
            total_extlen: 0,
            padding: 0,
        }
    }

    /// The header of a request that carries `bytes` of [extensions](super::extension).
    ///
    /// # Errors
    ///
    /// `E2BIG` if there are more than the header can say: 512 KiB.
    pub(crate) fn with_extensions(mut self, bytes: usize) -> Result<Self, Error> {
        self.total_extlen = u16::try_from(bytes.div_ceil(8)).map_err(|_| Error::Invalid(Errno::E2BIG))?;
        Ok(self)
    }
}

/// `fuse_out_header`: the start of every reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OutHeader {
    /// The length of the whole reply, this header included, in bytes.
    pub(crate) len: u32,
    /// 0, or a negative error number.
    pub(crate) error: i32,
    pub(crate) unique: u64,
}

impl OutHeader {
    pub(crate) const BYTES: usize = size_of::<Self>();

    /// The smallest error number the protocol allows (`fuse_dev_do_write` of Linux draws the same line).
    const ERROR_RANGE: core::ops::RangeInclusive<i32> = -511..=-1;

    /// Checks the header of a reply of which the device says it wrote `written` bytes; gives the length of what follows
    /// the header.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the server refused the request; [`Error::Protocol`] if the reply breaks a rule. The latter
    /// means that the device is not to be trusted any more.
    pub(crate) fn check(&self, unique: Unique, written: usize) -> Result<usize, Error> {
        let Some(body_bytes) = written.checked_sub(Self::BYTES) else {
            return Err(Error::Protocol("a reply is shorter than its header"));
        };
        if self.len as usize != written {
            return Err(Error::Protocol("a reply's length is not what the device wrote"));
        }
        if self.unique != unique.0 {
            return Err(Error::Protocol("a reply answers another request"));
        }
        match self.error {
            0 => Ok(body_bytes),
            error if !Self::ERROR_RANGE.contains(&error) => Err(Error::Protocol("a reply's error is out of range")),
            _ if body_bytes != 0 => Err(Error::Protocol("an error reply has a body")),
            error => Err(Error::Refused(Errno(error.unsigned_abs() as u16))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIQUE: Unique = Unique(7);

    fn reply(len: u32, error: i32, unique: u64) -> OutHeader {
        OutHeader { len, error, unique }
    }

    #[test]
    fn a_request_header_has_the_bytes_of_fuse_h() {
        let mut header = InHeader::new(Opcode(15), NodeId(0x0102), Unique(3));
        header.len = 80;
        header.uid = 1000;
        #[rustfmt::skip]
        let golden: [u8; 40] = [
            80, 0, 0, 0,                // len
            15, 0, 0, 0,                // opcode
            3, 0, 0, 0, 0, 0, 0, 0,     // unique
            2, 1, 0, 0, 0, 0, 0, 0,     // nodeid
            0xe8, 3, 0, 0,              // uid
            0, 0, 0, 0,                 // gid
            0, 0, 0, 0,                 // pid
            0, 0, 0, 0,                 // total_extlen, padding
        ];
        assert_eq!(header.as_bytes(), golden);
    }

    #[test]
    fn a_request_header_tells_the_length_of_extensions_in_units_of_8_bytes() {
        let header = InHeader::new(Opcode(9), NodeId(1), Unique(2));
        let with = header.with_extensions(0x0203 * 8).unwrap();
        assert_eq!(with.as_bytes()[36..], [3, 2, 0, 0], "total_extlen, padding");
        assert_eq!(InHeader { total_extlen: 0, ..with }, header);
        assert_eq!(header.with_extensions(0xffff * 8).unwrap().total_extlen, 0xffff);
        assert_eq!(header.with_extensions(0x1_0000 * 8), Err(Error::Invalid(Errno::E2BIG)));
    }

    #[test]
    fn a_reply_header_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden: [u8; 16] = [
            16, 1, 0, 0,                        // len
            0xfe, 0xff, 0xff, 0xff,             // error: -ENOENT
            7, 0, 0, 0, 0, 0, 0, 1,             // unique
        ];
        assert_eq!(OutHeader::read_from_bytes(&golden), Ok(reply(272, -2, 7 | 1 << 56)));
    }

    #[test]
    fn a_good_reply_tells_the_length_of_its_body() {
        assert_eq!(reply(20, 0, 7).check(UNIQUE, 20), Ok(4));
        assert_eq!(reply(16, 0, 7).check(UNIQUE, 16), Ok(0));
    }

    #[test]
    fn an_error_reply_is_the_servers_refusal() {
        assert_eq!(reply(16, -2, 7).check(UNIQUE, 16), Err(Error::Refused(Errno::ENOENT)));
        assert_eq!(reply(16, -511, 7).check(UNIQUE, 16), Err(Error::Refused(Errno(511))));
    }

    #[test]
    fn a_reply_with_a_hostile_field_is_refused() {
        for (header, written) in [
            (reply(24, 0, 7), 20),        // says more than was written
            (reply(16, 0, 7), 20),        // says less than was written
            (reply(8, 0, 7), 8),          // shorter than itself
            (reply(0, 0, 7), 0),          // nothing
            (reply(16, 0, 8), 16),        // another request's
            (reply(16, 5, 7), 16),        // a positive error
            (reply(16, -512, 7), 16),     // an error number of the kernel's own
            (reply(16, i32::MIN, 7), 16), // whose absolute value overflows
            (reply(20, -2, 7), 20),       // an error with a body
        ] {
            assert!(matches!(header.check(UNIQUE, written), Err(Error::Protocol(_))), "{header:?}, {written} written");
        }
    }
}
