//! The device's side of the rings.

mod registers;

pub(crate) use registers::FakeTransport;

use super::super::Tag;
use super::super::queue::Descriptor;
use super::super::transport::{DeviceStatus, RingAddresses};
use super::{DeviceMemory, allocations};
use crate::Errno;
use crate::wire::{InHeader, Interrupt, Opcode, Operation, OutHeader};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering, fence};
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;
use virtio_drivers::PhysAddr;
use zerocopy::{FromBytes, IntoBytes};

/// What the device does wrong, once each, with the next buffer it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another head in the used element.
    UsedId(u32),
    /// Another length in the used element.
    UsedLen(u32),
    /// The used index runs ahead by so many elements, from then on.
    UsedIndexAhead(u16),
    /// The buffer is used twice.
    UsedTwice,
    /// The buffer is never used.
    Swallowed,
    /// A byte of the used ring, which is the device's to write, is another.
    #[cfg(fuzzing)]
    Scribble { at: u16, byte: u8 },
    /// The buffer is not used until FUSE_INTERRUPT has named its request so many times; then the reply is `EINTR`.
    UntilInterrupted { times: u32 },
}

/// What answers requests: the readable bytes of a chain and the room in its writable part, to the bytes of the reply.
pub(crate) type Answer = Box<dyn FnMut(&[u8], usize) -> Option<Vec<u8>> + Send>;

/// One queue, as the device sees it.
#[derive(Default)]
struct Queue {
    size: u16,
    rings: Option<RingAddresses>,
    /// The doorbell rang since the queue was looked at last.
    rung: bool,
    /// How many chains were taken from the available ring, and how many were used.
    taken: u16,
    used: u16,
    /// Heads taken and not used yet.
    held: VecDeque<u16>,
    /// How many chains were taken, in all.
    total: u64,
}

/// A buffer that is held until its request is interrupted.
struct Kept {
    number: usize,
    head: u16,
    /// How many INTERRUPTs it takes.
    times: u32,
}

struct State {
    status: DeviceStatus,
    driver_features: u64,
    queues: Vec<Queue>,
    answer: Answer,
    faults: VecDeque<Fault>,
    /// How far the used indices run ahead of the truth.
    ahead: u16,
    kept: Vec<Kept>,
    /// When the driver's caller is interrupted.
    interrupted_at: Duration,
    doorbells: u64,
    most_held: usize,
    /// Descriptors of the longest chain, without the indirect one.
    longest_chain: usize,
    clock: Duration,
    ignores_resets: bool,
}

/// How the fake device is built.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) features: u64,
    pub(crate) config: Vec<u8>,
    pub(crate) queue_sizes: Vec<u16>,
    /// Looks at the request queues before it looks at the high-priority queue.
    pub(crate) request_queues_first: bool,
    /// Accepts the features it offers.
    pub(crate) accepts_features: bool,
    /// The configuration changes whenever it is read.
    pub(crate) restless: bool,
    /// Uses the buffers it holds in the reverse of their order.
    pub(crate) reverse: bool,
    /// Somebody listens to its interrupts.
    pub(crate) interrupts: bool,
}

impl Default for Build {
    fn default() -> Self {
        let mut config = b"fake".to_vec();
        config.resize(Tag::MAX_BYTES, 0);
        config.extend_from_slice(&1_u32.to_le_bytes());
        Self {
            features: 1 << 28 | 1 << 29 | 1 << 32,
            config,
            queue_sizes: std::vec![128, 128],
            request_queues_first: false,
            accepts_features: true,
            restless: false,
            reverse: false,
            interrupts: false,
        }
    }
}

/// The device. It works whenever the driver waits.
pub(crate) struct FakeDevice<M: DeviceMemory> {
    pub(crate) build: Build,
    state: Mutex<State>,
    memory: PhantomData<fn() -> M>,
}

impl<M: DeviceMemory> FakeDevice<M> {
    pub(crate) fn new(build: Build, answer: Answer) -> Arc<Self> {
        let queues = build.queue_sizes.iter().map(|_| Queue::default()).collect();
        let state = State {
            status: DeviceStatus::empty(),
            driver_features: 0,
            queues,
            answer,
            faults: VecDeque::new(),
            ahead: 0,
            kept: Vec::new(),
            interrupted_at: Duration::MAX,
            doorbells: 0,
            most_held: 0,
            longest_chain: 0,
            clock: Duration::ZERO,
            ignores_resets: false,
        };
        Arc::new(Self { build, state: Mutex::new(state), memory: PhantomData })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Does `fault` with the next buffer that is used; several queue up.
    pub(crate) fn inject(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Never confirms a reset from now on, and goes on with what it has.
    pub(crate) fn ignore_resets(&self) {
        self.state().ignores_resets = true;
    }

    /// Interrupts whoever waits for the device at this time or later.
    pub(crate) fn interrupt_at(&self, clock: Duration) {
        self.state().interrupted_at = clock;
    }

    /// Whether the device would ring for the next buffer of a queue that it uses.
    pub(crate) fn would_ring(&self, number: usize) -> bool {
        let state = self.state();
        let queue = &state.queues[number];
        let event = queue.rings.unwrap().available + 4 + 2 * PhysAddr::from(queue.size);
        self.index(event).load(Ordering::Relaxed) == queue.used
    }

    /// Shows another status than the driver wrote.
    pub(crate) fn set_status(&self, status: DeviceStatus) {
        self.state().status = status;
    }

    pub(crate) fn doorbells(&self) -> u64 {
        self.state().doorbells
    }

    /// How many requests queue `queue` was given, in all.
    pub(crate) fn requests(&self, queue: usize) -> u64 {
        self.state().queues[queue].total
    }

    /// The most requests that were held at the same time.
    pub(crate) fn most_held(&self) -> usize {
        self.state().most_held
    }

    pub(crate) fn longest_chain(&self) -> usize {
        self.state().longest_chain
    }

    pub(crate) fn driver_features(&self) -> u64 {
        self.state().driver_features
    }

    fn has_event_index(state: &State) -> bool {
        state.driver_features & 1 << 29 != 0
    }

    /// Takes what rang, then uses what it holds.
    pub(crate) fn work(&self) {
        allocations::uncounted(|| self.work_uncounted());
    }

    fn work_uncounted(&self) {
        let mut state = self.state();
        let mut order: Vec<usize> = (0..state.queues.len()).collect();
        if self.build.request_queues_first {
            order.rotate_left(1);
        }
        for queue in order {
            if core::mem::take(&mut state.queues[queue].rung) {
                self.take_available(&mut state, queue);
            }
            let mut held = core::mem::take(&mut state.queues[queue].held);
            state.most_held = state.most_held.max(held.len());
            if self.build.reverse {
                held.make_contiguous().reverse();
            }
            for head in held {
                self.use_chain(&mut state, queue, head);
            }
        }
    }

    fn read<T: Copy>(paddr: PhysAddr) -> T {
        // SAFETY: `at` checks the range; the driver writes what is read here before it shows it to the device.
        unsafe { M::at(paddr, size_of::<T>()).cast::<T>().read_volatile() }
    }

    fn write<T: Copy>(paddr: PhysAddr, value: T) {
        // SAFETY: `at` checks the range; nobody else writes it while the device has it.
        unsafe { M::at(paddr, size_of::<T>()).cast::<T>().write_volatile(value) }
    }

    /// A ring index, which both sides use at any time.
    fn index(&self, paddr: PhysAddr) -> &AtomicU16 {
        // SAFETY: `at` checks the range, which lives as long as the device has the ring; both sides' accesses are
        // atomic.
        unsafe { AtomicU16::from_ptr(M::at(paddr, 2).cast().as_ptr()) }
    }

    fn take_available(&self, state: &mut State, number: usize) {
        let event_index = Self::has_event_index(state);
        let queue = &mut state.queues[number];
        let Some(rings) = queue.rings else {
            // A doorbell may ring just after another thread reset the device.
            assert_eq!(state.status, DeviceStatus::empty(), "a doorbell rang of a queue that is not enabled");
            return;
        };
        loop {
            let available = self.index(rings.available + 2).load(Ordering::Acquire);
            if queue.taken == available {
                break;
            }
            while queue.taken != available {
                let entry = PhysAddr::from(queue.taken % queue.size);
                queue.held.push_back(Self::read(rings.available + 4 + 2 * entry));
                queue.taken = queue.taken.wrapping_add(1);
                queue.total += 1;
            }
            if event_index {
                // "Ring when the index passes what I have seen." Then look again: another thread may have moved the
                // index just before it could read this wish.
                let event = self.index(rings.used + 4 + 8 * PhysAddr::from(queue.size));
                event.store(queue.taken, Ordering::Relaxed);
                fence(Ordering::SeqCst);
            }
        }
    }

    /// The chain's readable bytes, and its writable pieces.
    fn read_chain(state: &mut State, number: usize, head: u16) -> (Vec<u8>, Vec<(PhysAddr, u32)>) {
        let rings = state.queues[number].rings.unwrap();
        let first: Descriptor = Self::read(rings.descriptors + 16 * PhysAddr::from(head));
        let (table, mut next) = if first.flags & Descriptor::INDIRECT != 0 {
            assert_eq!(first.flags, Descriptor::INDIRECT);
            (first.addr, 0)
        } else {
            (rings.descriptors, head)
        };
        let (mut readable, mut writable, mut length) = (Vec::new(), Vec::new(), 0);
        loop {
            let descriptor: Descriptor = Self::read(table + 16 * PhysAddr::from(next));
            length += 1;
            assert!(length <= usize::from(state.queues[number].size), "a chain is longer than its queue");
            if descriptor.flags & Descriptor::WRITE != 0 {
                writable.push((descriptor.addr, descriptor.len));
            } else {
                assert!(writable.is_empty(), "a readable descriptor follows a writable one");
                let piece = M::at(descriptor.addr, descriptor.len as usize);
                let piece = NonNull::slice_from_raw_parts(piece, descriptor.len as usize);
                // SAFETY: `at` checks the range; the driver leaves it alone while the device has it.
                readable.extend_from_slice(unsafe { piece.as_ref() });
            }
            if descriptor.flags & Descriptor::NEXT == 0 {
                break;
            }
            next = descriptor.next;
        }
        state.longest_chain = state.longest_chain.max(length);
        (readable, writable)
    }

    fn use_chain(&self, state: &mut State, number: usize, head: u16) {
        let (request, writable) = Self::read_chain(state, number, head);
        if let Some(&Fault::UntilInterrupted { times }) = state.faults.front() {
            state.faults.pop_front();
            state.kept.push(Kept { number, head, times });
            return;
        }
        let (header, args) = InHeader::read_from_prefix(&request).unwrap();
        if Opcode(header.opcode) == Interrupt::OPCODE {
            self.interrupt(state, u64::read_from_bytes(args).unwrap());
        }
        let room = writable.iter().map(|&(_, len)| len as usize).sum();
        let reply = (state.answer)(&request, room).unwrap_or_default();
        self.use_with_reply(state, number, head, &writable, &reply);
    }

    /// Uses what is held until the request `unique` is interrupted.
    fn interrupt(&self, state: &mut State, unique: u64) {
        for Kept { number, head, mut times } in core::mem::take(&mut state.kept) {
            let (request, writable) = Self::read_chain(state, number, head);
            let is_named = InHeader::read_from_prefix(&request).unwrap().0.unique == unique;
            times -= u32::from(is_named);
            if times == 0 {
                let reply = OutHeader { len: 16, error: -i32::from(Errno::EINTR.0), unique };
                self.use_with_reply(state, number, head, &writable, reply.as_bytes());
            } else {
                state.kept.push(Kept { number, head, times });
            }
        }
    }

    fn use_with_reply(&self, state: &mut State, number: usize, head: u16, writable: &[(PhysAddr, u32)], reply: &[u8]) {
        let mut rest = reply;
        for &(addr, len) in writable {
            let (piece, after) = rest.split_at(rest.len().min(len as usize));
            // SAFETY: `at` checks the range; the driver leaves it alone while the device has it.
            unsafe { M::at(addr, len as usize).copy_from_nonoverlapping(NonNull::from(piece).cast(), piece.len()) };
            rest = after;
        }
        #[cfg(fuzzing)]
        let mut scribble = None;
        let (mut id, mut len, mut times) = (u32::from(head), reply.len() as u32, 1);
        match state.faults.pop_front() {
            Some(Fault::UsedId(other)) => id = other,
            Some(Fault::UsedLen(other)) => len = other,
            Some(Fault::UsedIndexAhead(by)) => state.ahead = by,
            Some(Fault::UsedTwice) => times = 2,
            #[cfg(fuzzing)]
            Some(Fault::Scribble { at, byte }) => scribble = Some((at, byte)),
            Some(Fault::Swallowed | Fault::UntilInterrupted { .. }) => return,
            None => {}
        }
        let queue = &mut state.queues[number];
        let rings = queue.rings.unwrap();
        for _ in 0..times {
            let element = rings.used + 4 + 8 * PhysAddr::from(queue.used % queue.size);
            Self::write(element, id);
            Self::write(element + 4, len);
            queue.used = queue.used.wrapping_add(1);
        }
        self.index(rings.used + 2).store(queue.used.wrapping_add(state.ahead), Ordering::Release);
        #[cfg(fuzzing)]
        if let Some((at, byte)) = scribble {
            let used_bytes = 6 + 8 * PhysAddr::from(queue.size);
            Self::write(rings.used + PhysAddr::from(at) % used_bytes, byte);
        }
    }
}
