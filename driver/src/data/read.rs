//! Reading through the cache.

use super::file_data::{Page, place};
use super::{FileData, PAGE_BYTES, Readahead};
use crate::Error;
use crate::session::Filled;
use alloc::vec::Vec;
use core::ops::Range;

/// How content is asked for: from a byte of the file on, into buffers one after the other.
pub(crate) type Fetch<'f> = dyn FnMut(u64, &mut [&mut [u8]]) -> Result<Filled, Error> + 'f;

/// How a file is read.
pub(crate) struct Reading<'r> {
    pub(crate) data: &'r FileData,
    pub(crate) readahead: &'r Readahead,
    /// The most bytes of one READ.
    pub(crate) transfer_bytes: usize,
}

/// As [`read`], if all of it is kept.
pub(crate) fn read_kept(data: &FileData, readahead: &Readahead, offset: u64, buffer: &mut [u8]) -> Option<usize> {
    let cached = data.copy_out(offset, buffer);
    let is_all = cached.bytes == buffer.len() || cached.at_end;
    is_all.then(|| {
        data.pool.count_hit(data);
        readahead.note(offset + cached.bytes as u64);
        cached.bytes
    })
}

/// Reads from byte `offset` on into `buffer`; what is not kept is fetched, and kept. Gives the number of bytes read: fewer
/// than `buffer` holds at the end of the file, or before an error that the next read will meet again.
///
/// # Errors
///
/// Those of `fetch`.
pub(crate) fn read(how: &Reading<'_>, offset: u64, buffer: &mut [u8], fetch: &mut Fetch<'_>) -> Result<usize, Error> {
    let end = offset.saturating_add(buffer.len() as u64);
    let mut done = 0;
    let result = loop {
        let cached = how.data.copy_out(offset + done as u64, &mut buffer[done..]);
        done += cached.bytes;
        if done == buffer.len() || cached.at_end {
            break Ok(());
        }
        let step = match how.fill(offset, offset + done as u64..end, &mut buffer[done..], fetch) {
            Ok(step) => step,
            Err(error) => break Err(error),
        };
        done += step.bytes;
        if let Some(error) = step.stopped {
            break Err(error);
        }
        if step.is_last {
            break Ok(());
        }
    };
    how.readahead.note(offset + done as u64);
    match result {
        Err(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// What one fetch did.
struct Step {
    /// So many bytes are in the caller's buffer.
    bytes: usize,
    stopped: Option<Error>,
    /// Behind them is the end of the file.
    is_last: bool,
}

impl Reading<'_> {
    /// Fetches what is not kept from the start of `range` on, a part of a read that began at `start`.
    fn fill(&self, start: u64, range: Range<u64>, buffer: &mut [u8], fetch: &mut Fetch<'_>) -> Result<Step, Error> {
        let budget = self.data.pool.budget_bytes();
        // As of now: when the reply comes the server may have got all.
        let unwritten_end = self.data.unwritten_end();
        let page_bytes = PAGE_BYTES as u64;
        let (first, within) = place(range.start);
        // Whole pages, but for the last one of the file. How far a file of unknown length may be read ahead is unknown.
        let end = match self.data.eof() {
            Some(eof) => {
                let target = self.readahead.target(start, range.start, range.end, self.transfer_bytes, budget);
                target.next_multiple_of(page_bytes).min(eof.max(range.end.min(range.start + 1)))
            }
            None => range.end.next_multiple_of(page_bytes),
        };
        let (count, epoch) = self.data.missing(first, end.div_ceil(page_bytes) - first);
        let end = end.min((first + count) * page_bytes);
        let Some(asked) = end.checked_sub(range.start).filter(|&asked| asked > 0) else {
            // Somebody else has fetched it meanwhile.
            return Ok(Step { bytes: 0, stopped: None, is_last: false });
        };
        // What would drive out most of what is kept is not kept itself.
        let is_large = asked > budget as u64 / 2;
        let Some(mut pages) = (!is_large).then(|| self.allocate(first, count, end)).flatten() else {
            let room = buffer.len().min(usize::try_from(asked).unwrap_or(usize::MAX));
            return fetch_directly(range.start, &mut buffer[..room], unwritten_end, fetch);
        };
        let mut slices: Vec<&mut [u8]> = Vec::new();
        slices.try_reserve_exact(pages.len()).map_err(|_| Error::NoMemory)?;
        slices.extend(pages.iter_mut().filter_map(|page| page.frames.bytes_mut()));
        let room: usize = slices.iter().map(|slice| slice.len()).sum();
        let Filled { bytes, stopped } = fetch(first * page_bytes, &mut slices)?;
        let zeroes = unwritten(unwritten_end, first * page_bytes, bytes, room, stopped);
        slices.iter_mut().fold(0, |start, slice| {
            // Whatever the device wrote there.
            let from = bytes.saturating_sub(start).min(slice.len());
            slice[from..].fill(0);
            start + slice.len()
        });
        let bytes = bytes + zeroes;

        let mut copied = 0;
        let mut skip = within;
        for slice in &slices {
            let from = slice.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(slice.len());
            let valid = bytes.saturating_sub(within + copied);
            let step = from.len().min(buffer.len() - copied).min(valid);
            buffer[copied..copied + step].copy_from_slice(&from[..step]);
            copied += step;
        }
        let at_end = bytes < room && stopped.is_none();
        if stopped.is_some() {
            // An error in the middle of a page leaves the rest of it unknown.
            pages.truncate(bytes / PAGE_BYTES);
        }
        self.data.insert(epoch, first, pages, bytes, at_end);
        // An error behind what the caller wants is the next read's.
        let stopped = stopped.filter(|_| bytes < within + buffer.len());
        Ok(Step { bytes: copied, stopped, is_last: at_end })
    }

    /// Pages `first` and the next, for content up to byte `target`; `None` without memory for them.
    fn allocate(&self, first: u64, count: u64, target: u64) -> Option<Vec<Page>> {
        let mut pages = Vec::new();
        pages.try_reserve_exact(usize::try_from(count).ok()?).ok()?;
        for index in first..first + count {
            let wanted = target - index * PAGE_BYTES as u64;
            pages.push(Page::new(&self.data.pool, (wanted as usize).min(PAGE_BYTES))?);
        }
        Some(pages)
    }
}

fn fetch_directly(
    at: u64,
    buffer: &mut [u8],
    unwritten_end: Option<u64>,
    fetch: &mut Fetch<'_>,
) -> Result<Step, Error> {
    let Filled { bytes, stopped } = fetch(at, &mut [buffer])?;
    let zeroes = unwritten(unwritten_end, at, bytes, buffer.len(), stopped);
    buffer[bytes..bytes + zeroes].fill(0);
    let bytes = bytes + zeroes;
    Ok(Step { bytes, is_last: stopped.is_none() && bytes < buffer.len(), stopped })
}

/// How many zeroes follow what a READ brought that began at byte `at`: up to where the file has grown here, if the
/// server did not know that when it was asked.
fn unwritten(unwritten_end: Option<u64>, at: u64, bytes: usize, room: usize, stopped: Option<Error>) -> usize {
    match unwritten_end {
        Some(end) if stopped.is_none() => {
            (room - bytes).min(usize::try_from(end.saturating_sub(at + bytes as u64)).unwrap_or(usize::MAX))
        }
        _ => 0,
    }
}
