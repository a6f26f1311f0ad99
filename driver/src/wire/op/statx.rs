//! FUSE_STATX: the attributes of an inode with its time of birth (minor 39).

use crate::wire::attr::{file_type, size_bytes, timestamp};
use crate::wire::{Attr, FileHandle, Opcode, Operation};
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

impl Operation for Statx {
    const OPCODE: Opcode = Opcode(52);
    type Args = StatxArgs;
    type Body = StatxBody;
    /// The attributes, and when the inode was made, if the server knows.
    type Reply = (Attr, Option<Timestamp>);

    fn args(&self) -> StatxArgs {
        let (getattr_flags, fh) = match self.fh {
            Some(FileHandle(fh)) => (FH, fh),
            None => (0, 0),
        };
        StatxArgs { getattr_flags, reserved: 0, fh, sx_flags: 0, sx_mask: BASIC_STATS | BTIME }
    }

    fn decode(body: StatxBody) -> Result<Self::Reply, Error> {
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
        };
        let born = if body.mask & BTIME != 0 { Some(body.btime.decode()?) } else { None };
        Ok((attr, born))
    }
}

/// A device number in Linux's 32-bit encoding (`new_encode_dev`): 12 bits of major between 8 and 12 bits of minor.
fn encode_rdev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}
