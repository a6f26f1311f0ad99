//! FUSE_STATX: the attributes of an inode with its time of birth (minor 39).

use crate::wire::attr::{file_type, size_bytes, timestamp, ttl};
use crate::wire::{Attr, FileHandle, FromBody, Opcode, Operation, ValidAttr};
use crate::{Error, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_STATX of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statx {
    /// An open file of the inode, if there is one.
    pub(crate) fh: Option<FileHandle>,
}

/// `fuse_statx_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct StatxArgs {
    getattr_flags: u32,
    reserved: u32,
    fh: u64,
    sx_flags: u32,
    sx_mask: u32,
}

/// `fuse_statx_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct StatxBody {
    attr_valid: u64,
    attr_valid_nsec: u32,
    flags: u32,
    spare: [u64; 2],
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: RawTime,
    btime: RawTime,
    ctime: RawTime,
    mtime: RawTime,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    spare2: [u64; 14],
}

/// `fuse_sx_time`.
#[derive(Debug, FromBytes)]
#[repr(C)]
struct RawTime {
    tv_sec: i64,
    tv_nsec: u32,
    reserved: i32,
}

impl RawTime {
    fn decode(&self) -> Result<Timestamp, Error> {
        timestamp(self.tv_sec, self.tv_nsec)
    }
}

/// `FUSE_GETATTR_FH`: `fh` is set.
const FH: u32 = 1;
/// `STATX_BASIC_STATS`: all that `stat` has.
const BASIC_STATS: u32 = 0x7ff;
/// `STATX_BTIME`: the time of birth.
const BTIME: u32 = 0x800;
/// `STATX_ATTR_MOUNT_ROOT`: the inode is the root of a file system.
const MOUNT_ROOT: u64 = 0x2000;
/// `STATX_ATTR_DAX`: the file is mapped directly.
const DAX: u64 = 0x20_0000;

impl Operation for Statx {
    const OPCODE: Opcode = Opcode(52);
    const SINCE_MINOR: u32 = 39;
    const OPTIONAL: bool = true;
    type Args = StatxArgs;
    /// The attributes, and when the inode was made, if the server knows.
    type Reply = (ValidAttr, Option<Timestamp>);

    fn args(&self) -> StatxArgs {
        let (getattr_flags, fh) = match self.fh {
            Some(FileHandle(fh)) => (FH, fh),
            None => (0, 0),
        };
        StatxArgs { getattr_flags, reserved: 0, fh, sx_flags: 0, sx_mask: BASIC_STATS | BTIME }
    }
}

impl FromBody for (ValidAttr, Option<Timestamp>) {
    type Body = StatxBody;

    fn decode(body: StatxBody) -> Result<Self, Error> {
        if body.mask & BASIC_STATS != BASIC_STATS {
            return Err(Error::Protocol("a STATX reply lacks basic attributes"));
        }
        let attr = Attr {
            ino: body.ino,
            file_type: file_type(body.mode.into())?,
            permissions: body.mode & 0o7777,
            nlink: body.nlink,
            uid: body.uid,
            gid: body.gid,
            rdev: encode_rdev(body.rdev_major, body.rdev_minor),
            size_bytes: size_bytes(body.size)?,
            blocks: body.blocks,
            block_size_bytes: body.blksize,
            accessed: body.atime.decode()?,
            modified: body.mtime.decode()?,
            changed: body.ctime.decode()?,
            submount: body.attributes & body.attributes_mask & MOUNT_ROOT != 0,
            dax: body.attributes & body.attributes_mask & DAX != 0,
        };
        let born = if body.mask & BTIME != 0 { Some(body.btime.decode()?) } else { None };
        Ok((ValidAttr { attr, ttl: ttl(body.attr_valid, body.attr_valid_nsec) }, born))
    }
}

/// A device number in Linux's 32-bit encoding (`new_encode_dev`): 12 bits of major between 8 and 12 bits of minor.
fn encode_rdev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FileType, golden};
    use core::time::Duration;

    /// `fuse_statx_out`.
    #[rustfmt::skip]
    const BODY: [u8; 288] = [
        0x61, 0, 0, 0, 0, 0, 0, 0,                          // attr_valid
        0x62, 0, 0, 0,                                      // attr_valid_nsec
        0x63, 0, 0, 0,                                      // flags
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // spare
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0x1f, 0, 0,                                   // stat.mask: basic, btime and one more
        0, 0x10, 0, 0,                                      // blksize
        0x10, 0x20, 0, 0, 0, 0, 0, 0,                       // attributes: a mount's root and another
        0x1b, 0, 0, 0,                                      // nlink
        0x1c, 0, 0, 0,                                      // uid
        0x1d, 0, 0, 0,                                      // gid
        0xb0, 0x61,                                         // mode: a block device, 660
        0xff, 0xff,                                         // spare0
        0x11, 0, 0, 0, 0, 0, 0, 0,                          // ino
        0x12, 0, 0, 0, 1, 0, 0, 0,                          // size
        0x13, 0, 0, 0, 0, 0, 0, 0,                          // blocks
        0, 0x20, 0, 0, 0, 0, 0, 0,                          // attributes_mask
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // atime.tv_sec
        0xff, 0xc9, 0x9a, 0x3b, 0xff, 0xff, 0xff, 0xff,     // atime.tv_nsec, reserved
        0x71, 0, 0, 0, 0, 0, 0, 0,                          // btime.tv_sec
        0x72, 0, 0, 0, 0, 0, 0, 0,                          // btime.tv_nsec, reserved
        0x73, 0, 0, 0, 0, 0, 0, 0,                          // ctime.tv_sec
        0x74, 0, 0, 0, 0, 0, 0, 0,                          // ctime.tv_nsec, reserved
        0x75, 0, 0, 0, 0, 0, 0, 0,                          // mtime.tv_sec
        0x76, 0, 0, 0, 0, 0, 0, 0,                          // mtime.tv_nsec, reserved
        0x03, 1, 0, 0,                                      // rdev_major
        0x45, 0x23, 1, 0,                                   // rdev_minor
        0x08, 0, 0, 0,                                      // dev_major
        0x01, 0, 0, 0,                                      // dev_minor
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // spare2
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     //
    ];
    const MASK_AT: usize = 32;

    fn decode(at: usize, patch: &[u8]) -> Result<(ValidAttr, Option<Timestamp>), Error> {
        golden::reply::<Statx>(&golden::patched(&BODY, at, patch))
    }

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            1, 0, 0, 0,                     // getattr_flags: FH
            0, 0, 0, 0,                     // reserved
            5, 0, 0, 0, 0, 0, 0, 1,         // fh
            0, 0, 0, 0,                     // sx_flags
            0xff, 0x0f, 0, 0,               // sx_mask: basic and btime
        ];
        assert_eq!(golden::request(52, &Statx { fh: Some(FileHandle(5 | 1 << 56)) }), golden);
        let by_nodeid = [&[0; 20][..], &golden[20..]].concat();
        assert_eq!(golden::request(52, &Statx { fh: None }), by_nodeid);
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        let attr = Attr {
            ino: 0x11,
            file_type: FileType::BlockDevice,
            permissions: 0o660,
            nlink: 0x1b,
            uid: 0x1c,
            gid: 0x1d,
            rdev: 0x1231_0345,
            size_bytes: 0x1_0000_0012,
            blocks: 0x13,
            block_size_bytes: 0x1000,
            accessed: Timestamp { seconds: -2, nanoseconds: 999_999_999 },
            modified: Timestamp { seconds: 0x75, nanoseconds: 0x76 },
            changed: Timestamp { seconds: 0x73, nanoseconds: 0x74 },
            submount: true,
            dax: false,
        };
        let born = Timestamp { seconds: 0x71, nanoseconds: 0x72 };
        let valid = ValidAttr { attr, ttl: Duration::new(0x61, 0x62) };
        assert_eq!(golden::reply::<Statx>(&BODY), Ok((valid, Some(born))));
    }

    #[test]
    fn any_time_to_live_is_good() {
        let ttl = |at, patch: &[u8]| decode(at, patch).unwrap().0.ttl;
        assert_eq!(ttl(8, &1_000_000_000_u32.to_le_bytes()), Duration::new(0x61, 999_999_999));
        assert_eq!(ttl(8, &[0xff; 4]), Duration::new(0x61, 999_999_999));
        assert_eq!(ttl(0, &[0xff; 12]), Duration::MAX);
        assert_eq!(ttl(0, &[0; 12]), Duration::ZERO);
    }

    #[test]
    fn a_time_of_birth_that_the_mask_does_not_announce_is_not_looked_at() {
        let bytes = golden::patched(&BODY, MASK_AT, &0x7ff_u32.to_le_bytes());
        let bytes = golden::patched(&bytes, 120, &[0xff; 4]);
        assert_eq!(golden::reply::<Statx>(&bytes).unwrap().1, None);
    }

    #[test]
    fn a_mount_root_counts_only_if_the_server_says_that_it_knows() {
        assert!(!decode(88, &[0; 8]).unwrap().0.attr.submount);
        assert!(!decode(40, &[0; 8]).unwrap().0.attr.submount);
    }

    #[test]
    fn a_reply_without_a_basic_attribute_breaks_the_protocol() {
        for bit in 0..11 {
            let mask = 0xfff_u32 & !(1 << bit);
            assert!(matches!(decode(MASK_AT, &mask.to_le_bytes()), Err(Error::Protocol(_))), "{mask:#x}");
        }
    }

    #[test]
    fn an_impossible_attribute_breaks_the_protocol() {
        for at in [104, 120, 136, 152] {
            assert!(matches!(decode(at, &1_000_000_000_u32.to_le_bytes()), Err(Error::Protocol(_))), "{at}");
            assert!(matches!(decode(at, &[0xff; 4]), Err(Error::Protocol(_))), "{at}");
        }
        for size in [1_u64 << 63, u64::MAX] {
            assert!(matches!(decode(72, &size.to_le_bytes()), Err(Error::Protocol(_))), "{size}");
        }
        for file_type in [0, 3, 5, 7, 9, 11, 13, 14, 15_u16] {
            assert!(matches!(decode(60, &(file_type << 12).to_le_bytes()), Err(Error::Protocol(_))), "{file_type}");
        }
    }

    #[test]
    fn a_device_number_is_encoded_as_linux_does() {
        assert_eq!(encode_rdev(8, 1), 0x801);
        assert_eq!(encode_rdev(0xfff, 0xf_ffff), u32::MAX);
    }
}
