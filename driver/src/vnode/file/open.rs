//! Opening files: at the server, or late; and whether what is kept of their content is still true.

use super::{OpenFile, access_of};
use crate::cache::{Stamp, Verdict};
use crate::data::{Change, Readahead, Version};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::vnode::handle::Handle;
use crate::vnode::{Node, Permissions, Told};
use crate::wire::{Access, Attr, Created, FileHandle, FileType, InitFlags, LockOwner, OpenFlags, Release};
use crate::{CacheMode, Errno, Error};
use alloc::sync::Arc;

impl OpenFile {
    /// Opens a file of which the server has just told the attributes, if `told`. Gives them, if they are known.
    pub(in crate::vnode) fn open(
        node: Node,
        flags: OpenFlags,
        told: Option<Told>,
    ) -> Result<(Self, Option<Attr>), Error> {
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
        node.superblock().dirty.write_one_aged(|| node.session().now(), node.cache().options().dirty_age);
        node.heed_changes();
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
        if !flags.contains(OpenFlags::TRUNCATE) {
            match told.or_else(|| file.node.believed()) {
                Some(told) => file.trust_pages_of(&told),
                None => file.trust_no_end(),
            }
        }
        Ok((file, told.map(|told| told.attr)))
    }

    /// As [`Self::open`], of a regular file that the user may open.
    pub(in crate::vnode) fn open_unchecked(node: Node, flags: OpenFlags) -> Result<Self, Error> {
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
        // What is cut off is written before: if the file cannot be opened nothing may be lost. To drop it afterwards instead, one
        // would have to know which dirty pages are from before. That is so if nothing else happens to the file meanwhile
        // (then what was written since goes, too, with `Change::Resized`); but not next to a run on its way, or to another
        // change: a page written since may hold older bytes, which must not reach the server behind the truncation. So
        // collected writes would have to wait for the open, and the flush be held over it.
        self.node.write_back();
        if !self.node.has(InitFlags::ATOMIC_O_TRUNC) {
            self.open_handle(flags - OpenFlags::TRUNCATE)?;
            return self.truncate().map(drop);
        }
        let node = self.node.clone();
        let is_open = node.change_content(
            0,
            || self.open_handle(flags).map(|()| self.open_fh().is_some()),
            |is_open| is_open.then_some(1),
            |_, opened| match opened {
                Ok(_) => Change::Resized(0),
                Err(_) => Change::Unknown(0..u64::MAX),
            },
        )?;
        if !is_open {
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
    pub(in crate::vnode) fn created(
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
                    let inode = node.inode();
                    data.is_new(|| inode.unchanged_since(stamp), || inode.content_begins(stamp));
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
            CacheMode::Auto if self.node.inode().content_verdict() == Verdict::ByTime => {
                let kept = self.handle.lock().as_ref().is_some_and(|handle| handle.keeps_cache());
                data.opened(Version::of(attr), kept, is_new);
            }
            _ => data.learn_end(attr.size_bytes, is_new),
        }
    }

    /// As [`Self::trust_pages_of`], of a file of which no pages are kept: others may have written to it.
    fn trust_no_end(&self) {
        if self.node.cache().options().mode == CacheMode::Auto
            && self.node.inode().content_verdict() == Verdict::ByTime
            && let Some(data) = self.node.inode().used_data()
        {
            data.opened_unasked();
        }
    }

    /// What the server has open, opened now if it was not yet.
    pub(in crate::vnode) fn handle(&self) -> Result<Arc<Handle>, Error> {
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
    pub(in crate::vnode) fn own_handle(&self) -> Result<Arc<Handle>, Error> {
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
    pub(super) fn is_late_no_more(&self) {
        if self.is_late.swap(false, Ordering::Relaxed) && self.node.inode().opened_or_closed() {
            self.node.superblock().late_files.close(&self.node);
        }
    }

    /// What requests that need no open file call it, if the server has it open.
    pub(in crate::vnode) fn open_fh(&self) -> Option<FileHandle> {
        self.handle.lock().as_ref().and_then(|handle| handle.fh)
    }

    pub(in crate::vnode) fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Relaxed)
    }

    pub(in crate::vnode) fn writes_back(&self) -> bool {
        self.writes_back
    }
}

impl Node {
    /// Whether opening this file asks for its attributes, to find out whether its content is still the one that is kept, and
    /// how much there is to read.
    fn is_asked_at_open(&self, flags: OpenFlags) -> bool {
        let has_pages = || self.inode().used_data().is_some_and(|data| data.has_pages());
        let is_worth = match self.inode().content_verdict() {
            Verdict::ByTime => !flags.is_writing() || has_pages(),
            // Only how much there is to read.
            Verdict::Valid | Verdict::Old => !flags.is_writing() && !has_pages() && self.believed().is_none(),
        };
        self.cache().options().mode == CacheMode::Auto && !flags.contains(OpenFlags::TRUNCATE) && is_worth
    }

    /// Whether what is written to a file that is opened like this is collected. Who asks for each write to be durable,
    /// or to go past the cache, has it so.
    fn collects_writes(&self, flags: OpenFlags) -> bool {
        let at_once = OpenFlags::SYNC | OpenFlags::DSYNC | OpenFlags::DIRECT;
        self.cache().options().writes_back() && flags.is_writing() && !flags.intersects(at_once)
    }

    /// How the server is to open what a caller opens with `flags`. To write back it is opened for reading, too, for pages
    /// of which a part is written; where it ends is the driver's business then.
    pub(in crate::vnode) fn opens_as(&self, flags: OpenFlags) -> OpenFlags {
        if self.collects_writes(flags) {
            (flags - OpenFlags::WRITE_ONLY - OpenFlags::APPEND) | OpenFlags::READ_WRITE
        } else {
            flags
        }
    }

    /// The attributes that are known, if the content belongs to them: because what the server has once told is believed for
    /// ever, or because the version table says so.
    fn believed(&self) -> Option<Told> {
        let cache = self.cache();
        let is_sure = match cache.options().mode {
            CacheMode::Always => true,
            CacheMode::Auto => self.inode().content_verdict() == Verdict::Valid,
            CacheMode::None => false,
        };
        let stamp = cache.stamp();
        let known = || self.inode().attr_of_content(cache.now(), stamp).map(|(attr, stamp)| Told { attr, stamp });
        is_sure.then(known).flatten()
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
