//! A file system of `virtiofsd` whose changes are counted in the version table (`SPEC-version-table.md`, section 4), each
//! before the request that made it is answered.

mod counting;

use crate::pass_on::pass_on;
use crate::version_table::VersionTable;
use counting::{Known, did_nothing, is, lost_a_name, moved, names_changed, truncates};
use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions, SetattrValid,
    SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};

/// The file system, and the table.
pub(crate) struct CountedFs<F> {
    inner: F,
    table: Arc<VersionTable>,
    /// The file system changes nothing, whatever it is asked.
    readonly: bool,
    /// By nodeid, of which some may be missing. A nodeid always stands for the same inode, and the inode may be one that
    /// cannot be asked any more, as it has no name.
    inodes: Mutex<HashMap<u64, Known>>,
}

impl<F: FileSystem> CountedFs<F> {
    /// `readonly` is whether the file system changes nothing, whatever it is asked.
    pub(crate) fn new(inner: F, table: Arc<VersionTable>, readonly: bool) -> Self {
        Self { inner, table, readonly, inodes: Mutex::default() }
    }
}

impl<F: FileSystem> FileSystem for CountedFs<F> {
    type Inode = F::Inode;
    type Handle = F::Handle;
    type DirIter = F::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        // A guest that was reset has said nothing.
        self.inodes().clear();
        self.inner.init(capable)
    }

    fn destroy(&self) {
        self.inner.destroy();
        self.inodes().clear();
    }

    fn lookup(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        self.inner.lookup(context, parent, name).inspect(|entry| self.know(entry))
    }

    fn forget(&self, context: Context, nodeid: Self::Inode, count: u64) {
        let nodeid = nodeid.into();
        self.inner.forget(context, nodeid.into(), count);
        self.unknow(nodeid, count);
    }

    fn batch_forget(&self, context: Context, requests: Vec<(Self::Inode, u64)>) {
        let requests: Vec<(u64, u64)> = requests.into_iter().map(|(nodeid, count)| (nodeid.into(), count)).collect();
        let again = requests.iter().map(|(nodeid, count)| ((*nodeid).into(), *count)).collect();
        self.inner.batch_forget(context, again);
        requests.iter().for_each(|(nodeid, count)| self.unknow(*nodeid, *count));
    }

    fn setattr(
        &self,
        context: Context,
        nodeid: Self::Inode,
        attr: SetattrIn,
        handle: Option<Self::Handle>,
        valid: SetattrValid,
    ) -> io::Result<(Attr, Duration)> {
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), valid.contains(SetattrValid::SIZE), || {
            self.inner.setattr(context, nodeid.into(), attr, handle, valid)
        })
    }

    fn symlink(
        &self,
        context: Context,
        target: &CStr,
        parent: Self::Inode,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let parent = parent.into();
        self.make(context, (parent, name), None, || {
            self.inner.symlink(context, target, parent.into(), name, extensions)
        })
    }

    fn mknod(
        &self,
        context: Context,
        parent: Self::Inode,
        name: &CStr,
        mode: u32,
        rdev: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let parent = parent.into();
        self.make(context, (parent, name), None, || {
            self.inner.mknod(context, parent.into(), name, mode, rdev, umask, extensions)
        })
    }

    fn mkdir(
        &self,
        context: Context,
        parent: Self::Inode,
        name: &CStr,
        mode: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let parent = parent.into();
        self.make(context, (parent, name), None, || {
            self.inner.mkdir(context, parent.into(), name, mode, umask, extensions)
        })
    }

    fn link(&self, context: Context, nodeid: Self::Inode, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        let (nodeid, parent) = (nodeid.into(), parent.into());
        self.make(context, (parent, name), Some(nodeid), || {
            self.inner.link(context, nodeid.into(), parent.into(), name)
        })
    }

    fn unlink(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()> {
        let parent = parent.into();
        self.remove(context, (parent, name), || self.inner.unlink(context, parent.into(), name))
    }

    fn rmdir(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()> {
        let parent = parent.into();
        self.remove(context, (parent, name), || self.inner.rmdir(context, parent.into(), name))
    }

    fn rename(
        &self,
        context: Context,
        old: Self::Inode,
        old_name: &CStr,
        new: Self::Inode,
        new_name: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        let (old, new) = (old.into(), new.into());
        let (from, to) = (self.ino(context, old)?, self.ino(context, new)?);
        let names = self.table.lock_names([from, to]);
        let here = self.look(context, old, old_name);
        let there = self.look(context, new, new_name);
        let result = self.attempt(|| self.inner.rename(context, old.into(), old_name, new.into(), new_name, flags));
        drop(names);
        let is_exchange = flags & RenameFlags::EXCHANGE.bits() != 0;
        let mut keys = [names_changed(from, old_name), names_changed(to, new_name)].concat();
        match (&result, here, there) {
            (Err(error), ..) if did_nothing(error) => return result,
            (_, Ok(Some(here)), Ok(Some(there))) => {
                moved(here, from, to, &mut keys);
                if is_exchange { moved(there, to, from, &mut keys) } else { lost_a_name(there, &mut keys) }
            }
            (_, Ok(Some(here)), Ok(None)) if !is_exchange => moved(here, from, to, &mut keys),
            _ => {
                self.table.raise_floor();
                return result;
            }
        }
        self.table.publish(&keys);
        result
    }

    fn open(
        &self,
        context: Context,
        nodeid: Self::Inode,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<(Option<Self::Handle>, OpenOptions)> {
        if self.readonly || !truncates(flags) {
            return self.inner.open(context, nodeid, kill_priv, flags);
        }
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), true, || self.inner.open(context, nodeid.into(), kill_priv, flags))
    }

    fn create(
        &self,
        context: Context,
        parent: Self::Inode,
        name: &CStr,
        mode: u32,
        kill_priv: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<Self::Handle>, OpenOptions)> {
        if self.readonly {
            let created = self.inner.create(context, parent, name, mode, kill_priv, flags, umask, extensions);
            return created.inspect(|_| self.table.publish(&[]));
        }
        let parent = parent.into();
        let directory = self.ino(context, parent)?;
        let names = self.table.lock_names([directory; 2]);
        // First as if it must not be there, so as to know whether it was made. `virtiofsd` does the same.
        let alone = flags | OFlags::EXCL.bits();
        let made =
            self.attempt(|| self.inner.create(context, parent.into(), name, mode, kill_priv, alone, umask, extensions));
        let result = match made {
            Err(error) if is(&error, Errno::EXIST) && flags & OFlags::EXCL.bits() == 0 => {
                self.open_existing(context, (parent, name), kill_priv, flags)
            }
            made => {
                if !made.as_ref().is_err_and(|error| is(error, Errno::EXIST) || is(error, Errno::ROFS)) {
                    self.table.publish(&names_changed(directory, name));
                }
                made
            }
        };
        drop(names);
        result.inspect(|(entry, ..)| self.know(entry))
    }

    fn write<R: ZeroCopyReader>(
        &self,
        context: Context,
        nodeid: Self::Inode,
        handle: Self::Handle,
        reader: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed: bool,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<usize> {
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), true, || {
            let nodeid = nodeid.into();
            self.inner.write(context, nodeid, handle, reader, size, offset, lock_owner, delayed, kill_priv, flags)
        })
    }

    fn fallocate(
        &self,
        context: Context,
        nodeid: Self::Inode,
        handle: Self::Handle,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), true, || {
            self.inner.fallocate(context, nodeid.into(), handle, mode, offset, length)
        })
    }

    fn copyfilerange(
        &self,
        context: Context,
        from: Self::Inode,
        from_handle: Self::Handle,
        from_offset: u64,
        to: Self::Inode,
        to_handle: Self::Handle,
        to_offset: u64,
        length: u64,
        flags: u64,
    ) -> io::Result<usize> {
        let to = to.into();
        self.change(self.ino(context, to), true, || {
            let to = to.into();
            self.inner.copyfilerange(context, from, from_handle, from_offset, to, to_handle, to_offset, length, flags)
        })
    }

    fn setxattr(
        &self,
        context: Context,
        nodeid: Self::Inode,
        name: &CStr,
        value: &[u8],
        flags: u32,
        more: SetxattrFlags,
    ) -> io::Result<()> {
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), false, || {
            self.inner.setxattr(context, nodeid.into(), name, value, flags, more)
        })
    }

    fn removexattr(&self, context: Context, nodeid: Self::Inode, name: &CStr) -> io::Result<()> {
        let nodeid = nodeid.into();
        self.change(self.ino(context, nodeid), false, || self.inner.removexattr(context, nodeid.into(), name))
    }

    pass_on! {
        getattr readlink read flush fsync release statfs getxattr listxattr opendir readdir fsyncdir releasedir access
        lseek syncfs getlk setlk setlkw ioctl bmap poll notify_reply tmpfile
    }
}
