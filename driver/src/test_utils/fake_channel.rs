//! A channel to the fake server without a device between.

use super::{FakeServer, Outcome, opcode};
use crate::session::{Channel, Expected, Limits, Reply, Request};
use crate::virtio::{SharedMemory, SharedWords};
use crate::wire::{OutHeader, Unique};
use crate::{Error, Instant, Timestamp};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use spin::Mutex;
use zerocopy::FromBytes;

/// Carries requests to a [`FakeServer`] as the virtio device does, without a device.
///
/// Like the device it holds several requests in flight, writes what the server answers into the buffers of a request
/// before it looks at it, and is reset (all requests from then on fail) when a reply breaks the protocol.
///
/// A reply that the server gives [later](Outcome::Later) is waited for, while other threads' requests go on. Whoever
/// waits asks [`set_interrupted`](Self::set_interrupted)'s hook whether to give up, and then sends INTERRUPT.
///
/// ```
/// use virtio_fs::test_utils::{FakeChannel, FakeServer};
///
/// let channel = FakeChannel::new(FakeServer::new());
/// channel.server().lock().file("motd", "hello\n");
/// channel.set_window(2);
/// // ... here the driver works over the channel ...
/// assert!(channel.server().lock().violations().is_empty());
/// ```
///
/// Clones are the same channel: keep one to ask it after the driver took the other.
///
/// # Locking
///
/// The server is locked while it serves a request, and not while the driver's callbacks run. Do not hold its lock
/// during a call of the driver, nor lock it twice in one statement: a spin lock waits for ever.
#[derive(Clone)]
pub struct FakeChannel {
    server: Arc<Mutex<FakeServer>>,
    state: Arc<Mutex<State>>,
    interrupted: Arc<Mutex<Option<Interrupted>>>,
}

/// Whether the caller that waits is to give up.
type Interrupted = Arc<dyn Fn() -> bool + Send + Sync>;

/// In which order requests that are in flight together are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// The oldest first; the next request is sent as soon as there is room.
    #[default]
    InOrder,
    /// The newest first; the next request is sent when all are answered.
    Reversed,
}

#[derive(Clone, Copy, Debug)]
struct State {
    max_data_bytes: usize,
    window: usize,
    completion: Completion,
    /// How many more requests are carried; `None`: no end.
    carries: Option<usize>,
    is_reset: bool,
    most_in_flight: usize,
    now: Instant,
}

/// A request that the server has seen already, and perhaps answered, which nobody knows yet.
struct InFlight<'a, 'b> {
    place: usize,
    request: Request<'a, 'b>,
    outcome: Outcome,
    /// INTERRUPT was sent.
    interrupted: bool,
}

impl InFlight<'_, '_> {
    fn is_late(&self) -> bool {
        matches!(self.outcome, Outcome::Later(_))
    }
}

const RESET: Error = Error::Device("the device was reset");

impl FakeChannel {
    /// A channel that carries 1 MiB of data with a request, and 8 requests at a time, to `server`.
    pub fn new(server: FakeServer) -> Self {
        let state = State {
            max_data_bytes: 1 << 20,
            window: 8,
            completion: Completion::InOrder,
            carries: None,
            is_reset: false,
            most_in_flight: 0,
            now: Instant(Duration::ZERO),
        };
        Self { server: Arc::new(Mutex::new(server)), state: Arc::new(Mutex::new(state)), interrupted: Arc::default() }
    }

    /// The server; keep it to ask it after the channel was given away.
    pub fn server(&self) -> Arc<Mutex<FakeServer>> {
        self.server.clone()
    }

    /// Sets how many bytes of data a request carries at most.
    pub fn set_max_data_bytes(&self, bytes: usize) {
        self.state.lock().max_data_bytes = bytes;
    }

    /// Sets how many requests are in flight together at most; at least 1.
    pub fn set_window(&self, requests: usize) {
        self.state.lock().window = requests.max(1);
    }

    /// Sets in which order requests are answered.
    pub fn set_completion(&self, completion: Completion) {
        self.state.lock().completion = completion;
    }

    /// Lets the device fail after so many more requests, FORGETs included.
    pub fn fail_after(&self, requests: usize) {
        self.state.lock().carries = Some(requests);
    }

    /// Sets what is asked, again and again and by each thread that waits, whether to give up. It may yield, and lock
    /// the server.
    pub fn set_interrupted(&self, hook: impl Fn() -> bool + Send + Sync + 'static) {
        *self.interrupted.lock() = Some(Arc::new(hook));
    }

    /// Lets time pass by the clock of the driver, which moves in no other way.
    pub fn advance(&self, time: Duration) {
        let mut state = self.state.lock();
        state.now = state.now + time;
        drop(state);
        // Time may pass while the server is busy.
        if let Some(server) = self.server.try_lock() {
            server.beat();
        }
    }

    /// Whether the device was reset: by the driver, a failure, or a reply that broke the protocol.
    pub fn is_reset(&self) -> bool {
        self.state.lock().is_reset
    }

    /// The most requests that were in flight together so far.
    pub fn most_in_flight(&self) -> usize {
        self.state.lock().most_in_flight
    }

    fn reset(&self) {
        self.state.lock().is_reset = true;
        if let Some(window) = self.server.lock().window_memory() {
            window.close();
        }
    }

    /// Whether one more request may be sent; counts it.
    fn carry(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        match &mut state.carries {
            Some(0) => {
                drop(state);
                self.reset();
                return Err(RESET);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if state.is_reset { Err(RESET) } else { Ok(()) }
    }

    /// Has a request served whose reply has room for so many bytes of data.
    fn send(&self, request: &Request<'_, '_>, data_bytes: usize) -> Outcome {
        let room = request.reply_head_bytes() + data_bytes;
        let bytes = request_bytes(request);
        let mut server = self.server.lock();
        note_queue(&mut server, &bytes, false);
        server.handle(&bytes, room)
    }

    /// Takes the replies that have come since. If there is none that could be given to the driver, gives the waiting
    /// thread its chance to give up.
    fn look_for_late_replies(&self, in_flight: &mut VecDeque<InFlight<'_, '_>>) {
        for one in in_flight.iter_mut() {
            if let Outcome::Later(unique) = one.outcome
                && let Some(reply) = self.server.lock().take_late_reply(unique)
            {
                one.outcome = Outcome::Reply(reply);
            }
        }
        if in_flight.is_empty() || !in_flight.iter().all(InFlight::is_late) {
            return;
        }
        let hook = self.interrupted.lock().clone();
        if hook.is_some_and(|hook| hook()) {
            for one in in_flight.iter_mut().filter(|one| !one.interrupted) {
                self.interrupt(one.request.unique());
                one.interrupted = true;
            }
        }
        pause();
    }

    /// Sends INTERRUPT for a request.
    fn interrupt(&self, unique: Unique) {
        // A channel that carries nothing any more has nothing to interrupt.
        let _ = self.post(&Request::interrupt(unique));
    }

    /// Gives a reply to the driver as far as it fits.
    fn deliver(&self, in_flight: InFlight<'_, '_>, done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>)) {
        let InFlight { place, mut request, outcome, .. } = in_flight;
        let reply = outcome.into_reply().unwrap_or_default();
        let expected = Expected::of(&request);
        let head_bytes = request.reply_head_bytes();
        if self.is_reset() || reply.len() > head_bytes + request.data().len() {
            // The real device cannot write so much; that it says so is found before anybody looks at the bytes.
            self.reset();
            return done(place, Err(RESET));
        }
        let (written, mut data) = reply.split_at(head_bytes.min(reply.len()));
        for slice in request.data().slices() {
            let (now, later) = data.split_at(slice.len().min(data.len()));
            slice[..now.len()].copy_from_slice(now);
            data = later;
        }
        let mut head = vec![0; head_bytes];
        head[..written.len()].copy_from_slice(written);
        let body = &head[OutHeader::BYTES..];
        done(place, self.check(&expected, &reply).map(|data_bytes| Reply { body, data_bytes }));
    }

    /// Checks a reply; one that breaks the protocol resets the device.
    fn check(&self, expected: &Expected, reply: &[u8]) -> Result<usize, Error> {
        let mut header = [0; OutHeader::BYTES];
        let written = reply.len().min(header.len());
        header[..written].copy_from_slice(&reply[..written]);
        let result = OutHeader::read_from_bytes(&header)
            .map_err(|_| Error::Protocol("a reply is cut short"))
            .and_then(|header| expected.check(&header, reply.len()));
        if let Err(Error::Protocol(_)) = result {
            self.reset();
        }
        result
    }
}

impl From<FakeServer> for FakeChannel {
    fn from(server: FakeServer) -> Self {
        Self::new(server)
    }
}

impl Channel for FakeChannel {
    fn window(&self) -> Option<Arc<SharedMemory>> {
        self.server.lock().window_memory()
    }

    fn version_table(&self) -> Option<SharedWords> {
        self.server.lock().version_table_memory()
    }

    fn limits(&self) -> Limits {
        Limits { max_data_bytes: self.state.lock().max_data_bytes, requests_in_flight: 32 }
    }

    fn now(&self) -> Instant {
        self.state.lock().now
    }

    fn date(&self) -> Timestamp {
        let since = self.now().0;
        Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
    }

    fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        while !ready() {
            pause();
        }
    }

    fn wake(&self) {}

    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let mut requests = requests.enumerate();
        let mut in_flight = VecDeque::new();
        let mut exhausted = false;
        loop {
            let State { window, completion, .. } = *self.state.lock();
            let may_send = completion == Completion::InOrder || in_flight.is_empty();
            while may_send && !exhausted && in_flight.len() < window {
                let Some((place, mut request)) = requests.next() else {
                    exhausted = true;
                    break;
                };
                if let Err(error) = self.carry() {
                    done(place, Err(error));
                    exhausted = true;
                    break;
                }
                let data_bytes = request.data().len();
                let outcome = self.send(&request, data_bytes);
                in_flight.push_back(InFlight { place, request, outcome, interrupted: false });
                let mut state = self.state.lock();
                state.most_in_flight = state.most_in_flight.max(in_flight.len());
            }
            self.look_for_late_replies(&mut in_flight);
            let is_reset = self.is_reset();
            let may_end = |one: &InFlight<'_, '_>| is_reset || !one.is_late();
            let next = match completion {
                Completion::InOrder => in_flight.iter().position(may_end),
                Completion::Reversed => in_flight.iter().rposition(may_end),
            };
            match next.and_then(|next| in_flight.remove(next)) {
                Some(next) => self.deliver(next, done),
                None if exhausted && in_flight.is_empty() => return,
                None => {}
            }
        }
    }

    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.carry()?;
        let bytes = request_bytes(request);
        let mut server = self.server.lock();
        note_queue(&mut server, &bytes, true);
        server.handle(&bytes, 0);
        Ok(())
    }

    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.carry()?;
        let reply = self.send(request, 0).into_reply().unwrap_or_default();
        // Whatever it is, the next request meets it.
        let _ = self.check(&Expected::of(request), &reply);
        Ok(())
    }

    fn shut_down(&self) {
        self.reset();
    }
}

/// Lets other threads run.
fn pause() {
    #[cfg(test)]
    std::thread::yield_now();
    #[cfg(not(test))]
    core::hint::spin_loop();
}

/// The bytes of a request, in one piece.
pub(crate) fn request_bytes(request: &Request<'_, '_>) -> Vec<u8> {
    let mut bytes: Vec<u8> = request.head().flatten().copied().collect();
    request.payload().slices().for_each(|slice| bytes.extend_from_slice(slice));
    bytes
}

/// Notes a request on the wrong queue: FORGETs and INTERRUPT, and nothing else, go on the high-priority queue.
fn note_queue(server: &mut FakeServer, request: &[u8], high_priority: bool) {
    let number = request.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let is_urgent = matches!(number, opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT);
    if is_urgent != high_priority {
        let queue = if high_priority { "the high-priority queue" } else { "a request queue" };
        server.note_violation(format!("{} was sent on {queue}", opcode::name(number)));
    }
}
