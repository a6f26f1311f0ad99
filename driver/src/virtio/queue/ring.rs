//! The three parts of a split virtqueue in memory (VIRTIO 1.3 §2.7).

use super::super::dma::DmaRegion;
use super::super::transport::RingAddresses;
use crate::Error;
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};
use virtio_drivers::{Hal, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One descriptor: a piece of memory of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(in crate::virtio) struct Descriptor {
    pub(in crate::virtio) addr: u64,
    pub(in crate::virtio) len: u32,
    pub(in crate::virtio) flags: u16,
    pub(in crate::virtio) next: u16,
}

impl Descriptor {
    pub(in crate::virtio) const BYTES: usize = size_of::<Self>();
    /// `VIRTQ_DESC_F_NEXT`: the chain goes on at `next`.
    pub(in crate::virtio) const NEXT: u16 = 1;
    /// `VIRTQ_DESC_F_WRITE`: for the device to write.
    pub(in crate::virtio) const WRITE: u16 = 2;
    /// `VIRTQ_DESC_F_INDIRECT`: a table of descriptors.
    pub(in crate::virtio) const INDIRECT: u16 = 4;
}

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u16 = 1;
/// `VIRTQ_USED_F_NO_NOTIFY`.
const NO_NOTIFY: u16 = 1;

/// A split virtqueue: descriptor table, available ring, used ring.
///
/// The driver's own indices are kept here; of what the device writes only `used.idx`, the used elements and the event
/// index are read, and only `used.idx` and the elements have an effect beyond one doorbell write too many or too few.
pub(super) struct SplitRing<H: Hal> {
    memory: Arc<DmaRegion<H>>,
    size: u16,
    event_index: bool,
    interrupts: bool,
    /// The next `avail.idx`; runs ahead of what the device sees until [`Self::publish`].
    available_index: u16,
    /// The `avail.idx` that the device sees.
    published_index: u16,
    /// How many used elements were taken.
    used_index: u16,
    /// The element at which the device was asked to raise an interrupt.
    interrupt_event: Option<u16>,
}

impl<H: Hal> SplitRing<H> {
    /// A ring of `size` descriptors, a power of two.
    pub(super) fn new(size: u16, event_index: bool, interrupts: bool) -> Result<Self, Error> {
        let memory = Arc::new(DmaRegion::new(Self::used_offset(size) + 6 + 8 * usize::from(size))?);
        let mut ring = Self {
            memory,
            size,
            event_index,
            interrupts,
            available_index: 0,
            published_index: 0,
            used_index: 0,
            interrupt_event: None,
        };
        // With the event index, the flags stay 0 (VIRTIO 1.3 §2.7.7.1).
        if !interrupts && !event_index {
            ring.memory.write(Self::available_offset(size), NO_INTERRUPT);
        }
        ring.ask_for_interrupt();
        Ok(ring)
    }

    /// A view of `used.idx` for those who do not own the ring.
    pub(super) fn used_index_view(&self) -> UsedIndex<H> {
        UsedIndex { memory: self.memory.clone(), offset: Self::used_offset(self.size) + 2 }
    }

    /// How many used elements were taken, modulo 2¹⁶.
    pub(super) fn taken(&self) -> u16 {
        self.used_index
    }

    /// Never gives the ring's memory back.
    pub(super) fn abandon(&self) {
        self.memory.abandon();
    }

    fn available_offset(size: u16) -> usize {
        Descriptor::BYTES * usize::from(size)
    }

    fn used_offset(size: u16) -> usize {
        // On a page of its own: the device writes this part, the driver the others.
        (Self::available_offset(size) + 6 + 2 * usize::from(size)).next_multiple_of(PAGE_SIZE)
    }

    /// Where the device writes `avail_event`: behind the used elements.
    fn available_event_offset(size: u16) -> usize {
        Self::used_offset(size) + 4 + 8 * usize::from(size)
    }

    pub(super) fn addresses(&self) -> RingAddresses {
        RingAddresses {
            descriptors: self.memory.paddr(0),
            available: self.memory.paddr(Self::available_offset(self.size)),
            used: self.memory.paddr(Self::used_offset(self.size)),
        }
    }

    /// Writes descriptor `index` of the table.
    pub(super) fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.memory.write(Descriptor::BYTES * usize::from(index), descriptor);
    }

    /// Puts the chain that starts at descriptor `head` into the available ring. The device sees it after
    /// [`Self::publish`].
    pub(super) fn make_available(&mut self, head: u16) {
        let entry = usize::from(self.available_index & (self.size - 1));
        self.memory.write(Self::available_offset(self.size) + 4 + 2 * entry, head);
        self.available_index = self.available_index.wrapping_add(1);
    }

    /// Shows the device all chains made available; says whether it wants a notification for them.
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published_index, self.available_index);
        if old == new {
            return false;
        }
        // Release: the chains and their memory are written before the index that leads to them.
        self.memory.atomic_u16(Self::available_offset(self.size) + 2).store(new, Ordering::Release);
        self.published_index = new;
        // The device writes its wish, then looks at the index; the driver writes the index, then looks at the wish.
        // Only a full fence on both sides excludes that each misses the other's write.
        fence(Ordering::SeqCst);
        if self.event_index {
            let event = self.memory.atomic_u16(Self::available_event_offset(self.size)).load(Ordering::Relaxed);
            // The device asked to hear when the index passes `event`: is it among the entries old..new? Modulo 2^16.
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.memory.atomic_u16(Self::used_offset(self.size)).load(Ordering::Relaxed) & NO_NOTIFY == 0
        }
    }

    /// How many used elements the device says are waiting.
    pub(super) fn used_waiting(&self) -> u16 {
        let index = self.memory.atomic_u16(Self::used_offset(self.size) + 2).load(Ordering::Acquire);
        index.wrapping_sub(self.used_index)
    }

    /// Takes the next used element, of which [`Self::used_waiting`] told: the head of its chain, and the bytes the
    /// device says it wrote. Neither is to be believed.
    pub(super) fn take_used(&mut self) -> (u32, u32) {
        let entry = usize::from(self.used_index & (self.size - 1));
        let offset = Self::used_offset(self.size) + 4 + 8 * entry;
        self.used_index = self.used_index.wrapping_add(1);
        (self.memory.read(offset), self.memory.read(offset + 4))
    }

    /// Asks the device to raise an interrupt at the next element it uses, or, if nobody listens, at none for as long as
    /// can be told. The device is not asked twice for the same element.
    pub(super) fn ask_for_interrupt(&mut self) {
        let event = if self.interrupts { self.used_index } else { self.used_index.wrapping_sub(1) };
        if !self.event_index || self.interrupt_event == Some(event) {
            return;
        }
        self.interrupt_event = Some(event);
        let offset = Self::available_offset(self.size) + 4 + 2 * usize::from(self.size);
        self.memory.atomic_u16(offset).store(event, Ordering::Relaxed);
        // As in `publish`, with the roles exchanged; the caller looks at `used.idx` after this.
        fence(Ordering::SeqCst);
    }
}

/// `used.idx` of a ring, readable without the ring's lock.
pub(super) struct UsedIndex<H: Hal> {
    memory: Arc<DmaRegion<H>>,
    offset: usize,
}

impl<H: Hal> UsedIndex<H> {
    pub(super) fn load(&self) -> u16 {
        self.memory.atomic_u16(self.offset).load(Ordering::Acquire)
    }
}
