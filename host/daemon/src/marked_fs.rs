//! A file system of `virtiofsd` in which files are marked for DAX. Everything else is passed on.

use crate::dax_rule::DaxRule;
use crate::mode::is_regular;
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
        readlink symlink mkdir unlink rmdir rename open read write flush fsync fallocate release setxattr getxattr
        listxattr removexattr opendir readdir fsyncdir releasedir access lseek copyfilerange statfs syncfs getlk setlk setlkw
        ioctl bmap poll notify_reply tmpfile
    }
}
