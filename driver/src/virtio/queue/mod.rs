//! A virtqueue with several requests in flight.

mod ring;
mod segments;
mod slots;

#[cfg(test)]
pub(super) use ring::Descriptor;

use self::ring::UsedIndex;
use self::slots::{Finished, Layout, Slots};
use super::transport::RingAddresses;
use crate::Error;
use crate::session::Request;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use spin::Mutex;
use virtio_drivers::Hal;

/// The most slots of a queue: a set of slots is a `u64`.
const MAX_SLOTS: u16 = 64;
/// Without indirect tables a slot has at least this many descriptors of the ring.
const MIN_DIRECT_CHAIN: u16 = 16;

/// What the device allows, and what the driver wants of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueOptions {
    /// The largest size the device allows, in descriptors.
    pub(super) max_size: u16,
    /// How many requests may be in flight.
    pub(super) slots: u16,
    /// The most bytes of data of one request.
    pub(super) max_data_bytes: usize,
    /// `VIRTIO_F_INDIRECT_DESC` is negotiated.
    pub(super) indirect: bool,
    /// `VIRTIO_F_EVENT_IDX` is negotiated.
    pub(super) event_index: bool,
    /// Somebody listens to the queue's interrupt.
    pub(super) interrupts: bool,
}

impl QueueOptions {
    /// The largest ring the driver uses, in descriptors.
    const MAX_SIZE: u16 = 1024;

    /// A queue for requests whose reply somebody waits for.
    fn requests(&self) -> Result<Layout, Error> {
        let size = self.size()?;
        // Request head, reply head, and one page more than the data has if it starts inside a page.
        let pages = self.max_data_bytes.max(1).div_ceil(virtio_drivers::PAGE_SIZE) + 1;
        let wanted = u16::try_from(pages + 2).unwrap_or(u16::MAX).min(size);
        let slots = self.slots.clamp(1, MAX_SLOTS);
        let (slots, chain) = if self.indirect {
            (slots.min(size), wanted)
        } else {
            let slots = slots.min((size / MIN_DIRECT_CHAIN).max(1));
            (slots, wanted.min(size / slots))
        };
        if chain < 4 {
            return Err(Error::Protocol("a queue is too small for one request"));
        }
        let request_bytes = Request::HEAD_MAX_BYTES;
        let reply_bytes = crate::wire::OutHeader::BYTES + Request::BODY_MAX_BYTES;
        Ok(self.layout(size, slots, chain, request_bytes, reply_bytes))
    }

    /// A queue for requests without reply.
    fn posts(&self) -> Result<Layout, Error> {
        let size = self.size()?;
        Ok(self.layout(size, self.slots.clamp(1, size.min(MAX_SLOTS)), 1, POST_MAX_BYTES, 0))
    }

    /// The size of the ring: a power of two, whatever the device says.
    fn size(&self) -> Result<u16, Error> {
        match self.max_size.min(Self::MAX_SIZE).checked_ilog2() {
            Some(log2) => Ok(1 << log2),
            None => Err(Error::Protocol("the device lacks a queue that it must have")),
        }
    }

    fn layout(&self, size: u16, slots: u16, chain: u16, request_bytes: usize, reply_bytes: usize) -> Layout {
        let Self { indirect, event_index, interrupts, .. } = *self;
        let indirect = indirect && chain > 1;
        Layout { size, slots, chain, indirect, request_bytes, reply_bytes, event_index, interrupts }
    }
}

/// The longest request that can be posted, in bytes.
pub(crate) const POST_MAX_BYTES: usize = 4096;

/// A virtqueue. Several threads may use it at the same time; each takes back the requests that it submitted.
///
/// # Locking
///
/// One spin lock, held for the time of memory accesses only: never while the device is waited for.
pub(super) struct Queue<H: Hal> {
    /// The queue's number at the device.
    pub(super) number: u16,
    slots: Mutex<Slots<H>>,
    /// `used.idx`, as the device writes it, and how many used elements were taken: what a thread that waits may look
    /// at without the lock, which another thread may hold for its own purposes. Written under the lock.
    used_index: UsedIndex<H>,
    taken: AtomicU16,
    /// Advances whenever requests came back or slots became free, so that a waiting thread sees what another one took
    /// note of. Written under the lock of `slots`.
    progress: AtomicU32,
}

/// The text of a rule that the device broke.
pub(super) type BrokenRule = &'static str;

/// What a thread has in flight in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    slots: u64,
    /// The value of [`Queue::progress`] when the queue was observed last.
    seen: u32,
}

impl Owned {
    pub(super) fn is_empty(&self) -> bool {
        self.slots == 0
    }
}

impl<H: Hal> Queue<H> {
    /// Queue `number`, for requests whose reply somebody waits for.
    pub(super) fn for_requests(number: u16, options: &QueueOptions) -> Result<Self, Error> {
        Self::new(number, options.requests()?)
    }

    /// Queue `number`, for requests without reply.
    pub(super) fn for_posts(number: u16, options: &QueueOptions) -> Result<Self, Error> {
        Self::new(number, options.posts()?)
    }

    fn new(number: u16, layout: Layout) -> Result<Self, Error> {
        log::debug!("queue {number}: {layout:?}");
        let slots = Slots::new(layout)?;
        let used_index = slots.used_index_view();
        Ok(Self { number, slots: Mutex::new(slots), used_index, taken: AtomicU16::new(0), progress: AtomicU32::new(0) })
    }

    pub(super) fn size(&self) -> u16 {
        self.slots.lock().size()
    }

    pub(super) fn addresses(&self) -> RingAddresses {
        self.slots.lock().addresses()
    }

    /// How many requests can be in flight.
    pub(super) fn slots(&self) -> usize {
        self.slots.lock().count()
    }

    pub(super) fn max_data_bytes(&self) -> usize {
        self.slots.lock().max_data_bytes()
    }

    /// Submits requests from `source` while there are both requests and free slots. Says whether the device wants a
    /// notification.
    ///
    /// `source` gives each request with its place in the owner's sequence; one that cannot be sent is given to
    /// `refused`.
    ///
    /// # Safety
    ///
    /// The buffers of the requests must stay valid, and be left alone, until `owned` is empty again.
    pub(super) unsafe fn submit<'a>(
        &self,
        owned: &mut Owned,
        source: &mut dyn FnMut() -> Option<(usize, Request<'a>)>,
        refused: &mut dyn FnMut(usize, Error),
    ) -> bool {
        let mut slots = self.slots.lock();
        while slots.has_free() {
            let Some((place, request)) = source() else { break };
            // SAFETY: the caller vouches for the buffers.
            match unsafe { slots.submit(place, request) } {
                Ok(index) => owned.slots |= 1 << index,
                Err(error) => refused(place, error),
            }
        }
        slots.publish()
    }

    /// Posts `request`, if there is a free slot: whether the device wants a notification, or `None` without a slot.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the request is longer than [`POST_MAX_BYTES`]; [`Error::Protocol`] if the device broke the
    /// rules of the used ring. It must be reset then.
    pub(super) fn post(&self, request: &Request<'_>) -> Result<Option<bool>, Error> {
        let mut slots = self.slots.lock();
        self.harvest(&mut slots).map_err(Error::Protocol)?;
        if !slots.has_free() {
            return Ok(None);
        }
        slots.post(request)?;
        Ok(Some(slots.publish()))
    }

    /// One request of `owned` that came to an end, if there is one.
    ///
    /// # Errors
    ///
    /// The rule of the used ring that the device broke. It must be reset then.
    pub(super) fn take_finished(&self, owned: &mut Owned) -> Result<Option<Finished>, BrokenRule> {
        let mut slots = self.slots.lock();
        let mut finished = slots.take_finished(&mut owned.slots);
        if finished.is_none() {
            self.harvest(&mut slots)?;
            finished = slots.take_finished(&mut owned.slots);
        }
        if finished.is_some() {
            self.note_progress();
        }
        Ok(finished)
    }

    fn harvest(&self, slots: &mut Slots<H>) -> Result<(), BrokenRule> {
        if slots.harvest()? {
            self.taken.store(slots.taken(), Ordering::Release);
            self.note_progress();
        }
        Ok(())
    }

    /// Whether the device has no request of this queue.
    ///
    /// # Errors
    ///
    /// The rule of the used ring that the device broke. It must be reset then.
    pub(super) fn is_idle(&self) -> Result<bool, BrokenRule> {
        let mut slots = self.slots.lock();
        self.harvest(&mut slots)?;
        Ok(slots.is_idle())
    }

    /// Whether the device has buffers of callers, which only a reset can take back.
    pub(super) fn has_borrowed(&self) -> bool {
        self.slots.lock().has_borrowed()
    }

    /// Never gives the queue's own memory back: the device was not seen to stop.
    pub(super) fn abandon(&self) {
        self.slots.lock().abandon();
    }

    /// Remembers how far the queue is. A thread does this before it looks for what it needs, a free slot or a finished
    /// request, and waits for [`Self::has_progress`] if it found neither: what comes after this call ends the wait.
    pub(super) fn observe(&self, owned: &mut Owned) {
        owned.seen = self.progress.load(Ordering::Acquire);
    }

    /// Whether anything came back or became free since the queue was observed.
    pub(super) fn has_progress(&self, owned: &Owned) -> bool {
        self.progress.load(Ordering::Acquire) != owned.seen
            || self.used_index.load() != self.taken.load(Ordering::Acquire)
    }

    /// Begins to give the device up: it gets no requests any more, and is not listened to.
    pub(super) fn close(&self) {
        self.slots.lock().close();
    }

    /// Takes all requests back after a reset of the device.
    pub(super) fn lose_all(&self) {
        self.slots.lock().lose_all();
        self.note_progress();
    }

    fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Release);
    }
}
