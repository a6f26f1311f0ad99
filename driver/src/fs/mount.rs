//! The mounted file system.

use super::path::LastLink;
use super::{File, ReadDir};
use crate::cache::{CacheOptions, Dax};
use crate::session::{Credentials, Negotiated, Session, Statistics};
use crate::virtio::{Device, DeviceOptions, Transport};
use crate::vnode::{Node, OpenFlags, Permissions, Superblock};
use crate::{Errno, Error, Hal, InitFlags, Instant, Platform};
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
    /// Which files are mapped into the DAX window, if the device has one: their content is read and written without
    /// requests.
    pub dax: Dax,
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
        let window = if options.dax == Dax::Never { None } else { channel.window() };
        let mut further = InitFlags::empty();
        further.set(InitFlags::WRITEBACK_CACHE, options.cache.writes_back());
        further.set(InitFlags::MAP_ALIGNMENT, window.is_some());
        further.set(InitFlags::HAS_INODE_DAX, window.is_some() && options.dax == Dax::Inode);
        let session = Session::open_offering(channel, further)?;
        let superblock = Superblock::new(session, window, options);
        let root = Node::root(Arc::new(superblock), options.credentials.clone());
        if root.cache().has_version_table() {
            // The table goes by inode numbers, and no reply to LOOKUP tells the root's.
            if let Err(error) = root.ask_attr(None) {
                log::warn!("names in the root are believed by time, until it tells its attributes: {error}");
            }
        }
        Ok(Self { root })
    }

    /// Writes what was collected, and ends the session: the server is told to forget every inode, and the device is reset.
    ///
    /// # Errors
    ///
    /// `EBUSY` if clones of this mount, nodes or open files still live; then the session ends when the last of them is
    /// dropped. Else the error of the session's end, which has ended all the same.
    pub fn unmount(self) -> Result<(), Error> {
        let superblock = self.root.superblock().clone();
        // What cannot be written is told to the files that are open.
        superblock.dirty.write_all();
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
        let superblock = self.root.superblock();
        let cache = &superblock.cache;
        let mut statistics = superblock.session.statistics();
        statistics.cached_names = cache.names() as u64;
        statistics.cached_bytes = cache.pool().used_bytes() as u64;
        statistics.dirty_bytes = cache.pool().dirty_bytes() as u64;
        if let Some(window) = &superblock.window {
            (statistics.mappings, statistics.mapped_bytes) = window.mapped();
        }
        statistics.name_hits = cache.name_hits();
        statistics.data_hits = cache.pool().hits();
        statistics
    }

    /// The root directory's inode: the way into the inode-level API.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The same mount on behalf of someone else.
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { root: self.root.with_credentials(&Arc::new(credentials)) }
    }

    /// Does what nobody waits for: takes note of replies, sends FORGETs that wait for company, and writes to the server
    /// what has waited for longer than [`CacheOptions::dirty_age`]. A kernel calls this from its idle loop or a timer.
    /// Gives when there will be something to do that is known of today, by [`Platform::now`].
    ///
    /// # Locking
    ///
    /// Waits for files that are being closed, and for what it writes.
    pub fn maintain(&self) -> Option<Instant> {
        let superblock = self.root.superblock();
        superblock.session.reap();
        self.root.remove_unused_mappings();
        superblock.session.flush_forgets();
        superblock.dirty.write_aged(superblock.session.now(), superblock.cache.options().dirty_age)
    }

    /// Forgets what is cached. What was written goes to the server first; inodes and files in use stay.
    pub fn drop_caches(&self) {
        let superblock = self.root.superblock();
        superblock.dirty.write_all();
        superblock.cache.clear();
        self.root.inode().clear();
    }

    /// The inode that `path` leads to; symbolic links are followed.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `EINVAL` as POSIX has them; those of the server and the device.
    pub fn node(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        self.at(path, LastLink::Follow, |found| Ok(found.node()))
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`]; `EISDIR` or `EOPNOTSUPP` if it is no regular file.
    pub fn open(&self, path: impl AsRef<[u8]>) -> Result<File, Error> {
        self.at(path, LastLink::Follow, |found| Ok(File::new(found.open(OpenFlags::READ_ONLY)?.0)))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`]; [`Error::NoMemory`] if it does not fit.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let (file, size_bytes) = self.at(path, LastLink::Follow, |found| {
            let (file, attr) = found.open(OpenFlags::READ_ONLY)?;
            let attr = attr.map_or_else(|| file.getattr(), Ok)?;
            Ok((File::new(file), attr.size_bytes))
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
        self.at(path, LastLink::Follow, |found| Ok(found.node().opendir()?.into()))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`]; `EINVAL` if it is no symbolic link.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.at(path, LastLink::Stop, |found| found.node().readlink())
    }
}
