//! Open files.

mod open;

use super::Node;
use super::handle::Handle;
use super::node::unless_lacking;
use crate::data::Readahead;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::wire::{Access, Attr, Flush, InitFlags, LockOwner, OpenFlags, SetAttr};
use crate::{Errno, Error};
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
        // What is known is told without a look at the handle: threads would meet at its lock.
        let known = self.node.inode().attr(self.node.cache().now());
        known.map_or_else(|| self.node.ask_attr(self.open_fh()), Ok)
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
    /// errors of earlier writes, and gives up the POSIX locks of `owner`. What was collected is written first. Where nothing was
    /// written and no such locks are kept, it is not told.
    ///
    /// # Errors
    ///
    /// The server's, those of writes that were collected included.
    pub fn flush(&self, owner: LockOwner) -> Result<(), Error> {
        // First this: what is written from now on is for the next time.
        let was_written = self.written.swap(false, Ordering::AcqRel);
        self.node.write_back();
        if !was_written && !self.node.has(InitFlags::POSIX_LOCKS) {
            // The server has nothing to tell, and keeps no locks.
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
        let synced = self.handle()?.sync(durability);
        self.tell_failure().and(synced)
    }

    /// # Errors
    ///
    /// Why pages could not be written, if that was since the file was opened and it was not told yet.
    fn tell_failure(&self) -> Result<(), Error> {
        let seen = self.failures_seen.load(Ordering::Relaxed);
        match self.node.inode().used_data().and_then(|data| data.failed_since(seen)) {
            // Another thread may tell it at the same time, and then does.
            Some((count, error)) if self.failures_seen.fetch_max(count, Ordering::Relaxed) < count => Err(error),
            _ => Ok(()),
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

    /// To be called when something is in the pages that the server has yet to get.
    pub(super) fn note_collected(&self) {
        self.written.store(true, Ordering::Release);
    }

    /// To be called before the content is changed by a request that says nothing of set-id bits: servers leave them.
    pub(super) fn note_change(&self) -> Result<(), Error> {
        self.written.store(true, Ordering::Relaxed);
        self.kill_set_ids()
    }

    /// Whether a change of the content costs no set-id bits any more, as far as this driver knows.
    pub(super) fn has_killed_set_ids(&self) -> bool {
        let set = self.node.superblock().set_ids();
        self.node.credentials().is_privileged() || self.set_ids_killed.load(Ordering::Relaxed) == set
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
