//! The values of the driver in the types of `fuser`, and back.

use fuser::{FileAttr, FileType as FuseType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use virtio_fs::vnode::{LockKind, SetTime};
use virtio_fs::{Attr, FileType, Timestamp};

/// The attributes of an inode that the kernel knows as `ino`.
pub(crate) fn attr(ino: INodeNo, attr: &Attr) -> FileAttr {
    FileAttr {
        ino,
        size: attr.size_bytes,
        blocks: attr.blocks,
        atime: system_time(attr.accessed),
        mtime: system_time(attr.modified),
        ctime: system_time(attr.changed),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.file_type),
        perm: attr.permissions,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.block_size_bytes,
        flags: 0,
    }
}

/// What the kernel must be told of an entry whose attributes it does not look at.
pub(crate) fn bare(ino: INodeNo, kind: FileType) -> FileAttr {
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub(crate) fn file_type(file_type: FileType) -> FuseType {
    match file_type {
        FileType::Fifo => FuseType::NamedPipe,
        FileType::CharDevice => FuseType::CharDevice,
        FileType::Directory => FuseType::Directory,
        FileType::BlockDevice => FuseType::BlockDevice,
        FileType::Regular => FuseType::RegularFile,
        FileType::Symlink => FuseType::Symlink,
        FileType::Socket => FuseType::Socket,
    }
}

/// What kind of inode MKNOD asks for; a mode without a type means a regular file.
pub(crate) fn type_of_mode(mode: u32) -> Option<FileType> {
    Some(match (mode >> 12) & 0o17 {
        0 | 0o10 => FileType::Regular,
        0o1 => FileType::Fifo,
        0o2 => FileType::CharDevice,
        0o6 => FileType::BlockDevice,
        0o14 => FileType::Socket,
        _ => return None,
    })
}

/// The permission bits of a mode.
pub(crate) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// What a lock does, from `l_type`.
pub(crate) fn lock_kind(l_type: i32) -> Option<LockKind> {
    [LockKind::Read, LockKind::Write, LockKind::Unlock].into_iter().find(|&kind| lock_type(kind) == l_type)
}

/// `F_RDLCK`, `F_WRLCK`, `F_UNLCK`.
pub(crate) fn lock_type(kind: LockKind) -> i32 {
    match kind {
        LockKind::Read => 0,
        LockKind::Write => 1,
        LockKind::Unlock => 2,
    }
}

/// A date beyond what `SystemTime` can hold becomes 1970; on Linux there is none.
fn system_time(timestamp: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(timestamp.seconds.unsigned_abs());
    let whole = if timestamp.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|time| time.checked_add(Duration::from_nanos(timestamp.nanoseconds.into()))).unwrap_or(UNIX_EPOCH)
}

pub(crate) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

/// What the kernel said before `fuser` made a `SystemTime` of it.
///
/// `fuser` 0.18 subtracts the nanoseconds of a date before 1970, where the kernel means that they are added: the pair
/// (-2 s, 500,000,000 ns), 1.5 seconds before 1970, arrives here as 2.5 seconds before. So the pair is taken from the
/// distance as it stands.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let (distance, sign) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after, 1),
        Err(error) => (error.duration(), -1),
    };
    let seconds = sign * i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: distance.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_on_both_sides_of_1970_reach_the_kernel() {
        let date = |seconds, nanoseconds| system_time(Timestamp { seconds, nanoseconds });
        assert_eq!(date(0, 0), UNIX_EPOCH);
        assert_eq!(date(2, 500_000_000), UNIX_EPOCH + Duration::from_millis(2500));
        assert_eq!(date(-2, 500_000_000), UNIX_EPOCH - Duration::from_millis(1500));
        assert_eq!(date(i64::MAX, 999_999_999).duration_since(UNIX_EPOCH).unwrap().as_secs(), i64::MAX as u64);
        assert!(date(i64::MIN, 0) < UNIX_EPOCH);
    }

    #[test]
    fn dates_on_both_sides_of_1970_come_from_the_kernel() {
        assert_eq!(
            timestamp(UNIX_EPOCH + Duration::from_millis(2500)),
            Timestamp { seconds: 2, nanoseconds: 500_000_000 }
        );
        // As `fuser` makes it of -2 s and 500,000,000 ns.
        assert_eq!(
            timestamp(UNIX_EPOCH - Duration::new(2, 500_000_000)),
            Timestamp { seconds: -2, nanoseconds: 500_000_000 }
        );
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(2)), Timestamp { seconds: -2, nanoseconds: 0 });
    }

    #[test]
    fn mknod_makes_what_a_mode_can_name_but_directories_and_links() {
        assert_eq!(type_of_mode(0o644), Some(FileType::Regular));
        assert_eq!(type_of_mode(0o100_644), Some(FileType::Regular));
        assert_eq!(type_of_mode(0o010_644), Some(FileType::Fifo));
        assert_eq!(type_of_mode(0o020_644), Some(FileType::CharDevice));
        assert_eq!(type_of_mode(0o060_644), Some(FileType::BlockDevice));
        assert_eq!(type_of_mode(0o140_644), Some(FileType::Socket));
        assert_eq!(type_of_mode(0o040_755), None);
        assert_eq!(type_of_mode(0o120_777), None);
    }
}
