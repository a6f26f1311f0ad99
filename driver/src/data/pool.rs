//! The memory that all pages of a mount share.

use super::FileData;
use crate::spread_counter::SpreadCounter;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};

/// The budget of the page cache, and the order in which pages make room for others: those that were not used since the
/// queue last passed them go first (second chance).
///
/// # Locking
///
/// One spin lock, under which no other is taken.
pub(crate) struct Pool {
    budget_bytes: usize,
    used_bytes: AtomicUsize,
    dirty_bytes: AtomicUsize,
    next_ticket: AtomicU64,
    hits: SpreadCounter,
    queue: Mutex<VecDeque<Queued>>,
}

/// A page in the queue, if it still is the one with this ticket.
struct Queued {
    data: Weak<FileData>,
    index: u64,
    ticket: u64,
}

/// What became of a page that should make room.
pub(super) enum Eviction {
    /// It is gone: its memory is free, or was free before.
    Gone,
    /// It was used, or cannot go yet.
    Stays,
}

/// Memory of the budget, given back when it is dropped.
pub(super) struct Charge {
    pool: Arc<Pool>,
    bytes: usize,
    dirty_bytes: usize,
}

impl Charge {
    /// So much of it has to be written to the server.
    pub(super) fn set_dirty(&mut self, bytes: usize) {
        self.pool.dirty_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pool.dirty_bytes.fetch_sub(self.dirty_bytes, Ordering::Relaxed);
        self.dirty_bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set_dirty(0);
        self.pool.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            used_bytes: AtomicUsize::new(0),
            dirty_bytes: AtomicUsize::new(0),
            next_ticket: AtomicU64::new(0),
            hits: SpreadCounter::new(),
            queue: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    /// How much the pages take.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// How much of that has to be written to the server.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    /// Counts a read of this file that needed no request.
    pub(super) fn count_hit(&self, data: &FileData) {
        self.hits.add(data, 1);
    }

    /// How many reads needed no request.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.sum()
    }

    /// Whether so much waits to be written that a writer should see to it.
    pub(crate) fn is_dirty_enough(&self) -> bool {
        self.dirty_bytes() >= self.budget_bytes / 2
    }

    /// Takes so many bytes of the budget, for which other pages may have to go. `None` if they cannot.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = Charge { pool: self.clone(), bytes, dirty_bytes: 0 };
        self.shrink_to(self.budget_bytes).then_some(charge)
    }

    /// Lets pages go until the others take no more than so many bytes; whether that was possible.
    pub(crate) fn shrink_to(&self, bytes: usize) -> bool {
        // Each may get its second chance.
        let mut turns = 2 * self.queue.lock().len();
        while self.used_bytes() > bytes {
            let Some(turns_left) = turns.checked_sub(1) else { return false };
            turns = turns_left;
            let Some(queued) = self.queue.lock().pop_front() else { return false };
            self.pass(queued);
        }
        true
    }

    fn pass(&self, queued: Queued) {
        let Some(data) = queued.data.upgrade() else { return };
        match data.evict(queued.index, queued.ticket) {
            Eviction::Gone => {}
            Eviction::Stays => self.put(queued),
        }
    }

    fn put(&self, queued: Queued) {
        let mut queue = self.queue.lock();
        // Without memory for its place the page stays until its file goes.
        if queue.try_reserve(1).is_ok() {
            queue.push_back(queued);
        }
    }

    pub(super) fn new_ticket(&self) -> u64 {
        self.next_ticket.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a new page into the queue.
    pub(super) fn enqueue(&self, data: &Weak<FileData>, index: u64, ticket: u64) {
        self.put(Queued { data: data.clone(), index, ticket });
        let limit = 2 * self.budget_bytes / super::frames::FRAME_BYTES + 64;
        if self.queue.lock().len() > limit {
            self.tidy();
        }
    }

    /// Clears away the places that pages left behind when they went with their file or were replaced: before those are more
    /// than the pages can be, and when nothing is to be kept. Each holds the memory of what was a file.
    pub(crate) fn tidy(&self) {
        let mut old = core::mem::take(&mut *self.queue.lock());
        old.retain(|queued| queued.data.upgrade().is_some_and(|data| data.has(queued.index, queued.ticket)));
        old.shrink_to_fit();
        let mut queue = self.queue.lock();
        old.append(&mut queue);
        core::mem::swap(&mut *queue, &mut old);
        drop(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Page;
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn pages_that_went_with_their_files_do_not_fill_the_queue() {
        let pool = Arc::new(Pool::new(16 * 4096));
        let live = FileData::new(&pool);
        let insert = |data: &FileData, index| {
            let pages: Vec<Page> = (0..2).filter_map(|_| Page::new(&pool, 4096)).collect();
            let epoch = data.missing(index, 1).1;
            data.insert(epoch, index, pages, 2 * super::super::PAGE_BYTES, false);
        };
        insert(&live, 0);
        for round in 0..1000 {
            // Dropped, and invalidated again and again.
            insert(&FileData::new(&pool), 0);
            let data = FileData::new(&pool);
            for _ in 0..3 {
                insert(&data, round);
                data.clear();
            }
            assert!(pool.queue.lock().len() <= 2 * 16 + 64 + 2, "round {round}");
        }
        assert!(pool.used_bytes() <= 2 * 4096);
        drop(live);
        assert_eq!(pool.used_bytes(), 0);
    }
}
