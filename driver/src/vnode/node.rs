//! Inodes.

use super::superblock::{Superblock, View};
use super::{Dir, OpenFile, Told};
use crate::cache::{Cache, CacheMode, Inode, Stamp, Verdict};
use crate::data::Version;
use crate::session::{Credentials, Session};
use crate::wire::{
    Access, Entry, FileType, InitFlags, Name, NodeId, OpenFlags, Operation, Readlink, StatFs, Statfs, Syncfs,
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
/// Every method that asks the server waits for it. Dropping a node waits at most for room in the high-priority
/// queue, and for files that are being closed.
#[derive(Clone)]
pub struct Node {
    inode: Arc<Inode>,
    view: Arc<View>,
}

impl Node {
    pub(crate) fn new(inode: Arc<Inode>, view: Arc<View>) -> Self {
        Self { inode, view }
    }

    /// The root of the mounted directory.
    pub(crate) fn root(superblock: Arc<Superblock>, credentials: Credentials) -> Self {
        let inode = superblock.cache.root();
        Self { inode, view: Arc::new(View { superblock, credentials: Arc::new(credentials) }) }
    }

    /// The inode of `entry`, found in the directory `self` by a request with this stamp, of which the server counted one
    /// lookup for the caller; and its attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the attributes are impossible. The lookup is taken back.
    pub(super) fn child(&self, entry: &Entry, stamp: &Stamp) -> Result<(Self, Attr), Error> {
        let (inode, attr) = self.cache().inode(&self.inode, entry, stamp)?;
        Ok((Self::new(inode, self.view.clone()), attr))
    }

    /// The same inode on behalf of someone else, to whom belongs what is reached from it, too.
    pub fn with_credentials(&self, credentials: &Arc<Credentials>) -> Self {
        let view = View { superblock: self.superblock().clone(), credentials: credentials.clone() };
        Self { inode: self.inode.clone(), view: Arc::new(view) }
    }

    /// On whose behalf this node sends requests.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.view.credentials
    }

    pub(crate) fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(crate) fn superblock(&self) -> &Arc<Superblock> {
        &self.view.superblock
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.view.superblock.cache
    }

    pub(crate) fn session(&self) -> &Session {
        &self.view.superblock.session
    }

    /// Whether both sides can do this.
    pub(super) fn has(&self, flags: InitFlags) -> bool {
        self.superblock().has(flags)
    }

    /// Sends a request about this inode and gives its reply.
    pub(super) fn call<O: Operation>(&self, operation: &O) -> Result<O::Reply, Error> {
        self.session().call(self.credentials(), self.nodeid(), operation)
    }

    /// Sends a request about this inode whose reply nobody waits for.
    pub(super) fn call_detached<O: Operation<Reply = ()>>(&self, operation: &O) -> Result<(), Error> {
        self.session().call_detached(self.credentials(), self.nodeid(), operation)
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
        self.inode.device()
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

    /// The target of this symbolic link.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is no symbolic link.
    pub fn readlink(&self) -> Result<Vec<u8>, Error> {
        if self.file_type() != FileType::Symlink {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        if let Some(target) = self.kept_whole(None) {
            return Ok(target);
        }
        let asked = self.begin_to_keep(None);
        let mut target = zeroed(Readlink::MAX_BYTES)?;
        let ((), length) = self.session().call_with_data(self.credentials(), self.nodeid(), &Readlink, &mut target)?;
        target.truncate(length);
        if target.is_empty() || target.contains(&0) {
            return Err(Error::Protocol("the target of a symbolic link is empty or contains NUL"));
        }
        self.keep_whole(&asked, &target);
        Ok(target)
    }

    /// The target of this link or the listing of this directory, if it is kept and nothing tells that it is old: neither the
    /// attributes that were just `told` nor, without these, those that are known.
    pub(super) fn kept_whole(&self, told: Option<&Attr>) -> Option<Vec<u8>> {
        let kept = self.inode.whole()?;
        let verdict = self.inode.content_verdict();
        let version = match self.cache().options().mode {
            _ if verdict == Verdict::Old => return None,
            _ if verdict == Verdict::Valid => None,
            CacheMode::Always => None,
            // Without attributes that are known nothing can be told.
            CacheMode::Auto | CacheMode::None => Some(self.version(told)?),
        };
        kept.whole(version)
    }

    /// To be called before the server is asked for a target or a listing of what has the attributes that were just `told`,
    /// if they were.
    pub(super) fn begin_to_keep(&self, told: Option<&Attr>) -> Asked {
        let version = self.version(told);
        if self.inode.content_verdict() == Verdict::Old
            && let Some(kept) = self.inode.whole()
        {
            self.inode.renew_content(kept);
        }
        Asked { epoch: self.inode.whole().map_or(0, |kept| kept.epoch()), version }
    }

    fn version(&self, told: Option<&Attr>) -> Option<Version> {
        told.map(Version::of).or_else(|| self.inode.attr(self.cache().now()).as_ref().map(Version::of))
    }

    /// Keeps what the server said.
    pub(super) fn keep_whole(&self, asked: &Asked, content: &[u8]) {
        let is_known = asked.version.is_some() || self.keeps_whatever_it_is();
        if let Some(kept) = self.inode.whole().filter(|_| is_known) {
            kept.keep_whole(asked.epoch, asked.version, content);
        }
    }

    /// Whether a target or a listing is kept although nobody knows what attributes it belongs to.
    pub(super) fn keeps_whatever_it_is(&self) -> bool {
        match self.cache().options().mode {
            CacheMode::None => false,
            CacheMode::Auto => self.inode.content_verdict() != Verdict::ByTime,
            CacheMode::Always => true,
        }
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
        self.open_knowing(flags, None).map(|(file, _)| file)
    }

    /// As [`Self::open`], of a file of which the server has just told the attributes, if `told`. Gives them, too, if they
    /// are known.
    pub(crate) fn open_knowing(&self, flags: OpenFlags, told: Option<Told>) -> Result<(OpenFile, Option<Attr>), Error> {
        OpenFile::open(self.clone(), flags, told)
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
            let own = self.owner_and_mode()?;
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

/// What was known when the server was asked for a target or a listing.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    epoch: u64,
    version: Option<Version>,
}

impl Asked {
    /// Asks what a listing that is about to be read belongs to, if that is not known: of the root, which no LOOKUP names, it
    /// never is at first. One message, and only where the server allows that the listing is kept; it spares the next one
    /// all of its own.
    pub(super) fn learn_version(&mut self, node: &Node) {
        if self.version.is_none() {
            // Without an answer nothing is kept.
            self.version = node.ask_attr(None).ok().as_ref().map(Version::of);
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
