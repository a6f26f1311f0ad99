//! Replies as the fake server writes them.

use crate::wire::{Attr, FileType, OutHeader, RawAttr, RawEntry, StatFs};
use crate::{Errno, Timestamp};
use alloc::vec::Vec;
use core::time::Duration;
use zerocopy::IntoBytes;

/// The length of what READDIRPLUS puts before an entry.
pub(super) const ENTRY_BYTES: usize = size_of::<RawEntry>();

/// A reply, or a part of it, that grows field by field.
#[derive(Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(self, value: u16) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_ne_bytes())
    }

    /// `fuse_sx_time`.
    fn sx_time(self, time: Timestamp) -> Self {
        self.u64(time.seconds as u64).u32(time.nanoseconds).u32(0)
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

/// A whole reply.
pub(super) fn reply(unique: u64, result: Result<Vec<u8>, Errno>) -> Vec<u8> {
    let (error, body) = match result {
        Ok(body) => (0, body),
        Err(errno) => (-i32::from(errno.0), Vec::new()),
    };
    // No body comes near 4 GiB.
    let header = OutHeader { len: (OutHeader::BYTES + body.len()) as u32, error, unique };
    Bytes::default().put(header.as_bytes()).put(&body).0
}

/// The `DT_` value of a directory entry.
fn dt(file_type: FileType) -> u32 {
    match file_type {
        FileType::Fifo => 1,
        FileType::CharDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::Regular => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
    }
}

fn mode(attr: &Attr) -> u32 {
    dt(attr.file_type) << 12 | u32::from(attr.permissions)
}

fn raw_attr(attr: &Attr) -> RawAttr {
    RawAttr {
        ino: attr.ino,
        size: attr.size_bytes,
        blocks: attr.blocks,
        atime: attr.accessed.seconds as u64,
        mtime: attr.modified.seconds as u64,
        ctime: attr.changed.seconds as u64,
        atimensec: attr.accessed.nanoseconds,
        mtimensec: attr.modified.nanoseconds,
        ctimensec: attr.changed.nanoseconds,
        mode: mode(attr),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.block_size_bytes,
        flags: attr.submount.into(),
    }
}

/// `fuse_entry_out`.
pub(super) fn entry(nodeid: u64, attr: &Attr, entry_ttl: Duration, attr_ttl: Duration) -> Vec<u8> {
    let entry = RawEntry {
        nodeid,
        generation: 0,
        entry_valid: entry_ttl.as_secs(),
        attr_valid: attr_ttl.as_secs(),
        entry_valid_nsec: entry_ttl.subsec_nanos(),
        attr_valid_nsec: attr_ttl.subsec_nanos(),
        attr: raw_attr(attr),
    };
    entry.as_bytes().to_vec()
}

/// `fuse_entry_out` of a name that does not exist: all zero but for how long that may be believed.
pub(super) fn negative_entry(ttl: Duration) -> Vec<u8> {
    Bytes::default().zeros(16).u64(ttl.as_secs()).u64(0).u32(ttl.subsec_nanos()).zeros(ENTRY_BYTES - 36).0
}

/// `fuse_attr_out`.
pub(super) fn attr(attr: &Attr, ttl: Duration) -> Vec<u8> {
    let head = Bytes::default().u64(ttl.as_secs()).u32(ttl.subsec_nanos()).u32(0);
    head.put(raw_attr(attr).as_bytes()).0
}

/// `fuse_statx_out`.
pub(super) fn statx(attr: &Attr, born: Option<Timestamp>, ttl: Duration) -> Vec<u8> {
    let mask = 0x7ff | if born.is_some() { 0x800 } else { 0 };
    let mount_root = if attr.submount { 0x2000 } else { 0 };
    // The bits of Linux's 32-bit encoding: 12 of the major number between 12 and 8 of the minor one.
    let (major, minor) = (attr.rdev >> 8 & 0xfff, attr.rdev & 0xff | attr.rdev >> 12 & 0xfff00);
    Bytes::default()
        .u64(ttl.as_secs())
        .u32(ttl.subsec_nanos())
        .zeros(4 + 16)
        .u32(mask)
        .u32(attr.block_size_bytes)
        .u64(mount_root)
        .u32(attr.nlink)
        .u32(attr.uid)
        .u32(attr.gid)
        .u16(mode(attr) as u16)
        .u16(0)
        .u64(attr.ino)
        .u64(attr.size_bytes)
        .u64(attr.blocks)
        .u64(0x2000)
        .sx_time(attr.accessed)
        .sx_time(born.unwrap_or_default())
        .sx_time(attr.changed)
        .sx_time(attr.modified)
        .u32(major)
        .u32(minor)
        .zeros(8 + 14 * 8)
        .0
}

/// `fuse_open_out`.
pub(super) fn open(fh: u64, flags: u32) -> Vec<u8> {
    Bytes::default().u64(fh).u32(flags).u32(0).0
}

/// `fuse_statfs_out`.
pub(super) fn statfs(statfs: &StatFs) -> Vec<u8> {
    Bytes::default()
        .u64(statfs.blocks)
        .u64(statfs.blocks_free)
        .u64(statfs.blocks_available)
        .u64(statfs.files)
        .u64(statfs.files_free)
        .u32(statfs.block_size_bytes)
        .u32(statfs.name_max_bytes)
        .u32(statfs.fragment_size_bytes)
        .zeros(4 + 6 * 4)
        .0
}

/// `fuse_dirent` with its padding.
pub(super) fn dirent(attr: &Attr, cookie: u64, name: &[u8]) -> Vec<u8> {
    let head = Bytes::default().u64(attr.ino).u64(cookie).u32(name.len() as u32).u32(dt(attr.file_type));
    head.put(name).zeros(name.len().next_multiple_of(8) - name.len()).0
}
