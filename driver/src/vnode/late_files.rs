//! Files that programs have opened, and the server has not.

use super::Node;
use super::handle::Handle;
use crate::Error;
use crate::cache::Serial;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::wire::{LockOwner, OpenFlags};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// What the server has open for files that programs have opened late: those that lost a name meanwhile. Without a name and
/// not open, an inode might be gone for the server.
///
/// # Locking
///
/// One spin lock, looked for only while there are such files; nothing is sent and no handle dropped under it.
#[derive(Default)]
pub(crate) struct LateFiles {
    count: AtomicUsize,
    handles: Mutex<BTreeMap<Serial, Arc<Handle>>>,
}

impl LateFiles {
    /// This inode is about to lose a name.
    ///
    /// # Errors
    ///
    /// The server's, if it does not open the file.
    pub(super) fn open(&self, node: &Node) -> Result<(), Error> {
        if !node.inode().is_open_late() || self.get(node).is_some() {
            return Ok(());
        }
        let owner = LockOwner(node.superblock().new_lock_owner());
        let handle = Arc::new(Handle::open(node, OpenFlags::READ_ONLY, owner)?);
        let other = self.handles.lock().insert(node.inode().serial, handle);
        self.count.fetch_add(usize::from(other.is_none()), Ordering::Relaxed);
        drop(other);
        // The last who opened it late may be gone by now.
        if !node.inode().is_open_late() {
            self.close(node);
        }
        Ok(())
    }

    /// What the server has open for this inode.
    pub(super) fn get(&self, node: &Node) -> Option<Arc<Handle>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.handles.lock().get(&node.inode().serial).cloned()
    }

    /// Nobody has this inode open late any more.
    pub(super) fn close(&self, node: &Node) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let handle = self.handles.lock().remove(&node.inode().serial);
            self.count.fetch_sub(usize::from(handle.is_some()), Ordering::Relaxed);
            drop(handle);
        }
    }
}
