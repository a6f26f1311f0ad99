//! What FUSE_INIT settles.

use super::{Channel, Request};
use crate::Error;
use crate::wire::{InHeader, Init, InitFlags, InitReply, NodeId, Operation, Unique};

/// What both sides agreed on at FUSE_INIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The server's minor version of FUSE 7, at least 31; the session uses what both sides know.
    pub minor: u32,
    /// What both sides can do.
    pub flags: InitFlags,
    /// The most bytes of data of one READ: what the server and the virtqueue allow, a multiple of 4 KiB.
    pub max_transfer_bytes: usize,
    /// The most bytes of data of one WRITE: as much, or 4 KiB for a server without
    /// [`BIG_WRITES`](InitFlags::BIG_WRITES).
    pub max_write_bytes: usize,
    /// The unit of the server's timestamps, in nanoseconds.
    pub time_granularity_ns: u32,
    /// What places in the DAX window and in files that are mapped there are multiples of, in bytes.
    pub map_alignment_bytes: u64,
}

/// What the driver can do.
const SUPPORTED: InitFlags = InitFlags::ASYNC_READ
    .union(InitFlags::POSIX_LOCKS)
    .union(InitFlags::ATOMIC_O_TRUNC)
    .union(InitFlags::BIG_WRITES)
    .union(InitFlags::AUTO_INVAL_DATA)
    .union(InitFlags::EXPLICIT_INVAL_DATA)
    .union(InitFlags::DONT_MASK)
    .union(InitFlags::FLOCK_LOCKS)
    .union(InitFlags::DO_READDIRPLUS)
    .union(InitFlags::READDIRPLUS_AUTO)
    .union(InitFlags::NO_OPEN_SUPPORT)
    .union(InitFlags::PARALLEL_DIROPS)
    .union(InitFlags::HANDLE_KILLPRIV)
    .union(InitFlags::POSIX_ACL)
    .union(InitFlags::MAX_PAGES)
    .union(InitFlags::NO_OPENDIR_SUPPORT)
    .union(InitFlags::SUBMOUNTS)
    .union(InitFlags::HANDLE_KILLPRIV_V2)
    .union(InitFlags::SETXATTR_EXT)
    .union(InitFlags::INIT_EXT)
    .union(InitFlags::SECURITY_CTX)
    .union(InitFlags::CREATE_SUPP_GROUP);

/// The unit of `max_pages`, in bytes, and the least that a request may carry.
const PAGE_BYTES: usize = 4096;
/// What counts without `MAX_PAGES` (`FUSE_DEFAULT_MAX_PAGES_PER_REQ`).
const DEFAULT_MAX_PAGES: usize = 32;

impl Negotiated {
    /// Whether both sides can do this.
    pub(crate) fn has(&self, flags: InitFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Opens a session on `channel`: sends FUSE_INIT, before any other request, and takes the limits from its reply. What
    /// the mount wants `further` is offered, too.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the server is too old or its reply makes no sense; [`Error::Refused`] if it does not want
    /// us; [`Error::Device`] if the channel carries less than a page at a time.
    pub(super) fn open(channel: &dyn Channel, unique: Unique, further: InitFlags) -> Result<Self, Error> {
        let channel_bytes = channel.limits().max_data_bytes;
        if channel_bytes < PAGE_BYTES {
            return Err(Error::Device("a request carries less than 4 KiB of data"));
        }
        let offered = SUPPORTED | further;
        let init = Init { flags: offered, max_readahead_bytes: u32::try_from(channel_bytes).unwrap_or(u32::MAX) };
        let mut data = [0; Init::REPLY_ROOM_BYTES];
        let header = InHeader::new(Init::OPCODE, NodeId(0), unique);
        let mut result = Err(Error::Device("the INIT request was lost"));
        let request = Request::new(header, &init, &[], &mut data);
        channel.exchange(&mut core::iter::once(request), &mut |_, reply| {
            result = reply.map(|reply| reply.data_bytes);
        });
        let reply = InitReply::decode(&data[..result?])?;
        let negotiated = Self::settle(&reply, offered, channel_bytes);
        log::debug!("session {negotiated:?}");
        Ok(negotiated)
    }

    fn settle(reply: &InitReply, offered: InitFlags, channel_bytes: usize) -> Self {
        let flags = reply.flags() & offered;
        let max_pages =
            if flags.contains(InitFlags::MAX_PAGES) { reply.max_pages.max(1).into() } else { DEFAULT_MAX_PAGES };
        let max_write = (reply.max_write as usize).max(PAGE_BYTES);
        let max_transfer_bytes = max_write.min(max_pages * PAGE_BYTES).min(channel_bytes) / PAGE_BYTES * PAGE_BYTES;
        let max_write_bytes = if flags.contains(InitFlags::BIG_WRITES) { max_transfer_bytes } else { PAGE_BYTES };
        let time_granularity_ns = reply.time_gran.max(1);
        let told = flags.contains(InitFlags::MAP_ALIGNMENT);
        let alignment = if told { 1_u64.checked_shl(reply.map_alignment.into()).unwrap_or(1 << 63) } else { 0 };
        let map_alignment_bytes = alignment.max(PAGE_BYTES as u64);
        let minor = reply.minor;
        Self { minor, flags, max_transfer_bytes, max_write_bytes, time_granularity_ns, map_alignment_bytes }
    }
}
