//! The mounted file system.

use super::path::{Found, LastLink, again_if_stale, resolve};
use super::{File, ReadDir};
use crate::cache::CacheOptions;
use crate::session::{Credentials, Negotiated, Session, Statistics};
use crate::virtio::{Device, DeviceOptions, Transport};
use crate::vnode::{Node, OpenFlags, Permissions, Superblock};
use crate::{Errno, Error, Hal, Platform};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How a directory is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// On whose behalf requests are sent, unless [`VirtioFs::with_credentials`] says otherwise; by default user 0.
    pub credentials: Credentials,
    /// Who checks whether that user may do something.
    pub permissions: Permissions,
    /// Nothing may be changed: `EROFS`.
    pub read_only: bool,
    /// What is cached, and how much of it.
    pub cache: CacheOptions,
    /// How the device is operated.
    pub device: DeviceOptions,
}

/// A mounted directory of the host. Clones are the same mount.
///
/// Paths are bytes and start at the root of the mount, with or without a slash; nothing leads out of it: `..` of the
/// root is the root, and so is the start of an absolute symbolic link.
///
/// # Locking
///
/// Every method waits for the server and holds no lock meanwhile. All types of this module may be used by several
/// threads.
#[derive(Clone, Debug)]
pub struct VirtioFs {
    root: Node,
}

impl VirtioFs {
    /// Starts the device behind `transport` and opens a session with its server.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] or [`Error::Device`] if the device or the server does not play its part: see the text;
    /// [`Error::NoMemory`].
    pub fn mount<H: Hal + 'static>(
        transport: impl Transport + 'static,
        platform: Arc<dyn Platform>,
        options: &MountOptions,
    ) -> Result<Self, Error> {
        let device = Device::<H>::new(Box::new(transport), platform, &options.device)?;
        Self::mount_channel(Box::new(device), options)
    }

    /// Opens a session on `channel`.
    pub(crate) fn mount_channel(
        channel: Box<dyn crate::session::Channel>,
        options: &MountOptions,
    ) -> Result<Self, Error> {
        let session = Session::open(channel)?;
        let superblock = Superblock::new(session, &options.cache, options.permissions, options.read_only);
        Ok(Self { root: Node::root(Arc::new(superblock), options.credentials.clone()) })
    }

    /// Ends the session: the server is told to forget every inode, and the device is reset.
    ///
    /// # Errors
    ///
    /// `EBUSY` if clones of this mount, nodes or open files still live; then the session ends when the last of them is
    /// dropped. Else the error of the session's end, which has ended all the same.
    pub fn unmount(self) -> Result<(), Error> {
        let superblock = self.root.superblock().clone();
        drop(self);
        // Of several last users, one gets the superblock.
        Arc::into_inner(superblock).ok_or(Error::Invalid(Errno::EBUSY))?.end()
    }

    /// What was negotiated with the server.
    pub fn negotiated(&self) -> &Negotiated {
        self.root.session().negotiated()
    }

    /// What was sent and received so far, all users of the mount together.
    pub fn statistics(&self) -> Statistics {
        self.root.session().statistics()
    }

    /// The root directory's inode: the way into the inode-level API.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The same mount on behalf of someone else.
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { root: self.root.with_credentials(&Arc::new(credentials)) }
    }

    /// Sends what waits for company: FORGETs, today. A kernel may call this from its idle loop.
    pub fn maintain(&self) {
        self.root.session().flush_forgets();
    }

    /// The inode that `path` leads to; symbolic links are followed.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `EINVAL` as POSIX has them; those of the server and the device.
    pub fn node(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        Ok(self.follow(path.as_ref())?.node())
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`]; `EISDIR` or `EOPNOTSUPP` if it is no regular file.
    pub fn open(&self, path: impl AsRef<[u8]>) -> Result<File, Error> {
        again_if_stale(&self.root, || Ok(File::new(self.follow(path.as_ref())?.node().open(OpenFlags::READ_ONLY)?)))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`]; [`Error::NoMemory`] if it does not fit.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let (file, size_bytes) = again_if_stale(&self.root, || {
            let found = self.follow(path.as_ref())?;
            let size_bytes = found.attr()?.size_bytes;
            Ok((File::new(found.node().open(OpenFlags::READ_ONLY)?), size_bytes))
        })?;
        file.read_all(size_bytes)
    }

    /// Reads a whole file that contains UTF-8.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; `EINVAL` if it is not UTF-8.
    pub fn read_to_string(&self, path: impl AsRef<[u8]>) -> Result<String, Error> {
        String::from_utf8(self.read(path)?).map_err(|_| Error::Invalid(Errno::EINVAL))
    }

    /// Lists a directory.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`]; `ENOTDIR` if it is no directory.
    pub fn read_dir(&self, path: impl AsRef<[u8]>) -> Result<ReadDir, Error> {
        again_if_stale(&self.root, || Ok(self.follow(path.as_ref())?.node().opendir()?.into()))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`]; `EINVAL` if it is no symbolic link.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        again_if_stale(&self.root, || resolve(&self.root, path.as_ref(), LastLink::Stop)?.node().readlink())
    }

    pub(super) fn follow(&self, path: &[u8]) -> Result<Found<'_>, Error> {
        resolve(&self.root, path, LastLink::Follow)
    }
}
