//! The requests that are in flight in one queue: their memory, their state, their way into the ring and back.

use super::super::dma::DmaRegion;
use super::super::transport::RingAddresses;
use super::BrokenRule;
use super::layout::Layout;
use super::ring::{Descriptor, SplitRing, UsedIndex};
use super::segments::Segments;
use crate::session::{Expected, Request};
use crate::wire::{OutHeader, Unique};
use crate::{Errno, Error};
use alloc::vec::Vec;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal};
use zerocopy::FromBytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// The device has the request, and somebody waits for it.
    InFlight,
    /// The device has the request, and nobody waits for it.
    Posted,
    /// The device gave the request back and says it wrote so many bytes.
    Used {
        written: usize,
    },
    /// The device was reset.
    Lost,
}

struct Slot<H: Hal> {
    state: State,
    expected: Expected,
    /// Which of its owner's requests this is.
    place: usize,
    /// The bytes the device may write.
    writable: usize,
    segments: Segments<H>,
}

/// A request that came to an end.
pub(in crate::virtio) struct Finished {
    /// Which of its owner's requests this was.
    pub(in crate::virtio) place: usize,
    /// The number of bytes of data.
    pub(in crate::virtio) result: Result<usize, Error>,
    /// The length of the fixed body.
    pub(in crate::virtio) body_bytes: usize,
}

/// The request that was refused, and why.
pub(super) type Refusal = (Unique, Errno);

/// Room for the fixed body of a reply.
pub(in crate::virtio) type Body = [u8; Request::BODY_MAX_BYTES];

/// Buffers that the device was not told of yet: taken back when this is dropped, by an error or by a `Hal` that panics.
struct Sharing<'s, H: Hal>(&'s mut Segments<H>);

impl<H: Hal> Drop for Sharing<'_, H> {
    fn drop(&mut self) {
        // SAFETY: the device was not told of the segments, and the buffers are still borrowed by the caller of
        // `submit`.
        unsafe { self.0.unshare() };
    }
}

/// Slots by their state, a bit for each: what can be known without a look at every slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) free: u64,
    /// The device has them, and nobody waits for them.
    pub(super) posted: u64,
    /// Used or lost, and not taken by their owner yet.
    pub(super) ended: u64,
}

/// A queue's ring and slots.
pub(super) struct Slots<H: Hal> {
    ring: SplitRing<H>,
    layout: Layout,
    /// Per slot: request, reply, indirect table.
    memory: DmaRegion<H>,
    slots: Vec<Slot<H>>,
    sets: Sets,
    in_flight: u16,
    /// The last of the requests that nobody waits for that the server refused, until it is [told](Self::take_refusal).
    refusal: Option<Refusal>,
    /// The device is given up: it gets no requests any more, and is not listened to.
    closed: bool,
}

impl<H: Hal> Slots<H> {
    pub(super) fn new(layout: Layout) -> Result<Self, Error> {
        let ring = SplitRing::new(layout.size, layout.event_index, layout.interrupts)?;
        let memory = DmaRegion::new(layout.slot_bytes() * usize::from(layout.slots))?;
        let mut slots = Vec::new();
        slots.try_reserve_exact(layout.slots.into()).map_err(|_| Error::NoMemory)?;
        for _ in 0..layout.slots {
            let segments = Segments::new(layout.segments())?;
            slots.push(Slot { state: State::Free, expected: Expected::NOTHING, place: 0, writable: 0, segments });
        }
        let sets = Sets { free: u64::MAX >> (u64::BITS - u32::from(layout.slots)), posted: 0, ended: 0 };
        Ok(Self { ring, layout, memory, slots, sets, in_flight: 0, refusal: None, closed: false })
    }

    pub(super) fn addresses(&self) -> RingAddresses {
        self.ring.addresses()
    }

    pub(super) fn size(&self) -> u16 {
        self.layout.size
    }

    /// How many slots there are.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn max_data_bytes(&self) -> usize {
        self.layout.max_data_bytes()
    }

    /// Whether a request can be submitted or posted.
    pub(super) fn has_free(&self) -> bool {
        !self.closed && self.sets.free != 0
    }

    /// Which slots are free, which nobody waits for, and which came to an end.
    pub(super) fn sets(&self) -> Sets {
        self.sets
    }

    pub(super) fn used_index_view(&self) -> UsedIndex<H> {
        self.ring.used_index_view()
    }

    /// How many used elements were taken, modulo 2¹⁶.
    pub(super) fn taken(&self) -> u16 {
        self.ring.taken()
    }

    /// The lowest number of the requests that the device has and nobody waits for.
    pub(super) fn oldest_posted(&self) -> Option<Unique> {
        let mut left = self.sets.posted;
        let posted = core::iter::from_fn(|| {
            let index = left.checked_ilog2()? as usize;
            left &= !(1 << index);
            Some(self.slots[index].expected.unique)
        });
        posted.min_by_key(|unique| unique.0)
    }

    /// A refusal by the server that nobody heard of.
    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Whether the device has buffers of callers.
    pub(super) fn has_borrowed(&self) -> bool {
        self.slots.iter().any(|slot| slot.state == State::InFlight && !slot.segments.as_slice().is_empty())
    }

    /// Never gives the queue's own memory back.
    pub(super) fn abandon(&self) {
        self.ring.abandon();
        self.memory.abandon();
    }

    /// Makes `request`, its owner's number `place`, available to the device and gives the number of its slot. There
    /// must be a free one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the request's buffers lie in more pieces than a chain has room for.
    ///
    /// # Safety
    ///
    /// The buffers of `request` must stay valid, and be left alone, until [`Self::take_finished`] gave the slot back.
    pub(super) unsafe fn submit(&mut self, place: usize, mut request: Request<'_, '_>) -> Result<usize, Error> {
        let index = self.free_slot()?;
        let base = index * self.layout.slot_bytes();
        let expected = Expected::of(&request);
        let head_bytes = self.copy_head(base, &request)?;

        let slot = &mut self.slots[index];
        let shared = Sharing(&mut slot.segments);
        let readable = request.payload();
        let readable = readable.slices().map(|slice| (NonNull::from(slice), BufferDirection::DriverToDevice));
        let writable = request.data().slices().map(|slice| (NonNull::from(slice), BufferDirection::DeviceToDriver));
        for (slice, direction) in readable.chain(writable) {
            // SAFETY: the caller vouches for the buffers.
            if !unsafe { shared.0.share(slice, direction) } {
                return Err(Error::Invalid(Errno::EINVAL));
            }
        }
        core::mem::forget(shared);
        slot.expected = expected;
        slot.place = place;
        slot.writable = request.reply_head_bytes() + request.data().len();
        self.set_state(index, State::InFlight);
        self.write_chain(index, head_bytes, request.reply_head_bytes());
        Ok(index)
    }

    /// Makes a request that nobody waits for available to the device, all of it copied. There must be a free slot. If the
    /// queue has room for replies, the head of one is expected.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the request is longer than a slot.
    pub(super) fn post(&mut self, request: &Request<'_, '_>) -> Result<(), Error> {
        let index = self.free_slot()?;
        let base = index * self.layout.slot_bytes();
        let mut bytes = self.copy_head(base, request)?;
        let payload = request.payload();
        if bytes + payload.len() > self.layout.request_bytes {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        for slice in payload.slices() {
            self.memory.copy_in(base + bytes, slice);
            bytes += slice.len();
        }
        let reply_bytes = if self.has_replies() { request.reply_head_bytes() } else { 0 };
        self.slots[index].expected = Expected::of(request);
        self.slots[index].writable = reply_bytes;
        self.set_state(index, State::Posted);
        self.write_chain(index, bytes, reply_bytes);
        Ok(())
    }

    /// Whether requests of this queue are answered.
    fn has_replies(&self) -> bool {
        self.layout.reply_bytes > 0
    }

    fn free_slot(&self) -> Result<usize, Error> {
        let free = self.sets.free;
        if free == 0 { Err(Error::Invalid(Errno::EBUSY)) } else { Ok(free.trailing_zeros() as usize) }
    }

    fn set_state(&mut self, index: usize, state: State) {
        let put = |set: &mut u64, member: bool| *set = *set & !(1 << index) | u64::from(member) << index;
        put(&mut self.sets.free, state == State::Free);
        put(&mut self.sets.posted, state == State::Posted);
        put(&mut self.sets.ended, matches!(state, State::Used { .. } | State::Lost));
        self.slots[index].state = state;
    }

    /// Copies header, arguments and names into the slot's memory at `base`; gives their length.
    fn copy_head(&self, base: usize, request: &Request<'_, '_>) -> Result<usize, Error> {
        let mut bytes = 0;
        for piece in request.head() {
            if bytes + piece.len() > self.layout.request_bytes {
                return Err(Error::Invalid(Errno::EINVAL));
            }
            self.memory.copy_in(base + bytes, piece);
            bytes += piece.len();
        }
        Ok(bytes)
    }

    /// Writes the slot's chain: request head, readable segments, reply head, writable segments (VIRTIO 1.3 §2.7.4.2
    /// wants the writable part last), and makes it available.
    fn write_chain(&mut self, index: usize, head_bytes: usize, reply_bytes: usize) {
        let layout = self.layout;
        let base = index * layout.slot_bytes();
        let head = layout.head(index);
        let segments = self.slots[index].segments.as_slice();
        let is_readable = |direction| direction == BufferDirection::DriverToDevice;
        let piece = |addr, len: usize, flags| Descriptor { addr, len: len as u32, flags, next: 0 };

        let request = piece(self.memory.paddr(base), head_bytes, 0);
        let reply = piece(self.memory.paddr(base + layout.reply_offset()), reply_bytes, Descriptor::WRITE);
        let readable = segments.iter().filter(|segment| is_readable(segment.direction));
        let writable = segments.iter().filter(|segment| !is_readable(segment.direction));
        let chain = core::iter::once(request)
            .chain(readable.map(|segment| piece(segment.paddr, segment.len, 0)))
            .chain((reply_bytes > 0).then_some(reply))
            .chain(writable.map(|segment| piece(segment.paddr, segment.len, Descriptor::WRITE)));
        let length = 1 + usize::from(reply_bytes > 0) + segments.len();

        let in_table = layout.indirect && length > 1;
        for (at, mut descriptor) in chain.enumerate() {
            if at + 1 < length {
                descriptor.flags |= Descriptor::NEXT;
                descriptor.next = if in_table { 0 } else { head } + at as u16 + 1;
            }
            if in_table {
                self.memory.write(base + layout.table_offset() + at * Descriptor::BYTES, descriptor);
            } else {
                self.ring.set_descriptor(head + at as u16, descriptor);
            }
        }
        if in_table {
            let table = self.memory.paddr(base + layout.table_offset());
            self.ring.set_descriptor(head, piece(table, length * Descriptor::BYTES, Descriptor::INDIRECT));
        }
        self.ring.make_available(head);
        self.in_flight += 1;
    }

    /// Shows the device all new requests; says whether it wants a notification.
    pub(super) fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    /// Takes note of all requests that the device gave back, whoever waits for them.
    ///
    /// # Errors
    ///
    /// The rule of the used ring, or of replies that nobody waits for, that the device broke. It must be reset then.
    pub(super) fn harvest(&mut self) -> Result<(), BrokenRule> {
        while !self.closed {
            let waiting = self.ring.used_waiting();
            if waiting == 0 {
                break;
            }
            if waiting > self.in_flight {
                return Err("the device used more buffers than it has");
            }
            for _ in 0..waiting {
                let (id, len) = self.ring.take_used();
                self.note_used(id, len as usize)?;
            }
        }
        Ok(())
    }

    /// Whether the device used something that nobody has taken note of.
    pub(super) fn has_used(&self) -> bool {
        !self.closed && self.ring.used_waiting() != 0
    }

    /// Asks the device to raise an interrupt at the next element it uses. The caller looks at `used.idx` after this.
    pub(super) fn ask_for_interrupt(&mut self) {
        self.ring.ask_for_interrupt();
    }

    fn note_used(&mut self, id: u32, written: usize) -> Result<(), BrokenRule> {
        let stride = u32::from(self.layout.descriptors_per_slot());
        let index = (id / stride) as usize;
        let slot = if id.is_multiple_of(stride) { self.slots.get(index) } else { None };
        let slot = slot.ok_or("the device used a buffer that does not exist")?;
        if written > slot.writable {
            return Err("the device wrote more than it was given");
        }
        let state = match slot.state {
            State::InFlight => State::Used { written },
            State::Posted => {
                self.check_posted(index, written)?;
                State::Free
            }
            _ => return Err("the device used a buffer that it does not have"),
        };
        self.set_state(index, state);
        self.in_flight -= 1;
        Ok(())
    }

    /// Checks the reply to a request that nobody waits for, if it has one.
    fn check_posted(&mut self, index: usize, written: usize) -> Result<(), BrokenRule> {
        if !self.has_replies() {
            return Ok(());
        }
        let expected = self.slots[index].expected;
        match self.check_reply(index, written) {
            Err(Error::Protocol(rule)) => return Err(rule),
            Err(Error::Refused(errno)) => self.refusal = Some((expected.unique, errno)),
            _ => {}
        }
        Ok(())
    }

    /// Checks the reply in a slot's memory; gives the number of bytes of data.
    fn check_reply(&self, index: usize, written: usize) -> Result<usize, Error> {
        let reply = index * self.layout.slot_bytes() + self.layout.reply_offset();
        let mut header = [0; OutHeader::BYTES];
        self.memory.copy_out(reply, &mut header);
        let header = OutHeader::read_from_bytes(&header).map_err(|_| Error::Protocol("a reply is cut short"))?;
        self.slots[index].expected.check(&header, written)
    }

    /// The lowest number above `above` of the requests in the set `owned` that the device has.
    pub(super) fn next_in_flight(&self, owned: u64, above: Unique) -> Option<Unique> {
        let in_flight = self.slots.iter().enumerate().filter(|(index, slot)| {
            owned & 1 << index != 0 && slot.state == State::InFlight && slot.expected.unique.0 > above.0
        });
        in_flight.map(|(_, slot)| slot.expected.unique).min_by_key(|unique| unique.0)
    }

    /// Takes one of the slots in the set `owned` that came to an end, frees it and removes it from the set. The fixed
    /// body of a reply is put into `body`.
    pub(super) fn take_finished(&mut self, owned: &mut u64, body: &mut Body) -> Option<Finished> {
        let ended = *owned & self.sets.ended;
        if ended == 0 {
            return None;
        }
        let index = ended.trailing_zeros() as usize;
        *owned &= !(1 << index);

        let slot = &mut self.slots[index];
        // SAFETY: the device gave the buffers back, or was reset; they are still valid by the contract of `submit`.
        unsafe { slot.segments.unshare() };
        let (state, place, body_bytes) = (slot.state, slot.place, slot.expected.body_bytes);
        self.set_state(index, State::Free);
        let result = match state {
            State::Used { written } => {
                let reply = index * self.layout.slot_bytes() + self.layout.reply_offset();
                self.memory.copy_out(reply + OutHeader::BYTES, &mut body[..body_bytes]);
                self.check_reply(index, written)
            }
            _ => Err(Error::Device("the device was reset")),
        };
        Some(Finished { place, result, body_bytes })
    }

    /// Begins to give the device up: it gets no requests any more, and is not listened to.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes all requests back after a reset of the device.
    pub(super) fn lose_all(&mut self) {
        for index in 0..self.slots.len() {
            let state = match self.slots[index].state {
                State::InFlight => State::Lost,
                State::Posted => State::Free,
                state => state,
            };
            self.set_state(index, state);
        }
        self.in_flight = 0;
    }
}
