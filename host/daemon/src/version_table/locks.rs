//! Locks between the servers of a table: bytes of a file that only servers have.
//!
//! A lock of a file excludes other servers, each of which has opened the file by itself, but not the threads of the same
//! one. So each has a mutex beside it, which is all there is of it where nobody else serves the table.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use virtio_fs_version_table::Key;

/// Where the locks lie: behind all that the file has.
const FIRST: libc::off_t = 1 << 60;
/// Shared by whoever serves the table.
const USE: libc::off_t = FIRST;
/// Held by who starts with the table.
const START: libc::off_t = FIRST + 1;
/// Held by who counts mappings.
const MARKS: libc::off_t = FIRST + 2;
/// The locks of directories.
const NAMES: libc::off_t = FIRST + 64;

/// How many locks all directories have together.
const STRIPES: usize = 64;

/// The locks of a table.
///
/// # Locking
///
/// Those of directories come first, by their number; nothing is taken under that of the marks.
pub(super) struct Locks {
    /// `None` if no other server has the table.
    file: Option<File>,
    names: [Mutex<()>; STRIPES],
    marks: Mutex<()>,
}

impl Locks {
    /// Of a table that no other server has, if there is no file.
    pub(super) fn new(file: Option<File>) -> Self {
        Self { file, names: std::array::from_fn(|_| Mutex::default()), marks: Mutex::default() }
    }

    /// What servers share beside the table, if they share it.
    pub(super) fn servers(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Waits until nobody else makes, moves or removes names in these directories.
    pub(super) fn names(&self, directories: [u64; 2]) -> [Option<Held<'_>>; 2] {
        let stripe = |ino: u64| (Key::content(ino).hash() % STRIPES as u64) as usize;
        let [one, other] = directories.map(stripe);
        let take = |stripe: usize| self.take(&self.names[stripe], NAMES + stripe as libc::off_t);
        // In this order, so that no two wait for each other.
        let first = take(one.min(other));
        [Some(first), (one != other).then(|| take(one.max(other)))]
    }

    /// Waits until nobody else counts mappings.
    pub(super) fn marks(&self) -> Held<'_> {
        self.take(&self.marks, MARKS)
    }

    fn take<'a>(&'a self, alone: &'a Mutex<()>, byte: libc::off_t) -> Held<'a> {
        let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = self.file.as_ref().map(|file| {
            lock(file, libc::F_WRLCK, byte).inspect_err(|error| log::error!("a lock of the version table: {error}"))?;
            Ok((file, byte))
        });
        let (byte, is_whole) = match locked {
            None => (None, true),
            Some(Ok(byte)) => (Some(byte), true),
            Some(Err::<_, io::Error>(_)) => (None, false),
        };
        Held { byte, is_whole, _alone }
    }
}

/// A lock that is held until this is dropped.
pub(super) struct Held<'a> {
    byte: Option<(&'a File, libc::off_t)>,
    is_whole: bool,
    /// Let go last.
    _alone: MutexGuard<'a, ()>,
}

impl Held<'_> {
    /// Whether it excludes other servers: locks of files can fail.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some((file, byte)) = self.byte
            && let Err(error) = lock(file, libc::F_UNLCK, byte)
        {
            log::error!("a lock of the version table stays: {error}");
        }
    }
}

/// Waits until nobody else starts with the table, and then holds others up until the file is closed or
/// [`started`] is called.
pub(super) fn start(file: &File) -> io::Result<()> {
    lock(file, libc::F_WRLCK, START)
}

/// Lets others start.
pub(super) fn started(file: &File) -> io::Result<()> {
    lock(file, libc::F_UNLCK, START)
}

/// Whether nobody else uses the table. To be called by who starts with it. From then until the file is closed, who
/// starts is told that it is used.
pub(super) fn is_unused(file: &File) -> io::Result<bool> {
    let exclusive = command(libc::F_WRLCK, USE);
    let is_unused = match fcntl(file, FcntlArg::F_OFD_SETLK(&exclusive)) {
        Ok(_) => true,
        Err(Errno::EAGAIN | Errno::EACCES) => false,
        Err(error) => return Err(error.into()),
    };
    lock(file, libc::F_RDLCK, USE)?;
    Ok(is_unused)
}

/// Takes, changes or gives up the lock of one byte, and waits if it must.
fn lock(file: &File, kind: libc::c_int, byte: libc::off_t) -> io::Result<()> {
    let command = command(kind, byte);
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&command)) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn command(kind: libc::c_int, byte: libc::off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        // So it has to be for locks of open file descriptions.
        l_pid: 0,
    }
}
