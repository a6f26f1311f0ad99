//! The files with dirty pages.

use super::Node;
use super::handle::Handle;
use crate::Instant;
use crate::cache::Serial;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
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
pub(crate) struct DirtyFiles {
    files: Mutex<BTreeMap<Serial, DirtyFile>>,
    /// Before this time, in nanoseconds, nothing is too old.
    due_ns: AtomicU64,
}

impl Default for DirtyFiles {
    fn default() -> Self {
        Self { files: Mutex::default(), due_ns: AtomicU64::new(u64::MAX) }
    }
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
        let mut files = self.files.lock();
        let file = files.entry(handle.node.inode().serial).or_insert_with(new);
        file.writers += 1;
        // What somebody else than user 0 wrote costs set-id bits, and not all pages are asked whose they are.
        let kills = handle.node.asks_to_kill_set_ids() && !file.handle.node.asks_to_kill_set_ids();
        let replaced = kills.then(|| core::mem::replace(&mut file.handle, handle.clone()));
        drop(files);
        drop(replaced);
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

    /// Something became dirty that has to be written by the time `due`.
    pub(super) fn note_due(&self, due: Instant) {
        let due_ns = nanoseconds(due);
        if due_ns < self.due_ns.load(Ordering::Relaxed) {
            self.due_ns.fetch_min(due_ns, Ordering::Relaxed);
        }
    }

    /// As [`Self::write_aged`], of the file that waits longest: what a call does in passing. If nothing is dirty, not even
    /// the clock is looked at.
    pub(super) fn write_one_aged(&self, now: impl FnOnce() -> Instant, age: Duration) {
        let due_ns = self.due_ns.load(Ordering::Relaxed);
        if due_ns == u64::MAX {
            return;
        }
        let now = now();
        if nanoseconds(now) < due_ns {
            return;
        }
        // First this: what becomes dirty from now on is noted after it.
        self.due_ns.store(u64::MAX, Ordering::Relaxed);
        let files = self.files.lock();
        let waiting = files.values().filter_map(|file| Some((file.handle.dirty_since()?, &file.handle)));
        let oldest = waiting.min_by_key(|&(since, _)| since).map(|(since, handle)| (since, handle.clone()));
        drop(files);
        if let Some((since, handle)) = oldest {
            // Others may wait as long.
            self.note_due(since + age);
            if since + age <= now {
                handle.write_back();
            }
        }
    }

    /// Writes to the server what is dirty since `age` before `now` or longer. Gives when the next will be.
    pub(crate) fn write_aged(&self, now: Instant, age: Duration) -> Option<Instant> {
        self.due_ns.store(u64::MAX, Ordering::Relaxed);
        let mut next: Option<Instant> = None;
        for handle in self.all() {
            let Some(mut due) = handle.dirty_since().map(|since| since + age) else { continue };
            if due <= now {
                handle.write_back();
                if handle.dirty_since().is_none() {
                    continue;
                }
                // More was written meanwhile, or there was no memory: not at once again.
                due = now + age;
            }
            next = Some(next.map_or(due, |other| other.min(due)));
        }
        next.inspect(|&due| self.note_due(due))
    }

    /// Writes everything to the server.
    pub(crate) fn write_all(&self) {
        self.all().iter().for_each(|handle| handle.write_back());
    }

    fn all(&self) -> Vec<Arc<Handle>> {
        self.files.lock().values().map(|file| file.handle.clone()).collect()
    }
}

fn nanoseconds(time: Instant) -> u64 {
    u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)
}
