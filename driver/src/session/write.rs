//! Large writes: several WRITE requests in flight together.

use super::{Credentials, Request, Session};
use crate::wire::{FileHandle, FromBody, NodeId, OpenFlags, Write, WriteFlags, Written};
use crate::{Errno, Error};
use core::cell::Cell;

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
    /// Writes `data` into an open file, in requests of [`Negotiated::max_write_bytes`](super::Negotiated) that are in
    /// flight together, or, if the file is open for appending, one after the other. Gives the number of bytes that were
    /// written without a gap: less than all before an error that the next write will meet again. What lies behind the
    /// gap may have been written, too.
    ///
    /// # Errors
    ///
    /// Those of [`Self::call`]; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1, and `EFBIG` if it is the largest;
    /// `EIO` if the server writes nothing and does not say why.
    pub(crate) fn write(&self, who: &Credentials, to: WriteTo, offset: u64, data: &[u8]) -> Result<usize, Error> {
        let room = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        if room == 0 && !data.is_empty() {
            return Err(Error::Invalid(Errno::EFBIG));
        }
        let data = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let unit = self.negotiated.max_write_bytes;
        if !to.flags.contains(OpenFlags::APPEND) {
            return self.with_space(|| self.write_together(who, to, offset, data));
        }
        let mut written = 0;
        for chunk in data.chunks(unit) {
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

    fn write_together(&self, who: &Credentials, to: WriteTo, offset: u64, data: &[u8]) -> Result<usize, Error> {
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
        let mut requests = data.chunks(unit).enumerate().map_while(|(place, chunk)| {
            let offset = offset + (place * unit) as u64;
            let write = Write { fh, offset, size_bytes: chunk.len() as u32, flags, write_flags, lock_owner: None };
            // Behind an error there is nothing to write.
            (complete.get() == total).then(|| Request::new(self.header::<Write>(who, nodeid), &write, chunk, &mut []))
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
