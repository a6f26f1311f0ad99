//! What all inodes of a mount share.

use super::dirty_files::DirtyFiles;
use super::late_files::LateFiles;
use crate::cache::{Cache, Dax};
use crate::data::Window;
use crate::session::{Credentials, Session};
use crate::virtio::SharedMemory;
use crate::{Errno, Error, InitFlags, MountOptions};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// Who checks whether a user may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permissions {
    /// The driver, by mode bits, groups, sticky bits and access control lists, as POSIX has it. virtiofsd needs this:
    /// it changes to the user of a request only to make new inodes, and does all else as the user it runs as.
    ///
    /// User 0 may do everything, and costs no request. For others every check asks for the attributes it needs.
    #[default]
    Driver,
    /// The server alone.
    Server,
}

/// A mounted file system: the session with its server, what is cached of it, and the rules of the mount.
///
/// Inodes keep the cache and the session alive, and the cache keeps inodes: so the end of this is the end of all.
pub(crate) struct Superblock {
    pub(crate) session: Arc<Session>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) dirty: DirtyFiles,
    /// The DAX window, if files are mapped.
    pub(crate) window: Option<Arc<Window>>,
    pub(super) late_files: LateFiles,
    pub(crate) permissions: Permissions,
    read_only: bool,
    next_lock_owner: AtomicU64,
    /// How often set-id bits were set.
    set_ids: AtomicU64,
}

impl Superblock {
    /// A file system that is reached by `session`. Files are mapped into `window`, if there is one, as `options` say.
    pub(crate) fn new(session: Session, window: Option<Arc<SharedMemory>>, options: &MountOptions) -> Self {
        let session = Arc::new(session);
        let unit_bytes = session.negotiated().map_alignment_bytes;
        let window = window.and_then(|memory| Window::new(memory, unit_bytes)).map(Arc::new);
        let dax = if window.is_some() { options.dax } else { Dax::Never };
        let cache = Arc::new(Cache::new(session.clone(), &options.cache, dax));
        // Owners that a kernel makes from its own small numbers are others.
        let next_lock_owner = AtomicU64::new(1 << 63);
        Self {
            session,
            cache,
            dirty: DirtyFiles::default(),
            window,
            late_files: LateFiles::default(),
            permissions: options.permissions,
            read_only: options.read_only,
            next_lock_owner,
            set_ids: AtomicU64::new(0),
        }
    }

    /// Forgets what is cached, and ends the session.
    ///
    /// # Errors
    ///
    /// Those of the session's end.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.cache.drop_names();
        self.session.end()
    }

    /// Whether both sides can do this.
    pub(crate) fn has(&self, flags: InitFlags) -> bool {
        self.session.negotiated().has(flags)
    }

    /// # Errors
    ///
    /// `EROFS` if nothing may be changed.
    pub(crate) fn expect_writable(&self) -> Result<(), Error> {
        if self.read_only { Err(Error::Refused(Errno::EROFS)) } else { Ok(()) }
    }

    /// To be called when set-id bits were set: who took them away before, has to do it again.
    pub(super) fn note_set_ids(&self) {
        self.set_ids.fetch_add(1, Ordering::Relaxed);
    }

    /// How often [`Self::note_set_ids`] was called.
    pub(super) fn set_ids(&self) -> u64 {
        self.set_ids.load(Ordering::Relaxed)
    }

    /// A number that nothing else in this session owns locks by.
    pub(crate) fn new_lock_owner(&self) -> u64 {
        self.next_lock_owner.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Superblock {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::warn!("the session's end was not confirmed: {error}");
        }
    }
}

/// A mounted file system as somebody sees it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) superblock: Arc<Superblock>,
    pub(crate) credentials: Arc<Credentials>,
}

impl View {
    /// Whether the driver has to check what this user may do.
    pub(crate) fn is_checked(&self) -> bool {
        self.superblock.permissions == Permissions::Driver && !self.credentials.is_privileged()
    }
}

impl fmt::Debug for Superblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Superblock")
            .field("permissions", &self.permissions)
            .field("read_only", &self.read_only)
            .finish()
    }
}
