//! A virtio-fs device in operation: the real channel of a session.

use super::config::Config;
use super::counters::Counters;
use super::queue::{Body, Owned, Queue, QueueOptions, Waiting};
use super::transport::{DeviceStatus, Transport};
use crate::session::{Channel, Limits, Reply, Request, Traffic};
use crate::wire::Unique;
use crate::{Error, Instant, Platform};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use virtio_drivers::Hal;

bitflags! {
    /// Virtio feature bits that the driver knows (VIRTIO 1.3 §6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Features: u64 {
        const RING_INDIRECT_DESC = 1 << 28;
        const RING_EVENT_IDX = 1 << 29;
        const VERSION_1 = 1 << 32;
        const ACCESS_PLATFORM = 1 << 33;
    }
}

/// How a device is operated.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOptions {
    /// How many request queues are used at most, of those that the device has.
    pub request_queues: u16,
    /// How many requests may be in flight in one queue; at most 64.
    pub requests_in_flight: u16,
    /// The most bytes of data of one request. Each request that may be in flight takes 48 bytes of memory per
    /// 4 KiB of it.
    pub max_request_bytes: usize,
    /// How long the device may take until one of the requests that a caller waits for comes back, before it is given
    /// up and reset.
    pub request_timeout: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            request_queues: 8,
            requests_in_flight: 32,
            max_request_bytes: 1 << 20,
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// The number of the high-priority queue.
const HIGH_PRIORITY: u16 = 0;
/// The number of the first request queue: the driver does not accept the feature that would put a queue in between.
const FIRST_REQUEST: u16 = 1;
/// How many FORGETs may be on their way.
const POSTS_IN_FLIGHT: u16 = 8;

/// How often the status of a device is looked at while it is waited for: reading it leaves the virtual machine.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Where a device is in its life.
mod life {
    /// Requests are served.
    pub(super) const RUNNING: u8 = 0;
    /// Somebody found a reason to end it, and resets it.
    pub(super) const STOPPING: u8 = 1;
    /// It was reset; no memory is its any more.
    pub(super) const STOPPED: u8 = 2;
}

/// A virtio-fs device in operation.
pub(crate) struct Device<H: Hal> {
    transport: Box<dyn Transport>,
    platform: Arc<dyn Platform>,
    high_priority: Queue<H>,
    requests: Vec<Queue<H>>,
    request_timeout: Duration,
    life: AtomicU8,
    counters: Counters,
}

impl<H: Hal> Device<H> {
    /// Initialises the device behind `transport`, by the steps of VIRTIO 1.3 §3.1.1.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] or [`Error::Device`] if the device does not play its part; [`Error::NoMemory`].
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        platform: Arc<dyn Platform>,
        options: &DeviceOptions,
    ) -> Result<Self, Error> {
        // 1. Reset the device.
        transport.reset(&*platform)?;
        let agreed = Agreed::negotiate(&*transport, options).inspect_err(|_| {
            // It was told of no memory: nothing is to be taken back. Should it be gone, this fails too, and says
            // nothing new.
            let _ = transport.set_status(DeviceStatus::FAILED);
        })?;

        // From here on the device may be told of memory: dropping `device` resets it first.
        let Agreed { status, high_priority, requests } = agreed;
        let life = AtomicU8::new(life::RUNNING);
        let request_timeout = options.request_timeout;
        let counters = Counters::default();
        let device = Self { transport, platform, high_priority, requests, request_timeout, life, counters };
        for queue in device.queues() {
            device.transport.enable_queue(queue.number, queue.size(), queue.addresses())?;
        }

        // 8. The device is live.
        device.transport.set_status(status | DeviceStatus::DRIVER_OK)?;
        Ok(device)
    }

    /// All queues in use.
    fn queues(&self) -> impl Iterator<Item = &Queue<H>> {
        core::iter::once(&self.high_priority).chain(&self.requests)
    }

    /// The request queue for the CPU this runs on.
    fn request_queue(&self) -> &Queue<H> {
        match &self.requests[..] {
            [only] => only,
            all => &all[self.platform.cpu() % all.len()],
        }
    }

    fn is_running(&self) -> bool {
        self.life.load(Ordering::Acquire) == life::RUNNING
    }

    /// Tells the device that there is something in `queue`.
    fn notify(&self, queue: &Queue<H>) {
        self.counters.rang();
        self.transport.notify(queue.number);
    }

    /// When a request that is sent now must have come back.
    fn deadline(&self) -> Instant {
        self.platform.now() + self.request_timeout
    }

    /// Waits until `waiting` is over, or the device stops, or, if somebody wants to know, the caller is interrupted.
    /// Gives the device up if it failed, or at `deadline`.
    fn wait(&self, waiting: &Waiting<'_, H>, deadline: Instant, interruptible: bool) {
        let mut ready = || waiting.is_over() || !self.is_running() || interruptible && self.platform.interrupted();
        loop {
            let look_again = self.platform.now() + STATUS_INTERVAL;
            if self.platform.wait_until(deadline.min(look_again), &mut ready) {
                // The interrupt that ended the wait may stand for several queues.
                if self.queues().any(|queue| queue.number != waiting.queue() && queue.is_overdue()) {
                    self.platform.wake();
                }
                return;
            }
            let status = self.transport.status();
            if !status.contains(DeviceStatus::DRIVER_OK) || status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
                return self.fail("it failed, or is gone");
            }
            if self.platform.now() >= deadline {
                return self.fail("it did not answer in time");
            }
        }
    }

    /// Tells the server that the caller has given up the requests of `owned` whose numbers are above `told`, which
    /// becomes the highest of them.
    fn interrupt(&self, queue: &Queue<H>, owned: &Owned, told: &mut Unique) {
        while let Some(unique) = queue.next_in_flight(owned, *told) {
            *told = unique;
            self.counters.interrupted();
            if let Err(error) = self.post(&Request::interrupt(unique)) {
                log::debug!("{unique:?} was not interrupted: {error}");
            }
        }
    }

    /// Gives the device up, for `reason`.
    fn fail(&self, reason: &str) {
        if self.is_running() {
            log::error!("the virtio-fs device is reset: {reason}");
        }
        self.stop();
    }

    /// Resets the device and takes all memory back. Returns when that is done, whoever does it.
    fn stop(&self) {
        let exchange = self.life.compare_exchange(life::RUNNING, life::STOPPING, Ordering::AcqRel, Ordering::Acquire);
        if exchange.is_ok() {
            self.queues().for_each(Queue::close);
            // Those who wait shall wait for the end of this instead.
            self.platform.wake();
            while let Err(error) = self.transport.reset(&*self.platform) {
                log::error!("the virtio-fs device does not stop: {error}");
                if !self.queues().any(Queue::has_borrowed) {
                    // All it can still write is the driver's own memory, which nobody will use again.
                    self.queues().for_each(Queue::abandon);
                    break;
                }
                // The buffers of the requests in flight are not ours to return until it is known to have stopped.
                self.platform.wait_until(self.platform.now() + Duration::from_secs(1), &mut || false);
            }
            self.queues().for_each(|queue| queue.lose_all(&*self.platform));
            self.life.store(life::STOPPED, Ordering::Release);
            self.platform.wake();
        }
        let mut stopped = || self.life.load(Ordering::Acquire) == life::STOPPED;
        while !stopped() {
            self.platform.wait_until(self.platform.now() + Duration::from_secs(1), &mut stopped);
        }
    }
}

/// What driver and device agreed on before the device is told of memory.
struct Agreed<H: Hal> {
    /// The status reached.
    status: DeviceStatus,
    high_priority: Queue<H>,
    requests: Vec<Queue<H>>,
}

impl<H: Hal> Agreed<H> {
    /// Steps 2 to 7 of VIRTIO 1.3 §3.1.1.
    fn negotiate(transport: &dyn Transport, options: &DeviceOptions) -> Result<Self, Error> {
        // 2. and 3. The driver has found the device and knows how to drive it.
        let mut status = DeviceStatus::ACKNOWLEDGE;
        transport.set_status(status)?;
        status |= DeviceStatus::DRIVER;
        transport.set_status(status)?;

        // 4. Accept what both sides know.
        let offered = Features::from_bits_retain(transport.device_features());
        if !offered.contains(Features::VERSION_1) {
            return Err(Error::Protocol("the device is older than virtio 1.0"));
        }
        let features = Features::all() & offered;
        transport.set_driver_features(features.bits());

        // 5. and 6. The device has to agree.
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status)?;
        if !transport.status().contains(DeviceStatus::FEATURES_OK) {
            return Err(Error::Protocol("the device did not accept the features it offers"));
        }

        // 7. Read the configuration, set up the queues.
        let config = Config::read(transport)?;
        log::debug!("device {config:?}, features {features:?}");
        let queue_options = |number, slots| QueueOptions {
            max_size: transport.max_queue_size(number),
            slots,
            max_data_bytes: options.max_request_bytes,
            indirect: features.contains(Features::RING_INDIRECT_DESC),
            event_index: features.contains(Features::RING_EVENT_IDX),
            interrupts: transport.interrupts(),
        };
        let high_priority = Queue::for_posts(HIGH_PRIORITY, &queue_options(HIGH_PRIORITY, POSTS_IN_FLIGHT))?;
        let count = u32::from(options.request_queues.max(1)).min(config.request_queues) as usize;
        let mut requests = Vec::new();
        requests.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        for number in (FIRST_REQUEST..=u16::MAX).take(count) {
            requests.push(Queue::for_requests(number, &queue_options(number, options.requests_in_flight))?);
        }
        Ok(Self { status, high_priority, requests })
    }
}

impl<H: Hal> Drop for Device<H> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What an exchange has in flight. Should a callback of the exchange unwind, dropping this takes the buffers back from
/// the device before the caller's frames, and the buffers in them, go away.
struct InFlight<'d, H: Hal> {
    device: &'d Device<H>,
    queue: &'d Queue<H>,
    owned: Owned,
}

impl<H: Hal> Drop for InFlight<'_, H> {
    fn drop(&mut self) {
        if !self.owned.is_empty() {
            self.device.fail("a request was abandoned");
            // Nobody asks for the results; the buffers are unshared all the same.
            let mut body = [0; size_of::<Body>()];
            while let Ok(Some(_)) = self.queue.take_finished(&*self.device.platform, &mut self.owned, &mut body) {}
        }
    }
}

impl<H: Hal> Channel for Device<H> {
    fn limits(&self) -> Limits {
        let max_data_bytes = self.requests.iter().map(Queue::max_data_bytes).min().unwrap_or(0);
        let requests_in_flight = self.requests.iter().map(Queue::slots).min().unwrap_or(0);
        Limits { max_data_bytes, requests_in_flight }
    }

    fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    fn exchange<'a>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let queue = self.request_queue();
        let mut source = requests.fuse().enumerate().peekable();
        let mut in_flight = InFlight { device: self, queue, owned: Owned::default() };
        // When one of the requests in flight must have come back. What other threads get back does not put it off.
        let mut deadline = None;
        // A reply may take as long as others please, until the caller is interrupted.
        let mut waits_for_others = false;
        // The highest number of a request that the server was told to give up.
        let mut told = Unique(0);
        let mut body = [0; size_of::<Body>()];
        loop {
            if !self.is_running() {
                self.stop();
                if in_flight.owned.is_empty() {
                    if let Some((place, _)) = source.next() {
                        done(place, Err(Error::Device("the device was reset")));
                    }
                    return;
                }
            } else if source.peek().is_some() {
                let before = in_flight.owned;
                // SAFETY: each request owns its borrow of its buffers for a lifetime that outlasts this call, and this
                // call does not end before `owned` is empty: not here, and not by unwinding, since `InFlight` resets
                // the device first.
                let notify = unsafe {
                    let mut refused = |place, error| done(place, Err(error));
                    let mut next =
                        || source.next().inspect(|(_, request)| waits_for_others |= request.waits_for_others());
                    queue.submit(&*self.platform, &mut in_flight.owned, &mut next, &mut refused)
                };
                if notify {
                    self.notify(queue);
                }
                self.counters.in_flight(in_flight.owned.len());
                if in_flight.owned != before {
                    deadline = None;
                }
            }
            let mut idle = true;
            // Once in any case: what ended the wait for a slot may be a reply that others wait for.
            while idle || !in_flight.owned.is_empty() {
                let finished = match queue.take_finished(&*self.platform, &mut in_flight.owned, &mut body) {
                    Ok(Some(finished)) => finished,
                    Ok(None) => break,
                    Err(rule) => {
                        self.fail(rule);
                        continue;
                    }
                };
                idle = false;
                deadline = None;
                if let Err(Error::Protocol(rule)) = finished.result {
                    self.fail(rule);
                }
                let reply = |data_bytes| Reply { body: &body[..finished.body_bytes], data_bytes };
                done(finished.place, finished.result.map(reply));
            }
            let is_done = source.peek().is_none();
            if is_done && in_flight.owned.is_empty() {
                return;
            }
            if idle {
                if self.platform.interrupted() {
                    self.interrupt(queue, &in_flight.owned, &mut told);
                }
                let waiting = queue.wait_for(&in_flight.owned, !is_done);
                if in_flight.owned.is_empty() {
                    // For a slot, that is for others.
                    self.wait(&waiting, self.deadline(), false);
                } else if told == Unique(0) {
                    let patient = Instant(Duration::MAX);
                    let deadline =
                        if waits_for_others { patient } else { *deadline.get_or_insert_with(|| self.deadline()) };
                    self.wait(&waiting, deadline, true);
                } else {
                    self.wait(&waiting, *deadline.get_or_insert_with(|| self.deadline()), false);
                }
            }
        }
    }

    fn post(&self, request: &Request<'_>) -> Result<(), Error> {
        let queue = &self.high_priority;
        let deadline = self.deadline();
        loop {
            if !self.is_running() {
                return Err(Error::Device("the device was reset"));
            }
            match queue.post(&*self.platform, request) {
                Ok(Some(notify)) => {
                    if notify {
                        self.notify(queue);
                    }
                    return Ok(());
                }
                Ok(None) => self.wait(&queue.wait_for(&Owned::default(), true), deadline, false),
                Err(Error::Protocol(rule)) => self.fail(rule),
                Err(error) => return Err(error),
            }
        }
    }

    fn drain_posts(&self) -> Result<(), Error> {
        let queue = &self.high_priority;
        let deadline = self.deadline();
        loop {
            if !self.is_running() {
                return Err(Error::Device("the device was reset"));
            }
            match queue.is_idle(&*self.platform) {
                Ok(true) => return Ok(()),
                Ok(false) => self.wait(&queue.wait_until_idle(), deadline, false),
                Err(rule) => self.fail(rule),
            }
        }
    }

    fn shut_down(&self) {
        self.stop();
    }
}
