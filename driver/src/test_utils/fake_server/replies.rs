//! Replies as the fake server writes them.

use super::locks::HeldLock;
use super::{ServerOptions, fuse};
use crate::wire::{Attr, FileType, StatFs};
use crate::{Errno, Timestamp};
use alloc::vec::Vec;
use core::time::Duration;

/// The length of `fuse_out_header`.
const HEADER_BYTES: usize = 16;
/// The length of `fuse_entry_out`, which READDIRPLUS puts before an entry.
pub(super) const ENTRY_BYTES: usize = 128;

/// A reply, or a part of it, that grows field by field.
#[derive(Default)]
struct Bytes(Vec<u8>);

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
    let len = (HEADER_BYTES + body.len()) as u32;
    Bytes::default().u32(len).u32(error as u32).u64(unique).put(&body).0
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

/// `fuse_attr`.
fn raw_attr(attr: &Attr) -> Vec<u8> {
    let [accessed, modified, changed] = [attr.accessed, attr.modified, attr.changed];
    Bytes::default()
        .u64(attr.ino)
        .u64(attr.size_bytes)
        .u64(attr.blocks)
        .u64(accessed.seconds as u64)
        .u64(modified.seconds as u64)
        .u64(changed.seconds as u64)
        .u32(accessed.nanoseconds)
        .u32(modified.nanoseconds)
        .u32(changed.nanoseconds)
        .u32(mode(attr))
        .u32(attr.nlink)
        .u32(attr.uid)
        .u32(attr.gid)
        .u32(attr.rdev)
        .u32(attr.block_size_bytes)
        .u32(u32::from(attr.submount) | u32::from(attr.dax) << 1)
        .0
}

/// `fuse_entry_out`.
pub(super) fn entry(nodeid: u64, generation: u64, attr: &Attr, options: &ServerOptions) -> Vec<u8> {
    let &ServerOptions { entry_ttl, attr_ttl, .. } = options;
    Bytes::default()
        .u64(nodeid)
        .u64(generation)
        .u64(entry_ttl.as_secs())
        .u64(attr_ttl.as_secs())
        .u32(entry_ttl.subsec_nanos())
        .u32(attr_ttl.subsec_nanos())
        .put(&raw_attr(attr))
        .0
}

/// `fuse_entry_out` of a name that does not exist: all zero but for how long that may be believed.
pub(super) fn negative_entry(ttl: Duration) -> Vec<u8> {
    Bytes::default().zeros(16).u64(ttl.as_secs()).u64(0).u32(ttl.subsec_nanos()).zeros(ENTRY_BYTES - 36).0
}

/// `fuse_attr_out`.
pub(super) fn attr(attr: &Attr, ttl: Duration) -> Vec<u8> {
    let head = Bytes::default().u64(ttl.as_secs()).u32(ttl.subsec_nanos()).u32(0);
    head.put(&raw_attr(attr)).0
}

/// `fuse_statx_out`.
pub(super) fn statx(attr: &Attr, born: Option<Timestamp>, ttl: Duration) -> Vec<u8> {
    let mask = 0x7ff | if born.is_some() { 0x800 } else { 0 };
    let mount_root = if attr.submount { 0x2000 } else { 0 } | if attr.dax { 0x20_0000 } else { 0 };
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

/// `fuse_write_out` and `fuse_getxattr_out`.
pub(super) fn size(bytes: u32) -> Vec<u8> {
    Bytes::default().u32(bytes).u32(0).0
}

/// `fuse_lseek_out` and `fuse_copy_file_range_out`.
pub(super) fn long(value: u64) -> Vec<u8> {
    Bytes::default().u64(value).0
}

/// `fuse_lk_out`.
pub(super) fn lock(lock: Option<&HeldLock>) -> Vec<u8> {
    let (start, end, pid) = lock.map_or((0, 0, 0), |lock| (lock.start, lock.end, lock.pid));
    let kind = match lock {
        None => fuse::F_UNLCK,
        Some(lock) if lock.exclusive => fuse::F_WRLCK,
        Some(_) => fuse::F_RDLCK,
    };
    Bytes::default().u64(start).u64(end).u32(kind).u32(pid).0
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

/// What differs between INIT replies.
pub(super) struct Init {
    pub(super) minor: u32,
    pub(super) max_readahead: u32,
    pub(super) flags: u64,
    pub(super) max_write: u32,
    pub(super) max_pages: u16,
    pub(super) map_alignment: u16,
}

/// `fuse_init_out`.
pub(super) fn init(init: &Init) -> Vec<u8> {
    let (max_background, time_gran) = (u16::MAX, 1);
    Bytes::default()
        .u32(7)
        .u32(init.minor)
        .u32(init.max_readahead)
        .u32(init.flags as u32)
        .u16(max_background)
        .u16(max_background / 4 * 3)
        .u32(init.max_write)
        .u32(time_gran)
        .u16(init.max_pages)
        .u16(init.map_alignment)
        .u32((init.flags >> 32) as u32)
        .zeros(4 + 2 + 11 * 2)
        .0
}
