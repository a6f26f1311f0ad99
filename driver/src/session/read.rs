//! Large reads: several READ requests in flight together.

use super::{Credentials, Payload, Request, Room, Session};
use crate::wire::{FileHandle, NodeId, OpenFlags, Read};
use crate::{Errno, Error};
use core::cell::Cell;
use core::iter;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) bytes: usize,
    /// What ended it before the buffers were full, if that was not the end of the file.
    pub(crate) stopped: Option<Error>,
}

impl Session {
    /// Reads from an open file into `buffer`, in requests of [`Negotiated::max_transfer_bytes`](super::Negotiated) that
    /// are in flight together. Gives the number of bytes read: less than `buffer` holds at the end of the file, or
    /// before an error that the next read will meet again.
    ///
    /// # Errors
    ///
    /// Those of [`Self::call`]; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1.
    pub(crate) fn read(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        fh: FileHandle,
        flags: OpenFlags,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        Ok(self.read_room(who, nodeid, fh, flags, offset, buffer.into())?.bytes)
    }

    /// As [`Self::read`], into several buffers, one after the other, telling errors behind the first byte, too. The buffers have to meet at 4 KiB boundaries of memory:
    /// each but the first begins at one, each but the last ends at one. If not, requests may not fit: `EINVAL`.
    pub(crate) fn read_into(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        fh: FileHandle,
        flags: OpenFlags,
        offset: u64,
        buffers: &mut [&mut [u8]],
    ) -> Result<Filled, Error> {
        self.read_room(who, nodeid, fh, flags, offset, buffers.into())
    }

    fn read_room(
        &self,
        who: &Credentials,
        nodeid: NodeId,
        fh: FileHandle,
        flags: OpenFlags,
        offset: u64,
        mut room: Room<'_, '_>,
    ) -> Result<Filled, Error> {
        let readable = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        let mut rest = room.take(usize::try_from(readable).unwrap_or(usize::MAX));
        let total = rest.len();
        let unit = self.negotiated.max_transfer_bytes;
        // Up to where the room is filled without a gap, as far as the replies tell, and what stopped it there.
        let filled = Cell::new(total);
        let error = Cell::new(None);
        let stop = |at, why| {
            if at < filled.get() {
                filled.set(at);
                error.set(why);
            }
        };
        let mut requests = iter::from_fn(|| {
            let offset = offset + (total - rest.len()) as u64;
            let chunk = rest.take(unit);
            // Behind a short reply there is nothing to read.
            (chunk.len() > 0 && filled.get() == total).then(|| {
                let read = Read { fh, offset, size_bytes: chunk.len() as u32, flags };
                Request::scattered(self.header::<Read>(who, nodeid), &read, Payload::default(), chunk)
            })
        });
        self.exchange(&mut requests, &mut |place, reply| {
            let start = place * unit;
            match reply {
                Ok(reply) if reply.data_bytes < unit.min(total - start) => stop(start + reply.data_bytes, None),
                Ok(_) => {}
                Err(why) => stop(start, Some(why)),
            }
        });
        match (filled.get(), error.get()) {
            (0, Some(error)) => Err(error),
            (bytes, stopped) => Ok(Filled { bytes, stopped }),
        }
    }
}
