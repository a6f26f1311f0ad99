//! Large reads: several READ requests in flight together.

use super::{Credentials, Request, Session};
use crate::wire::{FileHandle, NodeId, OpenFlags, Read};
use crate::{Errno, Error};
use core::cell::Cell;

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
        let room = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        let readable = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..readable];
        let total = buffer.len();
        let unit = self.negotiated.max_transfer_bytes;
        // Up to where the buffer is filled without a gap, as far as the replies tell, and what stopped it there.
        let filled = Cell::new(total);
        let error = Cell::new(None);
        let stop = |at, why| {
            if at < filled.get() {
                filled.set(at);
                error.set(why);
            }
        };
        let mut at = 0;
        let mut requests = buffer.chunks_mut(unit).map_while(|chunk| {
            let offset = offset + at as u64;
            at += chunk.len();
            let read = Read { fh, offset, size_bytes: chunk.len() as u32, flags };
            // Behind a short reply there is nothing to read.
            (filled.get() == total).then(|| Request::new(self.header::<Read>(who, nodeid), &read, &[], chunk))
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
            (filled, _) => Ok(filled),
        }
    }
}
