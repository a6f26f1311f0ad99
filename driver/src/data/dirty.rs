//! Pages that programs have written to, and the server has not got yet.

use super::PAGE_BYTES;
use super::file_data::{FileData, Page, State, place};
use crate::sync::atomic::Ordering;
use crate::{Attr, Error, Instant, Timestamp};
use alloc::vec::Vec;
use core::ops::Range;

/// What a write into pages wants first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To know where the file ends.
    End,
    /// This page, of which it changes a part, to be read.
    Read(u64),
    /// So many new pages.
    Pages(usize),
    /// To go to the server, where somebody else appends at the moment.
    Server,
}

/// What a program knows of the file while the server does not.
pub(crate) struct Unwritten {
    pub(crate) size_bytes: u64,
    pub(crate) modified: Timestamp,
}

impl Unwritten {
    /// The attributes of a file of which the server tells these.
    pub(crate) fn of(&self, attr: Attr) -> Attr {
        Attr { size_bytes: self.size_bytes, modified: self.modified, changed: self.modified, ..attr }
    }
}

impl FileData {
    /// Writes `bytes` into pages, from byte `offset` on or at the end of the file, and gives where they begin. What is new
    /// comes out of `spare`.
    ///
    /// # Errors
    ///
    /// What it needs first; nothing was written then.
    pub(crate) fn write_pages(
        &self,
        offset: Option<u64>,
        bytes: &[u8],
        spare: &mut Vec<Page>,
        now: Instant,
        date: Timestamp,
    ) -> Result<u64, Need> {
        let mut new = Vec::new();
        let mut state = self.state.write();
        let result = state.write_pages(offset, bytes, spare, &mut new);
        if result.is_ok() {
            state.dirty_since.get_or_insert(now);
            state.modified = date;
        }
        drop(state);
        new.iter().for_each(|&(index, ticket)| self.pool.enqueue(&self.own, index, ticket));
        result
    }

    /// Whether something is here that the server has not got.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.state.read().is_unwritten()
    }

    /// Since when something has to be written.
    pub(crate) fn dirty_since(&self) -> Option<Instant> {
        self.state.read().dirty_since
    }

    /// What is known here of the file, and not to the server.
    pub(crate) fn unwritten(&self) -> Option<Unwritten> {
        let state = self.state.read();
        let size_bytes = state.eof.filter(|_| state.is_unwritten())?;
        Some(Unwritten { size_bytes, modified: state.modified })
    }

    /// The file ends here, as the server said, unless it is known better by now, or not true any more: see
    /// [`Self::opened`].
    pub(crate) fn learn_end(&self, size_bytes: u64, is_still_true: impl FnOnce() -> bool) {
        let mut state = self.state.write();
        if state.eof.is_none() && is_still_true() {
            state.ends_at(size_bytes);
        }
    }

    /// How many times pages could not be written so far: what an open file that was not there yet need not be told of.
    pub(crate) fn failures(&self) -> u64 {
        self.state.read().failures.0
    }

    /// The last reason why pages could not be written, if that was since there were so many `seen` failures.
    pub(crate) fn failed_since(&self, seen: u64) -> Option<(u64, Error)> {
        let (count, error) = self.state.read().failures;
        error.filter(|_| count > seen).map(|error| (count, error))
    }

    /// Begins to write dirty pages to the server, unless somebody else does.
    pub(crate) fn try_begin_flush(&self) -> bool {
        !self.flushing.swap(true, Ordering::Acquire)
    }

    /// Whether somebody writes dirty pages to the server.
    pub(crate) fn is_flushing(&self) -> bool {
        self.flushing.load(Ordering::Acquire)
    }

    pub(crate) fn end_flush(&self) {
        self.flushing.store(false, Ordering::Release);
    }

    /// Begins to ask the server where the file ends, to write there, unless somebody else does.
    pub(crate) fn try_begin_append(&self) -> bool {
        !core::mem::replace(&mut self.state.write().appending, true)
    }

    /// Whether somebody asks the server where the file ends, to write there.
    pub(crate) fn is_appending(&self) -> bool {
        self.state.read().appending
    }

    pub(crate) fn end_append(&self) {
        self.state.write().appending = false;
    }
}

impl State {
    /// As [`FileData::write_pages`]; notes the pages that are `new`, and their tickets.
    fn write_pages(
        &mut self,
        offset: Option<u64>,
        bytes: &[u8],
        spare: &mut Vec<Page>,
        new: &mut Vec<(u64, u64)>,
    ) -> Result<u64, Need> {
        if offset.is_none() && self.appending {
            return Err(Need::Server);
        }
        let eof = self.eof.ok_or(Need::End)?;
        let offset = offset.unwrap_or(eof);
        let end = offset + bytes.len() as u64;
        let indices = offset / PAGE_BYTES as u64..end.div_ceil(PAGE_BYTES as u64);
        if indices.clone().any(|index| self.is_mapped(index)) {
            return Err(Need::Server);
        }
        let missing = self.pages_to_make(eof, offset..end, indices.clone())?;
        if spare.len() < missing || self.pages.try_reserve(missing).is_err() || new.try_reserve(missing).is_err() {
            return Err(Need::Pages(missing));
        }
        let mut rest = bytes;
        let mut at = offset;
        for index in indices {
            let within = place(at).1;
            let (piece, behind) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            let mut page = match self.pages.remove(&index) {
                Some(page) if page.has_room() => page,
                old => {
                    let Some(mut page) = spare.pop() else { return Err(Need::Pages(missing)) };
                    new.push((index, page.ticket()));
                    if let Some(old) = old {
                        page.put(0, old.frames.bytes());
                        page.set_dirty(old.dirty().clone());
                    }
                    page
                }
            };
            let written = page.put(within, piece);
            if written {
                let (dirty, more) = (page.dirty().clone(), within..within + piece.len());
                let hull = dirty.start.min(more.start)..dirty.end.max(more.end);
                page.set_dirty(if dirty.is_empty() { more } else { hull });
            }
            self.pages.insert(index, page);
            if !written {
                // No memory for a copy of a page that is on its way to the server.
                return Err(Need::Pages(missing));
            }
            rest = behind;
            at += piece.len() as u64;
        }
        if end > eof {
            self.eof = Some(end);
            // A READ that was sent before would find another end.
            self.epoch += 1;
        }
        Ok(offset)
    }

    /// How many pages a write needs that are not there, or too short.
    fn pages_to_make(&self, eof: u64, range: Range<u64>, indices: Range<u64>) -> Result<usize, Need> {
        let mut missing = 0;
        for index in indices {
            let start = index * PAGE_BYTES as u64;
            let page = self.pages.get(&index);
            let known_end = eof.min(start + PAGE_BYTES as u64);
            let covers = range.start <= start && range.end >= known_end;
            if !self.holds(index) && start < eof && !covers {
                return Err(Need::Read(index));
            }
            if page.is_none_or(|page| !page.has_room()) {
                missing += 1;
            }
        }
        Ok(missing)
    }
}

impl Page {
    /// Whether it is not cut short where the file ended.
    fn has_room(&self) -> bool {
        self.frames.len() == PAGE_BYTES
    }
}
