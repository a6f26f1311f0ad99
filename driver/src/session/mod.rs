//! The FUSE session: what is negotiated with the server, and the requests in flight.

mod channel;
mod credentials;
mod forget;
mod negotiate;
mod read;
mod slices;
mod statistics;
mod write;

pub(crate) use channel::{Channel, Expected, Limits, Reply, Request};
pub use credentials::{Credentials, SecurityContext};
pub use negotiate::Negotiated;
pub(crate) use read::{Filled, ReadFrom};
pub(crate) use slices::{Payload, Room};
pub use statistics::Statistics;
pub(crate) use statistics::Traffic;
pub(crate) use write::{Run, Sent, WriteTo};

use self::forget::{Batch, ForgetQueue};
use self::statistics::Counters;
use crate::virtio::SharedWords;
use crate::wire::{BatchForget, Destroy, Forget, FromBody, InHeader, InitFlags, NodeId, Operation, Unique};
use crate::{Errno, Error, Instant, Timestamp};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use zerocopy::IntoBytes;

/// An open session with the server.
///
/// # Locking
///
/// Every method that sends a request waits for its reply, and holds no lock meanwhile. [`Self::call_detached`] waits at
/// most for room in a request queue; [`Self::forget`] for room in the high-priority queue, and for the replies to
/// detached requests.
pub(crate) struct Session {
    channel: Box<dyn Channel>,
    negotiated: Negotiated,
    counters: Counters,
    next_unique: AtomicU64,
    forgets: ForgetQueue,
    /// The operations that the server said it lacks, by their opcodes.
    absent: AtomicU64,
    /// How many calls wait for other users of a file.
    waiters: AtomicUsize,
    ended: AtomicBool,
}

impl Session {
    /// Opens a session on `channel`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the server is older than FUSE 7.31 or breaks the protocol; [`Error::Refused`] if it
    /// refuses.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn open(channel: Box<dyn Channel>) -> Result<Self, Error> {
        Self::open_offering(channel, InitFlags::empty())
    }

    /// Opens a session on `channel`, and offers these flags besides what the driver always can.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the server is older than FUSE 7.31 or breaks the protocol; [`Error::Refused`] if it
    /// refuses.
    pub(crate) fn open_offering(channel: Box<dyn Channel>, further: InitFlags) -> Result<Self, Error> {
        let negotiated = Negotiated::open(&*channel, Unique(FIRST_UNIQUE), further)?;
        Ok(Self {
            channel,
            negotiated,
            counters: Counters::new(),
            next_unique: AtomicU64::new(FIRST_UNIQUE + UNIQUE_STEP),
            forgets: ForgetQueue::new(),
            absent: AtomicU64::new(0),
            waiters: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The kernel's monotonic clock.
    pub(crate) fn now(&self) -> Instant {
        self.channel.now()
    }

    /// As [`Platform::coarse_now`](crate::Platform::coarse_now).
    pub(crate) fn coarse_now(&self) -> Instant {
        self.channel.coarse_now()
    }

    /// As [`Channel::version_table`].
    pub(crate) fn version_table(&self) -> Option<SharedWords> {
        self.channel.version_table()
    }

    /// The date.
    pub(crate) fn date(&self) -> Timestamp {
        self.channel.date()
    }

    /// As [`Channel::wait_until`].
    pub(crate) fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        self.channel.wait_until(ready);
    }

    /// As [`Channel::wake`].
    pub(crate) fn wake(&self) {
        self.channel.wake();
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.counters.read(self.channel.traffic())
    }

    /// Sends a request about `nodeid` on behalf of `who` and gives its reply.
    ///
    /// # Errors
    ///
    /// The server's refusal; [`Error::Device`] if the device failed; [`Error::Protocol`] if the reply breaks the
    /// protocol: the device is given up if it is the reply's form that does, and goes on if it is the meaning of a
    /// field.
    pub(crate) fn call<O: Operation>(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        operation: &O,
    ) -> Result<O::Reply, Error> {
        self.call_with_payload(who, nodeid, operation, &[])
    }

    /// As [`Self::call`], with `payload` behind the request's names.
    pub(crate) fn call_with_payload<O: Operation>(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        operation: &O,
        payload: &[u8],
    ) -> Result<O::Reply, Error> {
        self.call_extended(who, nodeid, operation, payload, 0)
    }

    /// As [`Self::call_with_payload`], with a payload that ends in so many bytes of
    /// [extensions](crate::wire::extension).
    pub(crate) fn call_extended<O: Operation>(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        operation: &O,
        payload: &[u8],
        extension_bytes: usize,
    ) -> Result<O::Reply, Error> {
        let ask = || {
            let request = Request::new(self.header::<O>(who, nodeid), operation, payload, &mut []);
            let request = request.with_names(operation.names()).with_extensions(extension_bytes)?;
            self.exchange_one::<O>(request).map(|(reply, _)| reply)
        };
        if O::TAKES_SPACE { self.with_space(ask) } else { ask() }
    }

    /// Sends a request about `nodeid` on behalf of `who` and does not wait for its reply. If the server refuses, nobody
    /// is told.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    pub(crate) fn call_detached<O: Operation<Reply = ()>>(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        operation: &O,
    ) -> Result<(), Error> {
        // Nobody would hear that the server lacks it, nor give a wait for others up.
        const { assert!(!O::OPTIONAL && !O::WAITS_FOR_OTHERS) };
        let request = Request::new(self.header::<O>(who, nodeid), operation, &[], &mut []);
        let request = request.with_names(operation.names());
        self.counters.sent(&request);
        self.channel.send_detached(&request)
    }

    /// Takes note of the replies to detached requests that have come.
    pub(crate) fn reap(&self) {
        self.channel.reap();
    }

    /// The result of `ask`, which is asked again if there was no space and FORGETs are waiting for company, or files were
    /// being closed: a file that was removed takes its space as long as it is open, or the server remembers it.
    fn with_space<T>(&self, mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let were_closing = self.channel.has_detached();
        match ask() {
            Err(error) if error.is_no_space() && (self.flush_forgets() || were_closing) => {
                self.drain()?;
                ask()
            }
            result => result,
        }
    }

    /// As [`Self::call`]; gives the reply, and how many bytes of data were put into `data`.
    pub(crate) fn call_with_data<O: Operation>(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        operation: &O,
        data: &mut [u8],
    ) -> Result<(O::Reply, usize), Error> {
        let request = Request::new(self.header::<O>(who, nodeid), operation, &[], data);
        self.exchange_one::<O>(request.with_names(operation.names()))
    }

    fn exchange_one<O: Operation>(&self, request: Request<'_, '_>) -> Result<(O::Reply, usize), Error> {
        if self.lacks::<O>() {
            return Err(Error::Refused(Errno::ENOSYS));
        }
        let mut result = Err(Error::Device("the request was lost"));
        self.exchange(&mut core::iter::once(request), &mut |_, reply| {
            result = reply.and_then(|reply| Ok((O::Reply::from_bytes(reply.body)?, reply.data_bytes)));
        });
        if let Err(Error::Refused(Errno::ENOSYS)) = result
            && O::OPTIONAL
        {
            self.absent.fetch_or(1 << O::OPCODE.0, Ordering::Relaxed);
        }
        result
    }

    /// As [`Channel::exchange`]; counts.
    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        self.channel.exchange(&mut requests.inspect(|request| self.counters.sent(request)), &mut |place, reply| {
            if let Ok(reply) = &reply {
                self.counters.received(reply.data_bytes);
            }
            done(place, reply);
        });
    }

    /// As [`Channel::post`]; counts.
    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.counters.sent(request);
        self.channel.post(request)
    }

    /// Whether the server lacks an operation: by its version, or because it said so once (`ENOSYS`). Requests for it
    /// are not sent any more; their result is that `ENOSYS`.
    pub(crate) fn lacks<O: Operation>(&self) -> bool {
        const { assert!(!O::OPTIONAL || O::OPCODE.0 < u64::BITS) };
        self.negotiated.minor < O::SINCE_MINOR
            || O::OPTIONAL && self.absent.load(Ordering::Relaxed) & (1 << O::OPCODE.0) != 0
    }

    /// To be held during a call that waits for other users of a file. `None` if so many wait that there may be no room
    /// for the requests of those that they wait for.
    pub(crate) fn wait_for_others(&self) -> Option<Waiter<'_>> {
        let waiter = Waiter { session: self };
        let before = self.waiters.fetch_add(1, Ordering::Relaxed);
        (before < self.channel.limits().requests_in_flight / 2).then_some(waiter)
    }

    /// Takes `nlookup` lookups of `nodeid` back, some time soon. Only lookups that a reply confirmed may be taken back,
    /// and only when no request about the inode is in flight: FORGET may overtake it.
    pub(crate) fn forget(&self, nodeid: NodeId, nlookup: u64) {
        if nodeid == NodeId::ROOT || nlookup == 0 || self.ended.load(Ordering::Relaxed) {
            return;
        }
        if let Some(batch) = self.forgets.push(nodeid, nlookup) {
            self.send_forgets(batch);
        }
    }

    /// Sends all FORGETs that are waiting for company; whether there were any.
    pub(crate) fn flush_forgets(&self) -> bool {
        let Some(batch) = self.forgets.take() else { return false };
        self.send_forgets(batch);
        true
    }

    fn send_forgets(&self, batch: Batch) {
        // Nothing is ordered between queues: the FORGET would overtake the RELEASE of its inode.
        let closed = self.channel.drain_detached(self.next_unique());
        let sent = closed.and_then(|()| match batch.as_slice() {
            [one] => {
                let forget = Forget { nlookup: one.nlookup };
                let header = self.header::<Forget>(&Credentials::DRIVER, NodeId(one.nodeid));
                self.post(&Request::new(header, &forget, &[], &mut []))
            }
            many => {
                let batch = BatchForget { count: many.len() as u32 };
                let header = self.header::<BatchForget>(&Credentials::DRIVER, NodeId(0));
                self.post(&Request::new(header, &batch, many.as_bytes(), &mut []))
            }
        });
        if let Err(error) = sent {
            log::debug!("{} inodes were not forgotten: {error}", batch.as_slice().len());
        }
        self.forgets.recycle(batch);
    }

    /// Ends the session: sends the FORGETs that wait, then FUSE_DESTROY, and resets the device. Does nothing the second
    /// time.
    ///
    /// # Errors
    ///
    /// That of FUSE_DESTROY. The session is ended all the same.
    pub(crate) fn end(&self) -> Result<(), Error> {
        self.flush_forgets();
        if self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // Nothing is ordered between requests in flight: a FORGET behind DESTROY would be about an inode that the server
        // has forgotten, a RELEASE about a file that it has closed.
        let destroyed = self.drain().and_then(|()| self.call(&Credentials::DRIVER, NodeId(0), &Destroy));
        self.channel.shut_down();
        destroyed
    }

    /// Waits until all that was posted is taken, and all that was detached answered.
    fn drain(&self) -> Result<(), Error> {
        let before = self.next_unique();
        self.channel.drain_detached(before)?;
        self.channel.drain_posts(before)
    }

    /// A number above those of all requests so far.
    fn next_unique(&self) -> Unique {
        Unique(self.next_unique.load(Ordering::Relaxed))
    }

    /// A header for an operation about `nodeid` on behalf of `who`, with a number of its own.
    fn header<O: Operation>(&self, who: &Credentials, nodeid: NodeId) -> InHeader {
        let unique = Unique(self.next_unique.fetch_add(UNIQUE_STEP, Ordering::Relaxed));
        InHeader { uid: who.uid, gid: who.gid, pid: who.pid, ..InHeader::new(O::OPCODE, nodeid, unique) }
    }
}

/// A call that waits for other users of a file.
pub(crate) struct Waiter<'s> {
    session: &'s Session,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.session.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::warn!("the session's end was not confirmed: {error}");
        }
    }
}

/// The number of FUSE_INIT.
const FIRST_UNIQUE: u64 = 2;
/// Requests have even numbers: the odd ones name a request's INTERRUPT (`FUSE_INT_REQ_BIT`).
const UNIQUE_STEP: u64 = 2;

#[cfg(test)]
mod tests;
