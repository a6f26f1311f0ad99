//! A file system of `virtiofsd` that says what guests are told of, so that changes on the host are counted for that.

use crate::files;
use crate::host_changes::{Counting, Directories, Found, HostChanges};
use crate::mode::is_directory;
use crate::pass_on::pass_on;
use crate::version_table::{VersionTable, Watch};
use rustix::fs::OFlags;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions, ROOT_ID,
    SetattrValid, SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};

/// The file system, and who counts.
pub(crate) struct WatchedFs<F> {
    inner: Arc<F>,
    counting: Arc<Counting>,
}

/// The directories of a file system.
struct Inside<F>(Arc<F>);

impl<F: FileSystem + Send + Sync + 'static> WatchedFs<F> {
    pub(crate) fn new(inner: F, changes: HostChanges, table: Arc<VersionTable>) -> Self {
        let inner = Arc::new(inner);
        let directories = Arc::new(Inside(inner.clone()));
        Self { inner, counting: Arc::new(Counting::new(changes, table, directories)) }
    }

    /// See [`Counting::watch`].
    pub(crate) fn watch(&self) -> Watch {
        self.counting.clone().watch()
    }

    /// Does what a name is handed out by.
    fn hand_out(
        &self,
        context: Context,
        parent: F::Inode,
        name: &CStr,
        ask: impl FnOnce(F::Inode) -> io::Result<Entry>,
    ) -> io::Result<Entry> {
        let _asking = self.counting.asking();
        let parent = parent.into();
        let entry = ask(parent.into())?;
        self.handed_out(context, parent, name, entry)
    }

    fn handed_out(&self, context: Context, parent: u64, name: &CStr, mut entry: Entry) -> io::Result<Entry> {
        if self.counting.handed_out(parent, name, found(entry.inode, &entry.attr)) {
            match self.inner.getattr(context, entry.inode.into(), None) {
                // What is said of the entry, and not of the inode, is in the flags.
                Ok((attr, _)) => entry.attr = Attr { flags: entry.attr.flags | attr.flags, ..attr },
                Err(error) => {
                    self.forget(context, entry.inode.into(), 1);
                    return Err(error);
                }
            }
        }
        Ok(entry)
    }
}

fn found(nodeid: u64, attr: &Attr) -> Found {
    Found { nodeid, ino: attr.ino, links: attr.nlink, is_directory: is_directory(attr.mode) }
}

/// Who looks by itself, for no guest.
fn nobody() -> Context {
    Context { uid: 0.into(), gid: 0.into(), pid: 0 }
}

impl<F: FileSystem + Send + Sync> Directories for Inside<F> {
    fn open_directory(&self, nodeid: u64) -> io::Result<File> {
        Ok(files::open(&*self.0, nobody(), nodeid, OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    fn look(&self, directory: u64, name: &CStr) -> io::Result<Found> {
        let entry = self.0.lookup(nobody(), directory.into(), name)?;
        self.0.forget(nobody(), entry.inode.into(), 1);
        Ok(found(entry.inode, &entry.attr))
    }
}

impl<F: FileSystem + Send + Sync + 'static> FileSystem for WatchedFs<F> {
    type Inode = F::Inode;
    type Handle = F::Handle;
    type DirIter = F::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let wanted = self.inner.init(capable)?;
        let (root, _) = self.inner.getattr(nobody(), ROOT_ID.into(), None)?;
        self.counting.session_begins(found(ROOT_ID, &root));
        Ok(wanted)
    }

    fn destroy(&self) {
        self.inner.destroy();
        self.counting.session_ends();
    }

    fn lookup(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        self.hand_out(context, parent, name, |parent| self.inner.lookup(context, parent, name))
    }

    fn forget(&self, context: Context, nodeid: Self::Inode, count: u64) {
        let nodeid = nodeid.into();
        self.inner.forget(context, nodeid.into(), count);
        self.counting.forgotten(nodeid, count);
    }

    fn batch_forget(&self, context: Context, requests: Vec<(Self::Inode, u64)>) {
        let requests: Vec<(u64, u64)> = requests.into_iter().map(|(nodeid, count)| (nodeid.into(), count)).collect();
        let again = requests.iter().map(|(nodeid, count)| ((*nodeid).into(), *count)).collect();
        self.inner.batch_forget(context, again);
        requests.iter().for_each(|(nodeid, count)| self.counting.forgotten(*nodeid, *count));
    }

    fn symlink(
        &self,
        context: Context,
        target: &CStr,
        parent: Self::Inode,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.hand_out(context, parent, name, |parent| self.inner.symlink(context, target, parent, name, extensions))
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
        self.hand_out(context, parent, name, |parent| {
            self.inner.mknod(context, parent, name, mode, rdev, umask, extensions)
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
        self.hand_out(context, parent, name, |parent| self.inner.mkdir(context, parent, name, mode, umask, extensions))
    }

    fn link(&self, context: Context, nodeid: Self::Inode, parent: Self::Inode, name: &CStr) -> io::Result<Entry> {
        self.hand_out(context, parent, name, |parent| self.inner.link(context, nodeid, parent, name))
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
        let mut opened = None;
        let entry = self.hand_out(context, parent, name, |parent| {
            let (entry, handle, options) =
                self.inner.create(context, parent, name, mode, kill_priv, flags, umask, extensions)?;
            opened = Some((handle, options));
            Ok(entry)
        })?;
        let (handle, options) = opened.ok_or(io::ErrorKind::NotFound)?;
        Ok((entry, handle, options))
    }

    pass_on! {
        getattr setattr readlink unlink rmdir rename open read write flush fsync fallocate release setxattr getxattr
        listxattr removexattr opendir readdir fsyncdir releasedir access lseek copyfilerange statfs syncfs getlk setlk
        setlkw ioctl bmap poll notify_reply tmpfile
    }
}
