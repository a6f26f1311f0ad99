//! A counter for hot paths.

use core::sync::atomic::{AtomicU64, Ordering};

const PLACES: usize = 8;

/// A count in several places, each on a cache line of its own, so that threads that do different things seldom count in the
/// same one.
pub(crate) struct SpreadCounter {
    places: [Place; PLACES],
}

#[repr(align(128))]
struct Place(AtomicU64);

impl SpreadCounter {
    pub(crate) fn new() -> Self {
        Self { places: [const { Place(AtomicU64::new(0)) }; PLACES] }
    }

    /// Adds `more`; what the thread works on decides where.
    pub(crate) fn add<T>(&self, subject: &T, more: u64) {
        // What lies between neighbours in memory differs in these bits.
        let place = core::ptr::from_ref(subject).addr() >> 8;
        self.places[place % PLACES].0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.places.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}
