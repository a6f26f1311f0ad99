//! Region 1 of a machine.

use super::common::guest::Machine;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use virtio_fs::Hal;
use virtio_fs::virtio::Transport;
use virtio_fs_version_table::{Key, Table};
use virtio_fs_vhost_user::GuestHal;

/// Where the header has them, in numbers of 8 bytes (`SPEC-version-table.md`, section 2).
const CLOCK: usize = 8;
const SETTLED: usize = 16;
const FLOOR: usize = 24;
const SLOTS: usize = 512;

/// What a guest can see of the table. It may be another one, or none, after a reset.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a>(&'a [AtomicU64]);

impl<'a> Look<'a> {
    pub(crate) fn at(machine: &'a Machine) -> Self {
        let region = machine.transport.shared_memory(1).expect("region 1");
        let bytes = region.length_bytes as usize;
        // SAFETY: the region's own address and length. The transport, which the result borrows, keeps it mapped, with
        // something or with nothing, and at a page's start; what others do to it is done behind atomic numbers.
        let words = unsafe {
            let start = GuestHal::mmio_phys_to_virt(region.address, bytes);
            std::slice::from_raw_parts(start.as_ptr().cast(), bytes / 8)
        };
        Self(words)
    }

    /// The table, if there is one.
    pub(crate) fn table(&self) -> Option<Table<&'a [AtomicU64]>> {
        Table::open(self.0).ok()
    }

    pub(crate) fn start(&self) -> *const AtomicU64 {
        self.0.as_ptr()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.0)
    }

    fn word(&self, place: usize) -> u64 {
        self.0[place].load(Ordering::Acquire)
    }

    pub(crate) fn clock(&self) -> u64 {
        self.word(CLOCK)
    }

    pub(crate) fn floor(&self) -> u64 {
        self.word(FLOOR)
    }

    /// What the slots of these keys read.
    pub(crate) fn versions(&self, keys: &[Key]) -> Vec<u64> {
        let table = self.table().expect("a table");
        keys.iter().map(|key| table.version(table.slot(*key))).collect()
    }

    /// Checks that a request takes one number, and raises the slots of these keys to it and no others.
    pub(crate) fn raises<R>(&self, what: &str, keys: &[Key], request: impl FnOnce() -> R) -> R {
        let (result, numbers, raised) = self.seen(request);
        assert_eq!(numbers, 1, "{what}: numbers taken");
        assert_eq!(raised, self.slots_of(keys), "{what}");
        result
    }

    /// Checks that a request changes nothing in the table.
    pub(crate) fn leaves_all<R>(&self, what: &str, request: impl FnOnce() -> R) -> R {
        let (result, numbers, raised) = self.seen(request);
        assert_eq!((numbers, raised), (0, BTreeSet::new()), "{what}");
        result
    }

    /// Checks that a request raises the floor, and no slot.
    pub(crate) fn raises_the_floor<R>(&self, what: &str, request: impl FnOnce() -> R) -> R {
        let before = self.clock();
        let slots = self.slots();
        let result = request();
        assert_eq!((self.clock(), self.floor()), (before + 1, before + 1), "{what}");
        assert!(self.slots() == slots, "{what}");
        result
    }

    /// What a request makes of the table: how many numbers it takes, and which slots have the last of them.
    fn seen<R>(&self, request: impl FnOnce() -> R) -> (R, u64, BTreeSet<usize>) {
        let (clock, floor, slots) = (self.clock(), self.floor(), self.slots());
        let result = request();
        assert_eq!(self.word(SETTLED), self.clock(), "all that is counted is in its slots");
        assert_eq!(self.floor(), floor, "the floor");
        let after = self.slots();
        let changed = (0..slots.len()).filter(|slot| slots[*slot] != after[*slot]);
        let raised = changed.inspect(|slot| assert_eq!(after[*slot], self.clock(), "slot {slot}")).collect();
        (result, self.clock() - clock, raised)
    }

    fn slots(&self) -> Vec<u64> {
        self.0[SLOTS..].iter().map(|slot| slot.load(Ordering::Acquire)).collect()
    }

    fn slots_of(&self, keys: &[Key]) -> BTreeSet<usize> {
        let table = self.table().expect("a table");
        keys.iter().map(|key| table.slot(*key).index()).collect()
    }
}
