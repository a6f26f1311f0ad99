//! What the content of a file makes of its extents.

use super::{Extent, Extents, Next, Wanted};
use crate::data::dax::window::{Place, Window};
use crate::data::file_data::State;
use crate::data::{FileData, PAGE_BYTES};
use crate::sync::atomic::AtomicU8;
use crate::{Errno, Error, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

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

    /// The file ends for the server where it does here, if that has everything.
    fn trust_end(&mut self) {
        let is_written = !self.is_unwritten();
        if let Some(extents) = self.extents.as_mut().filter(|_| is_written) {
            extents.pinned_end = self.eof.unwrap_or(u64::MAX);
        }
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
            state.trust_end();
        }
    }

    /// The server is about to be asked to map something: gives how often the file was cut off so far.
    pub(crate) fn about_to_map(&self, window: &Arc<Window>) -> u64 {
        let state = &mut *self.state.write();
        state.extents.get_or_insert_with(|| Box::new(Extents::new(window))).cuts
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

    /// A range of the file from byte `offset` on is mapped in this place, as was announced [when](Self::about_to_map) it
    /// had been cut off so many times: unless there are pages of it that the server has yet to get, or it was cut off once
    /// more. Then the place is free again.
    pub(crate) fn put_extent(
        &self,
        window: &Arc<Window>,
        offset: u64,
        place: Place,
        is_writable: bool,
        cuts: u64,
    ) -> bool {
        let mut gone = Vec::new();
        let is_in = window.put(place, &self.own, offset, || {
            let state = &mut *self.state.write();
            let extents = state.extents.get_or_insert_with(|| Box::new(Extents::new(window)));
            let is_as_it_was = extents.cuts == cuts;
            if !is_as_it_was || !state.drop_pages(&(offset..offset + place.length)) {
                return false;
            }
            if let Some(extents) = &mut state.extents {
                gone = extents.put(offset, Extent { place, length: place.length, is_writable, uses: AtomicU8::new(1) });
            }
            true
        });
        gone.into_iter().for_each(|place| window.release(place));
        is_in
    }

    /// Whether the extent that begins at byte `offset` and is in this place went, which it does if it `may_go` by how often
    /// it was used lately.
    pub(in crate::data::dax) fn lose_extent(
        &self,
        offset: u64,
        place: Place,
        may_go: &mut dyn FnMut(&mut u8) -> bool,
    ) -> bool {
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
    pub(in crate::data::dax) fn age_extents(&self) {
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
    /// ends, and nobody was `told`; also if the server has to get something first that made the file longer again.
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
        let pinned_end = state.extents.as_ref().map_or(u64::MAX, |extents| extents.pinned_end);
        match state.reaches(end, told) {
            Some(true) if end > pinned_end && state.is_unwritten() => Ok(Err(access)),
            Some(true) => access().map(Ok),
            Some(false) => Err(Error::Invalid(Errno::ENXIO)),
            None => Ok(Err(access)),
        }
    }

    /// A program has a range of the file mapped, as was [announced](Self::about_to_map), of which no pages are kept from now
    /// on; unless there are some that the server has yet to get.
    pub(crate) fn pin(&self, window: &Arc<Window>, range: &Range<u64>) -> bool {
        let state = &mut *self.state.write();
        let is_clean = state.drop_pages(range);
        if is_clean {
            let extents = state.extents.get_or_insert_with(|| Box::new(Extents::new(window)));
            extents.pinned.push(range.clone());
            state.trust_end();
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
