//! A counter for hot paths.

use core::sync::atomic::{AtomicU64, Ordering};

/// A power of two.
const PLACES: usize = 32;

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
        // Multiplied by 2^64 / golden ratio the upper bits depend on all bits of the address.
        let mixed = (core::ptr::from_ref(subject).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> (u64::BITS - PLACES.ilog2())) as usize;
        self.places[place].0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.places.iter().map(|place| place.0.load(Ordering::Relaxed)).sum()
    }
}
