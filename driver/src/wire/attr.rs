//! Attributes of an inode.

use crate::{Error, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What kind of thing an inode is: the `S_IFMT` bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
}

impl FileType {
    /// From the `DT_` value of a directory entry, which is `S_IFMT` shifted right by 12. `None` for 0 (unknown) and for
    /// values that mean nothing.
    pub(crate) fn from_dirent(dt: u32) -> Option<Self> {
        Some(match dt {
            1 => Self::Fifo,
            2 => Self::CharDevice,
            4 => Self::Directory,
            6 => Self::BlockDevice,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }

    fn from_mode(mode: u32) -> Option<Self> {
        Self::from_dirent((mode & 0o170_000) >> 12)
    }
}

/// Attributes of an inode, as `stat` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The inode number. Two inodes of a mount may share one if the host's directory spans several file systems.
    pub ino: u64,
    /// The kind of inode.
    pub file_type: FileType,
    /// Permission bits with set-user-id, set-group-id and sticky: `0o0000` to `0o7777`.
    pub permissions: u16,
    /// The number of hard links.
    pub nlink: u32,
    /// The owning user.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// The device that a device node stands for, in Linux's 32-bit encoding.
    pub rdev: u32,
    /// Size in bytes; for a symbolic link the length of its target.
    pub size_bytes: u64,
    /// Space taken on the host, in units of 512 bytes.
    pub blocks: u64,
    /// The preferred size for I/O, in bytes.
    pub block_size_bytes: u32,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// The server says that this directory is the root of another file system (`FUSE_ATTR_SUBMOUNT`, minor 32).
    pub submount: bool,
}

/// `fuse_attr`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawAttr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: u64,
    pub(crate) mtime: u64,
    pub(crate) ctime: u64,
    pub(crate) atimensec: u32,
    pub(crate) mtimensec: u32,
    pub(crate) ctimensec: u32,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) blksize: u32,
    pub(crate) flags: u32,
}

/// `FUSE_ATTR_SUBMOUNT`.
const SUBMOUNT: u32 = 1;

impl RawAttr {
    pub(crate) fn decode(&self) -> Result<Attr, Error> {
        Ok(Attr {
            ino: self.ino,
            file_type: file_type(self.mode)?,
            permissions: (self.mode & 0o7777) as u16,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            size_bytes: size_bytes(self.size)?,
            blocks: self.blocks,
            block_size_bytes: self.blksize,
            accessed: timestamp(self.atime as i64, self.atimensec)?,
            modified: timestamp(self.mtime as i64, self.mtimensec)?,
            changed: timestamp(self.ctime as i64, self.ctimensec)?,
            submount: self.flags & SUBMOUNT != 0,
        })
    }
}

pub(crate) fn file_type(mode: u32) -> Result<FileType, Error> {
    FileType::from_mode(mode).ok_or(Error::Protocol("an inode's mode names no file type"))
}

pub(crate) fn size_bytes(size: u64) -> Result<u64, Error> {
    match i64::try_from(size) {
        Ok(_) => Ok(size),
        Err(_) => Err(Error::Protocol("a file's size is larger than any offset")),
    }
}

pub(crate) fn timestamp(seconds: i64, nanoseconds: u32) -> Result<Timestamp, Error> {
    if nanoseconds >= 1_000_000_000 {
        return Err(Error::Protocol("a timestamp has more nanoseconds than a second"));
    }
    Ok(Timestamp { seconds, nanoseconds })
}
