//! FUSE's operations: each is one call of the driver.

use super::{Export, GENERATION, lock, open, sync};
use crate::convert;
use crate::listing::Listing;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags,
    KernelConfig, LockOwner as FuseLockOwner, OpenFlags as FuseOpenFlags, RenameFlags as FuseRenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use virtio_fs::vnode::{
    Access, AllocateFlags, LockKind, LockOwner, OpenFile, OpenFlags, RenameFlags, SetAttr, Wait, XattrFlags,
};
use virtio_fs::{Errno, Error};

/// What `lseek` looks for.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
/// The most bytes that the reply to COPY_FILE_RANGE can report, in whole pages.
const LONGEST_COPY: u64 = 0xffff_f000;

impl Filesystem for Export {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.configure(config);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.node(request, parent).and_then(|dir| dir.lookup(name.as_bytes()));
        self.entry(found, reply);
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.inodes.forget(ino, lookups);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let attr = match fh.and_then(|fh| self.files.get(fh)) {
            Some(file) => file.getattr(),
            None => self.node(request, ino).and_then(|node| node.getattr()),
        };
        answer!(self.faults, reply, attr, attr => reply.attr(&self.believed, &convert::attr(ino, &attr)));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        changed: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            permissions: mode.map(convert::permissions),
            uid,
            gid,
            size_bytes: size,
            accessed: accessed.map(convert::set_time),
            modified: modified.map(convert::set_time),
            changed: changed.map(convert::timestamp),
        };
        // An open file is cut with the rights it was opened with; anything else is up to who asks.
        let file = size.and(fh).and_then(|fh| self.files.get(fh));
        let attr = match file {
            Some(file) => file.setattr(&set),
            None => self.node(request, ino).and_then(|node| node.setattr(&set)),
        };
        answer!(self.faults, reply, attr, attr => reply.attr(&self.believed, &convert::attr(ino, &attr)));
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.node(request, ino).and_then(|node| node.readlink());
        answer!(self.faults, reply, target, target => reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let made = self.node_to_create_in(request, parent, umask).and_then(|dir| {
            let file_type = convert::type_of_mode(mode).ok_or(Error::Invalid(Errno::EINVAL))?;
            dir.mknod(name.as_bytes(), file_type, convert::permissions(mode), rdev)
        });
        self.entry(made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self
            .node_to_create_in(request, parent, umask)
            .and_then(|dir| dir.mkdir(name.as_bytes(), convert::permissions(mode)));
        self.entry(made, reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.node(request, parent).and_then(|dir| dir.unlink(name.as_bytes()));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.node(request, parent).and_then(|dir| dir.rmdir(name.as_bytes()));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        let made = self.node(request, parent).and_then(|dir| dir.symlink(name.as_bytes(), target));
        self.entry(made, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: FuseRenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self.node(request, parent).and_then(|dir| {
            let new_dir = self.node(request, new_parent)?;
            let flags = RenameFlags::from_bits_retain(flags.bits());
            dir.rename(name.as_bytes(), &new_dir, new_name.as_bytes(), flags)
        });
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn link(&self, request: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let made = self.node(request, ino).and_then(|node| {
            let new_dir = self.node(request, new_parent)?;
            node.link(&new_dir, new_name.as_bytes())
        });
        self.entry(made, reply);
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: FuseOpenFlags, reply: ReplyOpen) {
        let opened = self.node(request, ino).and_then(|node| open(node, flags.0 as u32));
        answer!(self.faults, reply, opened, file => reply.opened(self.files.add(file), self.file_flags));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: FuseOpenFlags,
        _: Option<FuseLockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        let read = self.file(fh).and_then(|file| file.read_at(offset, &mut buffer));
        answer!(self.faults, reply, read, bytes => reply.data(&buffer[..bytes]));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: FuseOpenFlags,
        _: Option<FuseLockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.file(fh).and_then(|file| file.write_at(offset, data));
        // No more than was asked for, which had a `u32`.
        answer!(self.faults, reply, written, bytes => reply.written(bytes as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, fh: FileHandle, owner: FuseLockOwner, reply: ReplyEmpty) {
        let done = self.file(fh).and_then(|file| file.flush(LockOwner(owner.0)));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: FuseOpenFlags,
        _: Option<FuseLockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        // Only a lock that somebody still waits for keeps the file longer, until it is dropped.
        let closed = self.files.remove(fh).and_then(Arc::into_inner).map_or(Ok(()), OpenFile::close);
        answer!(self.faults, reply, closed, () => reply.ok());
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let done = self.file(fh).and_then(|file| file.fsync(sync(data_only)));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: FuseOpenFlags, reply: ReplyOpen) {
        let opened = self.node(request, ino).and_then(|node| node.opendir());
        answer!(self.faults, reply, opened, dir => {
            reply.opened(self.listings.add(Mutex::new(Listing::new(dir))), FopenFlags::empty());
        });
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let done = self.list(fh, offset, false, |entry| {
            let name = OsStr::from_bytes(&entry.name);
            reply.add(INodeNo(entry.ino), entry.cookie, convert::file_type(entry.file_type()), name)
        });
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let done = self.list(fh, offset, true, |entry| {
            let attr = match &entry.node {
                Some((node, attr)) => self.remember(node.clone(), attr),
                // `.` and `..`, which the kernel does not count.
                None => convert::bare(INodeNo(entry.ino), entry.file_type()),
            };
            let name = OsStr::from_bytes(&entry.name);
            let is_full = reply.add(attr.ino, entry.cookie, name, &self.believed, &attr, GENERATION);
            if is_full && entry.node.is_some() {
                self.inodes.forget(attr.ino, 1);
            }
            is_full
        });
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: FuseOpenFlags, reply: ReplyEmpty) {
        drop(self.listings.remove(fh));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, fh: FileHandle, data_only: bool, reply: ReplyEmpty) {
        let done = self.listing(fh).and_then(|listing| {
            let listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
            listing.dir().fsync(sync(data_only))
        });
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let statfs = self.node(request, ino).and_then(|node| node.statfs());
        answer!(self.faults, reply, statfs, s => {
            let (block_size, fragment_size) = (s.block_size_bytes, s.fragment_size_bytes);
            let (blocks, free, available) = (s.blocks, s.blocks_free, s.blocks_available);
            reply.statfs(blocks, free, available, s.files, s.files_free, block_size, s.name_max_bytes, fragment_size);
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let flags = XattrFlags::from_bits_retain(flags as u32);
        let done = self.node(request, ino).and_then(|node| node.setxattr(name.as_bytes(), value, flags));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let node = self.node(request, ino);
        self.xattr(size, reply, |buffer| node?.getxattr(name.as_bytes(), buffer));
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let node = self.node(request, ino);
        self.xattr(size, reply, |buffer| node?.listxattr(buffer));
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.node(request, ino).and_then(|node| node.removexattr(name.as_bytes()));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let access = Access::from_bits_truncate(mask.bits() as u32);
        let done = self.node(request, ino).and_then(|node| node.access(access));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = OpenFlags::from_bits_retain(flags as u32);
        let made = self
            .node_to_create_in(request, parent, umask)
            .and_then(|dir| dir.create(name.as_bytes(), flags, convert::permissions(mode)));
        answer!(self.faults, reply, made, (file, attr) => {
            let attr = self.remember(file.node().clone(), &attr);
            reply.created(&self.believed, &attr, GENERATION, self.files.add(file), self.file_flags);
        });
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        owner: FuseLockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let found = self.file(fh).and_then(|file| file.getlk(LockOwner(owner.0), &lock(kind, start, end, pid)?));
        answer!(self.faults, reply, found, found => match found {
            Some(lock) => reply.locked(lock.start, lock.end, convert::lock_type(lock.kind), lock.pid),
            None => reply.locked(start, end, convert::lock_type(LockKind::Unlock), pid),
        });
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        owner: FuseLockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        wait: bool,
        reply: ReplyEmpty,
    ) {
        let lock = self.file(fh).and_then(|file| Ok((file, lock(kind, start, end, pid)?)));
        let owner = LockOwner(owner.0);
        match lock {
            Ok((file, lock)) if wait => {
                let faults = self.faults.clone();
                // Whoever is to unlock may need the thread that this runs on.
                std::thread::spawn(move || {
                    answer!(faults, reply, file.setlk(owner, &lock, Wait::Yes), () => reply.ok());
                });
            }
            Ok((file, lock)) => answer!(self.faults, reply, file.setlk(owner, &lock, Wait::No), () => reply.ok()),
            Err(error) => reply.error(self.faults.errno(error)),
        }
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(self.faults.errno(Error::Invalid(Errno::ENOTTY)));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = AllocateFlags::from_bits_retain(mode as u32);
        let done = self.file(fh).and_then(|file| file.allocate(offset, length, flags));
        answer!(self.faults, reply, done, () => reply.ok());
    }

    fn lseek(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        // A negative one is behind every end.
        let offset = offset as u64;
        let found = self.file(fh).and_then(|file| match whence {
            SEEK_DATA => file.seek_data(offset),
            SEEK_HOLE => file.seek_hole(offset),
            _ => Err(Error::Invalid(Errno::EINVAL)),
        });
        answer!(self.faults, reply, found, offset => reply.offset(offset as i64));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        from: FileHandle,
        from_offset: u64,
        _: INodeNo,
        to: FileHandle,
        to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let length = length.min(LONGEST_COPY);
        let copied = self.file(from).and_then(|from| {
            let to = self.file(to)?;
            from.copy_range(from_offset, &to, to_offset, length)
        });
        answer!(self.faults, reply, copied, bytes => reply.written(bytes as u32));
    }
}
