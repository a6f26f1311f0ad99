//! Changes on the host that no server made, for the version table (`SPEC-version-table.md` 4, "Changes on the host").
//!
//! - [`fanotify`]: whole file systems are watched, which takes root's rights and a file system whose file handles
//!   tell inode numbers ([`handles`]). What is told is in [`records`].
//! - [`inotify`]: each directory that is handed out is watched, and [`handed_out`] remembers what its names led to.
//! - [`known`]: what is left out.
//! - [`keys`]: what an event concerns. [`counting`]: all that in the version table.
//!
//! [`crate::watched_fs`] says what guests are told of.

mod counting;
mod fanotify;
mod handed_out;
mod handles;
mod inotify;
mod keys;
mod known;
mod records;
#[cfg(test)]
mod tests;

pub(crate) use counting::Counting;

use fanotify::Fanotify;
use inotify::Inotify;
use known::Known;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::RwLockReadGuard;
use virtio_fs_version_table::{Flags, Key};

/// How changes on the host are found (`--host-changes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// By fanotify where that can be had, else by inotify.
    #[default]
    Auto,
    Fanotify,
    Inotify,
    /// Not at all.
    None,
}

impl Way {
    pub(crate) fn parse(word: &str) -> Result<Self, &'static str> {
        match word {
            "auto" => Ok(Self::Auto),
            "fanotify" => Ok(Self::Fanotify),
            "inotify" => Ok(Self::Inotify),
            "none" => Ok(Self::None),
            _ => Err("it is auto, fanotify, inotify or none"),
        }
    }
}

/// Who counts changes: the version table.
pub(crate) trait Sink {
    /// What these keys name was changed.
    fn changed(&self, keys: &[Key]);

    /// Anything may have been changed: the floor is to be raised.
    fn unknown(&self);

    /// What happens to this inode is not told from now on: nothing is to be believed of its attributes and content.
    fn mark(&self, ino: u64);

    /// Takes back one [`Self::mark`].
    fn unmark(&self, ino: u64);
}

/// The directories that are served, as far as inotify has to look at them.
pub(crate) trait Directories: Send + Sync {
    /// Opens a directory that was handed out, to read.
    fn open_directory(&self, nodeid: u64) -> io::Result<File>;

    /// What a name in a directory leads to now.
    fn look(&self, directory: u64, name: &CStr) -> io::Result<Found>;
}

/// An inode as a reply tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) nodeid: u64,
    pub(crate) ino: u64,
    pub(crate) links: u32,
    pub(crate) is_directory: bool,
}

/// What tells of changes.
pub(crate) enum HostChanges {
    Fanotify(Fanotify),
    Inotify(Box<Inotify>),
    Nothing,
}

impl HostChanges {
    /// Begins to watch, before the sandbox is entered: marks of whole file systems are made while root's rights are
    /// there. What guests of others know is counted as well, if it can be, and if the table `is_shared`.
    ///
    /// # Errors
    ///
    /// What was asked for cannot be had.
    pub(crate) fn begin(way: Way, shared_dir: &Path, is_shared: bool) -> Result<Self, String> {
        let inotify =
            || Inotify::begin().map(Box::new).map(Self::Inotify).map_err(|error| format!("no inotify: {error}"));
        match way {
            Way::None => Ok(Self::Nothing),
            Way::Inotify => inotify(),
            Way::Fanotify => Fanotify::begin(shared_dir, is_shared).map(Self::Fanotify),
            Way::Auto => Fanotify::begin(shared_dir, is_shared).map(Self::Fanotify).or_else(|why| {
                log::info!("changes on the host are found by inotify: {why}");
                inotify()
            }),
        }
    }

    /// What the header of the table says.
    pub(crate) fn flags(&self) -> Flags {
        match self {
            Self::Fanotify(_) => Flags::FANOTIFY,
            Self::Inotify(_) => Flags::INOTIFY,
            Self::Nothing => Flags::empty(),
        }
    }

    /// Can be read from when there is something to [count](Self::count).
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fanotify(fanotify) => Some(fanotify.descriptor()),
            Self::Inotify(inotify) => Some(inotify.descriptor()),
            Self::Nothing => None,
        }
    }

    /// Counts all that has come. If that fails, the heartbeat must not advance.
    ///
    /// # Locking
    ///
    /// Waits for requests that [`Self::asking`] holds up.
    pub(crate) fn count(&self, directories: &dyn Directories, sink: &dyn Sink) -> io::Result<()> {
        match self {
            Self::Fanotify(fanotify) => fanotify.count(sink),
            Self::Inotify(inotify) => inotify.count(directories, sink),
            Self::Nothing => Ok(()),
        }
    }

    /// To be held from before a request looks at what its reply will hand out until that was [told](Self::handed_out):
    /// no event of it is counted meanwhile, as if nobody knew of it.
    pub(crate) fn asking(&self) -> Option<RwLockReadGuard<'_, ()>> {
        match self {
            Self::Fanotify(fanotify) => fanotify.known().map(Known::asking),
            Self::Inotify(inotify) => Some(inotify.asking()),
            Self::Nothing => None,
        }
    }

    /// A session begins, before its first reply.
    pub(crate) fn session_begins(&self, root: Found, directories: &dyn Directories, sink: &dyn Sink) {
        self.session_ends(sink);
        match self {
            Self::Fanotify(fanotify) => fanotify.known().into_iter().for_each(|known| known.add(root)),
            Self::Inotify(inotify) => inotify.root(root, directories),
            Self::Nothing => {}
        }
    }

    /// A session has ended.
    pub(crate) fn session_ends(&self, sink: &dyn Sink) {
        match self {
            Self::Fanotify(fanotify) => fanotify.known().into_iter().for_each(Known::clear),
            Self::Inotify(inotify) => inotify.session_ends(sink),
            Self::Nothing => {}
        }
    }

    /// A reply will tell what a name leads to. Returns whether attributes have to be asked for again, since what was
    /// looked at before was not watched yet.
    #[must_use]
    pub(crate) fn handed_out(
        &self,
        directory: u64,
        name: &CStr,
        found: Found,
        directories: &dyn Directories,
        sink: &dyn Sink,
    ) -> bool {
        match self {
            Self::Fanotify(fanotify) => {
                fanotify.known().into_iter().for_each(|known| known.add(found));
                false
            }
            Self::Inotify(inotify) => inotify.handed_out(directory, name, found, directories, sink),
            Self::Nothing => false,
        }
    }

    /// The guest has forgotten that it was told of an inode so many times.
    pub(crate) fn forgotten(&self, nodeid: u64, count: u64, sink: &dyn Sink) {
        match self {
            Self::Fanotify(fanotify) => fanotify.known().into_iter().for_each(|known| known.forget(nodeid, count)),
            Self::Inotify(inotify) => inotify.forgotten(nodeid, count, sink),
            Self::Nothing => {}
        }
    }
}
