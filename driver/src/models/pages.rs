//! The pages of one file: what is read is what was written last, and the budget gets its bytes back.

use super::bytes::{CELLS, END, History, Kind};
use super::{check, number_below, one_of};
use crate::data::{self, Change, FileData, Pool, Readahead, Reading};
use crate::session::Filled;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use spin::Mutex;

/// A file at a server, and what is kept of it.
struct File {
    content: Mutex<Vec<u8>>,
    /// To look at it is a step.
    step: AtomicBool,
    pool: Arc<Pool>,
    data: Arc<FileData>,
    readahead: Readahead,
    history: Mutex<History>,
    /// How many cells are written to: fewer are fought over more.
    cells: usize,
}

impl File {
    fn new(budget_bytes: usize, cells: usize) -> Self {
        let pool = Arc::new(Pool::new(budget_bytes));
        Self {
            content: Mutex::default(),
            step: AtomicBool::new(false),
            data: FileData::new(&pool),
            pool,
            readahead: Readahead::new(),
            history: Mutex::default(),
            cells,
        }
    }

    /// What the server does when it is asked: some time between a request and its reply.
    fn ask<T>(&self, serve: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.step.load(Ordering::SeqCst);
        let result = serve(&mut self.content.lock());
        self.step.load(Ordering::SeqCst);
        result
    }

    fn write(&self, cells: Range<usize>) {
        let (at, value) = self.history.lock().begin(cells.clone(), Kind::Write);
        let (start, end) = (CELLS[cells.start], CELLS[cells.end - 1] + 1);
        let bytes = vec![value; (end - start) as usize];
        let changing = self.data.begin_cut(u64::MAX);
        self.ask(|content| {
            content.resize(content.len().max(end as usize), 0);
            content[start as usize..end as usize].copy_from_slice(&bytes);
        });
        // The server may have said that it wrote less.
        let change = match number_below(4) {
            0 => Change::Unknown(start..end),
            _ => Change::Written(start, &bytes),
        };
        self.data.end_change(changing, &change, || true);
        self.history.lock().end(at);
    }

    fn write_some(&self) {
        let first = number_below(self.cells);
        self.write(first..(first + 1 + number_below(2)).min(self.cells));
    }

    fn resize(&self) {
        let cell = number_below(self.cells + 1);
        let size_bytes = CELLS.get(cell).map_or(END, |&cell| cell as usize);
        let (at, _) = self.history.lock().begin(cell..CELLS.len(), Kind::Zero);
        let changing = self.data.begin_cut(u64::MAX);
        self.ask(|content| content.resize(size_bytes, 0));
        self.data.end_change(changing, &Change::Resized(size_bytes as u64), || true);
        self.history.lock().end(at);
    }

    fn read(&self, cells: Range<usize>) {
        let begun = self.history.lock().begin_read(&cells);
        let start = CELLS[cells.start];
        let mut buffer = vec![0; (CELLS[cells.end - 1] - start) as usize + 1];
        let reading = Reading { data: &self.data, readahead: &self.readahead, transfer_bytes: 32 << 10 };
        let mut fetch = |at: u64, buffers: &mut [&mut [u8]]| {
            let bytes = self.ask(|content| {
                let mut rest = content.get(at as usize..).unwrap_or_default();
                let before = rest.len();
                for buffer in buffers {
                    let (now, later) = rest.split_at(buffer.len().min(rest.len()));
                    buffer[..now.len()].copy_from_slice(now);
                    rest = later;
                }
                before - rest.len()
            });
            Ok(Filled { bytes, stopped: None })
        };
        data::read(&reading, start, &mut buffer, &mut fetch).unwrap();
        self.history.lock().end_read(cells, begun, |cell| buffer[(CELLS[cell] - start) as usize]);
    }

    /// The turns of a thread that mostly writes, or mostly reads, or does everything.
    fn turns(&self) {
        let usual = one_of(&[0, 3, 20]);
        for _ in 0..3 {
            match if usual < 20 && number_below(4) > 0 { usual } else { number_below(8) } {
                0..3 => self.write_some(),
                3 => self.read(0..CELLS.len()),
                4 | 5 => {
                    let cell = number_below(self.cells);
                    self.read(cell..cell + 1);
                }
                6 => self.resize(),
                _ => drop(self.pool.shrink_to(number_below(2) * (16 << 10))),
            }
        }
    }

    /// When all is quiet, what is kept is what the server has.
    fn end(self) {
        self.read(0..CELLS.len());
        let content = self.content.into_inner();
        let last = self.history.lock().begin_read(&(0..0));
        for (cell, &at) in CELLS.iter().enumerate() {
            let mut kept = [0];
            let read = data::read_kept(&self.data, &self.readahead, at, &mut kept);
            let events = self.history.lock().events().to_vec();
            assert!(
                read.is_none() || kept[0] == content.get(at as usize).copied().unwrap_or(0),
                "{cell} {last} {events:#?}"
            );
        }
        drop(self.data);
        assert_eq!(self.pool.used_bytes(), 0);
    }
}

#[test]
fn pages_hold_what_was_written_last() {
    check(2000, || {
        let file = File::new(one_of(&[32 << 10, 96 << 10, 1 << 20]), one_of(&[1, 2, CELLS.len()]));
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| file.turns())));
        });
        file.end();
    });
}

#[test]
fn of_two_writes_that_were_under_way_together_that_is_kept_which_the_server_has() {
    check(2000, || {
        let file = File::new(1 << 20, 1);
        thread::scope(|scope| {
            scope.spawn(|| file.write(0..1));
            scope.spawn(|| file.write(0..1));
            scope.spawn(|| file.read(0..1));
        });
        file.end();
    });
}

#[test]
fn what_is_kept_as_a_whole_is_found_as_a_whole() {
    check(2000, || {
        let data = FileData::new(&Arc::new(Pool::new(1 << 20)));
        let keep = |content: &[u8]| data.keep_whole(data.epoch(), None, content);
        keep(&[1; 10]);
        thread::scope(|scope| {
            scope.spawn(|| keep(&[2; 20_000]));
            scope.spawn(|| data.clear());
            scope.spawn(|| {
                if let Some(found) = data.whole(None) {
                    assert!(found == [1; 10] || found == [2; 20_000], "{} bytes of {}", found.len(), found[0]);
                }
            });
        });
    });
}
