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

/// The files of a mount with dirty pages, or of which pages are about to become dirty, each with a file that is open for
/// writing: so that anybody can write them to the server.
///
/// # Locking
///
/// One spin lock; nothing is sent and no handle dropped under it.
#[derive(Default)]
pub(crate) struct DirtyFiles {
    files: Mutex<BTreeMap<Serial, DirtyFile>>,
}

struct DirtyFile {
    handle: Arc<Handle>,
    /// How many are writing into pages.
    writers: usize,
}

/// Somebody writes into pages of a file: it is among the [`DirtyFiles`] from before the first is dirty.
pub(super) struct Dirtying<'d> {
    files: &'d DirtyFiles,
    node: &'d Node,
}

impl Drop for Dirtying<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.files.files.lock().get_mut(&self.node.inode().serial) {
            file.writers -= 1;
        }
        // Others may have written all of it meanwhile.
        self.files.remove_if_clean(self.node);
    }
}

impl DirtyFiles {
    /// Pages of the file that is open here are about to become dirty.
    pub(super) fn begin<'d>(&'d self, handle: &'d Arc<Handle>) -> Dirtying<'d> {
        let new = || DirtyFile { handle: handle.clone(), writers: 0 };
        self.files.lock().entry(handle.node.inode().serial).or_insert_with(new).writers += 1;
        Dirtying { files: self, node: &handle.node }
    }

    /// How to write the dirty pages of this inode to the server; `None` if it has none.
    pub(super) fn get(&self, node: &Node) -> Option<Arc<Handle>> {
        self.files.lock().get(&node.inode().serial).map(|file| file.handle.clone())
    }

    /// Lets go of an inode if all its pages are written and nobody is about to make another one dirty.
    pub(super) fn remove_if_clean(&self, node: &Node) {
        let serial = node.inode().serial;
        let mut files = self.files.lock();
        let is_written_to = files.get(&serial).is_some_and(|file| file.writers > 0);
        let is_clean = node.inode().used_data().is_none_or(|data| !data.is_unwritten());
        let removed = if is_clean && !is_written_to { files.remove(&serial) } else { None };
        drop(files);
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
        self.files.lock().values().map(|file| file.handle.clone()).collect()
    }
}
