//! The inodes that the kernel knows.

use fuser::INodeNo;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use virtio_fs::NodeId;

/// What the kernel looked up and has not forgotten: a node `N` of the driver by the kernel's nodeid.
///
/// `fuser` gives programs the nodeid as the inode number. So a nodeid is the server's inode number, unless that is
/// taken: inodes of two file systems below the shared directory may have the same.
///
/// The root is none of them: it has number 1 and is never looked up.
pub(crate) struct Inodes<N> {
    table: Mutex<Table<N>>,
}

struct Table<N> {
    /// By the kernel's nodeid.
    known: HashMap<INodeNo, Known<N>>,
    /// From the server's nodeids to the kernel's.
    numbers: HashMap<NodeId, INodeNo>,
    next_substitute: u64,
}

struct Known<N> {
    node: N,
    nodeid: NodeId,
    /// How many lookups of it the kernel has been told of, and has not forgotten.
    lookups: u64,
}

/// Numbers from here on stand for inodes whose own number is taken.
const FIRST_SUBSTITUTE: u64 = 1 << 63;

impl<N: Clone> Inodes<N> {
    pub(crate) fn new() -> Self {
        let table = Table { known: HashMap::new(), numbers: HashMap::new(), next_substitute: FIRST_SUBSTITUTE };
        Self { table: Mutex::new(table) }
    }

    pub(crate) fn get(&self, ino: INodeNo) -> Option<N> {
        self.table().known.get(&ino).map(|known| known.node.clone())
    }

    /// Counts one lookup of the inode that the server calls `nodeid` and whose inode number is `ino`: the kernel's
    /// nodeid for it.
    pub(crate) fn remember(&self, node: N, nodeid: NodeId, ino: u64) -> INodeNo {
        let mut guard = self.table();
        let table = &mut *guard;
        if let Some(&number) = table.numbers.get(&nodeid) {
            let known = table.known.get_mut(&number).expect("each number stands for an inode");
            known.lookups += 1;
            // Dropping a node may wait for the device, so the lock goes first.
            drop(guard);
            return number;
        }
        let mut number = INodeNo(ino);
        let own = (INodeNo::ROOT.0 + 1..FIRST_SUBSTITUTE).contains(&ino);
        if !own || table.known.contains_key(&number) {
            // 2⁶³ of them last for ever.
            number = INodeNo(table.next_substitute);
            table.next_substitute += 1;
        }
        table.numbers.insert(nodeid, number);
        table.known.insert(number, Known { node, nodeid, lookups: 1 });
        number
    }

    /// Takes back `lookups` lookups.
    pub(crate) fn forget(&self, ino: INodeNo, lookups: u64) {
        let mut table = self.table();
        let Entry::Occupied(mut known) = table.known.entry(ino) else { return };
        known.get_mut().lookups = known.get().lookups.saturating_sub(lookups);
        if known.get().lookups > 0 {
            return;
        }
        let known = known.remove();
        table.numbers.remove(&known.nodeid);
        drop(table);
        drop(known);
    }

    /// Takes out all that was not forgotten.
    pub(crate) fn drain(&self) -> Vec<N> {
        let mut table = self.table();
        table.numbers.clear();
        table.known.drain().map(|(_, known)| known.node).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn programs_see_the_servers_inode_number() {
        let inodes = Inodes::new();
        assert_eq!(inodes.remember("a", NodeId(2), 77), INodeNo(77));
        assert_eq!(inodes.get(INodeNo(77)), Some("a"));
    }

    #[test]
    fn an_inode_stays_until_each_lookup_is_forgotten() {
        let inodes = Inodes::new();
        let ino = inodes.remember("a", NodeId(2), 77);
        assert_eq!(inodes.remember("a again", NodeId(2), 77), ino);
        inodes.remember("a again", NodeId(2), 77);
        inodes.forget(ino, 2);
        assert_eq!(inodes.get(ino), Some("a"));
        inodes.forget(ino, 1);
        assert_eq!(inodes.get(ino), None);
        assert_eq!(inodes.remember("b", NodeId(2), 78), INodeNo(78), "the server's nodeid is free for another inode");
    }

    #[test]
    fn inodes_with_the_same_number_are_told_apart() {
        let inodes = Inodes::new();
        let numbers = [
            inodes.remember("a", NodeId(2), 77),
            inodes.remember("on another file system", NodeId(3), 77),
            inodes.remember("the number of the root", NodeId(4), 1),
            inodes.remember("no number", NodeId(5), 0),
            inodes.remember("a number of the substitutes", NodeId(6), FIRST_SUBSTITUTE),
        ];
        let distinct: std::collections::HashSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "{numbers:?}");
        assert!(!numbers.contains(&INodeNo::ROOT) && !numbers.contains(&INodeNo(0)));
        assert_eq!(inodes.get(numbers[1]), Some("on another file system"));
    }

    #[test]
    fn what_is_known_twice_or_forgotten_is_dropped() {
        let (inodes, node) = (Inodes::new(), Arc::new(()));
        let ino = inodes.remember(node.clone(), NodeId(2), 77);
        inodes.remember(node.clone(), NodeId(2), 77);
        assert_eq!(Arc::strong_count(&node), 2);
        inodes.forget(ino, 2);
        assert_eq!(Arc::strong_count(&node), 1);
    }
}
