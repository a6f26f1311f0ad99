//! The metadata version table: what differs after a request, or after a test has had its hands on the tree, is counted.

use super::FakeServer;
use super::operations::always_changes;
use super::tree::Node;
use crate::Timestamp;
use crate::test_utils::opcode;
use crate::virtio::SharedWords;
use crate::wire::Attr;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use virtio_fs_version_table::{AtomicU64, Flags, Key, Slot, Table, words_for};

const EPOCH: NonZeroU64 = NonZeroU64::new(0x5eed).unwrap();
/// Behind the header of a request (`fuse_open_in`), and `O_TRUNC` there.
const OPEN_FLAGS: usize = 40;
const TRUNCATE: u32 = 0o1000;

/// A table, and the memory that it is in.
pub(super) struct VersionTable {
    words: Arc<Vec<AtomicU64>>,
    table: Table<SharedWords>,
    /// The slots of what is mapped for writing.
    marked: BTreeSet<Slot>,
    /// Changes that have yet to be counted: what they concern.
    due: Vec<Vec<Key>>,
    /// Nobody tends it any more.
    pub(super) stands_still: bool,
}

/// What of a node has versions.
#[derive(PartialEq)]
struct Versions {
    ino: u64,
    attr: Attr,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    content: Vec<u8>,
    /// Names, and the nodes that they lead to.
    children: BTreeMap<Vec<u8>, usize>,
}

impl From<&Node> for Versions {
    fn from(node: &Node) -> Self {
        let content = if node.target.is_empty() { node.content.read(0, u64::MAX) } else { node.target.clone() };
        Self {
            ino: node.attr.ino,
            attr: Attr { accessed: Timestamp::default(), ..node.attr },
            xattrs: node.xattrs.clone(),
            content,
            children: node.children.iter().map(|child| (child.name.clone(), child.node)).collect(),
        }
    }
}

impl Versions {
    /// What has changed since it was like this.
    fn changed<'v>(&'v self, now: &'v Self) -> impl Iterator<Item = Key> + 'v {
        let attributes = (self.attr, &self.xattrs) != (now.attr, &now.xattrs);
        let content = (&self.content, &self.children) != (&now.content, &now.children);
        let names = self.children.iter().chain(&now.children).map(|(name, _)| name);
        let names = names.filter(|&name| self.children.get(name) != now.children.get(name));
        let of_itself = [attributes.then(|| Key::attributes(self.ino)), content.then(|| Key::content(self.ino))];
        of_itself.into_iter().flatten().chain(names.map(|name| Key::name(self.ino, name)))
    }
}

/// How the tree was.
pub(crate) struct Before(Vec<Versions>);

impl FakeServer {
    /// Gives the device a version table of `1 << log2_slots` slots. Time that [passes](crate::test_utils::FakeChannel::advance)
    /// moves its heartbeat.
    ///
    /// # Panics
    ///
    /// Panics if no table has so many slots.
    pub fn add_version_table(&mut self, log2_slots: u32) -> &mut Self {
        let words = Arc::new((0..words_for(log2_slots)).map(|_| AtomicU64::new(0)).collect());
        let table = Table::create(SharedWords::owned(&words), log2_slots, Flags::FANOTIFY, EPOCH);
        let table = table.expect("a table of so many slots");
        self.table = Some(VersionTable { words, table, marked: BTreeSet::new(), due: Vec::new(), stands_still: false });
        self
    }

    /// The memory of the version table, header included, to do with whatever a host might.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn version_table_words(&self) -> Arc<Vec<AtomicU64>> {
        self.table.as_ref().expect("a version table").words.clone()
    }

    /// Nobody tends the version table any more, or somebody does again. Changes are counted all the same.
    pub fn tend_version_table(&mut self, is_tended: bool) -> &mut Self {
        if let Some(table) = &mut self.table {
            table.stands_still = !is_tended;
        }
        self
    }

    pub(crate) fn version_table_memory(&self) -> Option<SharedWords> {
        self.table.as_ref().map(|table| SharedWords::owned(&table.words))
    }

    pub(in crate::test_utils) fn beat(&self) {
        if let Some(table) = self.table.as_ref().filter(|table| !table.stands_still) {
            table.table.beat();
        }
    }

    /// How everything is before something may change.
    pub(crate) fn before(&self) -> Option<Before> {
        self.table.as_ref().map(|_| Before(self.versions().collect()))
    }

    fn versions(&self) -> impl Iterator<Item = Versions> {
        self.tree.nodes().map(|(_, node)| Versions::from(node))
    }

    /// Counts what has changed since, and also a request that `takes_number` without a change.
    pub(crate) fn count_changes(&mut self, before: Option<Before>, takes_number: bool) {
        self.note_changes(before, takes_number);
        // Where threads are modelled, others go on while it is counted, and this server is locked.
        if cfg!(not(all(test, shuttle)))
            && let Some(VersionTable { table, due, .. }) = &mut self.table
        {
            for keys in due.drain(..) {
                table.publish(&keys, |again| again());
            }
            self.mark_mapped();
        }
    }

    fn note_changes(&mut self, before: Option<Before>, takes_number: bool) {
        let Some(before) = before else { return };
        let keys = changed(&before, self.versions());
        if let Some(table) = self.table.as_mut().filter(|_| takes_number || !keys.is_empty()) {
            table.due.push(keys);
        }
    }

    /// What has yet to be counted.
    #[cfg(all(test, shuttle))]
    pub(crate) fn take_due(&mut self) -> Vec<Vec<Key>> {
        self.table.as_mut().map_or(Vec::new(), |table| core::mem::take(&mut table.due))
    }

    /// Marks the slots of what is mapped for writing.
    fn mark_mapped(&mut self) {
        let mapped = self.window.as_ref().map_or(Vec::new(), |window| window.mapped_for_writing());
        let inos: Vec<_> = mapped.into_iter().map(|node| self.tree.node(node).attr.ino).collect();
        let Some(VersionTable { table, marked, .. }) = &mut self.table else { return };
        let keys = inos.into_iter().flat_map(|ino| [Key::attributes(ino), Key::content(ino)]);
        let now: BTreeSet<_> = keys.map(|key| table.slot(key)).collect();
        now.difference(marked).for_each(|&slot| table.mark(slot));
        marked.difference(&now).for_each(|&slot| table.unmark(slot));
        *marked = now;
    }
}

/// Whether a request may change something: if it succeeds it takes a number, whatever it changed.
pub(super) fn may_change(request: &[u8]) -> bool {
    let opcode = number(request, 4);
    let cuts = opcode == opcode::OPEN && number(request, OPEN_FLAGS) & TRUNCATE != 0;
    cuts || always_changes(opcode)
}

/// Whether a request with this reply succeeded.
pub(super) fn succeeded(reply: &[u8]) -> bool {
    number(reply, 4) == 0
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn changed(before: &Before, now: impl Iterator<Item = Versions>) -> Vec<Key> {
    // Nodes that were made since had no versions.
    before.0.iter().zip(now).flat_map(|(before, now)| before.changed(&now).collect::<Vec<_>>()).collect()
}
