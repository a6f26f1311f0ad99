//! The extents of a file, and when it gets more.

use super::MIN_SEQUENTIAL_BYTES;
use super::window::{Place, Reclaim, Window};
use crate::data::file_data::State;
use crate::data::{FileData, PAGE_BYTES};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::{Errno, Error, Instant};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;
use core::time::Duration;

/// What is mapped of a file.
pub(in crate::data) struct Extents {
    window: Arc<Window>,
    /// By where in the file they begin.
    extents: BTreeMap<u64, Extent>,
    /// Ranges of which programs hold mappings, besides.
    pinned: Vec<Range<u64>>,
    /// How often a chunk was wanted that is not mapped, by where it begins.
    misses: BTreeMap<u64, u8>,
    /// Until when the file is taken to end where it did.
    checked_until: Instant,
    /// The file may end here at any moment: it is being cut off.
    pub(in crate::data) limit: u64,
    /// How often the server did not map it, and how often not for writing.
    refusals: u8,
    write_refusals: u8,
}

struct Extent {
    place: Place,
    /// How much of it may be looked at: the file did not end before since it was mapped.
    length: u64,
    is_writable: bool,
    /// How often it was used lately.
    uses: AtomicU8,
}

/// A range of a file that somebody wants to read or write, and that is not mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// It begins where the last one ended.
    pub(crate) is_sequential: bool,
    pub(crate) is_write: bool,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is better read or written by requests.
    Nothing,
    /// First to find out where the file ends.
    FindEnd,
    /// To map this range of the file, in a place that is to be found.
    Map { offset: u64, length: u64, is_writable: bool, reclaim: Reclaim },
    /// To map a range of the file once more, where it was until now, so that it can be written.
    Upgrade { offset: u64, place: Place },
}

/// After so many refusals the server is not asked to map a file any more.
const MAX_REFUSALS: u8 = 3;
/// How many chunks of a file are remembered that were wanted.
const MAX_MISSES: usize = 4096;
/// A chunk that is wanted for the first time may never be again.
const MISSES_TO_MAP: u8 = 2;
/// To take another one's place a chunk has to be wanted so often more than twice as often as that was used: requests are
/// cheap, next to mappings that come and go.
const MISSES_TO_REPLACE: u8 = 8;

impl Extents {
    fn new(window: &Arc<Window>) -> Self {
        Self {
            window: window.clone(),
            extents: BTreeMap::new(),
            pinned: Vec::new(),
            misses: BTreeMap::new(),
            checked_until: Instant(Duration::ZERO),
            limit: u64::MAX,
            refusals: 0,
            write_refusals: 0,
        }
    }

    /// Up to where the file may be looked at: whole units before its end, which the host must not be asked to look behind.
    fn usable_end(&self, eof: Option<u64>, now: Instant) -> u64 {
        match eof {
            Some(eof) if now < self.checked_until => {
                let end = eof.min(self.limit);
                end - end % self.window.unit_bytes()
            }
            _ => 0,
        }
    }

    /// The file ends here. What is mapped behind that may be looked at only when it is mapped anew: who makes the file longer
    /// may be somebody of whom the server does not know yet.
    pub(in crate::data) fn cut(&mut self, size_bytes: u64) {
        let end = size_bytes - size_bytes % self.window.unit_bytes();
        for (&offset, extent) in &mut self.extents {
            extent.length = extent.length.min(end.saturating_sub(offset));
        }
    }

    /// Where the file ends has to be found out before anybody looks at it again.
    pub(in crate::data) fn distrust_end(&mut self) {
        self.checked_until = Instant(Duration::ZERO);
    }

    /// The extent that byte `at` is in, and where that begins in the file.
    fn find(&self, at: u64) -> Option<(u64, &Extent)> {
        let (&offset, extent) = self.extents.range(..=at).next_back()?;
        (at - offset < extent.length).then_some((offset, extent))
    }

    /// Calls `copy` with places in the window and ranges of the `bytes` bytes from `offset` on, as far as they are mapped and
    /// the file reaches; gives how many were copied.
    fn copy(
        &self,
        offset: u64,
        bytes: usize,
        end: u64,
        is_write: bool,
        mut copy: impl FnMut(u64, Range<usize>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut done = 0;
        while done < bytes {
            let at = offset + done as u64;
            let Some((start, extent)) = self.find(at).filter(|(_, extent)| extent.is_writable || !is_write) else {
                break;
            };
            let within = at - start;
            let room = (extent.length - within).min(end.saturating_sub(at));
            let step = usize::try_from(room).unwrap_or(usize::MAX).min(bytes - done);
            if step == 0 {
                break;
            }
            copy(extent.place.start + within, done..done + step)?;
            let uses = extent.uses.load(Ordering::Relaxed);
            extent.uses.store(uses.saturating_add(1), Ordering::Relaxed);
            done += step;
        }
        Ok(done)
    }

    fn is_mapped(&self, range: &Range<u64>) -> bool {
        let is_in_extent = |(&offset, extent): (&u64, &Extent)| offset + extent.length > range.start;
        self.extents.range(..range.end).next_back().is_some_and(is_in_extent)
            || self.pinned.iter().any(|pinned| pinned.start < range.end && range.start < pinned.end)
    }

    /// What to do about what is wanted, which can be mapped up to byte `end`.
    fn next(&mut self, wanted: &Wanted, end: u64) -> Next {
        let refusals = if wanted.is_write { self.write_refusals } else { self.refusals };
        if refusals >= MAX_REFUSALS {
            return Next::Nothing;
        }
        if let Some((offset, extent)) = self.find(wanted.offset) {
            if !wanted.is_write || extent.is_writable {
                return Next::Nothing;
            }
            // Nobody shall look there while it is mapped anew.
            return match self.extents.remove(&offset) {
                Some(Extent { place, .. }) => Next::Upgrade { offset, place },
                None => Next::Nothing,
            };
        }
        let chunk = self.window.chunk_bytes();
        let offset = wanted.offset - wanted.offset % chunk;
        let before = self.extents.range(..offset).next_back();
        let before = before.filter(|(start, extent)| **start + extent.length == offset);
        let length = match before {
            Some((_, extent)) if wanted.is_sequential => (2 * extent.length).min(self.window.max_extent_bytes()),
            _ => chunk,
        };
        let after = self.extents.range(wanted.offset + 1..).next().map_or(u64::MAX, |(&start, _)| start);
        let length = length.max(chunk).min(end.min(after) - offset);
        let is_writable = wanted.is_write || self.extents.get(&offset).is_some_and(|extent| extent.is_writable);

        let is_large = wanted.bytes >= chunk / 2;
        let is_sequential = wanted.is_sequential && end - wanted.offset >= MIN_SEQUENTIAL_BYTES;
        let reclaim = if is_large || is_sequential {
            Reclaim::Unused
        } else {
            match self.miss(offset) {
                ..MISSES_TO_MAP => return Next::Nothing,
                misses => Reclaim::UsedLess(misses.saturating_sub(MISSES_TO_REPLACE) / 2),
            }
        };
        Next::Map { offset, length, is_writable, reclaim }
    }

    /// Whether it may come to a mapping, wherever the file ends: or something is mapped there that can be used then. Notes
    /// that it was wanted, if not.
    fn is_worth_asking(&mut self, wanted: &Wanted) -> bool {
        let chunk = self.window.chunk_bytes();
        let offset = wanted.offset - wanted.offset % chunk;
        let reached = if wanted.is_sequential { wanted.offset.saturating_add(wanted.bytes) } else { 0 };
        let is_worth = wanted.bytes >= chunk / 2
            || reached >= MIN_SEQUENTIAL_BYTES
            || self.find(wanted.offset).is_some()
            || self.misses.get(&offset).is_some_and(|&misses| misses + 1 >= MISSES_TO_MAP);
        if !is_worth {
            self.miss(offset);
        }
        is_worth
    }

    /// Notes that a chunk was wanted; gives how often it was lately.
    fn miss(&mut self, chunk: u64) -> u8 {
        if self.misses.len() >= MAX_MISSES && !self.misses.contains_key(&chunk) {
            self.misses.clear();
        }
        let misses = self.misses.entry(chunk).or_default();
        *misses = misses.saturating_add(1);
        *misses
    }
}

impl Drop for Extents {
    fn drop(&mut self) {
        self.extents.values().for_each(|extent| self.window.release(extent.place));
    }
}

impl State {
    /// Whether the file goes up to byte `end` at least; `None` if that is not known, nor `told`.
    fn reaches(&self, end: u64, told: Option<u64>) -> Option<bool> {
        let limit = self.extents.as_ref().map_or(u64::MAX, |extents| extents.limit);
        self.eof.or(told).map(|eof| eof.min(limit) >= end)
    }

    /// Whether anything of this page is mapped: then it is not kept.
    pub(in crate::data) fn is_mapped(&self, index: u64) -> bool {
        let start = index.saturating_mul(PAGE_BYTES as u64);
        let page = start..start.saturating_add(PAGE_BYTES as u64);
        self.extents.as_ref().is_some_and(|extents| extents.is_mapped(&page))
    }

    /// Lets all pages go that have a part in this range; not if the server has yet to get one.
    fn drop_pages(&mut self, range: &Range<u64>) -> bool {
        let indices = range.start / PAGE_BYTES as u64..range.end.div_ceil(PAGE_BYTES as u64);
        if self.pages.iter().any(|(index, page)| indices.contains(index) && !page.may_go()) {
            return false;
        }
        self.pages.retain(|index, _| !indices.contains(index));
        // What READs bring that are on their way is not kept.
        self.epoch += 1;
        true
    }
}

impl FileData {
    /// Copies what is mapped from byte `offset` on. Gives the number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the window is gone.
    pub(crate) fn read_mapped(&self, offset: u64, buffer: &mut [u8], now: Instant) -> Result<usize, Error> {
        let state = self.state.read();
        let Some(extents) = &state.extents else { return Ok(0) };
        let end = extents.usable_end(state.eof, now);
        let memory = extents.window.memory();
        extents.copy(offset, buffer.len(), end, false, |place, part| memory.read(place, &mut buffer[part]))
    }

    /// Writes into what is mapped from byte `offset` on, and may be written. Gives the number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the window is gone.
    pub(crate) fn write_mapped(&self, offset: u64, data: &[u8], now: Instant) -> Result<usize, Error> {
        // Alone: whoever reads sees all of it or nothing.
        let state = self.state.write();
        let Some(extents) = &state.extents else { return Ok(0) };
        let end = extents.usable_end(state.eof, now);
        let memory = extents.window.memory();
        extents.copy(offset, data.len(), end, true, |place, part| memory.write(place, &data[part]))
    }

    /// What is to be done about a range that is not mapped. What is to be mapped anew is not mapped until then.
    pub(crate) fn next_mapping(&self, window: &Arc<Window>, wanted: &Wanted, now: Instant) -> Next {
        let state = &mut *self.state.write();
        // Where the file ends may be about to change; and what is kept costs nothing, unless much is wanted.
        let is_kept = || !wanted.is_write && state.holds(wanted.offset / PAGE_BYTES as u64);
        if state.changing > 0 || wanted.bytes < window.chunk_bytes() / 2 && is_kept() {
            return Next::Nothing;
        }
        let eof = state.eof;
        let extents = state.extents.get_or_insert_with(|| Box::new(Extents::new(window)));
        if eof.is_none() || now >= extents.checked_until {
            return Next::FindEnd;
        }
        match extents.usable_end(eof, now) {
            end if wanted.offset < end => extents.next(wanted, end),
            _ => Next::Nothing,
        }
    }

    /// Whether what is wanted is mapped, at its beginning at least.
    pub(crate) fn is_mapped_for(&self, wanted: &Wanted, now: Instant) -> bool {
        let state = self.state.read();
        state.extents.as_ref().is_some_and(|extents| {
            let found = extents.find(wanted.offset).filter(|(_, extent)| extent.is_writable || !wanted.is_write);
            found.is_some() && wanted.offset < extents.usable_end(state.eof, now)
        })
    }

    /// Whether it is worth a request to find out where the file ends, for a range that is not mapped.
    pub(crate) fn is_worth_asking(&self, wanted: &Wanted) -> bool {
        self.state.write().extents.as_mut().is_some_and(|extents| extents.is_worth_asking(wanted))
    }

    /// The file ends here, as the server says, and is taken to until then; unless it is known better.
    pub(crate) fn end_checked(&self, size_bytes: u64, until: Instant) {
        let state = &mut *self.state.write();
        if let Some(extents) = &mut state.extents
            && state.eof == Some(size_bytes)
        {
            extents.checked_until = until;
        }
    }

    /// The server does not map what it was asked for. It is not asked again and again.
    pub(crate) fn mapping_refused(&self, writable: bool) {
        if let Some(extents) = &mut self.state.write().extents {
            // It may know of another end of the file.
            extents.distrust_end();
            let refusals = if writable { &mut extents.write_refusals } else { &mut extents.refusals };
            *refusals = refusals.saturating_add(1);
        }
    }

    /// A range of the file from byte `offset` on is mapped in this place: unless there are pages of it that the server has
    /// yet to get. Then the place is free again.
    pub(crate) fn put_extent(&self, window: &Arc<Window>, offset: u64, place: Place, is_writable: bool) -> bool {
        let mut replaced = None;
        let is_in = window.put(place, &self.own, offset, || {
            let state = &mut *self.state.write();
            if !state.drop_pages(&(offset..offset + place.length)) {
                return false;
            }
            let extents = state.extents.get_or_insert_with(|| Box::new(Extents::new(window)));
            extents.misses.remove(&offset);
            replaced = extents
                .extents
                .insert(offset, Extent { place, length: place.length, is_writable, uses: AtomicU8::new(1) });
            true
        });
        if let Some(replaced) = replaced {
            window.release(replaced.place);
        }
        is_in
    }

    /// Whether the extent that begins at byte `offset` and is in this place went, which it does if it `may_go` by how often
    /// it was used lately.
    pub(super) fn lose_extent(&self, offset: u64, place: Place, may_go: &mut dyn FnMut(&mut u8) -> bool) -> bool {
        let state = &mut *self.state.write();
        let Some(extents) = &mut state.extents else { return false };
        let extent = extents.extents.get_mut(&offset).filter(|extent| extent.place == place);
        let goes = extent.is_some_and(|extent| may_go(extent.uses.get_mut()));
        if goes {
            extents.extents.remove(&offset);
            // What READs bring that are on their way may be older than what was written there.
            state.epoch += 1;
        }
        goes
    }

    /// What was wanted or used is taken to have been half as often.
    pub(super) fn age_extents(&self) {
        if let Some(extents) = &mut self.state.write().extents {
            extents.extents.values_mut().for_each(|extent| *extent.uses.get_mut() /= 2);
            extents.misses.values_mut().for_each(|misses| *misses /= 2);
        }
    }

    /// Whether the file goes up to byte `end` at least, as far as is known, or else as somebody was told just now.
    pub(crate) fn reaches(&self, end: u64, told: u64) -> bool {
        self.state.read().reaches(end, Some(told)) == Some(true)
    }

    /// Calls `access`, while nobody here cuts the file off before byte `end`. Gives it back if it is not known where the file
    /// ends, and nobody was `told`.
    ///
    /// # Errors
    ///
    /// `ENXIO` if it was cut off.
    pub(crate) fn while_it_reaches<T, A: FnOnce() -> Result<T, Error>>(
        &self,
        end: u64,
        told: Option<u64>,
        access: A,
    ) -> Result<Result<T, A>, Error> {
        let state = self.state.read();
        match state.reaches(end, told) {
            Some(true) => access().map(Ok),
            Some(false) => Err(Error::Invalid(Errno::ENXIO)),
            None => Ok(Err(access)),
        }
    }

    /// A program has a range of the file mapped, of which no pages are kept from now on; unless there are some that the
    /// server has yet to get.
    pub(crate) fn pin(&self, window: &Arc<Window>, range: &Range<u64>) -> bool {
        let state = &mut *self.state.write();
        let is_clean = state.drop_pages(range);
        if is_clean {
            let extents = state.extents.get_or_insert_with(|| Box::new(Extents::new(window)));
            extents.pinned.push(range.clone());
        }
        is_clean
    }

    /// The program has it no more.
    pub(crate) fn unpin(&self, range: &Range<u64>) {
        let state = &mut *self.state.write();
        if let Some(extents) = &mut state.extents
            && let Some(at) = extents.pinned.iter().position(|pinned| pinned == range)
        {
            extents.pinned.swap_remove(at);
        }
        // What READs bring that are on their way may be older than what was stored there.
        state.epoch += 1;
    }

    /// Lets all extents go.
    pub(crate) fn clear_extents(&self) {
        let mut state = self.state.write();
        let Some(extents) = &mut state.extents else { return };
        let (window, gone) = (extents.window.clone(), mem::take(&mut extents.extents));
        state.epoch += 1;
        drop(state);
        gone.values().for_each(|extent| window.release(extent.place));
    }
}
