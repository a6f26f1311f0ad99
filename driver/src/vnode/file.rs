//! Open files.

use super::Node;
use super::node::unless_lacking;
use crate::session::WriteTo;
use crate::wire::{
    Access, Attr, Created, FileHandle, FileType, Flush, FopenFlags, Fsync, Getattr, InitFlags, LockOwner, Open,
    OpenFlags, Opened, Release, SetAttr, WriteFlags,
};
use crate::{Errno, Error};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An open regular file. Closed when dropped; [`Self::close`] tells of errors, too.
///
/// The file stays what it is when its name goes away.
///
/// # Locking
///
/// Every method waits for the server, dropping included.
pub struct OpenFile {
    pub(super) node: Node,
    /// `None` if the server needs no files to be opened, and when the file is closed.
    fh: Option<FileHandle>,
    flags: OpenFlags,
    fopen_flags: FopenFlags,
    /// Whose locks those of [`Self::flock`] are.
    pub(super) owner: LockOwner,
    /// A `flock` lock may be held.
    pub(super) flocked: AtomicBool,
    /// Something was written since the last FLUSH.
    written: AtomicBool,
    /// The driver took the set-id bits away for a server that does not, when they had been set so often.
    set_ids_killed: AtomicU64,
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
    pub(super) fn open(node: Node, flags: OpenFlags) -> Result<Self, Error> {
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
        if node.is_checked() {
            let own = node.getattr()?;
            node.permit_knowing(&own, access)?;
            if flags.contains(OpenFlags::NOATIME) {
                node.expect_owner(&own)?;
            }
        }
        Self::open_unchecked(node, flags)
    }

    /// As [`Self::open`], of a regular file that the user may open.
    pub(super) fn open_unchecked(node: Node, flags: OpenFlags) -> Result<Self, Error> {
        let truncates = flags.contains(OpenFlags::TRUNCATE);
        let atomic = !truncates || node.has(InitFlags::ATOMIC_O_TRUNC);
        let sent = flags - OpenFlags::CREATE - OpenFlags::EXCLUSIVE;
        let sent = if atomic { sent } else { sent - OpenFlags::TRUNCATE };
        let kill_suidgid = truncates && atomic && node.asks_to_kill_set_ids();
        let opened = unless_lacking(node.call(&Open { flags: sent, kill_suidgid }))?;
        let file = Self::new(node, opened, flags);
        if truncates && (!atomic || opened.is_none()) {
            file.truncate()?;
        } else if truncates && !file.node.kills_set_ids() {
            file.kill_set_ids()?;
        }
        Ok(file)
    }

    /// The file that a server made in the directory `parent`, and its attributes.
    pub(super) fn created(parent: &Node, created: &Created, flags: OpenFlags) -> Result<(Self, Attr), Error> {
        let &Created { entry, opened } = created;
        let close = || {
            let release = Release { fh: opened.fh, flags, flock_owner: None };
            let closed = parent.session().call(parent.credentials(), entry.nodeid, &release);
            closed.unwrap_or_else(|error| log::warn!("{:?} was not closed: {error}", entry.nodeid));
        };
        // The file is closed before the inode is forgotten.
        match entry.attr {
            Ok(attr) if attr.file_type == FileType::Regular => {
                let (node, attr) = parent.child(&entry)?;
                Ok((Self::new(node, Some(opened), flags), attr))
            }
            Ok(attr) => {
                close();
                let (_node, _) = parent.child(&entry)?;
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

    fn new(node: Node, opened: Option<Opened>, flags: OpenFlags) -> Self {
        let owner = LockOwner(node.superblock().new_lock_owner());
        Self {
            node,
            fh: opened.map(|opened| opened.fh),
            flags,
            fopen_flags: opened.map_or(FopenFlags::empty(), |opened| opened.flags),
            owner,
            flocked: AtomicBool::new(false),
            written: AtomicBool::new(false),
            set_ids_killed: AtomicU64::new(u64::MAX),
        }
    }

    /// The inode that is open.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How the file was opened.
    pub fn flags(&self) -> OpenFlags {
        self.flags
    }

    /// What requests call the file. Servers that need no files to be opened do not look at it.
    pub(super) fn fh(&self) -> FileHandle {
        self.fh.unwrap_or(FileHandle(0))
    }

    /// Reads into `buffer` from byte `offset` on. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// A large read becomes several requests that are in flight together.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for reading; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1; the server's.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.expect(Access::READ)?;
        let node = &self.node;
        node.session().read(node.credentials(), node.nodeid(), self.fh(), self.flags, offset, buffer)
    }

    /// Writes `data` from byte `offset` on, or to the end of the file if it is open with [`OpenFlags::APPEND`]. Gives
    /// the number of bytes written.
    ///
    /// A large write becomes several requests that are in flight together, or, for appending, one after the other: up
    /// to [`Negotiated::max_write_bytes`](crate::Negotiated) are appended in one piece, whoever else appends. Fewer
    /// bytes than asked for were written before an error that the next write will meet again; what lies behind them may
    /// have been written, too.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for writing; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1; `EFBIG`,
    /// `ENOSPC`, `EDQUOT` and others from the server.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        self.expect(Access::WRITE)?;
        if offset > i64::MAX as u64 {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        if data.is_empty() {
            return Ok(0);
        }
        self.note_write()?;
        let node = &self.node;
        // A server that opens no files has none that knows its end.
        let offset = match self.fh {
            None if self.flags.contains(OpenFlags::APPEND) => self.getattr()?.size_bytes,
            _ => offset,
        };
        let write_flags = if node.asks_to_kill_set_ids() { WriteFlags::KILL_SUIDGID } else { WriteFlags::empty() };
        let to = WriteTo { nodeid: node.nodeid(), fh: self.fh(), flags: self.flags, write_flags };
        node.session().write(node.credentials(), to, offset, data)
    }

    /// The attributes of the inode.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn getattr(&self) -> Result<Attr, Error> {
        self.node.call(&Getattr { fh: self.fh })
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
        self.node.setattr_of(self.fh, changes, true)
    }

    /// Cuts everything off, as the file is opened.
    pub(super) fn truncate(&self) -> Result<Attr, Error> {
        // What is open for reading only cannot be truncated through its handle.
        let fh = self.fh.filter(|_| self.flags.is_writing());
        self.node.setattr_of(fh, &SetAttr { size_bytes: Some(0), ..SetAttr::default() }, true)
    }

    /// Tells the server that a file descriptor was closed, of which there may be several for this file: it may tell of
    /// errors of earlier writes, and gives up the POSIX locks of `owner`.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn flush(&self, owner: LockOwner) -> Result<(), Error> {
        self.written.store(false, Ordering::Relaxed);
        if self.fopen_flags.contains(FopenFlags::NOFLUSH) {
            return Ok(());
        }
        unless_lacking(self.node.call(&Flush { fh: self.fh(), lock_owner: owner })).map(drop)
    }

    /// Waits until what was written is durable.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn fsync(&self, durability: Durability) -> Result<(), Error> {
        let fsync = Fsync { fh: self.fh(), data_only: durability == Durability::Data };
        unless_lacking(self.node.call(&fsync)).map(drop)
    }

    /// Closes the file.
    ///
    /// # Errors
    ///
    /// Those of earlier writes, if the server tells them now. The file is closed all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let flushed = if self.written.load(Ordering::Relaxed) { self.flush(self.owner) } else { Ok(()) };
        let flocked = self.flocked.swap(false, Ordering::Relaxed);
        let released = match self.fh.take() {
            Some(fh) => {
                let flock_owner = flocked.then_some(self.owner);
                self.node.call(&Release { fh, flags: self.flags, flock_owner })
            }
            // What was never opened is not closed, either.
            None if flocked => self.unflock(),
            None => Ok(()),
        };
        flushed.and(released)
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
            self.node.kill_set_ids(self.fh)?;
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
        f.debug_struct("OpenFile").field("node", &self.node).field("fh", &self.fh).field("flags", &self.flags).finish()
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
