//! What a guest does (section 5).

use crate::atomic::{AtomicU64, Ordering};
use crate::key::Slot;
use crate::table::{MARKED, Table, at};

/// What is read before a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The stamp of what the reply tells.
    pub clock: u64,
    /// All changes up to that were in their slots.
    pub is_settled: bool,
}

impl<M: AsRef<[AtomicU64]>> Table<M> {
    /// To be taken before a request is sent whose reply will be kept, and, for a change, before the look whether what is
    /// kept of its objects is valid.
    pub fn sample(&self) -> Sample {
        // In this order: what is settled by then has its number in the clock.
        let settled = self.word(at::SETTLED).load(Ordering::Acquire);
        let clock = self.word(at::CLOCK).load(Ordering::Acquire);
        Sample { clock, is_settled: settled == clock }
    }

    /// Whether what has this stamp, and its key in this slot, is as new as the last change that was acknowledged.
    pub fn is_valid(&self, slot: Slot, stamp: u64) -> bool {
        let version = self.version(slot);
        version <= stamp && version != MARKED && !self.is_void(stamp)
    }

    /// Whether nothing with this stamp is valid, whatever its slot.
    pub fn is_void(&self, stamp: u64) -> bool {
        self.word(at::FLOOR).load(Ordering::Acquire) > stamp
    }

    /// The stamp of what own changes determine that are acknowledged now, `changes` requests sent after the sample that
    /// succeeded. `None` if anybody else changed something since, or may have before.
    pub fn stamp_after_own(&self, sample: Sample, changes: u64) -> Option<u64> {
        let stamp = sample.clock.checked_add(changes)?;
        let is_alone = sample.is_settled && self.word(at::CLOCK).load(Ordering::Acquire) == stamp;
        is_alone.then_some(stamp)
    }
}
