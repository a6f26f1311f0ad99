//! Attributes of an inode.

use crate::{Error, Timestamp};
use core::time::Duration;
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

    /// The `DT_` value.
    pub(crate) fn dirent(self) -> u32 {
        self.mode(0) >> 12
    }

    fn from_mode(mode: u32) -> Option<Self> {
        Self::from_dirent((mode & 0o170_000) >> 12)
    }

    /// The mode of an inode of this kind: the `S_IFMT` bits and `permissions`.
    pub(crate) fn mode(self, permissions: u16) -> u32 {
        let file_type = match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        };
        file_type | u32::from(permissions & 0o7777)
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
    /// The server says that this file is to be mapped into the DAX window (`FUSE_ATTR_DAX`, minor 36).
    pub dax: bool,
}

/// Attributes of an inode, and how long they may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValidAttr {
    pub(crate) attr: Attr,
    pub(crate) ttl: Duration,
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
const SUBMOUNT: u32 = 1 << 0;
/// `FUSE_ATTR_DAX`.
const DAX: u32 = 1 << 1;

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
            dax: self.flags & DAX != 0,
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

/// How long something may be believed. More nanoseconds than a second has count as the most it has, as in Linux.
pub(crate) fn ttl(seconds: u64, nanoseconds: u32) -> Duration {
    Duration::new(seconds, nanoseconds.min(999_999_999))
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Attr, Error> {
        RawAttr::read_from_bytes(bytes).unwrap().decode()
    }

    #[test]
    fn attributes_are_read_from_the_bytes_of_fuse_h() {
        assert_eq!(decode(&golden::ATTR), Ok(golden::attr()));
    }

    #[test]
    fn flags_tell_of_submounts_and_of_files_to_be_mapped() {
        for (flags, submount, dax) in [(0, false, false), (1, true, false), (2, false, true), (0xfc, false, false)] {
            let attr = decode(&golden::patched(&golden::ATTR, 84, &[flags])).unwrap();
            assert_eq!((attr.submount, attr.dax), (submount, dax));
        }
    }

    #[test]
    fn each_file_type_is_read_from_the_mode_and_written_to_it() {
        for (mode, file_type) in [
            (0o010_644, FileType::Fifo),
            (0o020_644, FileType::CharDevice),
            (0o040_644, FileType::Directory),
            (0o060_644, FileType::BlockDevice),
            (0o100_644, FileType::Regular),
            (0o120_644, FileType::Symlink),
            (0o140_644_u32, FileType::Socket),
        ] {
            let attr = decode(&golden::patched(&golden::ATTR, 60, &mode.to_le_bytes())).unwrap();
            assert_eq!((attr.file_type, attr.permissions), (file_type, 0o644));
            assert_eq!(FileType::from_dirent(mode >> 12), Some(file_type));
            assert_eq!(file_type.mode(0o644), mode);
        }
    }

    #[test]
    fn bits_of_the_mode_above_the_type_mean_nothing() {
        let attr = decode(&golden::patched(&golden::ATTR, 62, &[0xff, 0xff]));
        assert_eq!(attr, Ok(golden::attr()));
    }

    #[test]
    fn permissions_never_change_the_file_type_of_a_mode() {
        assert_eq!(FileType::Directory.mode(u16::MAX), 0o047_777);
    }

    #[test]
    fn the_largest_size_and_the_extreme_seconds_are_good() {
        let size = i64::MAX as u64;
        assert_eq!(decode(&golden::patched(&golden::ATTR, 8, &size.to_le_bytes())).unwrap().size_bytes, size);
        let seconds = i64::MIN;
        let attr = decode(&golden::patched(&golden::ATTR, 32, &seconds.to_le_bytes())).unwrap();
        assert_eq!(attr.modified.seconds, seconds);
    }

    #[test]
    fn an_impossible_attribute_breaks_the_protocol() {
        for bytes in golden::impossible_attrs() {
            assert!(matches!(decode(&bytes), Err(Error::Protocol(_))), "{bytes:x?}");
        }
    }

    #[test]
    fn any_seconds_and_nanoseconds_are_a_time_to_live() {
        assert_eq!(ttl(0, 0), Duration::ZERO);
        assert_eq!(ttl(1, 999_999_999), Duration::from_nanos(1_999_999_999));
        assert_eq!(ttl(1, 1_000_000_000), Duration::from_nanos(1_999_999_999));
        assert_eq!(ttl(u64::MAX, 0), Duration::from_secs(u64::MAX));
        assert_eq!(ttl(u64::MAX, u32::MAX), Duration::MAX);
    }

    #[test]
    fn a_directory_entrys_type_that_means_nothing_is_unknown() {
        for dt in [0, 3, 5, 7, 9, 11, 13, 14, 15, 16, 17, u32::MAX] {
            assert_eq!(FileType::from_dirent(dt), None);
        }
    }
}
