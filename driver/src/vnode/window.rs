//! Reading and writing open files through the DAX window.

use super::{Node, OpenFile};
use crate::cache::CacheMode;
use crate::data::{FileData, Next, Place, Version, Wanted, Window};
use crate::session::Credentials;
use crate::wire::{FileHandle, NodeId, OpenFlags, RemoveOne, Removemapping, Setupmapping};
use crate::{Error, Instant};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use zerocopy::IntoBytes;

/// For so long a file is taken to end where it did: what is behind its end must not be looked at.
const END_IS_GOOD_FOR: Duration = Duration::from_secs(1);

/// A file, and the window that it may be mapped into.
pub(super) struct Mappable<'f> {
    pub(super) window: &'f Arc<Window>,
    pub(super) data: &'f Arc<FileData>,
}

impl OpenFile {
    /// `None` if reads and writes of this file do not go through the window.
    pub(super) fn mappable(&self) -> Option<Mappable<'_>> {
        let window = self.node.superblock().window.as_ref()?;
        let goes = self.node.inode().is_dax && !self.is_direct() && !self.node.session().lacks::<Setupmapping>();
        let data = goes.then(|| self.node.inode().data()).flatten()?;
        Some(Mappable { window, data })
    }

    /// Reads through the window from byte `offset` on, as far as that is better than asking for it. Gives the number of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device is gone; the server's.
    pub(super) fn read_through_window(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(mappable) = self.mappable() else { return Ok(0) };
        self.through_window(&mappable, offset, buffer.len(), false, |at, done, now| {
            mappable.data.read_mapped(at, &mut buffer[done..], now)
        })
    }

    /// As [`Self::read_through_window`], writes. Nothing is written there that makes the file longer.
    pub(super) fn write_through_window(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        let appends = self.flags().contains(OpenFlags::APPEND);
        let Some(mappable) = self.mappable().filter(|_| !appends) else { return Ok(0) };
        let written = self.through_window(&mappable, offset, data.len(), true, |at, done, mut now| {
            let rest = &data[done..];
            if !self.has_killed_set_ids() {
                // The server does not see what is stored, and takes no set-id bits away. What goes to it by requests needs no
                // question, so it is asked when something is there to store into.
                let wanted = Wanted { offset: at, bytes: rest.len() as u64, is_sequential: false, is_write: true };
                if !mappable.data.is_mapped_for(&wanted, now) {
                    return Ok(0);
                }
                self.note_change()?;
                // That took its time, in which what is known of the end may have become old.
                now = self.node.window_time();
            }
            mappable.data.write_mapped(at, rest, now)
        })?;
        if written > 0 {
            self.node.inode().note_change();
        }
        Ok(written)
    }

    fn through_window(
        &self,
        mappable: &Mappable<'_>,
        offset: u64,
        bytes: usize,
        is_write: bool,
        mut copy: impl FnMut(u64, usize, Instant) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let is_sequential = self.readahead.is_next(offset);
        let mut done = 0;
        loop {
            let at = offset + done as u64;
            done += copy(at, done, self.node.window_time())?;
            if done == bytes {
                self.readahead.note(offset + done as u64);
                break;
            }
            let wanted = Wanted { offset: offset + done as u64, bytes: (bytes - done) as u64, is_sequential, is_write };
            if !self.map_more(mappable, &wanted)? {
                break;
            }
        }
        Ok(done)
    }

    /// Maps more of the file, if that is better than reading or writing it by requests; whether something is mapped there now.
    fn map_more(&self, mappable: &Mappable<'_>, wanted: &Wanted) -> Result<bool, Error> {
        let &Mappable { window, data } = mappable;
        let mut next = data.next_mapping(window, wanted, self.node.window_time());
        if next == Next::FindEnd {
            let is_free = self.node.inode().attr(self.node.cache().now()).is_some();
            if !is_free && !data.is_worth_asking(wanted) {
                return Ok(false);
            }
            self.node.find_end(data, self.open_fh())?;
            if data.is_mapped_for(wanted, self.node.window_time()) {
                return Ok(true);
            }
            next = data.next_mapping(window, wanted, self.node.window_time());
        }
        match next {
            Next::Nothing | Next::FindEnd => Ok(false),
            Next::Upgrade { offset, place } => {
                window.reuse(place);
                self.ask_to_map(mappable, offset, place, true)
            }
            Next::Map { offset, length, is_writable, reclaim } => {
                let shorter = length.min(window.chunk_bytes());
                let place = window.take(length, reclaim).or_else(|| window.take(shorter, reclaim));
                place.map_or(Ok(false), |place| self.ask_to_map(mappable, offset, place, is_writable))
            }
        }
    }

    fn ask_to_map(&self, mappable: &Mappable<'_>, offset: u64, place: Place, writable: bool) -> Result<bool, Error> {
        let &Mappable { window, data } = mappable;
        if data.is_unwritten() {
            self.node.write_back();
        }
        let cuts = data.about_to_map(window);
        let mapping = Setupmapping { offset, length: place.length, window_offset: place.start, writable };
        match self.node.call(&mapping) {
            Ok(()) => Ok(data.put_extent(window, offset, place, writable, cuts)),
            Err(error) => {
                // What is mapped there now, if anything, is not known, and not looked at.
                window.release(place);
                data.mapping_refused(writable);
                match error {
                    Error::Refused(_) => {
                        log::debug!("{:?} is not mapped from byte {offset} on: {error}", self.node);
                        Ok(false)
                    }
                    error => Err(error),
                }
            }
        }
    }
}

impl Node {
    /// The time by which it is known where a file ends.
    fn window_time(&self) -> Instant {
        match self.cache().options().mode {
            CacheMode::Always => self.cache().now(),
            CacheMode::None | CacheMode::Auto => self.session().coarse_now(),
        }
    }

    /// Finds out where the file ends: gives what the server says.
    pub(super) fn find_end(&self, data: &FileData, fh: Option<FileHandle>) -> Result<u64, Error> {
        let (cache, now) = (self.cache(), self.window_time());
        let until = match cache.options().mode {
            CacheMode::Always => Instant(Duration::MAX),
            CacheMode::None | CacheMode::Auto => now + END_IS_GOOD_FOR,
        };
        let stamp = cache.stamp();
        let (attr, stamp) = match self.inode().attr_of_content(cache.now(), stamp) {
            Some(known) => known,
            None => (self.ask_attr(fh)?, stamp),
        };
        data.end_seen(Version::of(&attr), || self.inode().unchanged_since(&stamp));
        data.end_checked(attr.size_bytes, until);
        Ok(attr.size_bytes)
    }

    /// Has the server remove what is mapped in the window for nobody any more.
    pub(crate) fn remove_unused_mappings(&self) {
        let Some(window) = &self.superblock().window else { return };
        let unused = window.take_unused(Removemapping::MAX_ENTRIES);
        if unused.is_empty() {
            return;
        }
        let entry = |place: &Place| RemoveOne { window_offset: place.start, length: place.length };
        let entries: Vec<_> = unused.iter().map(entry).collect();
        let removal = Removemapping { count: entries.len() as u32 };
        let session = self.session();
        let removed = session.call_with_payload(&Credentials::DRIVER, NodeId::ROOT, &removal, entries.as_bytes());
        if let Err(error) = removed {
            log::debug!("{} mappings were not removed: {error}", unused.len());
        }
        window.end_removal(&unused, removed.is_ok());
    }
}
