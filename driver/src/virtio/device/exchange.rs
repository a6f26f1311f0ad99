//! Requests in flight: the device as the channel of a session.

use super::super::queue::{Body, Owned, Queue};
use super::super::shared_memory::{SharedMemory, SharedWords};
use super::Device;
use crate::session::{Channel, Limits, Reply, Request, Traffic};
use crate::wire::{Init, Operation, Unique};
use crate::{Error, Instant, Timestamp};
use alloc::sync::Arc;
use core::time::Duration;
use virtio_drivers::Hal;

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

impl<H: Hal> Device<H> {
    /// Tells the server that the caller has given up the requests of `owned`.
    fn interrupt(&self, queue: &Queue<H>, owned: &Owned) {
        let mut told = Unique(0);
        while let Some(unique) = queue.next_in_flight(owned, told) {
            told = unique;
            self.counters.interrupted();
            if let Err(error) = self.post(&Request::interrupt(unique)) {
                log::debug!("{unique:?} was not interrupted: {error}");
            }
        }
    }

    /// Gives `request` to `queue`, and does not wait for it.
    fn post_to(&self, queue: &Queue<H>, request: &Request<'_, '_>) -> Result<(), Error> {
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
                // For a slot, that is for others.
                Ok(None) => self.wait(&queue.wait_for(&Owned::default(), true), self.deadline(), &|| false),
                Err(Error::Protocol(rule)) => self.fail(rule),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until those requests of `queue` came back that nobody waits for and that have numbers below `before`.
    fn drain(&self, queue: &Queue<H>, before: Unique) -> Result<(), Error> {
        let deadline = self.deadline();
        loop {
            if !self.is_running() {
                return Err(Error::Device("the device was reset"));
            }
            match queue.harvest(&*self.platform) {
                Ok(()) if !queue.has_posted(before) => return Ok(()),
                Ok(()) => self.wait(&queue.wait_for_posted(before), deadline, &|| false),
                Err(rule) => self.fail(rule),
            }
        }
    }
}

/// How often the server is told that a caller has given up a request. Nothing is ordered between queues: INTERRUPT may
/// overtake its request, and then means nothing to the server.
const INTERRUPT_INTERVAL: Duration = Duration::from_secs(1);

/// How often a thread looks again at what it waits for from another one, however rarely it is woken.
const OTHERS_INTERVAL: Duration = Duration::from_secs(1);

impl<H: Hal> Channel for Device<H> {
    fn limits(&self) -> Limits {
        let max_data_bytes = self.requests.iter().map(Queue::max_data_bytes).min().unwrap_or(0);
        let requests_in_flight = self.requests.iter().map(Queue::slots).min().unwrap_or(0);
        Limits { max_data_bytes, requests_in_flight }
    }

    fn now(&self) -> Instant {
        self.platform.now()
    }

    fn coarse_now(&self) -> Instant {
        self.platform.coarse_now()
    }

    fn date(&self) -> Timestamp {
        self.platform.wall_clock()
    }

    fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        while !self.platform.wait_until(self.platform.now() + OTHERS_INTERVAL, ready) {}
    }

    fn wake(&self) {
        self.platform.wake();
    }

    fn window(&self) -> Option<Arc<SharedMemory>> {
        self.window.call_once(|| self.find_window()).clone()
    }

    fn version_table(&self) -> Option<SharedWords> {
        self.find_version_table()
    }

    fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let queue = self.request_queue();
        let mut source = requests.fuse().enumerate().peekable();
        let mut in_flight = InFlight { device: self, queue, owned: Owned::default() };
        // When one of the requests in flight must have come back. What other threads get back does not put it off.
        let mut deadline = None;
        // A reply may take as long as others please.
        let mut waits_for_others = false;
        // Nothing may be sent before the reply to INIT.
        let mut is_init = false;
        // When the server is told once more that the caller has given up.
        let mut tell_again = None;
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
                    let mut next = || {
                        source.next().inspect(|(_, request)| {
                            waits_for_others |= request.waits_for_others();
                            is_init |= request.opcode() == Init::OPCODE.0;
                        })
                    };
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
                let gives_up = |tell_again: Option<Instant>| {
                    !is_init && self.platform.interrupted() && tell_again.is_none_or(|at| self.platform.now() >= at)
                };
                if gives_up(tell_again) {
                    self.interrupt(queue, &in_flight.owned);
                    tell_again = Some(self.platform.now() + INTERRUPT_INTERVAL);
                }
                let waiting = queue.wait_for(&in_flight.owned, !is_done);
                if in_flight.owned.is_empty() {
                    // For a slot, that is for others.
                    self.wait(&waiting, self.deadline(), &|| false);
                } else {
                    let patient = Instant(Duration::MAX);
                    let deadline =
                        if waits_for_others { patient } else { *deadline.get_or_insert_with(|| self.deadline()) };
                    self.wait(&waiting, deadline, &|| gives_up(tell_again));
                }
            }
        }
    }

    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.post_to(&self.high_priority, request)
    }

    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.post_to(self.request_queue(), request)
    }

    fn reap(&self) {
        for queue in self.queues() {
            if let Err(rule) = queue.harvest(&*self.platform) {
                self.fail(rule);
            }
        }
    }

    fn has_detached(&self) -> bool {
        self.requests.iter().any(|queue| queue.has_posted(Unique(u64::MAX)))
    }

    fn drain_posts(&self, before: Unique) -> Result<(), Error> {
        self.drain(&self.high_priority, before)
    }

    fn drain_detached(&self, before: Unique) -> Result<(), Error> {
        self.requests.iter().try_for_each(|queue| self.drain(queue, before))
    }

    fn shut_down(&self) {
        self.stop();
    }
}
