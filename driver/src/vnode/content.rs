//! Reading and writing open files: through the cache, or past it.

use super::OpenFile;
use super::handle::Handle;
use crate::cache::Verdict;
use crate::data::{self, Change, FileData, Need, PAGE_BYTES, Page, Reading};
use crate::session::{Sent, Session};
use crate::wire::{Access, FileHandle, InitFlags, OpenFlags};
use crate::{CacheMode, Errno, Error};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How often a write looks for room in pages, while others take it.
const BUFFER_ATTEMPTS: usize = 16;

impl OpenFile {
    /// Reads into `buffer` from byte `offset` on. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// What is [cached](crate::CacheOptions) costs no request. A large read becomes several requests that are in flight
    /// together.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for reading; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1; the server's.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.expect(Access::READ)?;
        let room = (i64::MAX as u64).checked_sub(offset).ok_or(Error::Invalid(Errno::EINVAL))?;
        let readable = buffer.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..readable];
        self.node.heed_changes();
        let done = self.read_through_window(offset, buffer)?;
        if done == buffer.len() {
            return Ok(done);
        }
        match self.read_by_requests(offset + done as u64, &mut buffer[done..]) {
            // The next read will meet it again.
            Err(_) if done > 0 => Ok(done),
            result => Ok(done + result?),
        }
    }

    /// Reads through the pages that are kept, or past them.
    fn read_by_requests(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(data) = self.cached() else { return self.read_directly(offset, buffer) };
        self.look_for_growth(data, offset + buffer.len() as u64)?;
        if let Some(bytes) = data::read_kept(data, &self.readahead, offset, buffer) {
            return Ok(bytes);
        }
        let handle = self.handle()?;
        if handle.is_direct() {
            return self.read_directly(offset, buffer);
        }
        self.read_with(&handle, data, offset, buffer)
    }

    fn read_with(&self, handle: &Handle, data: &FileData, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let (session, who, from) = (self.node.session(), self.node.credentials(), handle.read_from(self.flags()));
        let transfer_bytes = session.negotiated().max_transfer_bytes;
        let reading = Reading { data, readahead: &self.readahead, transfer_bytes };
        let mut fetch = |at, buffers: &mut [&mut [u8]]| session.read(who, from, at, buffers.into());
        data::read(&reading, offset, buffer, &mut fetch)
    }

    fn read_directly(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.node.write_back();
        let from = self.handle()?.read_from(self.flags());
        Ok(self.node.session().read(self.node.credentials(), from, offset, buffer.into())?.bytes)
    }

    /// What is kept of this file; `None` if reads and writes go to the server.
    fn cached(&self) -> Option<&Arc<FileData>> {
        let keeps = !self.is_direct() && self.node.cache().options().mode != CacheMode::None;
        if keeps { self.node.inode().data() } else { None }
    }

    /// Before a read that goes to byte `end`, and beyond the end of the file as it is known: others may have written
    /// there. They are seen as soon as what is known of the attributes is old.
    fn look_for_growth(&self, data: &FileData, end: u64) -> Result<(), Error> {
        let cache = self.node.cache();
        let ends = cache.options().mode == CacheMode::Auto
            && data.eof().is_some_and(|eof| eof < end)
            && self.node.inode().content_verdict() == Verdict::ByTime
            && self.node.inode().attr(cache.now()).is_none();
        if ends {
            self.ask_end(data, self.open_fh())?;
        }
        Ok(())
    }

    /// Where the file ends, as the server says; what is kept of another content goes.
    fn ask_end(&self, data: &FileData, fh: Option<FileHandle>) -> Result<u64, Error> {
        let stamp = self.node.cache().stamp();
        let attr = self.node.ask_attr(fh)?;
        data.end_seen(data::Version::of(&attr), || self.node.inode().unchanged_since(&stamp));
        Ok(attr.size_bytes)
    }

    /// Writes `data` from byte `offset` on, or to the end of the file if it is open with [`OpenFlags::APPEND`]. Gives
    /// the number of bytes written.
    ///
    /// With [`writeback`](crate::CacheOptions::writeback) the server gets them later, and so do errors come later: when the
    /// file is synchronised or closed. Without, a large write becomes several requests that are in flight together, or, for
    /// appending, one after the other: up to [`Negotiated::max_write_bytes`](crate::Negotiated) are appended in one piece,
    /// whoever else appends. Fewer bytes than asked for were written before an error that the next write will meet again;
    /// what lies behind them may have been written, too.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for writing; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1; `EFBIG`,
    /// `ENOSPC`, `EDQUOT` and others from the server.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        self.expect(Access::WRITE)?;
        if offset > i64::MAX as u64 {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        if data.is_empty() {
            return Ok(0);
        }
        self.node.heed_changes();
        self.note_write()?;
        let done = self.write_through_window(offset, data)?;
        let (offset, rest) = (offset + done as u64, &data[done..]);
        if rest.is_empty() {
            return Ok(done);
        }
        match self.write_by_requests(offset, rest) {
            // The next write will meet it again.
            Err(_) if done > 0 => Ok(done),
            result => Ok(done + result?),
        }
    }

    /// Writes into pages for the server to get them later, or to the server.
    fn write_by_requests(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        let handle = self.handle()?;
        if self.writes_back() && self.write_later(&handle, offset, data)? {
            return Ok(data.len());
        }
        self.write_now(&handle, offset, data)
    }

    /// Puts what is written into pages, for the server to get it later; whether that was possible.
    fn write_later(&self, handle: &Arc<Handle>, offset: u64, bytes: &[u8]) -> Result<bool, Error> {
        let Some(data) = self.cached() else { return Ok(false) };
        let (session, pool) = (self.node.session(), self.node.cache().pool());
        let appends = self.flags().contains(OpenFlags::APPEND);
        let is_large = bytes.len() > pool.budget_bytes() / 4;
        if is_large || offset.checked_add(bytes.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Ok(false);
        }
        let dirty = &self.node.superblock().dirty;
        let _dirtying = dirty.begin(handle);
        let mut spare = Vec::new();
        let age = self.node.cache().options().dirty_age;
        for _ in 0..BUFFER_ATTEMPTS {
            let at = if appends { None } else { Some(offset) };
            let now = session.now();
            match data.write_pages(at, bytes, &mut spare, now, session.date()) {
                Ok(_) => {
                    dirty.note_due(now + age);
                    // Once more: it may have been flushed since the last time, and without these pages.
                    self.note_collected();
                    if pool.is_dirty_enough() {
                        // Most of it may be of files that nobody writes to at the moment.
                        dirty.write_all();
                    }
                    dirty.write_one_aged(|| now, age);
                    return Ok(true);
                }
                Err(Need::End) => {
                    let stamp = self.node.cache().stamp();
                    let size_bytes = self.node.ask_attr(handle.fh)?.size_bytes;
                    data.learn_end(size_bytes, || self.node.inode().unchanged_since(&stamp));
                }
                Err(Need::Read(index)) => {
                    self.read_with(handle, data, index * PAGE_BYTES as u64, &mut [0])?;
                    if !data.holds(index) {
                        // There is no room for it.
                        break;
                    }
                }
                Err(Need::Server) => return Ok(false),
                Err(Need::Pages(count)) => {
                    while spare.len() < count {
                        let Some(page) = Page::new(pool, PAGE_BYTES) else { break };
                        spare.push(page);
                    }
                    if spare.len() < count {
                        // Dirty pages may be in the way.
                        spare.clear();
                        dirty.write_all();
                    }
                }
            }
        }
        Ok(false)
    }

    /// Writes to the server, and to the pages that are kept.
    fn write_now(&self, handle: &Handle, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        let node = &self.node;
        let appends = self.flags().contains(OpenFlags::APPEND);
        // A server that opens no files has none that knows its end, and one that agreed to collected writes need not look
        // for it; and what was opened to write back does not append.
        let leaves_end = self.writes_back() || node.has(InitFlags::WRITEBACK_CACHE);
        let at_known_end = appends && (handle.fh.is_none() || leaves_end);
        let _appending = at_known_end.then(|| Appending::begin(node.session(), node.inode().append_turns()));
        node.write_back();
        let offset = if at_known_end { self.ask_end(node.inode().append_turns(), handle.fh)? } else { offset };
        let flags = if leaves_end { self.flags() - OpenFlags::APPEND } else { self.flags() };
        let change = |data: &FileData, written: &Result<Sent, Error>| match written {
            Ok(sent) if sent.bytes == bytes.len() && (!appends || at_known_end) => Change::Written(offset, bytes),
            _ if appends && !at_known_end => Change::Unknown(data.eof().unwrap_or(0)..u64::MAX),
            _ => Change::Unknown(offset..offset.saturating_add(bytes.len() as u64)),
        };
        let ask = || node.session().write(node.credentials(), handle.write_to(flags), offset, bytes.into());
        node.change_content(u64::MAX, ask, |sent| sent.requests, change).map(|sent| sent.bytes)
    }
}

/// While this lives nobody else appends: no two may find the same end.
struct Appending<'a> {
    session: &'a Session,
    data: &'a FileData,
}

impl<'a> Appending<'a> {
    /// Waits for others that append.
    fn begin(session: &'a Session, data: &'a FileData) -> Self {
        while !data.try_begin_append() {
            session.wait_until(&mut || !data.is_appending());
        }
        Self { session, data }
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.data.end_append();
        self.session.wake();
    }
}

impl super::Node {
    /// The result of requests that change the content of this file in the way that `change` tells, and may cut it off at this
    /// place. How many `requests` that were is told of a result that is no error, if it is known that all of them succeeded.
    pub(super) fn change_content<'c, T>(
        &self,
        size_bytes: u64,
        ask: impl FnOnce() -> Result<T, Error>,
        requests: impl FnOnce(&T) -> Option<u64>,
        change: impl FnOnce(&FileData, &Result<T, Error>) -> Change<'c>,
    ) -> Result<T, Error> {
        let own = self.inode().begin_own_change();
        let changing = self.inode().data().map(|data| (data, data.begin_cut(size_bytes)));
        let result = ask();
        // First this: what was asked for before is not believed of the pages once they are changed.
        let version = self.inode().note_own_change(&own, result.as_ref().ok().and_then(requests));
        if let Some((data, changing)) = changing {
            let change = change(data, &result);
            data.end_change(changing, &change, || self.inode().has_content_of(&own));
            self.inode().keep_content(&own, version);
            if data.is_doubtful() {
                // Somebody else has written into pages meanwhile.
                self.write_back();
            }
        }
        result
    }

    /// Lets go of what is kept of the content of this file, if the version table says that somebody changed it. What was
    /// collected goes to the server first: nobody is shown what it would be next to.
    pub(super) fn heed_changes(&self) {
        let verdict = self.inode().content_verdict();
        if verdict == Verdict::ByTime {
            return;
        }
        let Some(data) = self.inode().data() else { return };
        if verdict == Verdict::Old {
            self.inode().renew_content(data);
        }
        // Another thread may have found that it is old, and wait for its collected writes; or collect more.
        let mut attempts = 0;
        while self.cache().options().writes_back() && data.is_doubtful() && attempts < BUFFER_ATTEMPTS {
            self.write_back();
            attempts += 1;
        }
    }

    /// Writes all dirty pages of this file to the server, if there are any.
    pub(super) fn write_back(&self) {
        if self.inode().used_data().is_some_and(|data| data.is_unwritten())
            && let Some(handle) = self.superblock().dirty.get(self)
        {
            handle.write_back();
        }
    }
}
