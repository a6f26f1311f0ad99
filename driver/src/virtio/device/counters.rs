//! What a device in operation counts.

use crate::session::Traffic;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Counters {
    doorbells: AtomicU64,
    interrupts: AtomicU64,
    most_in_flight: AtomicU32,
}

impl Counters {
    /// The doorbell of a queue is rung.
    pub(super) fn rang(&self) {
        self.doorbells.fetch_add(1, Ordering::Relaxed);
    }

    /// An INTERRUPT was sent.
    pub(super) fn interrupted(&self) {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
    }

    /// One call has so many requests in flight.
    pub(super) fn in_flight(&self, requests: u32) {
        self.most_in_flight.fetch_max(requests, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Traffic {
        Traffic {
            doorbells: self.doorbells.load(Ordering::Relaxed),
            interrupts: self.interrupts.load(Ordering::Relaxed),
            most_in_flight: self.most_in_flight.load(Ordering::Relaxed).into(),
        }
    }
}
