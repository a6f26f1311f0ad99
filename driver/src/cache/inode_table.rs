//! The inodes that the driver knows, by the server's numbers.

use super::Inode;
use crate::sync::{HashBuilder, Mutex};
use crate::wire::NodeId;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::hash::BuildHasher;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const SHARDS: usize = 16;

type Shard = Mutex<HashTable<(NodeId, Weak<Inode>)>>;

/// Finds the one [`Inode`] of a nodeid, so that all its names, open files and users share what is known of it. The
/// table keeps no inode alive: dentries and nodes do.
///
/// # Locking
///
/// One spin lock for each shard; nothing is dropped under it.
pub(super) struct InodeTable {
    shards: Vec<Shard>,
    hasher: HashBuilder,
}

impl InodeTable {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect();
        Self { shards, hasher: HashBuilder::default() }
    }

    fn shard(&self, nodeid: NodeId) -> (u64, &Shard) {
        let hash = self.hasher.hash_one(nodeid.0);
        (hash, &self.shards[(hash >> 32) as usize % SHARDS])
    }

    /// The inode with this number, if one is known that `is_it`, and else the one that `make` makes, which is told
    /// whether one with this number is being dropped at the moment. Both are called under the table's lock. Without
    /// memory for the table the new inode is known to its owner alone.
    pub(super) fn find_or_make(
        &self,
        nodeid: NodeId,
        is_it: impl FnOnce(&Inode) -> bool,
        make: impl FnOnce(bool) -> Arc<Inode>,
    ) -> Arc<Inode> {
        let (hash, shard) = self.shard(nodeid);
        let mut table = shard.lock();
        let place = table.find(hash, |(other, _)| *other == nodeid);
        let known = place.and_then(|(_, known)| known.upgrade());
        let is_being_dropped = place.is_some() && known.is_none();
        if let Some(known) = &known
            && is_it(known)
        {
            return known.clone();
        }
        let new = make(is_being_dropped);
        let rehash = |(nodeid, _): &(NodeId, Weak<Inode>)| self.hasher.hash_one(nodeid.0);
        if table.try_reserve(1, rehash).is_ok() {
            match table.entry(hash, |(other, _)| *other == nodeid, rehash) {
                Entry::Occupied(mut entry) => entry.get_mut().1 = Arc::downgrade(&new),
                Entry::Vacant(entry) => {
                    entry.insert((nodeid, Arc::downgrade(&new)));
                }
            }
        }
        drop(table);
        drop(known);
        new
    }

    /// All inodes in use.
    pub(super) fn all(&self) -> Vec<Arc<Inode>> {
        let in_shard = |shard: &Shard| shard.lock().iter().filter_map(|(_, known)| known.upgrade()).collect::<Vec<_>>();
        self.shards.iter().flat_map(in_shard).collect()
    }

    /// Takes an inode out that is being dropped, if its number does not stand for another one by now.
    pub(super) fn remove(&self, inode: &Inode) {
        let (hash, shard) = self.shard(inode.nodeid);
        let mut table = shard.lock();
        let is_it = |(_, known): &(NodeId, Weak<Inode>)| core::ptr::eq(known.as_ptr(), inode);
        let removed = table.find_entry(hash, is_it).ok().map(|entry| entry.remove().0);
        drop(table);
        drop(removed);
    }
}
