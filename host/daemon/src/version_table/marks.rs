//! Mappings for writing: how many there are of the inodes of each slot, in memory that servers share.

use super::VersionTable;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use virtio_fs_version_table::{Key, Slot};

/// A mapping for writing that there is or may be: the slots of its inode are marked for as long as this lives.
pub(crate) struct Mark {
    table: Arc<VersionTable>,
    slots: Vec<Slot>,
}

impl Mark {
    /// To be made before the mapping is.
    pub(crate) fn new(table: &Arc<VersionTable>, ino: u64) -> Self {
        let mut slots = vec![table.table.slot(Key::attributes(ino)), table.table.slot(Key::content(ino))];
        // Both may be the same.
        slots.dedup();
        let held = table.locks.marks();
        for &slot in &slots {
            table.count(slot).fetch_add(1, Relaxed);
            // Also if the count was not 0: it may be that of a server that was killed.
            table.table.mark(slot);
        }
        drop(held);
        Self { table: table.clone(), slots }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let held = self.table.locks.marks();
        if !held.is_whole() {
            // What others count at this moment would be lost. The slots stay marked, which is never wrong.
            return;
        }
        for &slot in &self.slots {
            if self.table.count(slot).fetch_sub(1, Relaxed) == 1 {
                self.table.table.unmark(slot);
            }
        }
    }
}
