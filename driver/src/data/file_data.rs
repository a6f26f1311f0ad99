//! What is kept of the content of one file.

use super::PAGE_BYTES;
use super::dax::Extents;
use super::frames::{FRAME_BYTES, Frames};
use super::pool::{Charge, Eviction, Pool};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Attr, Error, Instant, Timestamp};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use hashbrown::HashMap;

/// The pages of a file, and what is known of its end.
///
/// # Locking
///
/// One spin reader-writer lock, held for memory accesses only: readers copy out of pages side by side. The lock of the
/// [`Pool`] is not taken under it, that of an inode's attributes may be.
pub(crate) struct FileData {
    pub(super) pool: Arc<Pool>,
    pub(super) own: Weak<Self>,
    pub(super) state: RwLock<State>,
    /// Somebody writes dirty pages to the server: two at a time could do it in the wrong order.
    pub(super) flushing: AtomicBool,
}

pub(super) struct State {
    pub(super) pages: HashMap<u64, Page>,
    /// Where the file ends, if that is known. What lies behind it in a page is zero.
    pub(super) eof: Option<u64>,
    /// The attributes that the file had before the first of the pages was read; `None` after a local change.
    pub(super) version: Option<Version>,
    /// Counts what may make a READ that was sent before older than the pages.
    pub(super) epoch: u64,
    /// Local changes under way, dirty pages that are being written among them, and how many there were ever.
    pub(super) changing: u32,
    pub(super) changes: u64,
    /// Of a dirty page more than what is dirty, or where the file ends, is not known any more: see [`Self::lose`].
    pub(super) is_doubtful: bool,
    /// So is where the file ends.
    pub(super) end_is_doubtful: bool,
    /// Somebody asks the server where the file ends, and writes there: nobody else appends.
    pub(super) appending: bool,
    /// Since when there are dirty pages.
    pub(super) dirty_since: Option<Instant>,
    /// How many pages are being written.
    pub(super) in_flight: usize,
    /// When a program last wrote into dirty pages.
    pub(super) modified: Timestamp,
    /// How many times pages could not be written, and the last reason.
    pub(super) failures: (u64, Option<Error>),
    /// What is mapped in the DAX window, once anything was.
    pub(super) extents: Option<Box<Extents>>,
}

pub(crate) struct Page {
    pub(super) frames: Frames,
    used: AtomicBool,
    ticket: u64,
    /// What has to be written to the server; empty if nothing.
    dirty: Range<usize>,
    /// It is being written to the server.
    pub(super) in_flight: bool,
    /// It goes once the server has it.
    is_doubtful: bool,
    charge: Charge,
}

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    modified: Timestamp,
    changed: Timestamp,
    size_bytes: u64,
}

impl Version {
    pub(crate) fn of(attr: &Attr) -> Self {
        Self { modified: attr.modified, changed: attr.changed, size_bytes: attr.size_bytes }
    }
}

/// What was found in the cache.
pub(super) struct Cached {
    /// So many bytes.
    pub(super) bytes: usize,
    /// The file ends behind them.
    pub(super) at_end: bool,
}

impl FileData {
    pub(crate) fn new(pool: &Arc<Pool>) -> Arc<Self> {
        let state = State {
            pages: HashMap::new(),
            eof: None,
            version: None,
            epoch: 0,
            changing: 0,
            changes: 0,
            is_doubtful: false,
            end_is_doubtful: false,
            appending: false,
            dirty_since: None,
            in_flight: 0,
            modified: Timestamp::default(),
            failures: (0, None),
            extents: None,
        };
        Arc::new_cyclic(|own| Self {
            pool: pool.clone(),
            own: own.clone(),
            state: RwLock::new(state),
            flushing: AtomicBool::new(false),
        })
    }

    /// Whether dirty pages have to be written before what is kept is true again.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.state.read().is_doubtful
    }

    /// Whether anything is kept.
    pub(crate) fn has_pages(&self) -> bool {
        !self.state.read().pages.is_empty()
    }

    /// Where the file ends, if that is known.
    pub(crate) fn eof(&self) -> Option<u64> {
        self.state.read().eof
    }

    /// Where the file ends, if the server may not know that yet.
    pub(super) fn unwritten_end(&self) -> Option<u64> {
        let state = self.state.read();
        state.eof.filter(|_| state.is_unwritten())
    }

    /// Whether all that the file has in page `index` is kept.
    pub(crate) fn holds(&self, index: u64) -> bool {
        self.state.read().holds(index)
    }

    /// The file was just made by this driver: it is empty, if nothing else is known of it and that `is_still_true`. Then `begun`
    /// is called before anybody looks.
    pub(crate) fn is_new(&self, is_still_true: impl FnOnce() -> bool, begun: impl FnOnce()) {
        let mut state = self.state.write();
        if state.pages.is_empty() && state.changes == 0 && is_still_true() {
            state.eof = Some(0);
            begun();
        }
    }

    /// The file has these attributes, as the server says when it is opened. Pages that were read when it had others go,
    /// unless the server wants them kept; dirty ones are newer than what the server knows. Nothing is done unless that
    /// `is_still_true`, which is asked when nobody can change anything about the pages.
    pub(crate) fn opened(&self, version: Version, keep: bool, is_still_true: impl FnOnce() -> bool) {
        let mut state = self.state.write();
        if state.is_unwritten() || state.version == Some(version) || !is_still_true() {
            return;
        }
        if !keep {
            state.pages.clear();
        } else if state.eof.is_some_and(|eof| eof < version.size_bytes) {
            state.lose_end();
        } else if state.eof != Some(version.size_bytes) {
            // What a page has behind the new end must not come up again when the file grows.
            state.resize(version.size_bytes);
        }
        state.version = Some(version);
        state.ends_at(version.size_bytes);
        state.epoch += 1;
    }

    /// The file is opened, and nobody asks for its attributes: where it ended is not believed if nothing else is kept.
    pub(crate) fn opened_unasked(&self) {
        let mut state = self.state.write();
        if state.pages.is_empty() && !state.is_unwritten() && state.eof.is_some() {
            state.lose_end();
            state.version = None;
            state.epoch += 1;
        }
    }

    /// As [`Self::opened`], when the attributes are learnt in passing: what is not known to be old stays.
    pub(crate) fn seen(&self, version: Version, is_still_true: impl FnOnce() -> bool) {
        if self.state.read().version.is_some_and(|own| own != version) {
            self.opened(version, false, is_still_true);
        }
    }

    /// As [`Self::seen`], by somebody who wants to know where the file ends. After a local change that is all that the
    /// attributes tell.
    pub(crate) fn end_seen(&self, version: Version, is_still_true: impl FnOnce() -> bool) {
        let mut state = self.state.write();
        if state.version.is_some() {
            drop(state);
            return self.seen(version, is_still_true);
        }
        let size_bytes = version.size_bytes;
        if state.is_unwritten() || state.eof == Some(size_bytes) || !is_still_true() {
            return;
        }
        if state.eof.is_some_and(|eof| eof < size_bytes) {
            state.lose_end();
        } else {
            state.resize(size_bytes);
        }
        state.ends_at(size_bytes);
        state.epoch += 1;
    }

    /// Forgets what the server knows, too.
    pub(crate) fn clear(&self) {
        let mut state = self.state.write();
        state.pages.retain(|_, page| !page.may_go());
        if !state.is_unwritten() {
            state.eof = None;
            state.version = None;
        }
        state.epoch += 1;
    }

    /// Copies what is kept from byte `offset` on.
    pub(super) fn copy_out(&self, offset: u64, buffer: &mut [u8]) -> Cached {
        let state = self.state.read();
        let end = state.eof.unwrap_or(u64::MAX);
        let mut bytes = 0;
        while bytes < buffer.len() {
            let at = offset + bytes as u64;
            if at >= end {
                return Cached { bytes, at_end: true };
            }
            let (index, within) = place(at);
            let Some(content) = state.pages.get(&index).map(Page::touch).and_then(|all| all.get(within..)) else {
                break;
            };
            let to_end = usize::try_from(end - at).unwrap_or(usize::MAX);
            let step = content.len().min(buffer.len() - bytes).min(to_end);
            if step == 0 {
                break;
            }
            buffer[bytes..bytes + step].copy_from_slice(&content[..step]);
            bytes += step;
        }
        Cached { bytes, at_end: false }
    }

    /// How many pages follow each other from page `index` on, at most `limit`, that are not kept; and the present epoch.
    pub(super) fn missing(&self, index: u64, limit: u64) -> (u64, u64) {
        let state = self.state.read();
        // A page that is cut short where the file does not end any more has to be read again.
        let missing = (index..index.saturating_add(limit)).take_while(|&index| !state.holds(index)).count();
        (missing as u64, state.epoch)
    }

    /// Puts in what a READ brought that was sent in this epoch: pages from `index` on, of which `bytes` are content of the
    /// file, which ends there if `at_end`. The rest is zero.
    pub(super) fn insert(&self, epoch: u64, index: u64, pages: Vec<Page>, bytes: usize, at_end: bool) {
        let start = index * PAGE_BYTES as u64;
        let end = start + bytes as u64;
        // Who finds nothing may be anywhere behind the end, but at the start.
        let tells_end = bytes > 0 || start == 0;
        let tickets: Vec<_> = (index..).zip(pages.iter().map(|page| page.ticket)).collect();
        let mut state = self.state.write();
        if state.epoch != epoch || state.pages.try_reserve(pages.len()).is_err() {
            return;
        }
        if at_end
            && !state.is_unwritten()
            && state.eof != Some(end)
            && (tells_end || state.eof.is_some_and(|eof| eof > start))
        {
            state.lose_end();
            state.pages.retain(|&index, page| index * (PAGE_BYTES as u64) < end || !page.may_go());
            if tells_end {
                state.ends_at(end);
            } else {
                state.eof = None;
            }
        } else if state.eof.is_some_and(|eof| eof < end) {
            state.lose_end();
        }
        for (index, page) in (index..).zip(pages).take(bytes.div_ceil(PAGE_BYTES)) {
            // What was put in by another READ is at least as new.
            let is_new =
                state.pages.get(&index).is_none_or(|kept| kept.frames.len() < page.frames.len() && kept.may_go());
            if is_new && !state.is_mapped(index) {
                state.pages.insert(index, page);
            }
        }
        drop(state);
        tickets.iter().for_each(|&(index, ticket)| self.pool.enqueue(&self.own, index, ticket));
    }

    pub(super) fn evict(&self, index: u64, ticket: u64) -> Eviction {
        let mut state = self.state.write();
        let Some(page) = state.pages.get_mut(&index).filter(|page| page.ticket == ticket) else {
            return Eviction::Gone;
        };
        if core::mem::take(page.used.get_mut()) || !page.may_go() {
            return Eviction::Stays;
        }
        state.pages.remove(&index);
        Eviction::Gone
    }

    /// Whether the page with this ticket is still kept.
    pub(super) fn has(&self, index: u64, ticket: u64) -> bool {
        self.state.read().pages.get(&index).is_some_and(|page| page.ticket == ticket)
    }
}

impl State {
    /// Whether something may be here that the server has not got.
    pub(super) fn is_unwritten(&self) -> bool {
        self.dirty_since.is_some() || self.in_flight > 0
    }

    /// Whether all that the file has in page `index`, as far as its end is known, is kept.
    pub(super) fn holds(&self, index: u64) -> bool {
        let start = index.saturating_mul(PAGE_BYTES as u64);
        let wanted = self.eof.unwrap_or(u64::MAX).saturating_sub(start).min(PAGE_BYTES as u64);
        // A page that is cut short where the file does not end any more has to be read again.
        self.pages.get(&index).is_some_and(|page| page.frames.len() as u64 >= wanted)
    }

    /// What is in these pages is not known any more. Dirty ones stay until the server has them.
    pub(super) fn lose_pages(&mut self, indices: &Range<u64>) {
        let is_doubtful = &mut self.is_doubtful;
        self.pages.retain(|index, page| {
            let stays = !indices.contains(index) || !page.may_go();
            if stays && indices.contains(index) {
                page.is_doubtful = true;
                *is_doubtful = true;
            }
            stays
        });
    }

    /// The file ends here for the server, too.
    pub(super) fn ends_at(&mut self, size_bytes: u64) {
        let is_news = self.eof.replace(size_bytes) != Some(size_bytes);
        if let Some(extents) = &mut self.extents {
            extents.cut(size_bytes, is_news);
        }
    }

    /// Where the file ends is not known any more, nor what is behind that in the page where it was. While something is
    /// unwritten the end that is known here counts, until the server has it all.
    pub(super) fn lose_end(&mut self) {
        let Some(eof) = self.eof else { return };
        let (index, within) = place(eof);
        if within > 0 {
            self.lose_pages(&(index..index + 1));
        }
        if let Some(extents) = &mut self.extents {
            extents.lose_end();
        }
        if self.is_unwritten() {
            (self.is_doubtful, self.end_is_doubtful) = (true, true);
        } else {
            self.eof = None;
        }
    }

    /// The server has everything: what was kept for its sake alone goes.
    pub(super) fn end_doubts(&mut self) {
        if core::mem::take(&mut self.is_doubtful) {
            self.pages.retain(|_, page| !page.is_doubtful);
        }
        if core::mem::take(&mut self.end_is_doubtful) {
            self.lose_end();
        }
    }
}

impl Page {
    /// A page of zeroes with room for so many bytes. `None` without memory, or if no other page can make room.
    pub(crate) fn new(pool: &Arc<Pool>, bytes: usize) -> Option<Self> {
        let charge = pool.charge(bytes.next_multiple_of(FRAME_BYTES))?;
        Some(Self {
            frames: Frames::zeroed(bytes)?,
            used: AtomicBool::new(false),
            ticket: pool.new_ticket(),
            dirty: 0..0,
            in_flight: false,
            is_doubtful: false,
            charge,
        })
    }

    /// The content, for reading.
    fn touch(&self) -> &[u8] {
        // A line that is only read stays in the caches of all processors.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.frames.bytes()
    }

    /// Whether the server has all that is in the page.
    pub(super) fn may_go(&self) -> bool {
        self.dirty.is_empty() && !self.in_flight
    }

    /// Makes everything zero from byte `from` on; whether there was memory for that.
    pub(super) fn clear_from(&mut self, from: usize) -> bool {
        if from >= self.frames.len() {
            return true;
        }
        self.frames.bytes_mut().map(|bytes| bytes[from..].fill(0)).is_some()
    }

    pub(super) fn dirty(&self) -> &Range<usize> {
        &self.dirty
    }

    pub(super) fn set_dirty(&mut self, dirty: Range<usize>) {
        // All of the page stays until the server has what is dirty of it.
        self.charge.set_dirty(if dirty.is_empty() { 0 } else { self.frames.len() });
        self.dirty = dirty;
    }

    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
}

/// The page of a byte of the file, and its place there.
pub(super) fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize)
}
