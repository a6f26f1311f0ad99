//! Directories that were handed out, watched by inotify, which tells names in them.
//!
//! What a name led to is remembered ([`HandedOut`]). An inode that may be changed by a name that is not known is
//! marked: one with several links, or one that was moved to where nobody watches.
//!
//! Who did it is not told: what this process does is counted twice, which costs guests a message.

use super::handed_out::{HandedOut, Named, Released, Watch};
use super::keys::Keys;
use super::{Directories, Found, Sink};
use crate::device::alone_with_the_working_directory;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

const CHANGES: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

const BUFFER_BYTES: usize = 64 << 10;
/// The length of `inotify_event`, before the name.
const EVENT: usize = 16;
/// How often new names are looked at before the rest is given up.
const MOST_ROUNDS: usize = 8;
/// Both halves of a rename come at once. After that the second one will not come.
const PATIENCE: Duration = Duration::from_millis(20);

/// # Locking
///
/// `asking`, then `state`.
pub(crate) struct Inotify {
    descriptor: OwnedFd,
    /// Requests read what is written when events are counted: of what they are about to hand out no event may be
    /// missed.
    asking: RwLock<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HandedOut,
    /// What was moved away from a name, by the cookie of the move, until it is told where to.
    moved: HashMap<u32, Moved>,
    has_complained: bool,
}

struct Moved {
    nodeids: Vec<u64>,
    /// It had a new name that was not looked at.
    is_unseen: bool,
    since: Instant,
}

type Name = (Watch, CString);

/// What is found out while events are counted.
#[derive(Default)]
struct Count {
    keys: Keys<'static>,
    is_unknown: bool,
    /// Events were lost, and with them what names lead to.
    has_lost: bool,
    /// New names, which may be those of known inodes.
    unseen: HashSet<Name>,
    /// Those that were looked at. What was true then may not have been true when they were made, if more is told of
    /// them.
    seen: HashSet<Name>,
}

impl Inotify {
    pub(super) fn begin() -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { descriptor, asking: RwLock::default(), state: Mutex::default() })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn asking(&self) -> RwLockReadGuard<'_, ()> {
        self.asking.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn root(&self, root: Found, directories: &dyn Directories) {
        let state = &mut *self.state();
        if state.known.add(root) {
            self.watch(state, root.nodeid, directories);
        }
    }

    pub(super) fn session_ends(&self, sink: &dyn Sink) {
        let state = &mut *self.state();
        // The next session may give the same nodeids.
        state.moved.clear();
        let released = state.known.clear();
        self.release(released, sink);
    }

    /// See [`super::HostChanges::handed_out`].
    pub(super) fn handed_out(
        &self,
        directory: u64,
        name: &CStr,
        found: Found,
        directories: &dyn Directories,
        sink: &dyn Sink,
    ) -> bool {
        let state = &mut *self.state();
        let is_to_be_watched = state.known.add(found);
        let marked = if found.links > 1 && !found.is_directory {
            state.known.mark(found.nodeid)
        } else {
            // In a directory that is not watched nothing is believed. What these lead to is told of anyhow.
            let is_name = !matches!(name.to_bytes(), b"." | b"..");
            let watch = state.known.watch_of(directory).filter(|_| is_name);
            watch.and_then(|watch| state.known.named(found.nodeid, watch, name.to_bytes()))
        };
        marked.into_iter().for_each(|ino| sink.mark(ino));
        is_to_be_watched && self.watch(state, found.nodeid, directories)
    }

    pub(super) fn forgotten(&self, nodeid: u64, count: u64, sink: &dyn Sink) {
        let state = &mut *self.state();
        let released = state.known.forget(nodeid, count);
        // Nobody may watch the same directory again before its watch is removed: it would be the same one.
        self.release(released, sink);
    }

    fn release(&self, released: Released, sink: &dyn Sink) {
        for watch in released.watches {
            // It is gone already, if the directory is.
            let _ = inotify::remove_watch(&self.descriptor, watch);
        }
        released.marks.into_iter().for_each(|ino| sink.unmark(ino));
    }

    /// Watches a directory. Whether that could be done.
    fn watch(&self, state: &mut State, nodeid: u64, directories: &dyn Directories) -> bool {
        match directories.open_directory(nodeid).and_then(|directory| self.add_watch(&directory)) {
            Ok(watch) => state.known.watched(nodeid, watch),
            // It is gone, which the watch of its parent tells.
            Err(error) if is_gone(&error) => return false,
            Err(error) => {
                state.known.not_watched(nodeid);
                if !std::mem::replace(&mut state.has_complained, true) {
                    log::warn!(
                        "a directory cannot be watched: {error}. While a guest knows such ones, it may believe nothing \
                         for longer than a tenth of a second. The limit is in /proc/sys/fs/inotify/max_user_watches"
                    );
                }
                return false;
            }
        }
        true
    }

    /// Adds a watch by way of the working directory: the sandbox has no `/proc`, and there is no other way to name what
    /// is open.
    fn add_watch(&self, directory: &impl AsFd) -> io::Result<Watch> {
        alone_with_the_working_directory()?;
        let here = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::fchdir(directory)?;
        let watch = inotify::add_watch(&self.descriptor, ".", CHANGES);
        rustix::process::fchdir(here)?;
        Ok(watch?)
    }

    /// See [`super::HostChanges::count`].
    pub(super) fn count(&self, directories: &dyn Directories, sink: &dyn Sink) -> io::Result<()> {
        let _alone = self.asking.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *self.state();
        let mut count = Count::default();
        for _ in 0..MOST_ROUNDS {
            self.read(|event| state.event(event, &mut count, sink))?;
            if std::mem::take(&mut count.has_lost) {
                state.find_again(directories, sink);
            }
            if count.unseen.is_empty() {
                break;
            }
            for name in std::mem::take(&mut count.unseen) {
                state.look(&name, &mut count, directories, sink);
                count.seen.insert(name);
            }
        }
        count.is_unknown |= !count.unseen.is_empty() || state.known.has_unwatched();
        state.give_up_moved(&mut count, sink);
        if !count.keys.is_empty() {
            sink.changed(&count.keys.take());
        }
        if count.is_unknown {
            sink.unknown();
        }
        Ok(())
    }

    /// Reads what has come by now: not what comes meanwhile, which may never end.
    fn read(&self, mut each: impl FnMut(Event<'_>)) -> io::Result<()> {
        let mut expected = rustix::io::ioctl_fionread(&self.descriptor)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        while expected > 0 {
            let length = match rustix::io::read(&self.descriptor, &mut buffer[..]) {
                Ok(length) => length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut bytes = &buffer[..length];
            while let Some(event) = Event::take(&mut bytes) {
                each(event);
            }
            expected = expected.saturating_sub(length as u64);
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::STALE | Errno::NOENT))
}

impl State {
    /// Finds out what an event concerns.
    fn event(&mut self, event: Event<'_>, count: &mut Count, sink: &dyn Sink) {
        let has = |flags: ReadFlags| event.flags.intersects(flags);
        if has(ReadFlags::QUEUE_OVERFLOW) {
            log::warn!("changes on the host came too fast: nothing that guests keep is believed");
            count.is_unknown = true;
            count.has_lost = true;
        }
        if has(ReadFlags::UNMOUNT) {
            self.known.is_unmounted(event.watch);
        }
        if has(ReadFlags::IGNORED) {
            self.known.watch_is_gone(event.watch);
        }
        // Its watch may have been given up since.
        let Some(directory) = self.known.directory(event.watch) else { return };
        if event.name.is_empty() {
            // A directory that another one replaced is told by ATTRIB only, and has lost its content.
            if has(ReadFlags::ATTRIB | ReadFlags::DELETE_SELF) {
                count.keys.content(directory);
            }
            if has(ReadFlags::MOVE_SELF) {
                count.keys.parent(directory);
            }
            return;
        }
        let nodeids = self.known.led_to(event.watch, event.name.to_bytes());
        let is_renamed = has(ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO);
        if is_renamed {
            count.keys.name(directory, event.name.to_bytes());
        }
        for (ino, is_directory) in nodeids.iter().filter_map(|nodeid| self.known.inode(*nodeid)) {
            // Also what was replaced: a directory without content.
            if has(ReadFlags::MODIFY) || is_directory && has(ReadFlags::DELETE | ReadFlags::MOVED_TO) {
                count.keys.content(ino);
            } else {
                count.keys.attributes(ino);
            }
        }
        if is_renamed {
            self.renamed(&event, nodeids, count, sink);
        }
    }

    /// Follows inodes to other names.
    fn renamed(&mut self, event: &Event<'_>, nodeids: Vec<u64>, count: &mut Count, sink: &dyn Sink) {
        let has = |flags: ReadFlags| event.flags.intersects(flags);
        let name = (event.watch, event.name.to_owned());
        let is_unseen = count.unseen.remove(&name);
        count.is_unknown |= count.seen.contains(&name);
        if has(ReadFlags::MOVED_FROM) {
            self.moved.insert(event.cookie, Moved { nodeids, is_unseen, since: Instant::now() });
            return;
        }
        // What had this name before it could be looked at is not known.
        count.is_unknown |= is_unseen;
        // A directory has one name only.
        let mut may_be_known = has(ReadFlags::CREATE) && !has(ReadFlags::ISDIR);
        if has(ReadFlags::MOVED_TO)
            && let Some(moved) = self.moved.remove(&event.cookie)
        {
            may_be_known = moved.is_unseen;
            for nodeid in moved.nodeids {
                let (ino, _) = self.known.inode(nodeid).unzip();
                ino.into_iter().for_each(|ino| count.keys.attributes(ino));
                let marked = self.known.named(nodeid, event.watch, event.name.to_bytes());
                marked.into_iter().for_each(|ino| sink.mark(ino));
            }
        }
        if may_be_known {
            count.unseen.insert(name);
        }
    }

    /// Looks what a new name leads to: it may be a further link.
    fn look(&mut self, (watch, name): &Name, count: &mut Count, directories: &dyn Directories, sink: &dyn Sink) {
        let found = self.known.nodeid(*watch).and_then(|directory| directories.look(directory, name).ok());
        let Some(found) = found else {
            count.is_unknown = true;
            return;
        };
        if self.known.inode(found.nodeid).is_some() {
            count.keys.attributes(found.ino);
            let marked = match found.links {
                0 | 1 => self.known.named(found.nodeid, *watch, name.to_bytes()),
                _ => self.known.mark(found.nodeid),
            };
            marked.into_iter().for_each(|ino| sink.mark(ino));
        }
    }

    /// Marks what is not any more where it was, after events were lost.
    fn find_again(&mut self, directories: &dyn Directories, sink: &dyn Sink) {
        for (nodeid, names) in self.known.followed() {
            let leads_to_it = |(watch, name): &Named| {
                let name = CString::new(&**name).ok()?;
                let found = directories.look(self.known.nodeid(*watch)?, &name).ok()?;
                (found.nodeid == nodeid && (found.is_directory || found.links == 1)).then_some(())
            };
            if !names.iter().any(|name| leads_to_it(name).is_some()) {
                self.known.mark(nodeid).into_iter().for_each(|ino| sink.mark(ino));
            }
        }
    }

    /// What was moved, and not to where it would be told, is not watched any more.
    fn give_up_moved(&mut self, count: &mut Count, sink: &dyn Sink) {
        let known = &mut self.known;
        self.moved.retain(|_, moved| {
            let is_waited_for = moved.since.elapsed() < PATIENCE;
            if !is_waited_for {
                count.is_unknown |= moved.is_unseen;
                moved.nodeids.iter().filter_map(|nodeid| known.mark(*nodeid)).for_each(|ino| sink.mark(ino));
            }
            is_waited_for
        });
    }
}

/// An event as it is read.
struct Event<'a> {
    watch: Watch,
    flags: ReadFlags,
    cookie: u32,
    /// Empty if the directory itself is meant.
    name: &'a CStr,
}

impl<'a> Event<'a> {
    /// Takes the first one off `bytes`.
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (event, rest) = bytes.split_first_chunk::<EVENT>()?;
        let word = |at: usize| u32::from_ne_bytes([event[at], event[at + 1], event[at + 2], event[at + 3]]);
        let (name, rest) = rest.split_at_checked(usize::try_from(word(12)).ok()?)?;
        *bytes = rest;
        Some(Self {
            watch: word(0).cast_signed(),
            flags: ReadFlags::from_bits_retain(word(4)),
            cookie: word(8),
            name: CStr::from_bytes_until_nul(name).unwrap_or_default(),
        })
    }
}
