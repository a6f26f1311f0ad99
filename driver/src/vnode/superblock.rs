//! What all inodes of a mount share.

use crate::Error;
use crate::session::Session;
use crate::{Errno, InitFlags};
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

/// A mounted file system: the session with its server, and the rules of the mount.
pub(crate) struct Superblock {
    pub(crate) session: Session,
    pub(crate) permissions: Permissions,
    read_only: bool,
    next_lock_owner: AtomicU64,
    /// How often set-id bits were set.
    set_ids: AtomicU64,
}

impl Superblock {
    pub(crate) fn new(session: Session, permissions: Permissions, read_only: bool) -> Self {
        // Owners that a kernel makes from its own small numbers are others.
        Self { session, permissions, read_only, next_lock_owner: AtomicU64::new(1 << 63), set_ids: AtomicU64::new(0) }
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

impl fmt::Debug for Superblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Superblock")
            .field("permissions", &self.permissions)
            .field("read_only", &self.read_only)
            .finish()
    }
}
