//! The DAX window of one connection: what is mapped in it, and how that is asked of the front end. The version table is
//! shown in the same way, in a region of its own.
//!
//! - [`extents`]: what is mapped where.
//! - [`keeper`]: the thread that owns this, and talks to the front end.
//! - [`past_eof`]: mappings behind the end of a file.
//!
//! # Why a thread
//!
//! QEMU answers on the back-end channel from its main thread, and the same thread waits for us while it stops a queue.
//! A worker that waited for the front end while its queue is being stopped would wait for ever. So the keeper waits,
//! and a worker may give up: it says that it failed, and the keeper records what came of it.

mod extents;
mod keeper;
mod past_eof;

use crate::statistics::Statistics;
use crate::version_table::{Mark, VersionTable};
use keeper::{Job, Keeper};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use vhost::vhost_user::Backend;

/// A part of a file, to be mapped.
pub(crate) type Extent = extents::Extent<Mapped>;

/// A file that is mapped, for as long as it may be.
#[derive(Clone)]
pub(crate) struct Mapped {
    pub(crate) file: Arc<File>,
    /// For mappings for writing, where there is a version table.
    pub(crate) mark: Option<Arc<Mark>>,
}

impl Deref for Mapped {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// What holds for all connections.
#[derive(Clone)]
pub(crate) struct Rules {
    /// Extents at a time.
    pub(crate) max_maps: usize,
    /// Whether mappings may reach beyond the end of their file. Whoever serves a request that depends on the size of a
    /// file holds this for reading, and so sees none that is too long.
    pub(crate) past_eof: Option<Arc<RwLock<()>>>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) table: Option<Arc<VersionTable>>,
}

/// The window, as the threads that serve queues see it.
///
/// # Locking
///
/// `state` is held for moments, and nothing else is taken under it.
pub(crate) struct Window {
    jobs: Sender<(Job, Answer)>,
    shared: Arc<Shared>,
}

/// What came of a job, once it is known.
type Answer = Arc<OnceLock<Result<(), Errno>>>;

/// What the keeper and those who wait for it share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How often the device was reset: all that was mapped before is gone.
    resets: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Queues that are being stopped: nobody may wait.
    stops: usize,
    /// The window is closed for good.
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// A window of which nothing is mapped, behind the channel that a front end has given.
    pub(crate) fn open(channel_to_front_end: Backend, rules: Rules) -> std::io::Result<Self> {
        let (jobs, todo) = channel();
        let shared = Arc::new(Shared::default());
        let keeper = Keeper::new(channel_to_front_end, rules, shared.clone());
        // Nobody waits for its end, since a front end may keep its end of the channel open as long as it likes.
        std::thread::Builder::new().name("window".into()).spawn(move || keeper.run(&todo))?;
        Ok(Self { jobs, shared })
    }

    /// Maps an extent, in place of whatever is there.
    ///
    /// # Errors
    ///
    /// `ENXIO`: the file has become shorter; `ENOSPC`: there are too many mappings; `EIO`: the front end refused, or was
    /// not heard in time, and what is in the range now is unknown until the next mapping there, or nothing.
    pub(crate) fn map(&self, offset: u64, extent: Extent) -> Result<(), Errno> {
        self.ask(Job::Map(offset, extent))
    }

    /// Sees to it that nothing is mapped in these ranges.
    ///
    /// # Errors
    ///
    /// As for [`map`](Self::map): what remained of an extent has to be mapped again.
    pub(crate) fn unmap(&self, ranges: Vec<(u64, u64)>) -> Result<(), Errno> {
        self.ask(Job::Unmap(ranges))
    }

    /// Unmaps all there is: a session begins or ends.
    pub(crate) fn unmap_all(&self) -> Result<(), Errno> {
        self.ask(Job::UnmapAll)
    }

    /// Sees to it that the version table is in its region, if there is one.
    ///
    /// # Errors
    ///
    /// `EIO`: the front end refused, or was not heard in time.
    pub(crate) fn show_table(&self) -> Result<(), Errno> {
        self.ask(Job::ShowTable)
    }

    /// The device was reset, or seems so, and the front end has unmapped everything. If it has not, what is in the way of
    /// a mapping is unmapped then. Does not wait.
    pub(crate) fn forget(&self) {
        self.shared.resets.fetch_add(1, Ordering::SeqCst);
        // So that its files are closed now.
        let _ = self.jobs.send((Job::Look, Answer::default()));
    }

    /// The front end is gone: who waits fails with `EIO`, and who comes.
    pub(crate) fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
        self.forget();
    }

    /// From now until the value is dropped, who waits fails with `EIO`, and so does who comes to wait.
    pub(crate) fn stop_waiting(&self) -> NoWaiting {
        self.shared.state().stops += 1;
        self.shared.changed.notify_all();
        NoWaiting(self.shared.clone())
    }

    /// # Locking
    ///
    /// Waits for the front end.
    fn ask(&self, job: Job) -> Result<(), Errno> {
        let answer = Answer::default();
        let mut state = self.shared.state();
        if state.stops > 0 || state.closed || self.jobs.send((job, answer.clone())).is_err() {
            return Err(Errno::IO);
        }
        loop {
            if let Some(answer) = answer.get() {
                return *answer;
            }
            if state.stops > 0 || state.closed {
                return Err(Errno::IO);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// See [`Window::stop_waiting`].
pub(crate) struct NoWaiting(Arc<Shared>);

impl Drop for NoWaiting {
    fn drop(&mut self) {
        self.0.state().stops -= 1;
    }
}

#[cfg(test)]
mod tests;
