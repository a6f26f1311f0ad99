//! Large writes: several WRITE requests in flight together.

use super::{Credentials, Payload, Request, Room, Session};
use crate::wire::{FileHandle, FromBody, NodeId, OpenFlags, Write, WriteFlags, Written};
use crate::{Errno, Error};
use core::cell::Cell;
use core::iter;

/// Which open file is written to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteTo {
    pub(crate) nodeid: NodeId,
    pub(crate) fh: FileHandle,
    /// What the file was opened with.
    pub(crate) flags: OpenFlags,
    pub(crate) write_flags: WriteFlags,
}

impl Session {
    /// Writes `data`, a buffer or several, one after the other, into an open file, in requests of
    /// [`Negotiated::max_write_bytes`](super::Negotiated) that are in flight together, or, if the file is open for appending,
    /// one after the other. Several buffers have to meet as those of [`Self::read`] do. Gives the number of bytes that were
    /// written without a gap: less than all before an error that the next write will meet again. What lies behind the gap
    /// may have been written, too.
    ///
    /// # Errors
    ///
    /// Those of [`Self::call`]; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1, and `EFBIG` if it is the largest;
    /// `EIO` if the server writes nothing and does not say why.
    pub(crate) fn write(
        &self,
        who: &Credentials,
        to: WriteTo,
        offset: u64,
        mut data: Payload<'_>,
    ) -> Result<usize, Error> {
        let room = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        if room == 0 && data.len() > 0 {
            return Err(Error::Invalid(Errno::EFBIG));
        }
        let mut data = data.take(usize::try_from(room).unwrap_or(usize::MAX));
        let unit = self.negotiated.max_write_bytes;
        if !to.flags.contains(OpenFlags::APPEND) {
            return self.with_space(|| self.write_together(who, to, offset, data));
        }
        let mut written = 0;
        while data.len() > 0 {
            let chunk = data.take(unit);
            match self.with_space(|| self.write_together(who, to, offset + written as u64, chunk)) {
                Ok(bytes) => written += bytes,
                Err(error) if written == 0 => return Err(error),
                Err(_) => break,
            }
            if written % unit != 0 {
                break;
            }
        }
        Ok(written)
    }

    fn write_together(&self, who: &Credentials, to: WriteTo, offset: u64, data: Payload<'_>) -> Result<usize, Error> {
        let WriteTo { nodeid, fh, flags, write_flags } = to;
        let unit = self.negotiated.max_write_bytes;
        let total = data.len();
        // Up to where everything is written, as far as the replies tell, and what stopped it there.
        let complete = Cell::new(total);
        let error = Cell::new(None);
        let stop = |at, why| {
            if at < complete.get() {
                complete.set(at);
                error.set(Some(why));
            }
        };
        let mut rest = data;
        let mut requests = iter::from_fn(|| {
            let offset = offset + (total - rest.len()) as u64;
            let chunk = rest.take(unit);
            // Behind an error there is nothing to write.
            (chunk.len() > 0 && complete.get() == total).then(|| {
                let write = Write { fh, offset, size_bytes: chunk.len() as u32, flags, write_flags, lock_owner: None };
                Request::scattered(self.header::<Write>(who, nodeid), &write, chunk, Room::default())
            })
        });
        self.exchange(&mut requests, &mut |place, reply| {
            let start = place * unit;
            let asked = unit.min(total - start);
            match reply.and_then(|reply| Written::from_bytes(reply.body)) {
                Ok(Written(bytes)) if bytes as usize == asked => {}
                Ok(Written(bytes)) if (bytes as usize) < asked => {
                    stop(start + bytes as usize, Error::Refused(Errno::EIO));
                }
                Ok(_) => stop(start, Error::Protocol("more was written than asked for")),
                Err(why) => stop(start, why),
            }
        });
        match (complete.get(), error.get()) {
            (0, Some(error)) => Err(error),
            (complete, _) => Ok(complete),
        }
    }
}
