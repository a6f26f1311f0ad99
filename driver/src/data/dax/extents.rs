//! The extents of a file, and when it gets more.

mod content;

use super::MIN_SEQUENTIAL_BYTES;
use super::window::{Place, Reclaim, Window};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::{Error, Instant};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// What is mapped of a file.
pub(in crate::data) struct Extents {
    window: Arc<Window>,
    /// By where in the file they begin.
    extents: BTreeMap<u64, Extent>,
    /// Ranges of which programs hold mappings, besides.
    pinned: Vec<Range<u64>>,
    /// The smallest end that the file has had since the server was last seen to have everything: write-back may have made it
    /// longer since, of which the server does not know as long as something is unwritten.
    pinned_end: u64,
    /// How often the file has come to end elsewhere, other than by writes.
    cuts: u64,
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
            pinned_end: u64::MAX,
            cuts: 0,
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
                self.window.whole_units(end)
            }
            _ => 0,
        }
    }

    /// The file ends here. What is mapped behind that may be looked at only when it is mapped anew: who makes the file longer
    /// may be somebody of whom the server does not know yet. It `is_news` if it ended elsewhere, as far as was known.
    pub(in crate::data) fn cut(&mut self, size_bytes: u64, is_news: bool) {
        let end = self.window.whole_units(size_bytes);
        self.pinned_end = self.pinned_end.min(size_bytes);
        self.cuts += u64::from(is_news);
        for (&offset, extent) in &mut self.extents {
            extent.length = extent.length.min(end.saturating_sub(offset));
        }
    }

    /// Where the file ends has to be found out before anybody looks at it again.
    fn distrust_end(&mut self) {
        self.checked_until = Instant(Duration::ZERO);
    }

    /// The file may end anywhere.
    pub(in crate::data) fn lose_end(&mut self) {
        self.distrust_end();
        self.pinned_end = 0;
        self.cuts += 1;
    }

    /// An extent of which `length` bytes may be looked at comes to byte `offset`. Those that it overlaps, which others have
    /// asked for meanwhile, go, and their places are given back: what comes up again from behind another one would be
    /// older than the pages.
    fn put(&mut self, offset: u64, extent: Extent) -> Vec<Place> {
        self.misses.remove(&offset);
        let end = offset + extent.place.length;
        let overlaps = |start: &u64, other: &mut Extent| *start >= offset || start + other.length > offset;
        let gone = self.extents.extract_if(..end, overlaps).map(|(_, other)| other.place).collect();
        self.extents.insert(offset, extent);
        gone
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
