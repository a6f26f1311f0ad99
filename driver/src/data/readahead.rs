//! How far a file is read ahead.

use super::PAGE_BYTES;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Where an open file was read last, and how far it is read ahead while that goes on in sequence. Threads that read one
/// open file together may take each other's place for theirs: that costs reading ahead, and nothing else.
pub(crate) struct Readahead {
    /// Where the next read is if it is sequential.
    next: AtomicU64,
    window_bytes: AtomicU64,
}

/// The most transfers that are read ahead.
const MAX_TRANSFERS: u64 = 4;

impl Readahead {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(0), window_bytes: AtomicU64::new(0) }
    }

    /// Whether a read from byte `start` on goes on where the last one ended.
    pub(crate) fn is_next(&self, start: u64) -> bool {
        start == self.next.load(Ordering::Relaxed)
    }

    /// A read up to byte `end` is done.
    pub(crate) fn note(&self, end: u64) {
        self.next.store(end, Ordering::Relaxed);
    }

    /// Up to where to read from byte `at` on, that is not kept, for a read that began at `start` and goes to `end`. A
    /// transfer is so long, and there is a budget.
    pub(crate) fn target(&self, start: u64, at: u64, end: u64, transfer_bytes: usize, budget_bytes: usize) -> u64 {
        if !self.is_next(start) {
            self.window_bytes.store(0, Ordering::Relaxed);
            return end;
        }
        let transfer = transfer_bytes as u64;
        // What is read ahead must not drive out what was.
        let most = (MAX_TRANSFERS * transfer).min(budget_bytes as u64 / 4).max(PAGE_BYTES as u64);
        let window = (2 * self.window_bytes.load(Ordering::Relaxed)).max(transfer).min(most);
        self.window_bytes.store(window, Ordering::Relaxed);
        let ahead = at.saturating_add(window);
        // Whole transfers, one after the other, need the fewest requests.
        let aligned = ahead - ahead % transfer.min(most);
        if aligned > at { aligned.max(end) } else { ahead.max(end) }
    }
}
