//! What the server has open.

use super::node::unless_lacking;
use super::{Durability, Node};
use crate::data::{Batch, FileData, Leaving, PAGE_BYTES};
use crate::session::{ReadFrom, Run, WriteTo};
use crate::wire::{
    FileHandle, FopenFlags, Fsync, Lock, LockKind, LockOwner, Open, OpenFlags, Opened, Release, Setlk, WriteFlags,
};
use crate::{Error, Instant};
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

/// A file that the server has open for the driver. It is closed (RELEASE) when the last user lets go: the open file, or
/// somebody who writes its dirty pages to the server.
///
/// # Locking
///
/// Dropping waits if a lock of [`OpenFile::flock`](super::OpenFile::flock) may be held; if not, at most for room in the
/// queues, and for files that are being closed.
pub(crate) struct Handle {
    pub(super) node: Node,
    /// `None` if the server needs no files to be opened.
    pub(super) fh: Option<FileHandle>,
    /// How it was opened.
    flags: OpenFlags,
    fopen_flags: FopenFlags,
    /// Whose `flock` locks are those of this file.
    pub(super) owner: LockOwner,
    /// A `flock` lock may be held.
    pub(super) flocked: AtomicBool,
}

impl Handle {
    /// Sends OPEN.
    pub(super) fn open(node: &Node, flags: OpenFlags, owner: LockOwner) -> Result<Self, Error> {
        let kill_suidgid = flags.contains(OpenFlags::TRUNCATE) && node.asks_to_kill_set_ids();
        let opened = unless_lacking(node.call(&Open { flags, kill_suidgid }))?;
        Ok(Self::new(node, opened, flags, owner))
    }

    /// What the server has opened; `None` if it needs no files to be opened.
    pub(super) fn new(node: &Node, opened: Option<Opened>, flags: OpenFlags, owner: LockOwner) -> Self {
        let fopen_flags = opened.map_or(FopenFlags::empty(), |opened| opened.flags);
        node.inode().set_direct(fopen_flags.contains(FopenFlags::DIRECT_IO));
        Self {
            node: node.clone(),
            fh: opened.map(|opened| opened.fh),
            flags,
            fopen_flags,
            owner,
            flocked: AtomicBool::new(false),
        }
    }

    /// What requests call the file. Servers that need no files to be opened do not look at it.
    pub(super) fn fh(&self) -> FileHandle {
        self.fh.unwrap_or(FileHandle(0))
    }

    /// Reads and writes are to go to the server.
    pub(super) fn is_direct(&self) -> bool {
        self.fopen_flags.contains(FopenFlags::DIRECT_IO)
    }

    /// What is cached of the file is still true.
    pub(super) fn keeps_cache(&self) -> bool {
        self.fopen_flags.contains(FopenFlags::KEEP_CACHE)
    }

    /// The server wants to be told when a file descriptor is closed.
    pub(super) fn wants_flush(&self) -> bool {
        !self.fopen_flags.contains(FopenFlags::NOFLUSH)
    }

    /// Has the server make durable what it has (FSYNC).
    pub(super) fn sync(&self, durability: Durability) -> Result<(), Error> {
        let fsync = Fsync { fh: self.fh(), data_only: durability == Durability::Data };
        unless_lacking(self.node.call(&fsync)).map(drop)
    }

    /// What READs say of the file.
    pub(super) fn read_from(&self, flags: OpenFlags) -> ReadFrom {
        ReadFrom { nodeid: self.node.nodeid(), fh: self.fh(), flags }
    }

    /// What WRITEs say of the file.
    pub(super) fn write_to(&self, flags: OpenFlags) -> WriteTo {
        let node = &self.node;
        let write_flags = if node.asks_to_kill_set_ids() { WriteFlags::KILL_SUIDGID } else { WriteFlags::empty() };
        WriteTo { nodeid: node.nodeid(), fh: self.fh(), flags, write_flags }
    }

    /// Since when something has to be written.
    pub(super) fn dirty_since(&self) -> Option<Instant> {
        self.node.inode().used_data()?.dirty_since()
    }

    /// Writes all dirty pages of the file to the server. What cannot be written is lost to it, and told to each file that
    /// was open then, once (`errseq`); the pages stay readable.
    ///
    /// # Locking
    ///
    /// Waits, also for another thread that does the same.
    pub(crate) fn write_back(&self) {
        let Some(data) = self.node.inode().used_data().filter(|data| data.is_unwritten()) else { return };
        let session = self.node.session();
        while !data.try_begin_flush() {
            session.wait_until(&mut || !data.is_flushing());
        }
        if let Err(error) = self.write_batches(data) {
            data.note_failure(error);
        }
        data.end_flush();
        session.wake();
        self.node.superblock().dirty.remove_if_clean(&self.node);
    }

    /// # Errors
    ///
    /// [`Error::NoMemory`] to write pages with: these stay dirty.
    fn write_batches(&self, data: &FileData) -> Result<(), Error> {
        let most = BATCH_TRANSFERS * self.node.session().negotiated().max_write_bytes / PAGE_BYTES;
        let mut next = 0;
        while let Some(batch) = data.take_dirty(next, most.max(BATCH_TRANSFERS))? {
            next = batch.next_index();
            let own = self.node.inode().begin_own_change();
            let sent = self.write_batch(&batch);
            // First this: see `change_content`.
            let version = self.node.inode().note_own_change(&own, sent.as_ref().ok().copied().flatten());
            data.end_batch(batch, sent.map(drop), || self.node.inode().has_content_of(&own));
            self.node.inode().keep_content(&own, version);
        }
        Ok(())
    }

    /// Writes as much of these pages as can be written. Gives how many requests that took, if all of them succeeded.
    ///
    /// # Errors
    ///
    /// Why something could not.
    fn write_batch(&self, batch: &Batch) -> Result<Option<u64>, Error> {
        // Others may have written into these pages, too.
        let written_by = self.node.superblock().dirty.get(&self.node);
        let kills = written_by.is_some_and(|handle| handle.node.asks_to_kill_set_ids());
        let kill = if kills { WriteFlags::KILL_SUIDGID } else { WriteFlags::empty() };
        let to = self.write_to(self.flags - OpenFlags::APPEND);
        let to = WriteTo { write_flags: to.write_flags | kill | WriteFlags::CACHE, ..to };
        let (mut slices, mut runs) = (Vec::new(), Vec::new());
        let (pages, count) = (batch.pages(), batch.runs().count());
        if slices.try_reserve_exact(pages.len()).and_then(|()| runs.try_reserve_exact(count)).is_err() {
            // Without memory for lists, one page after the other.
            let runs = pages.iter().map(|page| Run::new(page.offset(), page.bytes().into()));
            return runs.map(|run| self.finish(to, &run)).fold(Ok(Some(0)), both);
        }
        slices.extend(pages.iter().map(Leaving::bytes));
        let mut rest = &slices[..];
        for run in batch.runs() {
            let (bytes, behind) = rest.split_at(run.len());
            runs.push(Run::new(run[0].offset(), bytes.into()));
            rest = behind;
        }
        self.node.session().write_runs(self.node.credentials(), to, &runs);
        runs.iter().map(|run| self.finish(to, run)).fold(Ok(Some(0)), both)
    }

    /// Writes what is left of a run. An error in one place keeps nothing behind it from being written. Gives how many requests
    /// the run took, if all of them succeeded.
    ///
    /// # Errors
    ///
    /// The first.
    fn finish(&self, to: WriteTo, run: &Run<'_>) -> Result<Option<u64>, Error> {
        let session = self.node.session();
        let mut result = run.result();
        let mut outcome = Ok(run.requests());
        let mut done = 0;
        loop {
            let (offset, mut lost) = run.behind(done);
            done += result.unwrap_or_else(|error| {
                let lost = lost.take(session.negotiated().max_write_bytes).len();
                log::warn!("{:?}: {lost} bytes that were written are lost from byte {offset} on: {error}", self.node);
                outcome = outcome.and(Err(error));
                lost
            });
            let (offset, rest) = run.behind(done);
            if rest.len() == 0 || matches!(outcome, Err(Error::Device(_))) {
                return outcome;
            }
            let sent = session.write(self.node.credentials(), to, offset, rest);
            outcome = both(outcome, sent.map(|sent| sent.requests).or(Ok(None)));
            result = sent.map(|sent| sent.bytes);
        }
    }
}

/// How many requests two writes took together, or the first error.
fn both(one: Result<Option<u64>, Error>, other: Result<Option<u64>, Error>) -> Result<Option<u64>, Error> {
    one.and_then(|one| Ok(one.zip(other?).map(|(one, other)| one + other)))
}

/// Dirty pages of a file are written in about so many requests of full length at a time; of fewer bytes, if these are not
/// next to each other.
const BATCH_TRANSFERS: usize = 8;

impl Handle {
    /// Closes the file now.
    ///
    /// # Errors
    ///
    /// The server's, if it is waited for.
    pub(super) fn close(mut self) -> Result<(), Error> {
        self.release()
    }

    fn release(&mut self) -> Result<(), Error> {
        let flock_owner = core::mem::take(self.flocked.get_mut()).then_some(self.owner);
        let Some(fh) = self.fh.take() else {
            // What was never opened is not closed, either.
            return flock_owner.map_or(Ok(()), |owner| self.unlock(owner));
        };
        let release = Release { fh, flags: self.flags, flock_owner };
        match flock_owner {
            // Who closes a file counts on others getting the lock from now on.
            Some(_) => self.node.call(&release),
            None => self.node.call_detached(&release),
        }
    }
}

impl Handle {
    /// Gives a `flock` lock up, when the server is not told that the file is closed.
    fn unlock(&self, owner: LockOwner) -> Result<(), Error> {
        let pid = self.node.credentials().pid;
        let lock = Lock { kind: LockKind::Unlock, start: 0, end: Lock::TO_THE_END, pid };
        self.node.call(&Setlk { fh: self.fh(), owner, lock, flock: true })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            log::warn!("{:?} was not closed well: {error}", self.node);
        }
    }
}
