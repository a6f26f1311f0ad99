//! Files of a mount: what is read is what was written last, and what is written arrives.

use super::bytes::{CELLS, END, History, Kind};
use super::{check, number_below, one_of, wire};
use crate::test_utils::{FakeServer, Mounted};
use crate::vnode::{Durability, OpenFile};
use crate::wire::{AllocateFlags, OpenFlags, SetAttr};
use crate::{CacheMode, CacheOptions};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use shuttle::thread;
use spin::Mutex;

struct Model {
    mounted: Mounted,
    history: Mutex<History>,
    /// How many cells are written to: fewer are fought over more.
    cells: usize,
}

impl Model {
    fn new(writeback: bool, max_data_bytes: usize) -> Self {
        let mode = one_of(&[CacheMode::Auto, CacheMode::Always]);
        let cache = CacheOptions { mode, max_data_bytes, writeback, ..CacheOptions::default() };
        Self::with(cache, true)
    }

    /// A model in which the server opens files, or lacks that.
    fn with(cache: CacheOptions, opens: bool) -> Self {
        let build = |server: &mut FakeServer| {
            server.file("f", "");
            server.options.open = opens;
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

    fn change(&self, cells: Range<usize>, kind: Kind, ask: impl FnOnce(u8)) {
        let (at, value) = self.history.lock().begin(cells, kind);
        ask(value);
        self.history.lock().end(at);
    }

    fn write(&self, file: &OpenFile, cells: Range<usize>) {
        let start = CELLS[cells.start];
        let bytes = (CELLS[cells.end - 1] - start) as usize + 1;
        self.change(cells, Kind::Write, |value| assert_eq!(file.write_at(start, &vec![value; bytes]), Ok(bytes)));
    }

    fn write_some(&self, file: &OpenFile) {
        let first = number_below(self.cells);
        self.write(file, first..(first + 1 + number_below(2)).min(self.cells));
    }

    fn truncate(&self, file: &OpenFile) {
        let cell = number_below(self.cells + 1);
        let size_bytes = CELLS.get(cell).copied().unwrap_or(END as u64);
        self.change(cell..CELLS.len(), Kind::Zero, |_| {
            file.setattr(&SetAttr { size_bytes: Some(size_bytes), ..SetAttr::default() }).unwrap();
        });
    }

    fn allocate(&self, file: &OpenFile) {
        self.change(0..0, Kind::Zero, |_| file.allocate(0, END as u64, AllocateFlags::empty()).unwrap());
    }

    fn read(&self, file: &OpenFile, cells: Range<usize>) {
        let begun = self.history.lock().begin_read(&cells);
        let start = CELLS[cells.start];
        let mut buffer = vec![0; (CELLS[cells.end - 1] - start) as usize + 1];
        file.read_at(start, &mut buffer).unwrap();
        self.history.lock().end_read(cells, begun, |cell| buffer[(CELLS[cell] - start) as usize]);
    }

    /// The file is as long as it has to be for what cannot be zero in it.
    fn measure(&self, file: &OpenFile) {
        let begun = self.history.lock().begin_read(&(0..0));
        let size_bytes = file.getattr().unwrap().size_bytes;
        let history = self.history.lock();
        for (cell, &at) in CELLS.iter().enumerate() {
            let is_short = size_bytes <= at && !history.may_be(cell, 0, begun);
            assert!(!is_short, "{size_bytes} bytes at {begun}: {:#?}", history.events());
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
            match if usual < 20 && number_below(4) > 0 { usual } else { number_below(13) } {
                0..4 => self.write_some(&file),
                4..7 => self.read_some(&file),
                7 => self.truncate(&file),
                8 => file.fsync(Durability::All).unwrap(),
                9 => self.allocate(&file),
                12 => self.measure(&file),
                10 => drop(self.mounted.fs.root().cache().pool().shrink_to(number_below(2) * (16 << 10))),
                _ => self.read_some(&self.open()),
            }
        }
    }

    /// When all is quiet and written, the server has what is read, and nothing is kept of a file that is gone.
    fn end(self) {
        let file = self.open();
        if !self.history.lock().events().is_empty() {
            self.read(&file, 0..CELLS.len());
        }
        file.fsync(Durability::All).unwrap();
        let content = self.mounted.server(|server| server.content("f"));
        let mut kept = vec![0; 100_000];
        let bytes = file.read_at(0, &mut kept).unwrap();
        kept.truncate(bytes);
        let history = self.history.into_inner();
        assert!(kept == content, "{} and {} bytes: {:#?}", kept.len(), content.len(), history.events());
        assert_eq!(file.getattr().unwrap().size_bytes, content.len() as u64);
        drop(file);
        let pool = self.mounted.fs.root().cache().pool().clone();
        self.mounted.unmount();
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.budget_bytes() == 0 || !pool.is_dirty_enough());
    }
}

fn race(writeback: bool) {
    let model = Model::new(writeback, one_of(&[32 << 10, 96 << 10, 1 << 20]));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| model.turns());
        }
    });
    model.end();
}

#[test]
fn what_was_written_through_is_read() {
    check(500, || race(false));
}

#[test]
fn what_was_written_back_is_read_and_arrives() {
    check(500, || race(true));
}

#[test]
fn what_was_written_past_the_pages_is_read_when_others_write_back() {
    check(500, || {
        // The write of three cells is too large for pages, that of one is not.
        let model = Model::new(true, 96 << 10);
        let file = model.open();
        model.write(&file, 0..2);
        file.fsync(Durability::All).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                model.write(&file, 1..4);
                model.read(&file, 1..2);
            });
            scope.spawn(|| model.write(&file, 0..1));
            scope.spawn(|| file.fsync(Durability::All).unwrap());
        });
        drop(file);
        model.end();
    });
}

#[test]
fn what_several_append_is_all_there() {
    check(500, || {
        let mode = one_of(&[CacheMode::None, CacheMode::Auto, CacheMode::Always]);
        let (writeback, max_data_bytes) = (number_below(2) == 0, 96 << 10);
        let cache = CacheOptions { mode, max_data_bytes, writeback, ..CacheOptions::default() };
        let model = Model::with(cache, number_below(2) == 0);
        // Larger than what goes into pages, and smaller.
        let lengths = [(); 3].map(|()| one_of(&[100, 30_000]));
        thread::scope(|scope| {
            for (value, length) in (1..).zip(lengths) {
                let model = &model;
                scope.spawn(move || {
                    let node = model.mounted.fs.node("f").unwrap();
                    let file = node.open(OpenFlags::READ_WRITE | OpenFlags::APPEND).unwrap();
                    assert_eq!(file.write_at(0, &vec![value; length]), Ok(length));
                });
            }
        });
        let content = model.mounted.server(|server| server.content("f"));
        let records = content.chunk_by(|one, next| one == next).map(|record| (record[0], record.len()));
        let mut records: Vec<_> = records.collect();
        records.sort_unstable();
        assert_eq!(records, [(1, lengths[0]), (2, lengths[1]), (3, lengths[2])]);
        model.end();
    });
}
