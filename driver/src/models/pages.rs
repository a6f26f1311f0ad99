//! What is read is what was written last, and what is written arrives.

use super::{check, number_below, one_of, wire};
use crate::test_utils::Mounted;
use crate::vnode::{Durability, OpenFile};
use crate::wire::{AllocateFlags, OpenFlags, SetAttr};
use crate::{CacheMode, CacheOptions};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use shuttle::thread;
use spin::Mutex;

/// The bytes of the file that are looked at: two in one page, the others in pages of their own.
const CELLS: [u64; 4] = [10, 5000, (16 << 10) + 10, 40_000];
const END: usize = 41_000;

/// Something wrote a value into these cells, at some time in between.
struct Change {
    cells: Range<usize>,
    value: u8,
    begun: u64,
    ended: Option<u64>,
}

#[derive(Default)]
struct History {
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

    /// Asserts that a value may be what a read found in a cell: it was not replaced for good before the read.
    fn expect(&self, cell: usize, value: u8, begun: u64) {
        let of_cell = || self.changes.iter().filter(|change| change.cells.contains(&cell));
        let is_replaced = |ended: Option<u64>| {
            of_cell()
                .any(|later| ended.is_some_and(|ended| ended < later.begun) && later.ended.is_some_and(|e| e < begun))
        };
        let from_change = of_cell().any(|change| change.value == value && !is_replaced(change.ended));
        let from_start = value == 0 && !is_replaced(Some(0));
        assert!(from_change || from_start, "cell {cell} is {value} at {begun}: {:#?}", self.events);
    }
}

struct Model {
    mounted: Mounted,
    history: Mutex<History>,
    /// How many cells are written to: fewer are fought over more.
    cells: usize,
}

impl Model {
    fn new(writeback: bool) -> Self {
        let cache = CacheOptions {
            mode: one_of(&[CacheMode::Auto, CacheMode::Always]),
            max_data_bytes: one_of(&[32 << 10, 96 << 10, 1 << 20]),
            writeback,
            ..CacheOptions::default()
        };
        let build = |server: &mut crate::test_utils::FakeServer| {
            server.file("f", "");
        };
        Self {
            mounted: wire::mount(cache, build, |_| {}),
            history: Mutex::default(),
            cells: one_of(&[1, 2, CELLS.len()]),
        }
    }

    fn open(&self) -> OpenFile {
        self.mounted.fs.node("f").unwrap().open(OpenFlags::READ_WRITE).unwrap()
    }

    fn change(&self, cells: Range<usize>, what: &str, ask: impl FnOnce(u8)) {
        let mut history = self.history.lock();
        let at = history.changes.len();
        let value = if what == "truncate" || what == "allocate" { 0 } else { at as u8 + 1 };
        let begun = history.tick(format!("{what} {value} to {cells:?}"));
        history.changes.push(Change { cells, value, begun, ended: None });
        drop(history);
        ask(value);
        let mut history = self.history.lock();
        let ended = history.tick(format!("{what} {value} is complete"));
        history.changes[at].ended = Some(ended);
    }

    fn write(&self, file: &OpenFile, cells: Range<usize>) {
        let start = CELLS[cells.start];
        let bytes = (CELLS[cells.end - 1] - start) as usize + 1;
        self.change(cells, "write", |value| assert_eq!(file.write_at(start, &vec![value; bytes]), Ok(bytes)));
    }

    fn write_some(&self, file: &OpenFile) {
        let first = number_below(self.cells);
        self.write(file, first..(first + 1 + number_below(2)).min(self.cells));
    }

    fn truncate(&self, file: &OpenFile) {
        let cell = number_below(self.cells + 1);
        let size_bytes = CELLS.get(cell).copied().unwrap_or(END as u64);
        self.change(cell..CELLS.len(), "truncate", |_| {
            file.setattr(&SetAttr { size_bytes: Some(size_bytes), ..SetAttr::default() }).unwrap();
        });
    }

    fn allocate(&self, file: &OpenFile) {
        self.change(0..0, "allocate", |_| file.allocate(0, END as u64, AllocateFlags::empty()).unwrap());
    }

    fn read(&self, file: &OpenFile, cells: Range<usize>) {
        let begun = self.history.lock().tick(format!("read {cells:?}"));
        let start = CELLS[cells.start];
        let mut buffer = vec![0; (CELLS[cells.end - 1] - start) as usize + 1];
        file.read_at(start, &mut buffer).unwrap();
        let mut history = self.history.lock();
        history.tick(format!("has read {cells:?}"));
        for cell in cells {
            history.expect(cell, buffer[(CELLS[cell] - start) as usize], begun);
        }
    }

    fn read_some(&self, file: &OpenFile) {
        let first = number_below(self.cells);
        let all = [0..CELLS.len(), first..first + 1];
        self.read(file, all[number_below(2)].clone());
    }

    /// The turns of a thread that mostly writes, or mostly reads, or does everything.
    fn turns(&self) {
        let file = self.open();
        let usual = one_of(&[0, 4, 20]);
        for _ in 0..3 {
            match if usual < 20 && number_below(4) > 0 { usual } else { number_below(12) } {
                0..4 => self.write_some(&file),
                4..7 => self.read_some(&file),
                7 => self.truncate(&file),
                8 => file.fsync(Durability::All).unwrap(),
                9 => self.allocate(&file),
                10 => drop(self.mounted.fs.root().cache().pool().shrink_to(number_below(2) * (16 << 10))),
                _ => self.read_some(&self.open()),
            }
        }
    }

    /// When all is quiet and written, the server has what is read, and nothing is kept of a file that is gone.
    fn end(self) {
        let file = self.open();
        self.read(&file, 0..CELLS.len());
        file.fsync(Durability::All).unwrap();
        let content = self.mounted.server(|server| server.content("f"));
        let mut kept = vec![0; END + 1];
        let bytes = file.read_at(0, &mut kept).unwrap();
        kept.truncate(bytes);
        let events = self.history.into_inner().events;
        assert!(kept == content, "{} and {} bytes: {events:#?}", kept.len(), content.len());
        assert_eq!(file.getattr().unwrap().size_bytes, content.len() as u64);
        drop(file);
        let pool = self.mounted.fs.root().cache().pool().clone();
        self.mounted.unmount();
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.budget_bytes() == 0 || !pool.is_dirty_enough());
    }
}

fn race(writeback: bool) {
    let model = Model::new(writeback);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| model.turns());
        }
    });
    model.end();
}

#[test]
fn of_two_writes_that_were_under_way_together_that_is_read_which_the_server_has() {
    check(1000, || {
        let model = Model::new(false);
        let file = model.open();
        thread::scope(|scope| {
            scope.spawn(|| model.write(&file, 0..1));
            scope.spawn(|| model.write(&file, 0..1));
            scope.spawn(|| model.read(&file, 0..1));
        });
        drop(file);
        model.end();
    });
}

#[test]
fn what_was_written_through_is_read() {
    check(500, || race(false));
}

#[test]
fn what_was_written_back_is_read_and_arrives() {
    check(500, || race(true));
}
