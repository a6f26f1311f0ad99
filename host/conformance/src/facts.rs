//! What is compared.

use crate::cache::{maps, mount_options};
use crate::step::Text;
use rustix::fs::Stat;
use std::time::{SystemTime, UNIX_EPOCH};
use virtio_fs::{Attr, CacheMode, Errno, FileType, Timestamp};

/// The result of one step.
pub type Outcome = Result<Value, Errno>;

/// What a step answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It was done.
    Done,
    /// A length or a place.
    Number(u64),
    /// Content, a link's target or an attribute's value.
    Bytes(Text),
    /// Names and kinds, in order; without `.` and `..`.
    Entries(Vec<(Text, FileType)>),
    /// Names of extended attributes, in order.
    Names(Vec<Text>),
    /// What is known of an inode.
    Facts(Facts),
}

/// A time, as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Today: it was not set to a date of its own.
    Recently,
    /// Seconds and nanoseconds since 1970.
    At(i64, u32),
}

impl When {
    fn new(seconds: i64, nanoseconds: u32) -> Self {
        const DAY_SECONDS: u64 = 86_400;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        if seconds.abs_diff(now) < DAY_SECONDS { Self::Recently } else { Self::At(seconds, nanoseconds) }
    }

    /// A time of access: a server does not hear of reads that a cache serves.
    fn of_access(self) -> Self {
        if mount_options().cache.mode == CacheMode::None { self } else { Self::Recently }
    }
}

impl From<Timestamp> for When {
    fn from(time: Timestamp) -> Self {
        Self::new(time.seconds, time.nanoseconds)
    }
}

/// Attributes that two directories can have in common: not the numbers of inodes, nor the size of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kind of inode.
    pub file_type: FileType,
    /// Permission bits.
    pub permissions: u16,
    /// The number of hard links.
    pub nlink: u64,
    /// The owning user.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// The device of a device node.
    pub rdev: u64,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// Last access.
    pub accessed: When,
    /// Last change of the content.
    pub modified: When,
}

impl Facts {
    /// What is stored through a window, and read there, changes a file's times as memory accesses of the host do: once,
    /// until the host has written its pages.
    fn as_mapped(self) -> Self {
        match self.file_type {
            FileType::Regular if maps() => Self { accessed: When::Recently, modified: When::Recently, ..self },
            _ => self,
        }
    }
}

impl From<&Attr> for Facts {
    fn from(attr: &Attr) -> Self {
        let facts = Self {
            file_type: attr.file_type,
            permissions: attr.permissions,
            nlink: attr.nlink.into(),
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev.into(),
            size: if attr.file_type == FileType::Directory { 0 } else { attr.size_bytes },
            accessed: When::of_access(attr.accessed.into()),
            modified: attr.modified.into(),
        };
        facts.as_mapped()
    }
}

impl From<&Stat> for Facts {
    fn from(stat: &Stat) -> Self {
        let file_type = file_type(rustix::fs::FileType::from_raw_mode(stat.st_mode));
        let facts = Self {
            file_type,
            permissions: (stat.st_mode & 0o7777) as u16,
            nlink: stat.st_nlink,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev,
            size: if file_type == FileType::Directory { 0 } else { stat.st_size as u64 },
            accessed: When::of_access(When::new(stat.st_atime, stat.st_atime_nsec as u32)),
            modified: When::new(stat.st_mtime, stat.st_mtime_nsec as u32),
        };
        facts.as_mapped()
    }
}

/// The driver's word for a kind of inode.
pub(crate) fn file_type(of_host: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Host;
    match of_host {
        Host::RegularFile => FileType::Regular,
        Host::Directory => FileType::Directory,
        Host::Symlink => FileType::Symlink,
        Host::Fifo => FileType::Fifo,
        Host::Socket => FileType::Socket,
        Host::CharacterDevice => FileType::CharDevice,
        Host::BlockDevice => FileType::BlockDevice,
        other => panic!("the host has no inodes of kind {other:?}"),
    }
}

impl Value {
    /// A directory's entries, put in order.
    pub(crate) fn entries(mut entries: Vec<(Text, FileType)>) -> Self {
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Self::Entries(entries)
    }

    /// Names that each end with NUL, put in order.
    pub(crate) fn names(list: &[u8]) -> Self {
        let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        let mut names: Vec<_> = names.map(Text::from).collect();
        names.sort();
        Self::Names(names)
    }
}
