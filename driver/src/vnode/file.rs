//! Open files.

use super::handle::Handle;
use super::node::unless_lacking;
use super::{Node, Permissions, Told};
use crate::cache::Stamp;
use crate::data::{Change, Readahead, Version};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::wire::{
    Access, Attr, Created, FileHandle, FileType, Flush, Fsync, InitFlags, LockOwner, OpenFlags, Release, SetAttr,
};
use crate::{CacheMode, Errno, Error};
use alloc::sync::Arc;
use core::fmt;

/// An open regular file. Closed when dropped; [`Self::close`] tells of errors, too.
///
/// The file stays what it is when its name goes away.
///
/// # Locking
///
/// Every method waits for the server, unless what it needs is cached. Dropping waits if something was written (FLUSH), or
/// if a lock of [`Self::flock`] may be held; if not, at most for room in the queues, and for files that are being closed.
pub struct OpenFile {
    pub(super) node: Node,
    flags: OpenFlags,
    /// What the server has open; `None` as long as no request needs it.
    handle: Mutex<Option<Arc<Handle>>>,
    /// The server was not asked to open it yet.
    is_late: AtomicBool,
    /// The server, or who opened the file, wants reads and writes to go to the server.
    is_direct: AtomicBool,
    /// Writes are collected in pages.
    writes_back: bool,
    owner: LockOwner,
    /// Something was written since the last FLUSH.
    written: AtomicBool,
    /// The driver took the set-id bits away for a server that does not, when they had been set so often.
    set_ids_killed: AtomicU64,
    pub(super) readahead: Readahead,
    /// Of so many failures to write pages this file was told, or they were before its time.
    failures_seen: AtomicU64,
}

/// What is to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The content and all attributes.
    All,
    /// The content, and the attributes without which it cannot be read (`fdatasync`).
    Data,
}

impl OpenFile {
    /// Opens a file of which the server has just told the attributes, if `told`. Gives them, if they are known.
    pub(super) fn open(node: Node, flags: OpenFlags, told: Option<Told>) -> Result<(Self, Option<Attr>), Error> {
        match node.file_type() {
            FileType::Regular if flags.contains(OpenFlags::DIRECTORY) => return Err(Error::Invalid(Errno::ENOTDIR)),
            FileType::Regular => {}
            FileType::Directory => return Err(Error::Invalid(Errno::EISDIR)),
            FileType::Symlink => return Err(Error::Invalid(Errno::ELOOP)),
            _ => return Err(Error::Invalid(Errno::EOPNOTSUPP)),
        }
        let access = access_of(flags)?;
        if access.contains(Access::WRITE) {
            node.superblock().expect_writable()?;
        }
        let told = match told {
            None if node.is_asked_at_open(flags) => {
                let stamp = node.cache().stamp();
                Some(Told { attr: node.ask_attr(None)?, stamp })
            }
            told => told,
        };
        if node.is_checked() {
            let own = told.map_or_else(|| node.owner_and_mode(), |told| Ok(told.attr))?;
            node.permit_knowing(&own, access)?;
            if flags.contains(OpenFlags::NOATIME) {
                node.expect_owner(&own)?;
            }
        }
        let file = Self::open_unchecked(node, flags)?;
        if !flags.contains(OpenFlags::TRUNCATE)
            && let Some(told) = told.or_else(|| file.node.believed())
        {
            file.trust_pages_of(&told);
        }
        Ok((file, told.map(|told| told.attr)))
    }

    /// As [`Self::open`], of a regular file that the user may open.
    pub(super) fn open_unchecked(node: Node, flags: OpenFlags) -> Result<Self, Error> {
        let sent = flags - OpenFlags::CREATE - OpenFlags::EXCLUSIVE;
        let mut file = Self::new(node, flags);
        if file.node.opens_late(flags) {
            file.node.inode().opened_late();
            *file.is_late.get_mut() = true;
            return Ok(file);
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            file.open_truncated(sent)?;
        } else {
            file.open_handle(sent)?;
        }
        Ok(file)
    }

    /// Opens a file for writing and cuts everything off.
    fn open_truncated(&mut self, flags: OpenFlags) -> Result<(), Error> {
        self.node.write_back();
        if !self.node.has(InitFlags::ATOMIC_O_TRUNC) {
            self.open_handle(flags - OpenFlags::TRUNCATE)?;
            return self.truncate().map(drop);
        }
        let node = self.node.clone();
        let opened = node.change_content(
            || self.open_handle(flags),
            |_, opened| match opened {
                Ok(()) => Change::Resized(0),
                Err(_) => Change::Unknown(0..u64::MAX),
            },
        );
        opened?;
        if self.open_fh().is_none() {
            // A server that opens no files has cut nothing off.
            return self.truncate().map(drop);
        }
        if self.node.kills_set_ids() { Ok(()) } else { self.kill_set_ids() }
    }

    /// Opens the file at the server; to write back it is opened for reading, too, if that is allowed.
    fn open_handle(&mut self, flags: OpenFlags) -> Result<(), Error> {
        let node = &self.node;
        if self.writes_back {
            match Handle::open(node, node.opens_as(flags), self.owner) {
                Ok(handle) if handle.is_direct() => self.writes_back = false,
                Ok(handle) => {
                    *self.is_direct.get_mut() = false;
                    *self.handle.get_mut() = Some(Arc::new(handle));
                    return Ok(());
                }
                Err(Error::Refused(Errno::EACCES | Errno::EPERM)) => self.writes_back = false,
                Err(error) => return Err(error),
            }
        }
        let handle = Handle::open(node, flags, self.owner)?;
        self.note_direct(&handle);
        *self.handle.get_mut() = Some(Arc::new(handle));
        Ok(())
    }

    /// The file that a server made in the directory `parent` and opened as `opened_as`, for a caller who asked for `flags`;
    /// and its attributes.
    pub(super) fn created(
        parent: &Node,
        created: &Created,
        flags: OpenFlags,
        opened_as: OpenFlags,
        stamp: &Stamp,
    ) -> Result<(Self, Attr), Error> {
        let &Created { entry, opened } = created;
        let close = || {
            let release = Release { fh: opened.fh, flags: opened_as, flock_owner: None };
            let closed = parent.session().call_detached(parent.credentials(), entry.nodeid, &release);
            closed.unwrap_or_else(|error| log::warn!("{:?} was not closed: {error}", entry.nodeid));
        };
        // The file is closed before the inode is forgotten.
        match entry.attr {
            Ok(attr) if attr.file_type == FileType::Regular => {
                let (node, attr) = parent.child(&entry, stamp)?;
                if let Some(data) = node.inode().data() {
                    data.is_new();
                }
                let mut file = Self::new(node, flags);
                let handle = Handle::new(&file.node, Some(opened), opened_as, file.owner);
                file.note_direct(&handle);
                file.writes_back &= !handle.is_direct();
                *file.handle.get_mut() = Some(Arc::new(handle));
                Ok((file, attr))
            }
            Ok(attr) => {
                close();
                let (_node, _) = parent.child(&entry, stamp)?;
                Err(Error::Refused(match attr.file_type {
                    FileType::Directory => Errno::EISDIR,
                    FileType::Symlink => Errno::ELOOP,
                    _ => Errno::EOPNOTSUPP,
                }))
            }
            Err(error) => {
                close();
                parent.session().forget(entry.nodeid, 1);
                Err(error)
            }
        }
    }

    fn new(node: Node, flags: OpenFlags) -> Self {
        let is_direct = flags.contains(OpenFlags::DIRECT);
        let writes_back = node.collects_writes(flags);
        let owner = LockOwner(node.superblock().new_lock_owner());
        let failures = node.inode().used_data().map_or(0, |data| data.failures());
        Self {
            flags,
            handle: Mutex::new(None),
            is_late: AtomicBool::new(false),
            is_direct: AtomicBool::new(is_direct || node.inode().is_direct()),
            writes_back,
            owner,
            written: AtomicBool::new(false),
            set_ids_killed: AtomicU64::new(u64::MAX),
            readahead: Readahead::new(),
            failures_seen: AtomicU64::new(failures),
            node,
        }
    }

    /// The file was opened when it had these attributes: what is kept of its content has to belong to them. Unless it
    /// was changed here since they were asked for: then they are older than what is known.
    fn trust_pages_of(&self, Told { attr, stamp }: &Told) {
        let is_new = || self.node.inode().unchanged_since(stamp);
        let Some(data) = self.node.inode().data() else { return };
        match self.node.cache().options().mode {
            CacheMode::Auto => {
                let kept = self.handle.lock().as_ref().is_some_and(|handle| handle.keeps_cache());
                data.opened(Version::of(attr), kept, is_new);
            }
            CacheMode::None | CacheMode::Always => data.learn_end(attr.size_bytes, is_new),
        }
    }

    /// What the server has open, opened now if it was not yet.
    pub(super) fn handle(&self) -> Result<Arc<Handle>, Error> {
        if let Some(handle) = &*self.handle.lock() {
            return Ok(handle.clone());
        }
        // Nobody may wait for the server under the lock: of several that open the file, one is the first.
        let opened = match self.node.superblock().late_files.get(&self.node) {
            Some(handle) => handle,
            None => Arc::new(Handle::open(&self.node, self.flags, self.owner)?),
        };
        let mut first = self.handle.lock();
        let handle = first.get_or_insert_with(|| opened.clone()).clone();
        drop(first);
        self.note_direct(&handle);
        self.is_late_no_more();
        Ok(handle)
    }

    fn note_direct(&self, handle: &Handle) {
        let is_direct = handle.is_direct() || self.flags.contains(OpenFlags::DIRECT);
        self.is_direct.store(is_direct, Ordering::Relaxed);
    }

    /// As [`Self::handle`], of this file alone: others share what was opened for all when the inode lost a name.
    pub(super) fn own_handle(&self) -> Result<Arc<Handle>, Error> {
        let handle = self.handle()?;
        if handle.owner == self.owner {
            return Ok(handle);
        }
        let opened = Arc::new(Handle::open(&self.node, self.flags, self.owner)?);
        let mut own = self.handle.lock();
        let shared = match &*own {
            // Another thread was faster.
            Some(first) if first.owner == self.owner => return Ok(first.clone()),
            _ => own.replace(opened.clone()),
        };
        drop(own);
        drop(shared);
        Ok(opened)
    }

    /// The server has opened the file, or it is closed.
    fn is_late_no_more(&self) {
        if self.is_late.swap(false, Ordering::Relaxed) && self.node.inode().opened_or_closed() {
            self.node.superblock().late_files.close(&self.node);
        }
    }

    /// What requests that need no open file call it, if the server has it open.
    pub(super) fn open_fh(&self) -> Option<FileHandle> {
        self.handle.lock().as_ref().and_then(|handle| handle.fh)
    }

    pub(super) fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Relaxed)
    }

    pub(super) fn writes_back(&self) -> bool {
        self.writes_back
    }

    /// The inode that is open.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How the file was opened.
    pub fn flags(&self) -> OpenFlags {
        self.flags
    }

    /// The attributes of the inode.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn getattr(&self) -> Result<Attr, Error> {
        self.node.getattr_of(self.open_fh())
    }

    /// Changes attributes of the inode, and gives the new ones. The size may be changed by who has the file open for
    /// writing.
    ///
    /// # Errors
    ///
    /// As for [`Node::setattr`]; `EINVAL` for the size if the file is not open for writing.
    pub fn setattr(&self, changes: &SetAttr) -> Result<Attr, Error> {
        if changes.size_bytes.is_some() && !self.flags.is_writing() {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        self.node.setattr_of(self.open_fh(), changes, true)
    }

    /// Cuts everything off, as the file is opened.
    pub(super) fn truncate(&self) -> Result<Attr, Error> {
        // What is open for reading only cannot be truncated through its handle.
        let fh = self.open_fh().filter(|_| self.flags.is_writing());
        self.node.setattr_of(fh, &SetAttr { size_bytes: Some(0), ..SetAttr::default() }, true)
    }

    /// Tells the server that a file descriptor was closed, of which there may be several for this file: it may tell of
    /// errors of earlier writes, and gives up the POSIX locks of `owner`. What was collected is written first.
    ///
    /// # Errors
    ///
    /// The server's, those of writes that were collected included.
    pub fn flush(&self, owner: LockOwner) -> Result<(), Error> {
        self.node.write_back();
        self.written.store(false, Ordering::Relaxed);
        if self.is_late.load(Ordering::Relaxed) && !self.node.has(InitFlags::POSIX_LOCKS) {
            // The server knows nothing of this file.
            return self.tell_failure();
        }
        let handle = self.handle()?;
        let flushed = match handle.wants_flush() {
            true => unless_lacking(self.node.call(&Flush { fh: handle.fh(), lock_owner: owner })).map(drop),
            false => Ok(()),
        };
        self.tell_failure().and(flushed)
    }

    /// Waits until what was written is durable.
    ///
    /// # Errors
    ///
    /// The server's, those of writes that were collected included.
    pub fn fsync(&self, durability: Durability) -> Result<(), Error> {
        self.node.write_back();
        let fsync = Fsync { fh: self.handle()?.fh(), data_only: durability == Durability::Data };
        let synced = unless_lacking(self.node.call(&fsync)).map(drop);
        self.tell_failure().and(synced)
    }

    /// # Errors
    ///
    /// Why pages could not be written, if that was since the file was opened and it was not told yet.
    fn tell_failure(&self) -> Result<(), Error> {
        let seen = self.failures_seen.load(Ordering::Relaxed);
        match self.node.inode().used_data().and_then(|data| data.failed_since(seen)) {
            Some((count, error)) => {
                self.failures_seen.store(count, Ordering::Relaxed);
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Closes the file. The server is told so (RELEASE), and not waited for, unless a lock of [`Self::flock`] may be
    /// held: when this returns, it is free.
    ///
    /// # Errors
    ///
    /// Those of earlier writes, if they were collected or the server tells them now (FLUSH). The file is closed all the
    /// same.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let flushed = if *self.written.get_mut() { self.flush(self.owner) } else { self.tell_failure() };
        self.is_late_no_more();
        let last = self.handle.get_mut().take().and_then(Arc::into_inner);
        flushed.and(last.map_or(Ok(()), Handle::close))
    }

    /// # Errors
    ///
    /// `EBADF` if the file is not open for this.
    pub(super) fn expect(&self, access: Access) -> Result<(), Error> {
        if access_of(self.flags - OpenFlags::TRUNCATE)?.contains(access) {
            Ok(())
        } else {
            Err(Error::Invalid(Errno::EBADF))
        }
    }

    /// To be called before the content is written.
    pub(super) fn note_write(&self) -> Result<(), Error> {
        self.written.store(true, Ordering::Relaxed);
        if self.node.kills_set_ids() { Ok(()) } else { self.kill_set_ids() }
    }

    /// To be called before the content is changed by a request that says nothing of set-id bits: servers leave them.
    pub(super) fn note_change(&self) -> Result<(), Error> {
        self.written.store(true, Ordering::Relaxed);
        self.kill_set_ids()
    }

    /// Takes set-id bits away; once, since to ask before each write would double the requests,
    /// and again when this driver set some.
    fn kill_set_ids(&self) -> Result<(), Error> {
        let set = self.node.superblock().set_ids();
        if self.set_ids_killed.load(Ordering::Relaxed) != set {
            self.node.kill_set_ids(self.open_fh())?;
            self.set_ids_killed.store(set, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::warn!("{:?} was not closed well: {error}", self.node);
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("node", &self.node).field("flags", &self.flags).finish()
    }
}

impl Node {
    /// Whether opening this file asks for its attributes, to find out whether its content is still the one that is kept.
    fn is_asked_at_open(&self, flags: OpenFlags) -> bool {
        let has_pages = || self.inode().used_data().is_some_and(|data| data.has_pages());
        self.cache().options().mode == CacheMode::Auto
            && !flags.contains(OpenFlags::TRUNCATE)
            && (self.opens_late(flags) || has_pages())
    }

    /// Whether what is written to a file that is opened like this is collected. Who asks for each write to be durable,
    /// or to go past the cache, has it so.
    fn collects_writes(&self, flags: OpenFlags) -> bool {
        let at_once = OpenFlags::SYNC | OpenFlags::DSYNC | OpenFlags::DIRECT;
        self.cache().options().writes_back() && flags.is_writing() && !flags.intersects(at_once)
    }

    /// How the server is to open what a caller opens with `flags`. To write back it is opened for reading, too, for pages
    /// of which a part is written; where it ends is the driver's business then.
    pub(super) fn opens_as(&self, flags: OpenFlags) -> OpenFlags {
        if self.collects_writes(flags) {
            (flags - OpenFlags::WRITE_ONLY - OpenFlags::APPEND) | OpenFlags::READ_WRITE
        } else {
            flags
        }
    }

    /// The attributes, if what the server has once told of them is believed for ever.
    fn believed(&self) -> Option<Told> {
        let cache = self.cache();
        let stamp = cache.stamp();
        let known = || self.inode().attr(cache.now()).map(|attr| Told { attr, stamp });
        if cache.options().mode == CacheMode::Always { known() } else { None }
    }

    /// Whether the server opens this file only when a request needs that.
    fn opens_late(&self, flags: OpenFlags) -> bool {
        let options = self.cache().options();
        // What other flags mean is up to the server.
        let harmless = OpenFlags::NOFOLLOW | OpenFlags::NOATIME;
        options.lazy_open
            && options.mode != CacheMode::None
            && self.superblock().permissions == Permissions::Driver
            && harmless.contains(flags)
            && !self.inode().is_direct()
    }
}

/// What a file is opened for. What is truncated is written.
///
/// # Errors
///
/// `EINVAL` for flags that ask for writing only and for both.
pub(super) fn access_of(flags: OpenFlags) -> Result<Access, Error> {
    let access = if flags.contains(OpenFlags::WRITE_ONLY | OpenFlags::READ_WRITE) {
        return Err(Error::Invalid(Errno::EINVAL));
    } else if flags.contains(OpenFlags::READ_WRITE) {
        Access::READ | Access::WRITE
    } else if flags.contains(OpenFlags::WRITE_ONLY) {
        Access::WRITE
    } else {
        Access::READ
    };
    Ok(if flags.contains(OpenFlags::TRUNCATE) { access | Access::WRITE } else { access })
}
