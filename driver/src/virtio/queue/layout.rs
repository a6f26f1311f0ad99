//! What a queue's memory looks like.

use super::ring::Descriptor;
use virtio_drivers::PAGE_SIZE;

/// The shape of a queue, settled when the device is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Descriptors in the ring: a power of two.
    pub(super) size: u16,
    /// Requests that can be in flight: at most 64.
    pub(super) slots: u16,
    /// Descriptors of the longest chain.
    pub(super) chain: u16,
    /// Chains of more than one descriptor lie in an indirect table of their slot. If not, each slot has descriptors of
    /// the ring to itself.
    pub(super) indirect: bool,
    /// Room for a request's header, arguments and names (and, if posted, its payload), in bytes.
    pub(super) request_bytes: usize,
    /// Room for a reply's header and fixed body, in bytes.
    pub(super) reply_bytes: usize,
    pub(super) event_index: bool,
    pub(super) interrupts: bool,
}

impl Layout {
    /// The segments of caller memory that fit into a chain: all descriptors but those of the request's and the reply's
    /// head.
    pub(super) fn segments(&self) -> usize {
        usize::from(self.chain).saturating_sub(2)
    }

    /// The most bytes of data of one request, at worst: one that starts inside a page and whose pages are scattered.
    pub(super) fn max_data_bytes(&self) -> usize {
        self.segments().saturating_sub(1) * PAGE_SIZE
    }

    /// The descriptor of the ring that stands for a slot's chain.
    pub(super) fn head(&self, slot: usize) -> u16 {
        slot as u16 * self.descriptors_per_slot()
    }

    pub(super) fn descriptors_per_slot(&self) -> u16 {
        if self.indirect { 1 } else { self.chain }
    }

    pub(super) fn reply_offset(&self) -> usize {
        self.request_bytes.next_multiple_of(16)
    }

    pub(super) fn table_offset(&self) -> usize {
        (self.reply_offset() + self.reply_bytes).next_multiple_of(16)
    }

    /// The bytes of each slot's own memory.
    pub(super) fn slot_bytes(&self) -> usize {
        let table = if self.indirect { Descriptor::BYTES * usize::from(self.chain) } else { 0 };
        self.table_offset() + table
    }
}
