//! The FUSE session: what is negotiated with the server, and the requests in flight.

mod channel;
mod forget;
mod negotiate;
mod read;

pub(crate) use channel::{Channel, Expected, Limits, Reply, Request};
pub use negotiate::Negotiated;

use self::forget::{Batch, ForgetQueue};
use crate::wire::{BatchForget, Destroy, Forget, FromBody, InHeader, InitFlags, NodeId, Operation, Statx, Unique};
use crate::{Errno, Error};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use zerocopy::IntoBytes;

/// On whose behalf requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// The process; 0 if there are none.
    pub pid: u32,
}

/// An open session with the server.
///
/// # Locking
///
/// Every method that sends a request waits for its reply, and holds no lock meanwhile. [`Self::forget`] waits at most
/// for room in the high-priority queue.
pub(crate) struct Session {
    channel: Box<dyn Channel>,
    negotiated: Negotiated,
    credentials: Credentials,
    next_unique: AtomicU64,
    forgets: ForgetQueue,
    absent: AtomicU32,
    ended: AtomicBool,
}

/// An operation that a server may lack: by what was negotiated, or because it said so once (ENOSYS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Optional {
    Open,
    Opendir,
    Readdirplus,
    Statx,
}

impl Session {
    /// Opens a session on `channel`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the server is older than FUSE 7.31 or breaks the protocol; [`Error::Refused`] if it
    /// refuses.
    pub(crate) fn open(channel: Box<dyn Channel>, credentials: Credentials) -> Result<Self, Error> {
        let negotiated = Negotiated::open(&*channel, Unique(FIRST_UNIQUE))?;
        let session = Self {
            channel,
            negotiated,
            credentials,
            next_unique: AtomicU64::new(FIRST_UNIQUE + UNIQUE_STEP),
            forgets: ForgetQueue::new(),
            absent: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        };
        // What was not negotiated is not asked for.
        if !negotiated.flags.contains(InitFlags::DO_READDIRPLUS) {
            session.note_absent(Optional::Readdirplus);
        }
        if negotiated.minor < Statx::SINCE_MINOR {
            session.note_absent(Optional::Statx);
        }
        Ok(session)
    }

    pub(crate) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Sends a request about `nodeid` and gives its reply.
    ///
    /// # Errors
    ///
    /// The server's refusal; [`Error::Device`] if the device failed; [`Error::Protocol`] if the reply breaks the
    /// protocol: the device is given up if it is the reply's form that does, and goes on if it is the meaning of a
    /// field.
    pub(crate) fn call<O: Operation>(&self, nodeid: NodeId, operation: &O) -> Result<O::Reply, Error> {
        self.call_with_data(nodeid, operation, &mut []).map(|(reply, _)| reply)
    }

    /// Sends a request about `nodeid`; gives its reply, and how many bytes of data were put into `data`.
    pub(crate) fn call_with_data<O: Operation>(
        &self,
        nodeid: NodeId,
        operation: &O,
        data: &mut [u8],
    ) -> Result<(O::Reply, usize), Error> {
        let request = Request::new(self.header::<O>(nodeid), operation, &[], data).with_names(operation.names());
        let mut result = Err(Error::Device("the request was lost"));
        self.channel.exchange(&mut core::iter::once(request), &mut |_, reply| {
            result = reply.and_then(|reply| Ok((O::Reply::from_bytes(reply.body)?, reply.data_bytes)));
        });
        result
    }

    /// As [`Self::call`], for an operation that the server may lack: `None` if it does.
    pub(crate) fn call_optional<O: Operation>(
        &self,
        optional: Optional,
        nodeid: NodeId,
        operation: &O,
    ) -> Result<Option<O::Reply>, Error> {
        if self.lacks(optional) {
            return Ok(None);
        }
        match self.call(nodeid, operation) {
            Err(Error::Refused(Errno::ENOSYS)) => {
                self.note_absent(optional);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Whether the server said that it lacks an operation.
    pub(crate) fn lacks(&self, optional: Optional) -> bool {
        self.absent.load(Ordering::Relaxed) & (1 << optional as u32) != 0
    }

    /// Remembers that the server lacks an operation.
    pub(crate) fn note_absent(&self, optional: Optional) {
        self.absent.fetch_or(1 << optional as u32, Ordering::Relaxed);
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

    /// Sends all FORGETs that are waiting for company.
    pub(crate) fn flush_forgets(&self) {
        if let Some(batch) = self.forgets.take() {
            self.send_forgets(batch);
        }
    }

    fn send_forgets(&self, batch: Batch) {
        let sent = match batch.as_slice() {
            [one] => {
                let forget = Forget { nlookup: one.nlookup };
                let header = self.header::<Forget>(NodeId(one.nodeid));
                self.channel.post(&Request::new(header, &forget, &[], &mut []))
            }
            many => {
                let batch = BatchForget { count: many.len() as u32 };
                let header = self.header::<BatchForget>(NodeId(0));
                self.channel.post(&Request::new(header, &batch, many.as_bytes(), &mut []))
            }
        };
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
        // Nothing is ordered between queues: a FORGET behind DESTROY would be about an inode that the server has
        // forgotten.
        let drained = self.channel.drain_posts();
        let destroyed = drained.and_then(|()| self.call(NodeId(0), &Destroy));
        self.channel.shut_down();
        destroyed
    }

    /// A header for an operation about `nodeid`, with a number of its own.
    fn header<O: Operation>(&self, nodeid: NodeId) -> InHeader {
        let unique = Unique(self.next_unique.fetch_add(UNIQUE_STEP, Ordering::Relaxed));
        let Credentials { uid, gid, pid } = self.credentials;
        InHeader { uid, gid, pid, ..InHeader::new(O::OPCODE, nodeid, unique) }
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
