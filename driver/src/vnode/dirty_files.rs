//! The files with dirty pages.

use super::Node;
use super::handle::Handle;
use crate::Instant;
use crate::cache::Serial;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// The files of a mount with dirty pages, each with a file that is open for writing: so that anybody can write them to the
/// server.
///
/// # Locking
///
/// One spin lock; nothing is sent and no handle dropped under it.
#[derive(Default)]
pub(crate) struct DirtyFiles {
    handles: Mutex<BTreeMap<Serial, Arc<Handle>>>,
}

impl DirtyFiles {
    /// There are dirty pages of the file that is open here.
    pub(super) fn add(&self, handle: &Arc<Handle>) {
        self.handles.lock().entry(handle.node.inode().serial).or_insert_with(|| handle.clone());
        // Somebody may have written them meanwhile, who did not find this.
        if handle.node.inode().used_data().is_some_and(|data| !data.is_unwritten()) {
            self.remove_if_clean(&handle.node);
        }
    }

    /// How to write the dirty pages of this inode to the server; `None` if it has none.
    pub(super) fn get(&self, node: &Node) -> Option<Arc<Handle>> {
        self.handles.lock().get(&node.inode().serial).cloned()
    }

    /// Lets go of an inode if all its pages are written.
    pub(super) fn remove_if_clean(&self, node: &Node) {
        let mut handles = self.handles.lock();
        // Who makes a page dirty adds its file afterwards, and so after this.
        let is_clean = node.inode().used_data().is_none_or(|data| !data.is_unwritten());
        let removed = if is_clean { handles.remove(&node.inode().serial) } else { None };
        drop(handles);
        drop(removed);
    }

    /// Writes to the server what is dirty since `age` before `now` or longer. Gives when the next will be.
    pub(crate) fn write_aged(&self, now: Instant, age: Duration) -> Option<Instant> {
        let mut next = None;
        for handle in self.all() {
            match handle.node.inode().used_data().and_then(|data| data.dirty_since()) {
                Some(since) if since + age <= now => handle.write_back(),
                Some(since) => next = Some(next.map_or(since + age, |other: Instant| other.min(since + age))),
                None => {}
            }
        }
        next
    }

    /// Writes everything to the server.
    pub(crate) fn write_all(&self) {
        self.all().iter().for_each(|handle| handle.write_back());
    }

    fn all(&self) -> Vec<Arc<Handle>> {
        self.handles.lock().values().cloned().collect()
    }
}
