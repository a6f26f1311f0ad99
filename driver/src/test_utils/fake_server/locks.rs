//! The locks that the fake server keeps, and who waits for one.

use super::tree::NodeIndex;
use alloc::vec::Vec;

/// A lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLock {
    /// Whether it is one of `flock`, which knows nothing of those of POSIX, and the reverse.
    pub is_flock: bool,
    /// The owner; locks of one owner do not conflict.
    pub owner: u64,
    /// Whether it is for writing.
    pub exclusive: bool,
    /// The first byte.
    pub start: u64,
    /// The last byte; `i64::MAX` means that there is no last one.
    pub end: u64,
    /// The process.
    pub pid: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    node: NodeIndex,
    lock: HeldLock,
    /// Made by somebody who does not use this session.
    outside: bool,
}

/// A SETLKW that cannot be answered yet.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    pub(super) unique: u64,
    pub(super) fh: u64,
    pub(super) node: NodeIndex,
    pub(super) lock: HeldLock,
}

#[derive(Default)]
pub(super) struct LockTable {
    held: Vec<Entry>,
    /// In the order in which they came.
    waiting: Vec<Wait>,
}

impl HeldLock {
    fn overlaps(&self, other: &Self) -> bool {
        self.is_flock == other.is_flock && self.start <= other.end && other.start <= self.end
    }
}

impl LockTable {
    /// The locks on a node.
    pub(super) fn of(&self, node: NodeIndex) -> Vec<HeldLock> {
        self.held.iter().filter(|entry| entry.node == node).map(|entry| entry.lock).collect()
    }

    /// How many locks the driver holds.
    pub(super) fn count(&self) -> usize {
        self.held.iter().filter(|entry| !entry.outside).count()
    }

    /// A lock that is in the way of one that the driver wants.
    pub(super) fn conflict(&self, node: NodeIndex, wanted: &HeldLock) -> Option<HeldLock> {
        let mut others = self.held.iter().filter(|entry| {
            let is_other = entry.outside || entry.lock.owner != wanted.owner;
            entry.node == node && is_other && entry.lock.overlaps(wanted)
        });
        others.find(|entry| entry.lock.exclusive || wanted.exclusive).map(|entry| entry.lock)
    }

    /// Locks a range, in place of what its owner had there.
    pub(super) fn put(&mut self, node: NodeIndex, mut lock: HeldLock, outside: bool) {
        self.release(node, &lock, outside);
        // Neighbours of the same kind become one.
        self.held.retain(|entry| {
            let old = &entry.lock;
            let is_same = entry.node == node
                && entry.outside == outside
                && (old.is_flock, old.owner, old.exclusive) == (lock.is_flock, lock.owner, lock.exclusive);
            let is_before = is_same && old.end.checked_add(1) == Some(lock.start);
            let is_behind = is_same && lock.end.checked_add(1) == Some(old.start);
            if is_before {
                lock.start = old.start;
            }
            if is_behind {
                lock.end = old.end;
            }
            !is_before && !is_behind
        });
        self.held.push(Entry { node, lock, outside });
    }

    /// Unlocks what the owner of `range` holds in it.
    pub(super) fn release(&mut self, node: NodeIndex, range: &HeldLock, outside: bool) {
        let is_hit = |entry: &mut Entry| {
            let is_own = entry.outside == outside && entry.lock.owner == range.owner;
            entry.node == node && is_own && entry.lock.overlaps(range)
        };
        let hit: Vec<_> = self.held.extract_if(.., is_hit).collect();
        for entry in hit {
            let lock = entry.lock;
            if lock.start < range.start {
                self.held.push(Entry { lock: HeldLock { end: range.start - 1, ..lock }, ..entry });
            }
            if lock.end > range.end {
                self.held.push(Entry { lock: HeldLock { start: range.end + 1, ..lock }, ..entry });
            }
        }
    }

    /// Unlocks all that an owner holds of one kind.
    pub(super) fn release_all(&mut self, node: NodeIndex, owner: u64, is_flock: bool) {
        let all = HeldLock { is_flock, owner, exclusive: false, start: 0, end: u64::MAX, pid: 0 };
        self.release(node, &all, false);
    }

    /// Whether an owner holds a `flock` lock.
    pub(super) fn has_flock(&self, node: NodeIndex, owner: u64) -> bool {
        let is_it = |entry: &Entry| entry.node == node && entry.lock.owner == owner && entry.lock.is_flock;
        self.held.iter().any(|entry| is_it(entry) && !entry.outside)
    }

    pub(super) fn end_outside(&mut self, node: NodeIndex) {
        self.held.retain(|entry| entry.node != node || !entry.outside);
    }

    /// Forgets all of the driver's locks.
    pub(super) fn end_session(&mut self) {
        self.held.retain(|entry| entry.outside);
        self.waiting.clear();
    }

    pub(super) fn wait(&mut self, wait: Wait) {
        self.waiting.push(wait);
    }

    /// Who waits.
    pub(super) fn waiting(&self) -> &[Wait] {
        &self.waiting
    }

    /// Ends a wait without a lock; says whether there was one.
    pub(super) fn give_up(&mut self, unique: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|wait| wait.unique != unique);
        self.waiting.len() != before
    }

    /// Gives the first one that waits what it waits for, if nothing is in the way any more.
    pub(super) fn grant(&mut self) -> Option<Wait> {
        let free = |wait: &Wait| self.conflict(wait.node, &wait.lock).is_none();
        let wait = self.waiting.remove(self.waiting.iter().position(free)?);
        self.put(wait.node, wait.lock, false);
        Some(wait)
    }
}
