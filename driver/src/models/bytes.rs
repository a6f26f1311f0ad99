//! What a read may find in bytes that several threads write to.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use shuttle::thread;

/// The bytes of a file that are looked at: two in one page, the others in pages of their own.
pub(super) const CELLS: [u64; 4] = [10, 5000, (16 << 10) + 10, 40_000];
/// The file does not get longer.
pub(super) const END: usize = 41_000;

/// What a change does to the cells that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It writes a value there that nobody else writes.
    Write,
    /// It makes them zero, or ends the file before them.
    Zero,
}

/// Some time between its begin and its end, this change was made.
struct Change {
    cells: Range<usize>,
    value: u8,
    begun: u64,
    ended: Option<u64>,
}

/// All changes. The cells are zero at first.
#[derive(Default)]
pub(super) struct History {
    clock: u64,
    changes: Vec<Change>,
    events: Vec<String>,
}

impl History {
    fn tick(&mut self, what: String) -> u64 {
        self.clock += 1;
        let id: usize = thread::current().id().into();
        self.events.push(format!("{} {id}: {what}", self.clock));
        self.clock
    }

    /// A change begins. Gives its place, and what to write.
    pub(super) fn begin(&mut self, cells: Range<usize>, kind: Kind) -> (usize, u8) {
        let at = self.changes.len();
        let value = if kind == Kind::Write { at as u8 + 1 } else { 0 };
        let begun = self.tick(format!("{value} to {cells:?}"));
        self.changes.push(Change { cells, value, begun, ended: None });
        (at, value)
    }

    pub(super) fn end(&mut self, at: usize) {
        let ended = self.tick(format!("{} is complete", self.changes[at].value));
        self.changes[at].ended = Some(ended);
    }

    pub(super) fn begin_read(&mut self, cells: &Range<usize>) -> u64 {
        self.tick(format!("read {cells:?}"))
    }

    /// A read is done that began at this time. Asserts that what it found was not replaced for good before.
    pub(super) fn end_read(&mut self, cells: Range<usize>, begun: u64, found: impl Fn(usize) -> u8) {
        self.tick(format!("has read {cells:?}"));
        for cell in cells {
            let value = found(cell);
            assert!(self.may_be(cell, value, begun), "cell {cell} is {value} at {begun}: {:#?}", self.events);
        }
    }

    /// Whether a read that began at this time may find this value in a cell.
    pub(super) fn may_be(&self, cell: usize, value: u8, begun: u64) -> bool {
        let of_cell = || self.changes.iter().filter(|change| change.cells.contains(&cell));
        let is_replaced =
            |ended: u64| of_cell().any(|later| ended < later.begun && later.ended.is_some_and(|ended| ended < begun));
        let is_from = |change: &Change| change.value == value && !change.ended.is_some_and(is_replaced);
        of_cell().any(is_from) || value == 0 && !is_replaced(0)
    }

    /// What happened, for whoever looks for the reason.
    pub(super) fn events(&self) -> &[String] {
        &self.events
    }
}
