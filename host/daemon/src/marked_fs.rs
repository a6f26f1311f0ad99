//! A file system of `virtiofsd` in which files are marked for DAX. Everything else is passed on.

use crate::dax_rule::DaxRule;
use crate::pass_on::pass_on;
use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions, SetattrValid,
    SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{ATTR_DAX, Attr, SetattrIn};

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// Whether a mode is that of a regular file.
pub(crate) fn is_regular(mode: u32) -> bool {
    mode & FILE_TYPE == REGULAR
}

/// The file system, the rule, and which inodes it has marked.
pub(crate) struct MarkedFs<F> {
    inner: Arc<F>,
    rule: DaxRule,
    /// The front end has the window, so that marks make sense.
    window: Arc<AtomicBool>,
    /// The guest understands marks (FUSE_HAS_INODE_DAX).
    marks: AtomicBool,
    /// What has been marked by its name, until it is forgotten. A nodeid is never given again in a session.
    marked: Mutex<HashSet<u64>>,
}

impl<F: FileSystem> MarkedFs<F> {
    pub(crate) fn new(inner: Arc<F>, rule: DaxRule, window: Arc<AtomicBool>) -> Self {
        Self { inner, rule, window, marks: AtomicBool::new(false), marked: Mutex::default() }
    }

    fn marked(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks an entry by the rule, if it has just been looked up by `name`.
    fn mark_entry(&self, context: Context, mut entry: Entry, name: &CStr) -> Entry {
        if let DaxRule::Names(globs) = &self.rule
            && is_regular(entry.attr.mode)
            && globs.iter().any(|glob| glob.fits(name.to_bytes()))
        {
            self.marked().insert(entry.inode);
        }
        entry.attr = self.mark(context, entry.inode, entry.attr);
        entry
    }

    fn mark(&self, context: Context, nodeid: u64, mut attr: Attr) -> Attr {
        if !self.marks.load(Relaxed) || !is_regular(attr.mode) {
            return attr;
        }
        let is_marked = match &self.rule {
            DaxRule::Never => false,
            DaxRule::Always => true,
            DaxRule::Names(_) => self.marked().contains(&nodeid),
            // A size of 0 asks for the length of the value.
            DaxRule::Xattr(name) => self.inner.getxattr(context, nodeid.into(), name, 0).is_ok(),
        };
        if is_marked {
            attr.flags |= ATTR_DAX;
        }
        attr
    }

    /// Nodeids whose last lookup was forgotten are gone.
    fn after_forget(&self, context: Context, nodeid: u64) {
        let was_marked = self.marked().contains(&nodeid);
        if was_marked && self.inner.getattr(context, nodeid.into(), None).is_err() {
            self.marked().remove(&nodeid);
        }
    }
}

impl<F: FileSystem> FileSystem for MarkedFs<F> {
    type Inode = F::Inode;
    type Handle = F::Handle;
    type DirIter = F::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let mut wanted = self.inner.init(capable)?;
        self.marked().clear();
        let marks = self.window.load(Relaxed) && capable.contains(FsOptions::HAS_INODE_DAX);
        self.marks.store(marks, Relaxed);
        if marks {
            wanted |= FsOptions::HAS_INODE_DAX;
        }
        Ok(wanted)
    }

    fn destroy(&self) {
        self.marks.store(false, Relaxed);
        self.marked().clear();
        self.inner.destroy();
    }

    fn lookup(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        let entry = self.inner.lookup(context, parent, name)?;
        Ok(self.mark_entry(context, entry, name))
    }

    fn forget(&self, context: Context, nodeid: Self::Inode, count: u64) {
        let nodeid = nodeid.into();
        self.inner.forget(context, nodeid.into(), count);
        self.after_forget(context, nodeid);
    }

    fn batch_forget(&self, context: Context, requests: Vec<(Self::Inode, u64)>) {
        let requests: Vec<(u64, u64)> = requests.into_iter().map(|(nodeid, count)| (nodeid.into(), count)).collect();
        let again = requests.iter().map(|(nodeid, count)| ((*nodeid).into(), *count)).collect();
        self.inner.batch_forget(context, again);
        requests.iter().for_each(|(nodeid, _)| self.after_forget(context, *nodeid));
    }

    fn getattr(
        &self,
        context: Context,
        nodeid: Self::Inode,
        handle: Option<Self::Handle>,
    ) -> io::Result<(Attr, Duration)> {
        let nodeid = nodeid.into();
        let (attr, timeout) = self.inner.getattr(context, nodeid.into(), handle)?;
        Ok((self.mark(context, nodeid, attr), timeout))
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
        let (attr, timeout) = self.inner.setattr(context, nodeid.into(), attr, handle, valid)?;
        Ok((self.mark(context, nodeid, attr), timeout))
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
        let entry = self.inner.mknod(context, parent, name, mode, rdev, umask, extensions)?;
        Ok(self.mark_entry(context, entry, name))
    }

    fn link(&self, context: Context, nodeid: Self::Inode, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        let entry = self.inner.link(context, nodeid, parent, name)?;
        Ok(self.mark_entry(context, entry, name))
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
        let created = self.inner.create(context, parent, name, mode, kill_priv, flags, umask, extensions)?;
        Ok((self.mark_entry(context, created.0, name), created.1, created.2))
    }

    pass_on! {
        fn readlink(&self, context: Context, nodeid: Self::Inode) -> io::Result<Vec<u8>>;
        fn symlink(
            &self, context: Context, target: &CStr, parent: Self::Inode, name: &CStr, extensions: Extensions,
        ) -> io::Result<Entry>;
        fn mkdir(
            &self, context: Context, parent: Self::Inode, name: &CStr, mode: u32, umask: u32, extensions: Extensions,
        ) -> io::Result<Entry>;
        fn unlink(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()>;
        fn rmdir(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()>;
        fn rename(
            &self, context: Context, old: Self::Inode, old_name: &CStr, new: Self::Inode, new_name: &CStr, flags: u32,
        ) -> io::Result<()>;
        fn open(
            &self, context: Context, nodeid: Self::Inode, kill_priv: bool, flags: u32,
        ) -> io::Result<(Option<Self::Handle>, OpenOptions)>;
        fn read<W: ZeroCopyWriter>(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, writer: W, size: u32, offset: u64,
            lock_owner: Option<u64>, flags: u32,
        ) -> io::Result<usize>;
        fn write<R: ZeroCopyReader>(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, reader: R, size: u32, offset: u64,
            lock_owner: Option<u64>, delayed: bool, kill_priv: bool, flags: u32,
        ) -> io::Result<usize>;
        fn flush(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, lock_owner: u64,
        ) -> io::Result<()>;
        fn fsync(
            &self, context: Context, nodeid: Self::Inode, data_only: bool, handle: Self::Handle,
        ) -> io::Result<()>;
        fn fallocate(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, mode: u32, offset: u64, length: u64,
        ) -> io::Result<()>;
        fn release(
            &self, context: Context, nodeid: Self::Inode, flags: u32, handle: Self::Handle, flush: bool,
            flock_release: bool, lock_owner: Option<u64>,
        ) -> io::Result<()>;
        fn setxattr(
            &self, context: Context, nodeid: Self::Inode, name: &CStr, value: &[u8], flags: u32, more: SetxattrFlags,
        ) -> io::Result<()>;
        fn getxattr(
            &self, context: Context, nodeid: Self::Inode, name: &CStr, size: u32,
        ) -> io::Result<GetxattrReply>;
        fn listxattr(&self, context: Context, nodeid: Self::Inode, size: u32) -> io::Result<ListxattrReply>;
        fn removexattr(&self, context: Context, nodeid: Self::Inode, name: &CStr) -> io::Result<()>;
        fn opendir(
            &self, context: Context, nodeid: Self::Inode, flags: u32,
        ) -> io::Result<(Option<Self::Handle>, OpenOptions)>;
        fn readdir(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, size: u32, offset: u64,
        ) -> io::Result<Self::DirIter>;
        fn fsyncdir(
            &self, context: Context, nodeid: Self::Inode, data_only: bool, handle: Self::Handle,
        ) -> io::Result<()>;
        fn releasedir(
            &self, context: Context, nodeid: Self::Inode, flags: u32, handle: Self::Handle,
        ) -> io::Result<()>;
        fn access(&self, context: Context, nodeid: Self::Inode, mask: u32) -> io::Result<()>;
        fn lseek(
            &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, offset: u64, whence: u32,
        ) -> io::Result<u64>;
        fn copyfilerange(
            &self, context: Context, from: Self::Inode, from_handle: Self::Handle, from_offset: u64, to: Self::Inode,
            to_handle: Self::Handle, to_offset: u64, length: u64, flags: u64,
        ) -> io::Result<usize>;
        fn syncfs(&self, context: Context, nodeid: Self::Inode) -> io::Result<()>;
        fn getlk(&self) -> io::Result<()>;
        fn setlk(&self) -> io::Result<()>;
        fn setlkw(&self) -> io::Result<()>;
        fn ioctl(&self) -> io::Result<()>;
        fn bmap(&self) -> io::Result<()>;
        fn poll(&self) -> io::Result<()>;
        fn notify_reply(&self) -> io::Result<()>;
        fn tmpfile(&self) -> io::Result<(Entry, Option<Self::Handle>, OpenOptions)>;
    }

    fn statfs(&self, context: Context, nodeid: Self::Inode) -> io::Result<libc::statvfs64> {
        self.inner.statfs(context, nodeid)
    }
}
