//! Inodes.

use super::{Dir, OpenFile};
use crate::session::{Optional, Session};
use crate::wire::{Attr, Entry, FileType, Getattr, Lookup, Name, NodeId, Readlink, StatFs, Statfs, Statx};
use crate::{Errno, Error, Timestamp};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// An inode of the mounted directory. Clones name the same inode.
///
/// The server keeps the inode until the last clone is dropped, whatever happens to its names; then it is told to forget
/// it, together with others.
///
/// # Locking
///
/// Every method that asks the server waits for it. Dropping a node waits at most for room in the high-priority queue.
#[derive(Clone)]
pub struct Node {
    inode: Arc<Inode>,
}

struct Inode {
    session: Arc<Session>,
    nodeid: NodeId,
    file_type: FileType,
}

impl Drop for Inode {
    fn drop(&mut self) {
        // Each inode is made by one lookup.
        self.session.forget(self.nodeid, 1);
    }
}

impl Node {
    /// The root of the mounted directory.
    pub(crate) fn root(session: Arc<Session>) -> Self {
        Self { inode: Arc::new(Inode { session, nodeid: NodeId::ROOT, file_type: FileType::Directory }) }
    }

    /// The inode of `entry`, of which the server counted one lookup for the caller, and its attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the attributes are impossible. The lookup is taken back.
    pub(super) fn from_entry(session: &Arc<Session>, entry: &Entry) -> Result<(Self, Attr), Error> {
        let nodeid = entry.nodeid;
        let attr = entry.attr.inspect_err(|_| session.forget(nodeid, 1))?;
        let inode = Inode { session: session.clone(), nodeid, file_type: attr.file_type };
        Ok((Self { inode: Arc::new(inode) }, attr))
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.inode.session
    }

    /// The server's number for the inode, for as long as this node lives. Not the inode number: that is
    /// [`Attr::ino`].
    pub fn nodeid(&self) -> NodeId {
        self.inode.nodeid
    }

    /// The kind of inode, which never changes.
    pub fn file_type(&self) -> FileType {
        self.inode.file_type
    }

    /// Finds `name` in this directory: the inode and its attributes.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such name; `ENOTDIR` if this is not a directory; [`Error::Invalid`] for a name that is
    /// empty, longer than 255 bytes, `.` or `..`, or contains `/` or a NUL byte.
    pub fn lookup(&self, name: impl AsRef<[u8]>) -> Result<(Self, Attr), Error> {
        let lookup = Lookup { name: Name::new(name.as_ref())? };
        self.expect_directory()?;
        let entry = self.session().call(self.nodeid(), &lookup)?.ok_or(Error::Refused(Errno::ENOENT))?;
        Self::from_entry(self.session(), &entry)
    }

    /// The attributes of the inode.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn getattr(&self) -> Result<Attr, Error> {
        self.session().call(self.nodeid(), &Getattr { fh: None })
    }

    /// The attributes of the inode, and when it was made, if the server knows (FUSE_STATX, minor 39; virtiofsd lacks
    /// it).
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn statx(&self) -> Result<(Attr, Option<Timestamp>), Error> {
        match self.session().call_optional(Optional::Statx, self.nodeid(), &Statx { fh: None })? {
            Some(reply) => Ok(reply),
            None => Ok((self.getattr()?, None)),
        }
    }

    /// The target of this symbolic link.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is no symbolic link.
    pub fn readlink(&self) -> Result<Vec<u8>, Error> {
        if self.file_type() != FileType::Symlink {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        let mut target = zeroed(Readlink::MAX_BYTES)?;
        let ((), length) = self.session().call_with_data(self.nodeid(), &Readlink, &mut target)?;
        target.truncate(length);
        if target.is_empty() || target.contains(&0) {
            return Err(Error::Protocol("the target of a symbolic link is empty or contains NUL"));
        }
        Ok(target)
    }

    /// How full the file system is that holds this inode.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn statfs(&self) -> Result<StatFs, Error> {
        self.session().call(self.nodeid(), &Statfs)
    }

    /// Opens this regular file for reading.
    ///
    /// # Errors
    ///
    /// `EISDIR`, `ELOOP` or `EOPNOTSUPP` if this is no regular file: a fifo, socket or device node of the host means
    /// nothing here, and opening one could block the server.
    pub fn open(&self) -> Result<OpenFile, Error> {
        match self.file_type() {
            FileType::Regular => OpenFile::open(self.clone()),
            FileType::Directory => Err(Error::Invalid(Errno::EISDIR)),
            FileType::Symlink => Err(Error::Invalid(Errno::ELOOP)),
            _ => Err(Error::Invalid(Errno::EOPNOTSUPP)),
        }
    }

    /// Opens this directory for listing.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` if this is no directory.
    pub fn opendir(&self) -> Result<Dir, Error> {
        self.expect_directory()?;
        Dir::open(self.clone())
    }

    fn expect_directory(&self) -> Result<(), Error> {
        match self.file_type() {
            FileType::Directory => Ok(()),
            _ => Err(Error::Invalid(Errno::ENOTDIR)),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("nodeid", &self.nodeid()).field("file_type", &self.file_type()).finish()
    }
}

/// A buffer of zeroes.
pub(super) fn zeroed(bytes: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Error::NoMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}
