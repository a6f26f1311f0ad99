//! Large reads: several READ requests in flight together.

use super::{Credentials, Payload, Request, Room, Session};
use crate::wire::{FileHandle, NodeId, OpenFlags, Read};
use crate::{Errno, Error};
use core::cell::Cell;
use core::iter;

/// Which open file is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadFrom {
    pub(crate) nodeid: NodeId,
    pub(crate) fh: FileHandle,
    /// What the file was opened with.
    pub(crate) flags: OpenFlags,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Less than there is room for at the end of the file, or before an error.
    pub(crate) bytes: usize,
    /// What ended it behind the first byte and before the room was full, if that was not the end of the file.
    pub(crate) stopped: Option<Error>,
}

impl Session {
    /// Reads from an open file into a buffer, or several, one after the other, in requests of
    /// [`Negotiated::max_transfer_bytes`](super::Negotiated) that are in flight together. Several buffers have to meet at
    /// 4 KiB boundaries of memory: each but the first begins at one, each but the last ends at one.
    ///
    /// # Errors
    ///
    /// Those of [`Self::call`], if nothing was read; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1, or for buffers that
    /// do not fit into requests.
    pub(crate) fn read(
        &self,
        who: &Credentials,
        from: ReadFrom,
        offset: u64,
        mut room: Room<'_, '_>,
    ) -> Result<Filled, Error> {
        let ReadFrom { nodeid, fh, flags } = from;
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
