//! Inodes.

use super::superblock::Superblock;
use super::{Dir, OpenFile};
use crate::session::{Credentials, Session};
use crate::wire::{
    Access, Entry, FileType, InitFlags, Lookup, Name, NodeId, OpenFlags, Operation, Readlink, StatFs, Statfs, Syncfs,
};
use crate::{Attr, Errno, Error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// An inode of the mounted directory, on behalf of a user. Clones name the same inode.
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
    credentials: Arc<Credentials>,
}

struct Inode {
    superblock: Arc<Superblock>,
    nodeid: NodeId,
    file_type: FileType,
    /// Whether this is the root of a file system of its own on the host.
    is_submount: bool,
    /// The root of the submount that the inode is in; `None` in the root's own file system. A submount's root needs none:
    /// submounts in submounts, as many as a server pleases, are no chain whose end would be dropped by recursion.
    submount: Option<Arc<Inode>>,
}

impl Drop for Inode {
    fn drop(&mut self) {
        // Each inode is made by one lookup.
        self.superblock.session.forget(self.nodeid, 1);
    }
}

impl Node {
    /// The root of the mounted directory.
    pub(crate) fn root(superblock: Arc<Superblock>, credentials: Credentials) -> Self {
        let (nodeid, file_type) = (NodeId::ROOT, FileType::Directory);
        let inode = Inode { superblock, nodeid, file_type, is_submount: false, submount: None };
        Self { inode: Arc::new(inode), credentials: Arc::new(credentials) }
    }

    /// The inode of `entry`, found in the directory `self`, of which the server counted one lookup for the caller; and
    /// its attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the attributes are impossible. The lookup is taken back.
    pub(super) fn child(&self, entry: &Entry) -> Result<(Self, Attr), Error> {
        let nodeid = entry.nodeid;
        let attr = entry.attr.inspect_err(|_| self.session().forget(nodeid, 1))?;
        let parent = &self.inode;
        let is_submount = attr.submount && self.has(InitFlags::SUBMOUNTS);
        let submount = match parent {
            _ if is_submount => None,
            root if root.is_submount => Some(root.clone()),
            _ => parent.submount.clone(),
        };
        let (superblock, file_type) = (parent.superblock.clone(), attr.file_type);
        let inode = Inode { superblock, nodeid, file_type, is_submount, submount };
        Ok((Self { inode: Arc::new(inode), credentials: self.credentials.clone() }, attr))
    }

    /// The same inode on behalf of someone else, to whom belongs what is reached from it, too.
    pub fn with_credentials(&self, credentials: &Arc<Credentials>) -> Self {
        Self { inode: self.inode.clone(), credentials: credentials.clone() }
    }

    /// On whose behalf this node sends requests.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    pub(crate) fn superblock(&self) -> &Arc<Superblock> {
        &self.inode.superblock
    }

    pub(crate) fn session(&self) -> &Session {
        &self.inode.superblock.session
    }

    /// Whether both sides can do this.
    pub(super) fn has(&self, flags: InitFlags) -> bool {
        self.inode.superblock.has(flags)
    }

    /// Sends a request about this inode and gives its reply.
    pub(super) fn call<O: Operation>(&self, operation: &O) -> Result<O::Reply, Error> {
        self.session().call(&self.credentials, self.nodeid(), operation)
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

    /// Tells the file systems of a mount apart, as `st_dev` does: inode numbers mean something within one of them. It
    /// is the nodeid of the file system's root, and stays the same for as long as a node in it lives. All is one file
    /// system if the server does not announce submounts.
    pub fn device(&self) -> NodeId {
        match &self.inode.submount {
            _ if self.inode.is_submount => self.inode.nodeid,
            Some(root) => root.nodeid,
            None => NodeId::ROOT,
        }
    }

    /// Finds `name` in this directory: the inode and its attributes.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such name; `ENOTDIR` if this is not a directory; `EACCES` if it may not be searched;
    /// [`Error::Invalid`] for a name that is empty, longer than 255 bytes, `.` or `..`, or contains `/` or a NUL byte.
    pub fn lookup(&self, name: impl AsRef<[u8]>) -> Result<(Self, Attr), Error> {
        let name = Name::new(name.as_ref())?;
        self.expect_directory()?;
        self.permit(Access::EXECUTE)?;
        self.lookup_unchecked(name)
    }

    /// As [`Self::lookup`], of a directory whose attributes are known.
    pub(crate) fn lookup_knowing(&self, own: &Attr, name: &[u8]) -> Result<(Self, Attr), Error> {
        let name = Name::new(name)?;
        self.expect_directory()?;
        self.permit_knowing(own, Access::EXECUTE)?;
        self.lookup_unchecked(name)
    }

    /// Finds `name`, whoever asks.
    pub(super) fn lookup_unchecked(&self, name: Name<'_>) -> Result<(Self, Attr), Error> {
        let entry = self.call(&Lookup { name })?.ok_or(Error::Refused(Errno::ENOENT))?;
        self.child(&entry)
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
        let ((), length) = self.session().call_with_data(&self.credentials, self.nodeid(), &Readlink, &mut target)?;
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
        self.call(&Statfs)
    }

    /// Makes everything that the server wrote to the file system of this inode durable (FUSE_SYNCFS, minor 34). Servers
    /// that lack it are believed to need no asking: FSYNC is what makes a file durable there.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn syncfs(&self) -> Result<(), Error> {
        unless_lacking(self.call(&Syncfs)).map(drop)
    }

    /// Opens this regular file. [`OpenFlags::CREATE`] and [`OpenFlags::EXCLUSIVE`] mean nothing here.
    ///
    /// # Errors
    ///
    /// `EISDIR`, `ELOOP` or `EOPNOTSUPP` if this is no regular file: a fifo, socket or device node of the host means
    /// nothing here, and opening one could block the server. `ENOTDIR` if a directory is asked for, `EACCES` if the
    /// user may not, `EPERM` for [`OpenFlags::NOATIME`] by someone else than the owner, `EROFS`.
    pub fn open(&self, flags: OpenFlags) -> Result<OpenFile, Error> {
        OpenFile::open(self.clone(), flags)
    }

    /// Opens this directory for listing.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` if this is no directory, `EACCES` if the user may not read it.
    pub fn opendir(&self) -> Result<Dir, Error> {
        self.expect_directory()?;
        let mut is_searchable = true;
        if self.is_checked() {
            let own = self.getattr()?;
            self.permit_knowing(&own, Access::READ)?;
            is_searchable = self.allows(&own, Access::EXECUTE)?;
        }
        Dir::open(self.clone(), is_searchable)
    }

    /// # Errors
    ///
    /// `ENOTDIR` if this is no directory.
    pub(crate) fn expect_directory(&self) -> Result<(), Error> {
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

/// The result of a request that the server may lack: `None` if it does.
pub(super) fn unless_lacking<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Refused(Errno::ENOSYS)) => Ok(None),
        result => result.map(Some),
    }
}

/// The result of a request that the server may lack: `EOPNOTSUPP` if it does.
pub(super) fn supported<T>(result: Result<T, Error>) -> Result<T, Error> {
    unless_lacking(result)?.ok_or(Error::Refused(Errno::EOPNOTSUPP))
}

/// A buffer of zeroes.
pub(super) fn zeroed(bytes: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Error::NoMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}
