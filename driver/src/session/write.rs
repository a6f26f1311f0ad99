//! Large writes: several WRITE requests in flight together.

use super::{Credentials, Payload, Request, Room, Session};
use crate::wire::{FileHandle, FromBody, NodeId, OpenFlags, Write, WriteFlags, Written};
use crate::{Errno, Error};
use core::cell::Cell;
use core::{iter, slice};

/// Which open file is written to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteTo {
    pub(crate) nodeid: NodeId,
    pub(crate) fh: FileHandle,
    /// What the file was opened with.
    pub(crate) flags: OpenFlags,
    pub(crate) write_flags: WriteFlags,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// So many bytes were written without a gap.
    pub(crate) bytes: usize,
    /// How many requests it took, if all of them succeeded.
    pub(crate) requests: Option<u64>,
}

/// Bytes that follow each other in a file, to be written there, and how far that went.
pub(crate) struct Run<'d> {
    offset: u64,
    data: Payload<'d>,
    /// Up to here it was written without a gap, as far as the replies tell.
    written: Cell<usize>,
    /// What stopped it there.
    error: Cell<Option<Error>>,
    /// What its requests begin with.
    begin: Cell<usize>,
    /// The place of the first of them among all requests.
    first_place: Cell<usize>,
    /// How many of them succeeded; `None` once another one did not, of which it is not known what it did.
    succeeded: Cell<Option<u64>>,
}

impl<'d> Run<'d> {
    pub(crate) fn new(offset: u64, data: Payload<'d>) -> Self {
        Self {
            offset,
            data,
            written: Cell::new(0),
            error: Cell::new(None),
            begin: Cell::new(0),
            first_place: Cell::new(usize::MAX),
            succeeded: Cell::new(Some(0)),
        }
    }

    /// How many requests were sent, if all of them succeeded.
    pub(crate) fn requests(&self) -> Option<u64> {
        self.succeeded.get()
    }

    /// How many bytes were written without a gap.
    ///
    /// # Errors
    ///
    /// What stopped it before the first.
    pub(crate) fn result(&self) -> Result<usize, Error> {
        match (self.written.get(), self.error.get()) {
            (0, Some(error)) => Err(error),
            (written, _) => Ok(written),
        }
    }

    /// What lies behind the first `written` bytes, and where it belongs.
    pub(crate) fn behind(&self, written: usize) -> (u64, Payload<'d>) {
        let mut data = self.data;
        data.take(written);
        (self.offset + written as u64, data)
    }

    /// Whether there was no room for all of it.
    fn lacks_space(&self) -> bool {
        self.error.get().is_some_and(Error::is_no_space)
    }

    /// Goes on where it stopped, if that was for want of space, or begins, with the request at this place. Until a reply
    /// tells something else all is written.
    fn start(&self, place: usize) {
        self.begin.set(self.written.get());
        self.first_place.set(place);
        if self.error.get().is_none() || self.lacks_space() {
            self.error.set(None);
            self.written.set(self.data.len());
        }
    }

    fn stop(&self, at: usize, why: Error) {
        if at < self.written.get() {
            self.written.set(at);
            self.error.set(Some(why));
        }
    }
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
    ) -> Result<Sent, Error> {
        let room = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        if room == 0 && data.len() > 0 {
            return Err(Error::Invalid(Errno::EFBIG));
        }
        let mut data = data.take(usize::try_from(room).unwrap_or(usize::MAX));
        let unit = self.negotiated.max_write_bytes;
        let step = if to.flags.contains(OpenFlags::APPEND) { unit } else { usize::MAX };
        let mut sent = Sent { bytes: 0, requests: Some(0) };
        while data.len() > 0 {
            let run = Run::new(offset + sent.bytes as u64, data.take(step));
            self.write_runs(who, to, slice::from_ref(&run));
            sent.requests = sent.requests.zip(run.requests()).map(|(before, more)| before + more);
            match run.result() {
                Ok(bytes) => sent.bytes += bytes,
                Err(error) if sent.bytes == 0 => return Err(error),
                Err(_) => break,
            }
            if run.error.get().is_some() {
                break;
            }
        }
        Ok(sent)
    }

    /// Writes all `runs` into an open file, each as [`Self::write`] does, in requests that are in flight together: one is
    /// stopped by an error, the others go on. What became of each is its [`Run::result`]. None may go beyond the largest
    /// offset, and the file not be open for appending if there are several.
    pub(crate) fn write_runs(&self, who: &Credentials, to: WriteTo, runs: &[Run<'_>]) {
        let result = self.with_space(|| {
            self.write_together(who, to, runs);
            runs.iter().find(|run| run.lacks_space()).and_then(|run| run.error.get()).map_or(Ok(()), Err)
        });
        if let Err(error) = result {
            log::trace!("{:?}: not everything was written: {error}", to.nodeid);
        }
    }

    fn write_together(&self, who: &Credentials, to: WriteTo, runs: &[Run<'_>]) {
        let WriteTo { nodeid, fh, flags, write_flags } = to;
        let unit = self.negotiated.max_write_bytes;
        // Of a device that fails not every run is begun.
        runs.iter().for_each(|run| run.first_place.set(usize::MAX));
        let count = &Cell::new(0);
        let mut requests = runs.iter().flat_map(|run| {
            run.start(count.get());
            let (mut offset, mut rest) = run.behind(run.begin.get());
            iter::from_fn(move || {
                let chunk = rest.take(unit);
                // Behind an error there is nothing to write.
                (chunk.len() > 0 && run.error.get().is_none()).then(|| {
                    count.set(count.get() + 1);
                    let size_bytes = chunk.len() as u32;
                    let write = Write { fh, offset, size_bytes, flags, write_flags, lock_owner: None };
                    offset += u64::from(size_bytes);
                    Request::scattered(self.header::<Write>(who, nodeid), &write, chunk, Room::default())
                })
            })
        });
        self.exchange(&mut requests, &mut |place, reply| {
            let Some(run) = runs[..runs.partition_point(|run| run.first_place.get() <= place)].last() else { return };
            let start = run.begin.get() + (place - run.first_place.get()) * unit;
            let asked = unit.min(run.data.len() - start);
            let written = reply.and_then(|reply| Written::from_bytes(reply.body));
            run.succeeded.set(run.succeeded.get().filter(|_| written.is_ok()).map(|requests| requests + 1));
            match written {
                Ok(Written(bytes)) if bytes as usize == asked => {}
                Ok(Written(bytes)) if (bytes as usize) < asked => {
                    run.stop(start + bytes as usize, Error::Refused(Errno::EIO));
                }
                Ok(_) => run.stop(start, Error::Protocol("more was written than asked for")),
                Err(why) => run.stop(start, why),
            }
        });
    }
}
