//! What names lead to, as far as the server has said: the dentry cache.

use super::Serial;
use super::version_table::Validity;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{HashBuilder, RwLock};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::mem;
use hashbrown::HashTable;
use virtio_fs_version_table::Slot as VersionSlot;

/// The most shards: so many that two threads on disjoint paths seldom meet in one. Their number is a power of two.
const MAX_SHARDS: usize = 1024;
/// A shard, which takes two cache lines, is worth its while from so many entries on.
const MIN_SHARD_ENTRIES: usize = 16;

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dentry<T> {
    /// To this inode.
    Inode(T),
    /// To nothing: a negative dentry.
    Absent,
}

/// Names in directories, and what they lead to: at most as many as the budget allows, but for what threads add at the same
/// moment. To make room for a new one, the shards take turns: in each, the first goes that was not used since the hand of
/// a clock last passed it (second chance).
///
/// A directory is named by its [`Serial`], which no other one ever has: what is remembered of the names in a directory
/// that was itself forgotten is never found again.
///
/// # Locking
///
/// Shards, each with a spin reader-writer lock: readers never wait for readers. What is replaced is dropped when the
/// lock is not held any more, since dropping an inode may send a request.
pub(crate) struct Dentries<T> {
    shards: Vec<Shard<T>>,
    hasher: HashBuilder,
    max_entries: usize,
    /// A shard has no more, however the hashes fall, so that it does not keep memory that it seldom needs.
    max_in_shard: usize,
    entries: AtomicUsize,
    /// The shard whose turn it is to make room.
    turn: AtomicUsize,
}

/// On a cache line of its own, so that readers of different shards do not slow each other down.
#[repr(align(128))]
struct Shard<T>(RwLock<Table<T>>);

struct Table<T> {
    /// Places in `slots`, found by the hash of directory and name.
    index: HashTable<u32>,
    slots: Vec<Slot<T>>,
    /// Where the next search for a victim begins.
    hand: usize,
}

struct Slot<T> {
    hash: u64,
    directory: Serial,
    name: Box<[u8]>,
    target: Dentry<T>,
    validity: Validity,
    /// Where the version table tells of the name, if the validity has a version.
    version_slot: VersionSlot,
    /// Somebody used it since the hand passed.
    used: AtomicBool,
}

impl<T: Clone> Dentries<T> {
    pub(crate) fn new(max_entries: usize) -> Self {
        let shards = (max_entries / MIN_SHARD_ENTRIES).clamp(1, MAX_SHARDS);
        let shards = 1 << shards.ilog2();
        let table = || Table { index: HashTable::new(), slots: Vec::new(), hand: 0 };
        let shard = |_| Shard(RwLock::new(table()));
        Self {
            shards: (0..shards).map(shard).collect(),
            hasher: HashBuilder::default(),
            // Places in a shard are numbered by so many bits.
            max_entries: max_entries.min(u32::MAX as usize),
            max_in_shard: (max_entries / shards * 5).div_ceil(4),
            entries: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    fn shard(&self, directory: Serial, name: &[u8]) -> (u64, &Shard<T>) {
        let hash = self.hasher.hash_one((directory.0, name));
        // The table goes by the lowest bits and the highest seven.
        let shard = (hash >> 32) as usize & (self.shards.len() - 1);
        (hash, &self.shards[shard])
    }

    /// What `name` leads to, if that is known and valid.
    pub(crate) fn get(
        &self,
        directory: Serial,
        name: &[u8],
        is_valid: impl FnOnce(&Validity, VersionSlot) -> bool,
    ) -> Option<Dentry<T>> {
        let (hash, shard) = self.shard(directory, name);
        let table = shard.0.read();
        let slot = &table.slots[table.find(hash, directory, name)?];
        if !is_valid(&slot.validity, slot.version_slot) {
            return None;
        }
        // A line that is only read stays in the caches of all processors.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.target.clone())
    }

    /// Remembers what `name` leads to, for as long as that is valid, if it `is_still_true`: which is asked when nobody else
    /// can change anything about the name here. What is newer stays; without memory it is not remembered.
    pub(crate) fn insert(
        &self,
        directory: Serial,
        name: &[u8],
        target: Dentry<T>,
        (validity, version_slot): (Validity, VersionSlot),
        is_still_true: impl FnOnce() -> bool,
    ) {
        if !self.make_room() {
            return;
        }
        let (hash, shard) = self.shard(directory, name);
        let mut table = shard.0.write();
        if !is_still_true() {
            return;
        }
        let replaced = match table.find(hash, directory, name) {
            Some(at) => {
                let slot = &mut table.slots[at];
                if slot.validity.version.is_newer_than(validity.version) {
                    return;
                }
                (slot.validity, slot.version_slot) = (validity, version_slot);
                Some(mem::replace(&mut slot.target, target))
            }
            None => {
                let Some(name) = copy(name) else { return };
                if !table.reserve(self.max_in_shard) {
                    return;
                }
                let victim = if table.slots.len() < self.max_in_shard { None } else { table.take_victim() };
                self.entries.fetch_add(usize::from(victim.is_none()), Ordering::Relaxed);
                let used = AtomicBool::new(false);
                table.add(Slot { hash, directory, name, target, validity, version_slot, used });
                victim.map(|slot| slot.target)
            }
        };
        drop(table);
        drop(replaced);
    }

    /// Lets names go until there is room for one more; whether there can be any. No lock may be held.
    fn make_room(&self) -> bool {
        // Some shards may be empty.
        for _ in 0..self.shards.len() {
            if self.len() < self.max_entries {
                break;
            }
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len();
            let victim = self.shards[turn].0.write().take_victim();
            if victim.is_some() {
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.len() < self.max_entries
    }

    /// Forgets what `name` led to; gives it, and for how long that would have been valid.
    pub(crate) fn remove(&self, directory: Serial, name: &[u8]) -> Option<(Dentry<T>, Validity)> {
        let (hash, shard) = self.shard(directory, name);
        let mut table = shard.0.write();
        let at = table.find(hash, directory, name)?;
        let slot = table.take(at);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        Some((slot.target, slot.validity))
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut table = shard.0.write();
            let old = (mem::take(&mut table.index), mem::take(&mut table.slots));
            self.entries.fetch_sub(old.1.len(), Ordering::Relaxed);
            drop(table);
            drop(old);
        }
    }

    /// How many names are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }
}

impl<T> Table<T> {
    fn find(&self, hash: u64, directory: Serial, name: &[u8]) -> Option<usize> {
        let is_it = |&at: &u32| {
            let slot = &self.slots[at as usize];
            slot.directory == directory && *slot.name == *name
        };
        self.index.find(hash, is_it).map(|&at| at as usize)
    }

    /// Puts in a slot for a name that has none. There is memory for it.
    fn add(&mut self, slot: Slot<T>) {
        let at = self.slots.len() as u32;
        let slots = &mut self.slots;
        let hash = slot.hash;
        slots.push(slot);
        self.index.insert_unique(hash, at, |&at| slots[at as usize].hash);
    }

    /// Gets memory for one more slot, unless there are `limit` already; whether there was any.
    fn reserve(&mut self, limit: usize) -> bool {
        let slots = &mut self.slots;
        let length = slots.len();
        let more = if length < slots.capacity() { 0 } else { length.max(4).min(limit - length) };
        slots.try_reserve_exact(more).is_ok() && self.index.try_reserve(1, |&at| slots[at as usize].hash).is_ok()
    }

    /// Takes out the next slot that was not used since the hand passed. All are passed twice at most.
    fn take_victim(&mut self) -> Option<Slot<T>> {
        if self.slots.is_empty() {
            return None;
        }
        for _ in 0..2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            if !mem::take(self.slots[self.hand].used.get_mut()) {
                break;
            }
        }
        Some(self.take(self.hand))
    }

    /// Takes a slot out; the last one moves to its place.
    fn take(&mut self, at: usize) -> Slot<T> {
        let last = self.slots.len() - 1;
        let mut unlink = |at: usize, hash| {
            if let Ok(entry) = self.index.find_entry(hash, |&other| other as usize == at) {
                entry.remove();
            }
        };
        unlink(at, self.slots[at].hash);
        if at != last
            && let Some(moved) = self.index.find_mut(self.slots[last].hash, |&other| other as usize == last)
        {
            *moved = at as u32;
        }
        self.slots.swap_remove(at)
    }
}

/// A copy of a name, if there is memory.
fn copy(name: &[u8]) -> Option<Box<[u8]>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(name.len()).ok()?;
    copy.extend_from_slice(name);
    Some(copy.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::cache::version_table::Version;
    use core::time::Duration;

    fn for_ever() -> (Validity, VersionSlot) {
        (Validity::new(Instant(Duration::MAX), Version::NONE), VersionSlot::FIRST)
    }

    const NOW: Instant = Instant(Duration::ZERO);
    const HERE: Serial = Serial(1);

    fn get(dentries: &Dentries<u32>, directory: Serial, name: &[u8], now: Instant) -> Option<Dentry<u32>> {
        dentries.get(directory, name, |validity, _| validity.is_by_time(now))
    }

    fn put(dentries: &Dentries<u32>, name: &[u8], target: u32) {
        dentries.insert(HERE, name, Dentry::Inode(target), for_ever(), || true);
    }

    #[test]
    fn a_name_leads_to_what_it_was_last_said_to_until_that_expires() {
        let dentries = Dentries::new(100);
        assert_eq!(get(&dentries, HERE, b"a", NOW), None);
        put(&dentries, b"a", 7);
        assert_eq!(get(&dentries, HERE, b"a", NOW), Some(Dentry::Inode(7)));
        assert_eq!(get(&dentries, Serial(2), b"a", NOW), None, "in another directory");
        let soon = Instant(Duration::from_secs(1));
        dentries.insert(HERE, b"a", Dentry::Absent, (Validity::new(soon, Version::NONE), VersionSlot::FIRST), || true);
        assert_eq!(get(&dentries, HERE, b"a", NOW), Some(Dentry::Absent));
        assert_eq!(get(&dentries, HERE, b"a", soon), None);
        assert_eq!(dentries.len(), 1);
    }

    #[test]
    fn what_is_not_true_any_more_is_not_remembered() {
        let dentries = Dentries::new(100);
        dentries.insert(HERE, b"a", Dentry::Inode(7), for_ever(), || false);
        assert_eq!(dentries.len(), 0);
        put(&dentries, b"a", 8);
        dentries.insert(HERE, b"a", Dentry::Inode(7), for_ever(), || false);
        assert_eq!(get(&dentries, HERE, b"a", NOW), Some(Dentry::Inode(8)));
    }

    #[test]
    fn names_are_removed_one_by_one_and_all_together() {
        let dentries = Dentries::new(10);
        for at in 0..10 {
            put(&dentries, &[at], at.into());
        }
        for at in [3, 9, 0] {
            assert_eq!(dentries.remove(HERE, &[at]), Some((Dentry::Inode(at.into()), for_ever().0)));
            assert_eq!(dentries.remove(HERE, &[at]), None);
        }
        for at in [1, 2, 4, 5, 6, 7, 8] {
            assert_eq!(get(&dentries, HERE, &[at], NOW), Some(Dentry::Inode(at.into())), "the others stay");
        }
        dentries.clear();
        assert_eq!(dentries.len(), 0);
        assert_eq!(get(&dentries, HERE, &[1], NOW), None);
    }

    #[test]
    fn what_was_used_gets_a_second_chance() {
        let dentries = Dentries::new(8);
        for at in 0..8 {
            put(&dentries, &[at], at.into());
        }
        for round in 8..100 {
            assert!(get(&dentries, HERE, &[3], NOW).is_some(), "{round}");
            put(&dentries, &[round], round.into());
            assert_eq!(dentries.len(), 8);
            assert!(get(&dentries, HERE, &[round], NOW).is_some(), "a new name stays for a while");
        }
        assert_eq!(get(&dentries, HERE, &[0], NOW), None);
    }

    #[test]
    fn a_budget_holds_whatever_its_size() {
        for budget in [0, 1, 15, 16, 100, 1000, 5000] {
            let dentries = Dentries::new(budget);
            for at in 0..10_000_u32 {
                put(&dentries, &at.to_ne_bytes(), at);
                assert!(dentries.len() <= budget, "{budget}");
            }
            // A shard that is full makes room itself, and so one more.
            assert!(dentries.len() + 1 >= budget, "{budget}: {}", dentries.len());
        }
    }
}
