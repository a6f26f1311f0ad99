//! What local changes make of the pages.

use super::PAGE_BYTES;
use super::file_data::{FileData, Page, State, place};
use core::ops::Range;

/// A change of the content that the server was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Change<'c> {
    /// These bytes were written from this byte of the file on.
    Written(u64, &'c [u8]),
    /// The file was cut off, or filled up with zeroes.
    Resized(u64),
    /// This part is something else now, and perhaps the file is longer.
    Unknown(Range<u64>),
}

/// A change that is under way.
#[must_use]
pub(crate) struct Changing {
    number: u64,
    /// No other one was under way when it began.
    began_alone: bool,
}

impl FileData {
    /// To be called before the server is asked for a change, which may cut the file off at this place.
    pub(crate) fn begin_cut(&self, size_bytes: u64) -> Changing {
        let mut state = self.state.write();
        if let Some(extents) = &mut state.extents {
            // From now on nobody looks behind it.
            extents.limit = extents.limit.min(size_bytes);
        }
        state.begin_change()
    }

    /// What is kept is not believed any more, but for what the server has yet to get. `renewed` is called before anybody looks
    /// again.
    pub(crate) fn renew(&self, renewed: impl FnOnce()) {
        let mut state = self.state.write();
        state.lose(0..u64::MAX);
        state.version = None;
        state.epoch += 1;
        renewed();
    }

    /// The server has answered, and so much is known of what it did. If what is kept
    /// [is doubtful](Self::is_doubtful) then, dirty pages are to be written before anybody is told that the change is
    /// complete. What is kept has to be as old as before `is_as_it_was`, which is asked when nobody can change anything about
    /// it: what was fetched since may be newer than the change.
    pub(crate) fn end_change(&self, changing: Changing, change: &Change<'_>, is_as_it_was: impl FnOnce() -> bool) {
        let mut state = self.state.write();
        let was_alone = state.end_change(&changing) && is_as_it_was();
        if state.changing == 0
            && let Some(extents) = &mut state.extents
        {
            extents.limit = u64::MAX;
        }
        match change {
            &Change::Written(offset, bytes) if was_alone => state.write(offset, bytes),
            &Change::Written(offset, bytes) => {
                state.lose(offset..offset.saturating_add(bytes.len() as u64));
            }
            &Change::Resized(size_bytes) if was_alone => state.resize(size_bytes),
            Change::Resized(_) => state.lose(0..u64::MAX),
            Change::Unknown(range) => state.lose(range.clone()),
        }
    }
}

impl State {
    pub(super) fn begin_change(&mut self) -> Changing {
        self.changing += 1;
        self.changes += 1;
        Changing { number: self.changes, began_alone: self.changing == 1 }
    }

    /// Whether no other change was under way since this one began. Of changes that were under way together it is not
    /// known which was the last.
    pub(super) fn end_change(&mut self, changing: &Changing) -> bool {
        self.changing -= 1;
        self.epoch += 1;
        self.version = None;
        changing.began_alone && self.changes == changing.number
    }

    /// Puts written bytes into the pages that are kept.
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (index, within) = place(at);
            let step = rest.len().min(PAGE_BYTES - within);
            let (piece, behind) = rest.split_at(step);
            // A page without room for it was the last one.
            let is_in = self.pages.get_mut(&index).is_none_or(|page| page.put(within, piece));
            if !is_in {
                self.pages.remove(&index);
            }
            rest = behind;
            at += step as u64;
        }
        self.eof = self.eof.map(|eof| eof.max(end));
    }

    pub(super) fn resize(&mut self, size_bytes: u64) {
        let (last, within) = place(size_bytes);
        self.pages.retain(|&index, page| index < last || index == last && within > 0 && page.clear_from(within));
        if let Some(page) = self.pages.get_mut(&last) {
            let dirty = page.dirty().clone();
            page.set_dirty(dirty.start.min(within)..dirty.end.min(within));
        }
        if self.eof.is_none() {
            // What was behind the old end is zero now, but it is not known where that was.
            self.pages.remove(&last);
        }
        self.ends_at(size_bytes);
    }

    /// What is in this range is not known any more. Of pages that are dirty by now, and of the end of a file with such
    /// pages, that is so once they are written: they have to be soon.
    pub(super) fn lose(&mut self, range: Range<u64>) {
        if self.eof.is_none_or(|eof| range.end > eof) {
            self.lose_end();
        }
        self.lose_pages(&(range.start / PAGE_BYTES as u64..range.end.div_ceil(PAGE_BYTES as u64)));
    }
}

impl Page {
    /// Puts bytes in; whether there was room for them.
    pub(super) fn put(&mut self, within: usize, bytes: &[u8]) -> bool {
        match self.frames.bytes_mut().and_then(|frames| frames.get_mut(within..within + bytes.len())) {
            Some(place) => {
                place.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}
