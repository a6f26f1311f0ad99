//! What carries requests to the server and replies back.

use super::{Payload, Room, Traffic};
use crate::virtio::{SharedMemory, SharedWords};
use crate::wire::{FromBody, InHeader, Interrupt, NodeId, Operation, OutHeader, Unique};
use crate::{Error, Instant, Timestamp};
use alloc::sync::Arc;
use core::iter;
use zerocopy::IntoBytes;

#[cfg(any(test, feature = "test-utils"))]
use crate::wire::Write;

/// The most bytes of an operation's fixed arguments; the most are those of SETATTR.
const ARGS_MAX_BYTES: usize = 88;

/// One request with the room for its reply.
///
/// What it carries and the room for data may lie in several slices. A channel has room for
/// [`Limits::max_data_bytes`] of them if they meet at 4 KiB boundaries of memory: each slice but the first begins at
/// one, each but the last ends at one.
#[derive(Debug)]
pub(crate) struct Request<'a, 'b> {
    header: InHeader,
    args: [u8; ARGS_MAX_BYTES],
    args_bytes: usize,
    /// Names; those that are not empty are sent, each followed by a NUL byte.
    names: [&'a [u8]; 2],
    /// What follows the names.
    payload: Payload<'a>,
    /// The length of the reply's fixed body.
    body_bytes: usize,
    reply_may_be_empty: bool,
    waits_for_others: bool,
    /// Room for the data of the reply, which follows the fixed body.
    data: Room<'a, 'b>,
}

/// A good reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'r> {
    /// The fixed body.
    pub(crate) body: &'r [u8],
    /// How many bytes of the request's room for data were written.
    pub(crate) data_bytes: usize,
}

/// How much a channel carries at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes of data of one request, however its pages lie in memory.
    pub(crate) max_data_bytes: usize,
    /// How many requests one CPU may have in flight.
    pub(crate) requests_in_flight: usize,
}

/// The way to the server. [`virtio::Device`](crate::virtio) is the real one. One that never leaves anything on its way
/// has nothing to reap or drain.
pub(crate) trait Channel: Send + Sync {
    fn limits(&self) -> Limits;

    /// The kernel's monotonic clock.
    fn now(&self) -> Instant;

    /// As [`Platform::coarse_now`](crate::Platform::coarse_now).
    fn coarse_now(&self) -> Instant {
        self.now()
    }

    /// The date.
    fn date(&self) -> Timestamp;

    /// Waits until another thread has made `ready` true and called [`Self::wake`].
    fn wait_until(&self, ready: &mut dyn FnMut() -> bool);

    /// Lets those who wait in [`Self::wait_until`] look again.
    fn wake(&self);

    /// The DAX window, if there is one: shared memory that the server maps files into.
    fn window(&self) -> Option<Arc<SharedMemory>> {
        None
    }

    /// The shared memory of the version table, if there is one. To be asked for after INIT: the server puts it there.
    fn version_table(&self) -> Option<SharedWords> {
        None
    }

    /// What was counted so far.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// Sends `requests`, as many of them at the same time as there is room for, and calls `done` for each with its
    /// place in the sequence, in the order of the replies. Returns when no request is in flight any more.
    ///
    /// The buffers of a request are the device's until `done` was called for it. A request that is not sent because
    /// the device failed is `done` with that error; the rest of `requests` is then not asked for.
    ///
    /// # Locking
    ///
    /// Waits. No lock may be held that another call of the driver takes.
    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    );

    /// Sends a request that has no reply on the high-priority queue, and does not wait until the device took it.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error>;

    /// Sends a request without payload and without room for data, and does not wait for its reply. The channel checks
    /// the reply's form when somebody next looks for replies; what it says is not told.
    ///
    /// # Locking
    ///
    /// Waits at most for others, until there is room for the request.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error>;

    /// Takes note of all that came back, without waiting.
    fn reap(&self) {}

    /// Whether there are detached requests whose reply nobody has taken note of.
    fn has_detached(&self) -> bool {
        false
    }

    /// Waits until the device took all posted requests with numbers below `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    fn drain_posts(&self, _before: Unique) -> Result<(), Error> {
        Ok(())
    }

    /// Waits until the replies to all detached requests with numbers below `before` have come.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed.
    fn drain_detached(&self, _before: Unique) -> Result<(), Error> {
        Ok(())
    }

    /// Ends everything: the device is reset and every request from now on fails.
    fn shut_down(&self);
}

impl<'a, 'b> Request<'a, 'b> {
    /// The most bytes that [`Self::head`] makes: every operation's arguments, and two names.
    pub(crate) const HEAD_MAX_BYTES: usize = InHeader::BYTES + ARGS_MAX_BYTES + 2 * 256;

    /// The most bytes of a fixed body; the largest is that of STATX.
    pub(crate) const BODY_MAX_BYTES: usize = 288;

    /// A request of `operation` without its names, with `payload` and with room for `data` in its reply.
    pub(crate) fn new<O: Operation>(header: InHeader, operation: &O, payload: &'a [u8], data: &'a mut [u8]) -> Self {
        Self::scattered(header, operation, payload.into(), data.into())
    }

    /// As [`Self::new`], with a payload and room for data that may lie in several slices.
    pub(crate) fn scattered<O: Operation>(
        mut header: InHeader,
        operation: &O,
        payload: Payload<'a>,
        data: Room<'a, 'b>,
    ) -> Self {
        const { assert!(size_of::<O::Args>() <= ARGS_MAX_BYTES && O::Reply::BYTES <= Self::BODY_MAX_BYTES) };
        let mut args = [0; ARGS_MAX_BYTES];
        let args_bytes = size_of::<O::Args>();
        args[..args_bytes].copy_from_slice(operation.args().as_bytes());
        header.len = (InHeader::BYTES + args_bytes + payload.len()) as u32;
        Self {
            header,
            args,
            args_bytes,
            names: [&[]; 2],
            payload,
            body_bytes: O::Reply::BYTES,
            reply_may_be_empty: O::REPLY_MAY_BE_EMPTY,
            waits_for_others: O::WAITS_FOR_OTHERS,
            data,
        }
    }

    /// FUSE_INTERRUPT of the request with the number `unique`, to be posted.
    pub(crate) fn interrupt(unique: Unique) -> Request<'static, 'static> {
        // The request's own number with `FUSE_INT_REQ_BIT`.
        let header = InHeader::new(Interrupt::OPCODE, NodeId(0), Unique(unique.0 | 1));
        Request::new(header, &Interrupt { unique }, &[], &mut [])
    }

    /// The request, whose payload ends in so many bytes of [extensions](crate::wire::extension).
    ///
    /// # Errors
    ///
    /// `E2BIG` if there are more than the header can say.
    pub(crate) fn with_extensions(mut self, bytes: usize) -> Result<Self, Error> {
        self.header = self.header.with_extensions(bytes)?;
        Ok(self)
    }

    /// The request with the operation's names.
    pub(crate) fn with_names(mut self, names: [&'a [u8]; 2]) -> Self {
        let bytes: usize = names.iter().filter(|name| !name.is_empty()).map(|name| name.len() + 1).sum();
        self.header.len += bytes as u32;
        self.names = names;
        self
    }

    /// The header, the arguments and the names, in pieces whose bytes follow each other.
    pub(crate) fn head(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.names.iter().filter(|name| !name.is_empty()).flat_map(|name| [*name, b"\0"]);
        iter::once(self.header.as_bytes()).chain(iter::once(&self.args[..self.args_bytes])).chain(names)
    }

    pub(crate) fn payload(&self) -> Payload<'a> {
        self.payload
    }

    pub(crate) fn data(&mut self) -> &mut Room<'a, 'b> {
        &mut self.data
    }

    pub(crate) fn opcode(&self) -> u32 {
        self.header.opcode
    }

    pub(crate) fn unique(&self) -> Unique {
        Unique(self.header.unique)
    }

    /// Whether the reply may take as long as others please.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.waits_for_others
    }

    /// The length of the reply's header and fixed body.
    pub(crate) fn reply_head_bytes(&self) -> usize {
        OutHeader::BYTES + self.body_bytes
    }
}

/// For faults that tests inject.
#[cfg(any(test, feature = "test-utils"))]
impl Request<'_, '_> {
    pub(crate) fn nodeid(&self) -> NodeId {
        NodeId(self.header.nodeid)
    }

    /// This WRITE, of only the first `bytes` of its payload.
    pub(crate) fn of_first(mut self, bytes: usize) -> Self {
        let all = self.payload.len();
        self.payload = self.payload.take(bytes);
        let bytes = self.payload.len();
        self.header.len -= (all - bytes) as u32;
        self.args[Write::SIZE_AT].copy_from_slice(&(bytes as u32).to_ne_bytes());
        self
    }
}

/// What must be known of a request to check its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) unique: Unique,
    /// The length of the fixed body.
    pub(crate) body_bytes: usize,
    /// The room for data.
    pub(crate) data_bytes: usize,
    /// Nothing at all is a good reply, too.
    pub(crate) may_be_empty: bool,
}

impl Expected {
    /// What is expected of a request that was never sent.
    pub(crate) const NOTHING: Self = Self { unique: Unique(0), body_bytes: 0, data_bytes: 0, may_be_empty: false };

    pub(crate) fn of(request: &Request<'_, '_>) -> Self {
        Self {
            unique: request.unique(),
            body_bytes: request.body_bytes,
            data_bytes: request.data.len(),
            may_be_empty: request.reply_may_be_empty,
        }
    }

    /// Checks a reply of which the device says it wrote `written` bytes: its header, then its length. Gives the number
    /// of bytes of data. What lies behind the first `written` bytes is older than this reply.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the server refused the request; [`Error::Protocol`] if the reply breaks a rule.
    pub(crate) fn check(&self, header: &OutHeader, written: usize) -> Result<usize, Error> {
        if written == 0 && self.may_be_empty {
            return Ok(0);
        }
        let after_header = header.check(self.unique, written)?;
        match after_header.checked_sub(self.body_bytes) {
            Some(data_bytes) if data_bytes <= self.data_bytes => Ok(data_bytes),
            Some(_) => Err(Error::Protocol("a reply is longer than its request allows")),
            None => Err(Error::Protocol("a reply is cut short")),
        }
    }
}
