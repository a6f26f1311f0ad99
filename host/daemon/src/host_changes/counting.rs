//! Counts in the version table what is found.

use super::{Directories, Found, HostChanges, Sink};
use crate::version_table::{Mark, VersionTable, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard};
use std::time::{Duration, Instant};
use virtio_fs_version_table::{Flags, Key};

/// What tells of changes, the table, and the directories that are served.
pub(crate) struct Counting {
    changes: HostChanges,
    table: Counted,
    directories: Arc<dyn Directories>,
}

/// The table, and which inodes are marked in it.
struct Counted {
    table: Arc<VersionTable>,
    marks: Mutex<HashMap<u64, Vec<Mark>>>,
}

impl Sink for Counted {
    fn changed(&self, keys: &[Key]) {
        self.table.publish(keys);
    }

    fn unknown(&self) {
        self.table.raise_floor();
    }

    fn mark(&self, ino: u64) {
        let mark = Mark::new(&self.table, ino);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).entry(ino).or_default().push(mark);
    }

    fn unmark(&self, ino: u64) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_ino) = marks.get_mut(&ino) {
            of_ino.pop();
            if of_ino.is_empty() {
                marks.remove(&ino);
            }
        }
    }
}

impl Counting {
    pub(crate) fn new(changes: HostChanges, table: Arc<VersionTable>, directories: Arc<dyn Directories>) -> Self {
        Self { changes, table: Counted { table, marks: Mutex::default() }, directories }
    }

    /// See [`HostChanges::asking`].
    pub(crate) fn asking(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.changes.asking()
    }

    /// See [`HostChanges::session_begins`].
    pub(crate) fn session_begins(&self, root: Found) {
        self.changes.session_begins(root, &*self.directories, &self.table);
    }

    /// See [`HostChanges::session_ends`].
    pub(crate) fn session_ends(&self) {
        self.changes.session_ends(&self.table);
    }

    /// See [`HostChanges::handed_out`].
    #[must_use]
    pub(crate) fn handed_out(&self, directory: u64, name: &CStr, found: Found) -> bool {
        self.changes.handed_out(directory, name, found, &*self.directories, &self.table)
    }

    /// See [`HostChanges::forgotten`].
    pub(crate) fn forgotten(&self, nodeid: u64, count: u64) {
        self.changes.forgotten(nodeid, count, &self.table);
    }

    /// What the thread that tends the table does between two beats: counts what comes, at once.
    pub(crate) fn watch(self: Arc<Self>) -> Watch {
        let promised = self.table.table.flags();
        let is_enough = keeps(promised, self.changes.flags());
        if !is_enough {
            log::warn!(
                "others count more of what the host changes than this daemon does: guests go by time when nobody else \
                 tends the version table"
            );
        }
        let mut has_failed = false;
        Box::new(move |time| match self.count_for(time) {
            Ok(()) => is_enough,
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    log::error!("changes on the host were lost, and nothing that guests keep is believed: {error}");
                }
                // Some may have been read already.
                self.table.unknown();
                std::thread::sleep(time);
                false
            }
        })
    }

    fn count_for(&self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            wait(&self.changes, left)?;
            self.changes.count(&*self.directories, &self.table)?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}

/// Whether who counts `own` may tell guests that what `promised` says is counted.
fn keeps(promised: Flags, own: Flags) -> bool {
    promised == Flags::empty() || own == promised || own.intersects(Flags::FANOTIFY)
}

/// Waits until something was changed, or the time is over.
fn wait(changes: &HostChanges, time: Duration) -> io::Result<()> {
    let descriptor = changes.descriptor();
    let mut descriptors: Vec<_> = descriptor.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut descriptors, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_counts_less_than_was_promised_does_not_say_that_it_is_counted() {
        let (none, fanotify, inotify) = (Flags::empty(), Flags::FANOTIFY, Flags::INOTIFY);
        for (promised, own) in
            [(none, none), (none, inotify), (fanotify, fanotify), (inotify, inotify), (inotify, fanotify)]
        {
            assert!(keeps(promised, own), "{promised:?} {own:?}");
        }
        for (promised, own) in [(fanotify, none), (inotify, none), (fanotify, inotify)] {
            assert!(!keeps(promised, own), "{promised:?} {own:?}");
        }
    }
}
