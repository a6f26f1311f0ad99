//! Requests that go wrong on their way to a server that does nothing wrong.

use super::{XorShift, opcode};
use crate::session::{Channel, Limits, Reply, Request, Traffic};
use crate::virtio::{Device, SharedMemory, SharedWords, Transport};
use crate::wire::Unique;
use crate::{Errno, Error, Hal, Instant, MountOptions, NodeId, Platform, Timestamp, VirtioFs};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::iter;
use spin::Mutex;

/// Lets requests of a mount go wrong at random, between the driver and the device: the server is as good as ever.
///
/// - A request is refused without being sent, and so the server does nothing for it. That is not done to requests whose
///   reply nobody gets, to those that would leave something open at the server (RELEASE, RELEASEDIR), and not to INIT
///   and DESTROY.
/// - A WRITE is sent with a part of its bytes, which the server then says it has written.
/// - A request is sent, or its reply is handed on, later than it would be: after those of other requests that are in
///   flight with it.
///
/// Nothing goes wrong before [`Self::start`] and after [`Self::stop`]. Clones are the same injector.
#[derive(Clone)]
pub struct FaultInjector {
    state: Arc<Mutex<State>>,
    pause: Arc<dyn Fn() + Send + Sync>,
}

/// How many of a thousand requests go wrong, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// Requests other than WRITE that are refused.
    pub errors: u32,
    /// WRITEs that are refused.
    pub write_errors: u32,
    /// WRITEs that are cut short. Those of one byte are not.
    pub short_writes: u32,
    /// Requests that are late.
    pub delays: u32,
}

/// What was done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injected {
    /// It was not sent, and refused.
    Error {
        /// The operation, by its [number](opcode).
        opcode: u32,
        /// The inode that the request is about.
        nodeid: NodeId,
        /// Why it was refused, as the driver was told.
        errno: Errno,
    },
    /// A WRITE was sent with fewer bytes.
    ShortWrite {
        /// The inode that is written to.
        nodeid: NodeId,
        /// So many were sent.
        sent_bytes: usize,
        /// So many were to be sent.
        asked_bytes: usize,
    },
    /// It was sent later, or its reply came later.
    Delay {
        /// The operation, by its [number](opcode).
        opcode: u32,
    },
}

/// With what requests are refused: the driver asks again for some.
const ERRNOS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::ESTALE];

struct State {
    random: XorShift,
    rates: FaultRates,
    injected: Vec<Injected>,
}

impl FaultInjector {
    /// An injector that lets time pass by `pause` when something is to be late.
    pub fn new(pause: impl Fn() + Send + Sync + 'static) -> Self {
        let state = State { random: XorShift::new(0), rates: FaultRates::default(), injected: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), pause: Arc::new(pause) }
    }

    /// Mounts as [`VirtioFs::mount`] does, with this between the driver and the device.
    ///
    /// # Errors
    ///
    /// Those of [`VirtioFs::mount`].
    pub fn mount<H: Hal + 'static>(
        &self,
        transport: impl Transport + 'static,
        platform: Arc<dyn Platform>,
        options: &MountOptions,
    ) -> Result<VirtioFs, Error> {
        let device = Device::<H>::new(Box::new(transport), platform, &options.device)?;
        VirtioFs::mount_channel(self.between(Box::new(device)), options)
    }

    /// A channel to what `channel` leads to.
    pub(crate) fn between(&self, channel: Box<dyn Channel>) -> Box<dyn Channel> {
        Box::new(FaultyChannel { channel, faults: self.clone() })
    }

    /// Lets as many requests go wrong as `rates` say. The same requests fail in the same way after each start with the
    /// same `seed`, if they come in the same order.
    pub fn start(&self, seed: u64, rates: FaultRates) {
        let mut state = self.state.lock();
        state.random = XorShift::new(seed);
        // Neighbouring seeds begin alike.
        for _ in 0..8 {
            state.random.next_u64();
        }
        state.rates = rates;
    }

    /// Lets nothing go wrong any more, and tells what did since the last time.
    pub fn stop(&self) -> Vec<Injected> {
        let mut state = self.state.lock();
        state.rates = FaultRates::default();
        core::mem::take(&mut state.injected)
    }

    /// Whether a request is refused, and with what.
    fn refuses(&self, request: &Request<'_, '_>) -> Option<Errno> {
        let mut state = self.state.lock();
        let (opcode, nodeid) = (request.opcode(), request.nodeid());
        let rate = match opcode {
            opcode::INIT | opcode::DESTROY | opcode::RELEASE | opcode::RELEASEDIR => 0,
            opcode::WRITE => state.rates.write_errors,
            _ => state.rates.errors,
        };
        if !state.happens(rate) {
            return None;
        }
        let errno = ERRNOS[state.random.below(ERRNOS.len())];
        state.injected.push(Injected::Error { opcode, nodeid, errno });
        Some(errno)
    }

    /// How many bytes of a request's payload are sent, if it is a WRITE of which not all are.
    fn shortens(&self, request: &Request<'_, '_>) -> Option<usize> {
        let mut state = self.state.lock();
        let asked_bytes = request.payload().len();
        let rate = if request.opcode() == opcode::WRITE && asked_bytes > 1 { state.rates.short_writes } else { 0 };
        if !state.happens(rate) {
            return None;
        }
        let sent_bytes = 1 + state.random.below(asked_bytes - 1);
        state.injected.push(Injected::ShortWrite { nodeid: request.nodeid(), sent_bytes, asked_bytes });
        Some(sent_bytes)
    }

    /// Whether a request, or its reply, is late.
    fn delays(&self, opcode: u32) -> bool {
        let mut state = self.state.lock();
        let rate = state.rates.delays;
        let happens = state.happens(rate);
        if happens {
            state.injected.push(Injected::Delay { opcode });
        }
        happens
    }

    /// Whether a refusal comes before the replies to requests that are in flight already.
    fn refuses_at_once(&self) -> bool {
        self.state.lock().random.below(2) == 0
    }

    fn pause_before(&self, opcode: u32) {
        if self.delays(opcode) {
            (self.pause)();
        }
    }
}

impl State {
    /// Whether what happens to `rate` of a thousand happens now.
    fn happens(&mut self, rate: u32) -> bool {
        rate > 0 && self.random.below(1000) < rate as usize
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { opcode, nodeid, errno } => {
                write!(f, "{errno:?} for {} of inode {}", opcode::name(*opcode), nodeid.0)
            }
            Self::ShortWrite { nodeid, sent_bytes, asked_bytes } => {
                write!(f, "{sent_bytes} of {asked_bytes} bytes for WRITE of inode {}", nodeid.0)
            }
            Self::Delay { opcode } => write!(f, "a late {}", opcode::name(*opcode)),
        }
    }
}

impl fmt::Debug for FaultInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultInjector").field("rates", &self.state.lock().rates).finish_non_exhaustive()
    }
}

/// A channel whose requests go wrong.
struct FaultyChannel {
    channel: Box<dyn Channel>,
    faults: FaultInjector,
}

/// A reply that is handed on later: the request's place, the body, and the number of bytes of data.
type Held = (usize, Result<(Vec<u8>, usize), Error>);

/// A request that was sent.
struct Sent {
    place: usize,
    /// The reply is handed on after others.
    is_late: bool,
}

impl Channel for FaultyChannel {
    fn limits(&self) -> Limits {
        self.channel.limits()
    }

    fn now(&self) -> Instant {
        self.channel.now()
    }

    fn coarse_now(&self) -> Instant {
        self.channel.coarse_now()
    }

    fn date(&self) -> Timestamp {
        self.channel.date()
    }

    fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        self.channel.wait_until(ready);
    }

    fn wake(&self) {
        self.channel.wake();
    }

    fn window(&self) -> Option<Arc<SharedMemory>> {
        self.channel.window()
    }

    fn version_table(&self) -> Option<SharedWords> {
        self.channel.version_table()
    }

    fn traffic(&self) -> Traffic {
        self.channel.traffic()
    }

    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let faults = &self.faults;
        let mut requests = requests.enumerate().peekable();
        if let Some((_, first)) = requests.peek() {
            faults.pause_before(first.opcode());
        }
        let (done, held) = (RefCell::new(done), RefCell::new(Vec::<Held>::new()));
        // By their places among those that are sent.
        let sent = RefCell::new(Vec::<Sent>::new());
        // Nothing waits in here: a device may ask under the lock of its queue.
        let mut to_send = iter::from_fn(|| {
            loop {
                let (place, request) = requests.next()?;
                if let Some(errno) = faults.refuses(&request) {
                    let error = Error::Refused(errno);
                    if faults.refuses_at_once() {
                        done.borrow_mut()(place, Err(error));
                    } else {
                        held.borrow_mut().push((place, Err(error)));
                    }
                    continue;
                }
                sent.borrow_mut().push(Sent { place, is_late: faults.delays(request.opcode()) });
                return Some(match faults.shortens(&request) {
                    Some(bytes) => request.of_first(bytes),
                    None => request,
                });
            }
        });
        self.channel.exchange(&mut to_send, &mut |place, reply| {
            let Sent { place, is_late } = sent.borrow()[place];
            if is_late {
                let copy = reply.map(|reply| (reply.body.to_vec(), reply.data_bytes));
                held.borrow_mut().push((place, copy));
            } else {
                done.borrow_mut()(place, reply);
            }
        });
        let held = held.take();
        if held.iter().any(|(_, reply)| reply.is_ok()) {
            (faults.pause)();
        }
        for (place, reply) in held.into_iter().rev() {
            let reply = reply.as_ref().map(|(body, data_bytes)| Reply { body, data_bytes: *data_bytes });
            done.borrow_mut()(place, reply.map_err(|error| *error));
        }
    }

    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.faults.pause_before(request.opcode());
        self.channel.post(request)
    }

    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.faults.pause_before(request.opcode());
        self.channel.send_detached(request)
    }

    fn reap(&self) {
        self.channel.reap();
    }

    fn has_detached(&self) -> bool {
        self.channel.has_detached()
    }

    fn drain_posts(&self, before: Unique) -> Result<(), Error> {
        self.channel.drain_posts(before)
    }

    fn drain_detached(&self, before: Unique) -> Result<(), Error> {
        self.channel.drain_detached(before)
    }

    fn shut_down(&self) {
        self.channel.shut_down();
    }
}
