//! A virtqueue with several requests in flight.

mod layout;
mod ring;
mod segments;
mod slots;

#[cfg(any(test, fuzzing))]
pub(super) use ring::Descriptor;

use self::layout::Layout;
use self::ring::UsedIndex;
pub(super) use self::slots::Body;
use self::slots::{Finished, Sets, Slots};
use super::transport::RingAddresses;
use crate::session::Request;
use crate::wire::Unique;
use crate::{Error, Platform};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
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

    /// A queue for requests that have a reply.
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
/// Whoever looks at the used ring takes note of all that came back, for others too. Those who wait for it may sleep,
/// and the device rings for none of it a second time: so [`Platform::wake`] is called. The device is asked to ring
/// when somebody begins to wait, and again when something was taken from it while somebody waits for something else.
///
/// # Locking
///
/// One spin lock, held for the time of memory accesses only: never while the device is waited for, nor while the
/// platform is called. All fields are written under it (but for the end of a wait for others): so either a thread
/// that begins to wait sees what another one took note of, or that one sees that it waits.
pub(super) struct Queue<H: Hal> {
    /// The queue's number at the device.
    pub(super) number: u16,
    slots: Mutex<Slots<H>>,
    /// `used.idx`, as the device writes it, and how many used elements were taken: what a thread that waits may look
    /// at without the lock, which another thread may hold for its own purposes.
    used_index: UsedIndex<H>,
    taken: AtomicU16,
    /// Of the [`Sets`] of the slots.
    free: AtomicU64,
    ended: AtomicU64,
    /// The lowest number of the requests that nobody waits for, or [`NONE`].
    oldest_posted: AtomicU64,
    /// Slots that are not free, whose owners began to wait for them.
    awaited: AtomicU64,
    /// How many threads wait until slots are free, or until requests that nobody waits for came back.
    awaiting_others: AtomicU32,
}

/// More than any request's number.
const NONE: u64 = u64::MAX;

/// The text of a rule that the device broke.
pub(super) type BrokenRule = &'static str;

/// What a thread has in flight in one queue: a set of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owned {
    slots: u64,
}

impl Owned {
    pub(super) fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// How many requests are in flight.
    pub(super) fn len(&self) -> u32 {
        self.slots.count_ones()
    }
}

/// A thread that waits in a queue, as long as this lives.
pub(super) struct Waiting<'q, H: Hal> {
    queue: &'q Queue<H>,
    slots: u64,
    for_others: Option<ForOthers>,
}

/// What a thread may wait for that is not its own.
enum ForOthers {
    /// A free slot.
    Free,
    /// The end of all requests with lower numbers that nobody waits for.
    Posted { before: Unique },
}

impl<H: Hal> Waiting<'_, H> {
    /// The queue's number.
    pub(super) fn queue(&self) -> u16 {
        self.queue.number
    }

    /// Whether there is reason to look at the queue: what is waited for came true, or the device used something that
    /// nobody has taken note of.
    pub(super) fn is_over(&self) -> bool {
        let Queue { used_index, taken, free, ended, oldest_posted, .. } = self.queue;
        used_index.load() != taken.load(Ordering::Acquire)
            || ended.load(Ordering::Acquire) & self.slots != 0
            || match self.for_others {
                None => false,
                Some(ForOthers::Free) => free.load(Ordering::Acquire) != 0,
                Some(ForOthers::Posted { before }) => oldest_posted.load(Ordering::Acquire) >= before.0,
            }
    }
}

impl<H: Hal> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        if self.for_others.is_some() {
            self.queue.awaiting_others.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<H: Hal> Queue<H> {
    /// Queue `number`, for requests that have a reply.
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
        let Sets { free, ended, .. } = slots.sets();
        Ok(Self {
            number,
            slots: Mutex::new(slots),
            used_index,
            taken: AtomicU16::new(0),
            free: AtomicU64::new(free),
            ended: AtomicU64::new(ended),
            oldest_posted: AtomicU64::new(NONE),
            awaited: AtomicU64::new(0),
            awaiting_others: AtomicU32::new(0),
        })
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

    /// Does something with the slots, and wakes the threads that it concerns, but for the owner of `mine`.
    fn with_slots<T>(&self, platform: &dyn Platform, mine: Owned, work: impl FnOnce(&mut Slots<H>) -> T) -> T {
        let mut slots = self.slots.lock();
        let result = work(&mut slots);
        let Sets { free, ended, .. } = slots.sets();
        let oldest_posted = slots.oldest_posted().map_or(NONE, |unique| unique.0);
        let refusal = slots.take_refusal();
        let newly_free = free & !self.free.load(Ordering::Relaxed);
        // Even if its slot was taken again at once.
        let posted_ended = oldest_posted > self.oldest_posted.load(Ordering::Relaxed);
        let newly_ended = ended & !self.ended.load(Ordering::Relaxed);
        let awaited = self.awaited.load(Ordering::Relaxed) & !free;
        let others_await_others = self.awaiting_others.load(Ordering::Relaxed) != 0;
        let mut concerned =
            newly_ended & awaited & !mine.slots != 0 || (newly_free != 0 || posted_ended) && others_await_others;
        let others_wait = others_await_others || awaited & !ended & !mine.slots != 0;
        if others_wait && slots.taken() != self.taken.load(Ordering::Relaxed) {
            // The device was asked to ring for what was just taken from it. Those who still wait want the next ring.
            slots.ask_for_interrupt();
            concerned |= slots.has_used();
        }
        self.awaited.store(awaited, Ordering::Relaxed);
        self.free.store(free, Ordering::Release);
        self.ended.store(ended, Ordering::Release);
        self.oldest_posted.store(oldest_posted, Ordering::Release);
        // After the others: whoever sees this, and thus no reason to look at the used ring, sees what came from there.
        self.taken.store(slots.taken(), Ordering::Release);
        drop(slots);
        if concerned {
            platform.wake();
        }
        if let Some((unique, errno)) = refusal {
            log::debug!("{unique:?}, which nobody waits for, was refused: {errno}");
        }
        result
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
    pub(super) unsafe fn submit<'a, 'b>(
        &self,
        platform: &dyn Platform,
        owned: &mut Owned,
        source: &mut dyn FnMut() -> Option<(usize, Request<'a, 'b>)>,
        refused: &mut dyn FnMut(usize, Error),
    ) -> bool {
        self.with_slots(platform, *owned, |slots| {
            while slots.has_free() {
                let Some((place, request)) = source() else { break };
                // SAFETY: the caller vouches for the buffers.
                match unsafe { slots.submit(place, request) } {
                    Ok(index) => owned.slots |= 1 << index,
                    Err(error) => refused(place, error),
                }
            }
            slots.publish()
        })
    }

    /// Posts `request`, for which nobody will wait, if there is a free slot: whether the device wants a notification, or
    /// `None` without a slot. Whoever looks at the used ring later looks at its reply and frees its slot.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the request does not fit into a slot, which for a queue of requests without reply is
    /// [`POST_MAX_BYTES`]; [`Error::Protocol`] if the device broke a rule. It must be reset then.
    pub(super) fn post(&self, platform: &dyn Platform, request: &Request<'_, '_>) -> Result<Option<bool>, Error> {
        self.with_slots(platform, Owned::default(), |slots| {
            slots.harvest().map_err(Error::Protocol)?;
            if !slots.has_free() {
                return Ok(None);
            }
            slots.post(request)?;
            Ok(Some(slots.publish()))
        })
    }

    /// One request of `owned` that came to an end, if there is one. The fixed body of its reply is put into `body`.
    /// Takes note of what others wait for, too.
    ///
    /// # Errors
    ///
    /// The rule of the used ring, or of replies that nobody waits for, that the device broke. It must be reset then.
    pub(super) fn take_finished(
        &self,
        platform: &dyn Platform,
        owned: &mut Owned,
        body: &mut Body,
    ) -> Result<Option<Finished>, BrokenRule> {
        self.with_slots(platform, *owned, |slots| {
            // Even if there is one already: the ring that ended the wait may have been for another thread's.
            slots.harvest()?;
            Ok(slots.take_finished(&mut owned.slots, body))
        })
    }

    /// The lowest number above `above` of the requests of `owned` that the device has.
    pub(super) fn next_in_flight(&self, owned: &Owned, above: Unique) -> Option<Unique> {
        self.slots.lock().next_in_flight(owned.slots, above)
    }

    /// Takes note of all that came back, whoever waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`Self::take_finished`].
    pub(super) fn harvest(&self, platform: &dyn Platform) -> Result<(), BrokenRule> {
        self.with_slots(platform, Owned::default(), Slots::harvest)
    }

    /// Whether the device has a request with a number below `before` that nobody waits for, as far as somebody took note.
    pub(super) fn has_posted(&self, before: Unique) -> bool {
        self.oldest_posted.load(Ordering::Acquire) < before.0
    }

    /// Whether the device has buffers of callers, which only a reset can take back.
    pub(super) fn has_borrowed(&self) -> bool {
        self.slots.lock().has_borrowed()
    }

    /// Never gives the queue's own memory back: the device was not seen to stop.
    pub(super) fn abandon(&self) {
        self.slots.lock().abandon();
    }

    /// Begins to wait for one of `owned` to come to an end and, if `slot`, for a free slot as well.
    pub(super) fn wait_for(&self, owned: &Owned, slot: bool) -> Waiting<'_, H> {
        self.wait(owned.slots, slot.then_some(ForOthers::Free))
    }

    /// Begins to wait until it is not true that the queue [has posted](Self::has_posted) such requests.
    pub(super) fn wait_for_posted(&self, before: Unique) -> Waiting<'_, H> {
        self.wait(0, Some(ForOthers::Posted { before }))
    }

    fn wait(&self, awaited: u64, for_others: Option<ForOthers>) -> Waiting<'_, H> {
        let mut slots = self.slots.lock();
        self.awaited.store(self.awaited.load(Ordering::Relaxed) | awaited, Ordering::Relaxed);
        if for_others.is_some() {
            self.awaiting_others.fetch_add(1, Ordering::Relaxed);
        }
        slots.ask_for_interrupt();
        Waiting { queue: self, slots: awaited, for_others }
    }

    /// Whether somebody waits in this queue while the device used something that nobody has taken note of.
    pub(super) fn is_overdue(&self) -> bool {
        (self.awaited.load(Ordering::Relaxed) != 0 || self.awaiting_others.load(Ordering::Relaxed) != 0)
            && self.used_index.load() != self.taken.load(Ordering::Acquire)
    }

    /// Begins to give the device up: it gets no requests any more, and is not listened to.
    pub(super) fn close(&self) {
        self.slots.lock().close();
    }

    /// Takes all requests back after a reset of the device.
    pub(super) fn lose_all(&self, platform: &dyn Platform) {
        self.with_slots(platform, Owned::default(), Slots::lose_all);
    }
}
