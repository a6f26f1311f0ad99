//! What the server has open.

use super::node::unless_lacking;
use super::{Durability, Node};
use crate::Error;
use crate::data::Run;
use crate::session::{ReadFrom, WriteTo};
use crate::wire::{
    FileHandle, FopenFlags, Fsync, Lock, LockKind, LockOwner, Open, OpenFlags, Opened, Release, Setlk, WriteFlags,
};
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
        let limit = RUN_TRANSFERS * session.negotiated().max_write_bytes;
        let mut next = 0;
        while let Some(run) = data.take_dirty(next, limit) {
            next = run.next_index();
            let result = self.write_run(&run);
            if let Err(error) = result {
                log::warn!("{:?}: what was written is lost from byte {} on: {error}", self.node, run.offset);
            }
            // First this: see `change_content`.
            self.node.inode().note_change();
            data.end_run(run, result);
        }
        data.end_flush();
        session.wake();
        self.node.superblock().dirty.remove_if_clean(&self.node);
    }

    fn write_run(&self, run: &Run) -> Result<(), Error> {
        let session = self.node.session();
        let to = self.write_to(self.flags - OpenFlags::APPEND);
        let to = WriteTo { write_flags: to.write_flags | WriteFlags::CACHE, ..to };
        let mut written = 0;
        while written < run.bytes() {
            let mut slices = Vec::new();
            slices.extend(run.slices(written).filter(|slice| !slice.is_empty()));
            written += session.write(self.node.credentials(), to, run.offset + written as u64, slices[..].into())?;
        }
        Ok(())
    }
}

/// Dirty bytes that follow each other are written in so many requests at a time.
const RUN_TRANSFERS: usize = 8;

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
