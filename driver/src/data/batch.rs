//! Dirty pages on their way to the server.

use super::PAGE_BYTES;
use super::changes::Changing;
use super::file_data::FileData;
use super::frames::Frames;
use crate::Error;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::ops::Range;

/// Some of a file's dirty pages, which are being written to the server together. They may be read meanwhile; who writes to
/// one gets a copy.
pub(crate) struct Batch {
    /// In the order of the file.
    pages: Vec<Leaving>,
    /// To write them is a change of the file, as others are.
    changing: Changing,
}

/// What is dirty of a page, on its way to the server.
pub(crate) struct Leaving {
    index: u64,
    frames: Frames,
    dirty: Range<usize>,
}

impl Leaving {
    /// Where it begins in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.index * PAGE_BYTES as u64 + self.dirty.start as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frames.bytes()[self.dirty.clone()]
    }

    fn end(&self) -> u64 {
        self.offset() + self.dirty.len() as u64
    }
}

impl Batch {
    pub(crate) fn pages(&self) -> &[Leaving] {
        &self.pages
    }

    /// The pages, by those whose dirty bytes follow each other.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[Leaving]> {
        self.pages.chunk_by(|before, page| before.end() == page.offset())
    }

    /// The page behind the last of them.
    pub(crate) fn next_index(&self) -> u64 {
        self.pages.last().map_or(u64::MAX, |page| page.index + 1)
    }
}

impl FileData {
    /// Takes the first `most` dirty pages from page `from` on, or fewer if there are no more; `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] for a list of them; nothing was taken.
    pub(crate) fn take_dirty(&self, from: u64, most: usize) -> Result<Option<Batch>, Error> {
        let mut state = self.state.write();
        if !state.pages.values().any(|page| !page.dirty().is_empty()) {
            state.dirty_since = None;
            if state.in_flight == 0 {
                state.end_doubts();
            }
            return Ok(None);
        }
        let dirty = state.pages.iter().filter(|(index, page)| **index >= from && !page.dirty().is_empty());
        let indices = dirty.map(|(&index, _)| index);
        let mut count = most.min(indices.clone().count());
        if count == 0 {
            return Ok(None);
        }
        let (mut first, mut pages) = (BinaryHeap::new(), Vec::new());
        if first.try_reserve_exact(count).and_then(|()| pages.try_reserve_exact(count)).is_err() {
            // Without memory for so many, one after the other.
            count = 1;
            first.try_reserve_exact(1).and_then(|()| pages.try_reserve_exact(1)).map_err(|_| Error::NoMemory)?;
        }
        for index in indices {
            if first.len() < count {
                first.push(index);
            } else if let Some(mut last) = first.peek_mut()
                && *last > index
            {
                *last = index;
            }
        }
        for index in first.into_sorted_vec() {
            let Some(page) = state.pages.get_mut(&index) else { continue };
            pages.push(Leaving { index, frames: page.frames.clone(), dirty: page.dirty().clone() });
            page.set_dirty(0..0);
            page.in_flight = true;
        }
        state.in_flight += pages.len();
        Ok(Some(Batch { pages, changing: state.begin_change() }))
    }

    /// The server has these pages, or some are lost to it. See [`Self::end_change`].
    pub(crate) fn end_batch(&self, batch: Batch, result: Result<(), Error>, is_as_it_was: impl FnOnce() -> bool) {
        let mut state = self.state.write();
        state.in_flight -= batch.pages.len();
        for leaving in &batch.pages {
            if let Some(page) = state.pages.get_mut(&leaving.index) {
                page.in_flight = false;
            }
        }
        if !state.end_change(&batch.changing) || !is_as_it_was() {
            batch.pages.iter().for_each(|page| state.lose(page.offset()..page.end()));
        }
        if let Err(error) = result {
            state.failures = (state.failures.0 + 1, Some(error));
        }
    }

    /// Dirty pages could not be written, and stay dirty.
    pub(crate) fn note_failure(&self, error: Error) {
        let failures = &mut self.state.write().failures;
        *failures = (failures.0 + 1, Some(error));
    }
}
