//! A tree being built: its entries, and then their modes and times.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::manifest::about;

/// What a node is, as far as setting its time and mode goes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Node {
    /// Regular file or directory: can be opened.
    Plain,
    /// Symbolic link: has no mode of its own.
    Link,
    /// Fifo or socket: opening it would block or fail.
    Special,
}

struct Entry {
    path: PathBuf,
    mode: u32,
    /// Seconds rounded down and nanoseconds since 1970.
    time: (i64, u32),
    node: Node,
}

/// A tree being built. Modes and times are set at the end, children before parents, because making an entry changes
/// its parent's time and needs its parent's write permission.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    entries: Vec<Entry>,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        about(root, fs::create_dir_all(root))?;
        if about(root, fs::read_dir(root))?.next().is_some() {
            return Err(io::Error::other(format!("{}: not empty, nothing is changed in it", root.display())));
        }
        let mut tree = Self { root: root.to_owned(), entries: Vec::new() };
        tree.add("", 0o755, Node::Plain);
        Ok(tree)
    }

    pub(crate) fn directory(&mut self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let path = self.root.join(name.as_ref());
        about(&path, fs::create_dir(&path))?;
        self.add(name, 0o755, Node::Plain);
        Ok(())
    }

    pub(crate) fn file(&mut self, name: impl AsRef<OsStr>, content: &[u8]) -> io::Result<()> {
        let path = self.root.join(name.as_ref());
        about(&path, File::create_new(&path).and_then(|mut file| file.write_all(content)))?;
        self.add(name, 0o644, Node::Plain);
        Ok(())
    }

    pub(crate) fn link(&mut self, name: impl AsRef<OsStr>, target: impl AsRef<OsStr>) -> io::Result<()> {
        let path = self.root.join(name.as_ref());
        about(&path, symlink(target.as_ref(), &path))?;
        self.add(name, 0o777, Node::Link);
        Ok(())
    }

    /// Notes an entry that exists now, with a time of its own.
    pub(crate) fn add(&mut self, name: impl AsRef<OsStr>, mode: u32, node: Node) {
        let number = self.entries.len() as u32;
        let time = (1_700_000_000 + i64::from(number), number.wrapping_mul(1_000_003) % 1_000_000_000);
        self.entries.push(Entry { path: self.root.join(name.as_ref()), mode, time, node });
    }

    pub(crate) fn mode(&mut self, name: impl AsRef<OsStr>, mode: u32) {
        self.entry(name.as_ref()).mode = mode;
    }

    pub(crate) fn time(&mut self, name: impl AsRef<OsStr>, seconds: i64, nanoseconds: u32) {
        self.entry(name.as_ref()).time = (seconds, nanoseconds);
    }

    fn entry(&mut self, name: &OsStr) -> &mut Entry {
        let path = self.root.join(name);
        // Only names that were just added are looked up: a missing one is a slip in this file.
        self.entries.iter_mut().rev().find(|entry| entry.path == path).expect("entry was added")
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        for entry in self.entries.iter().rev() {
            about(&entry.path, set(entry))?;
        }
        Ok(())
    }
}

/// Sets an entry's time, then its mode.
fn set(entry: &Entry) -> io::Result<()> {
    let (seconds, nanoseconds) = entry.time;
    if entry.node == Node::Plain {
        File::open(&entry.path)?.set_modified(system_time(seconds, nanoseconds))?;
        set_mode(entry)
    } else {
        // The standard library can set times only of what can be opened.
        let time = format!("@{seconds}.{nanoseconds:09}");
        run(Command::new("touch").arg("-h").arg("-d").arg(time).arg(&entry.path))?;
        if entry.node == Node::Special { set_mode(entry) } else { Ok(()) }
    }
}

/// Sets the mode; one that keeps the owner out is made readable if it really does (root reads everything), because
/// neither this program nor a daemon of the same user could show the entry then.
fn set_mode(entry: &Entry) -> io::Result<()> {
    fs::set_permissions(&entry.path, Permissions::from_mode(entry.mode))?;
    if entry.node == Node::Plain && entry.mode & 0o400 == 0 && File::open(&entry.path).is_err() {
        let readable = if entry.path.is_dir() { 0o500 } else { 0o400 };
        fs::set_permissions(&entry.path, Permissions::from_mode(entry.mode | readable))?;
    }
    Ok(())
}

fn system_time(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    base + Duration::from_nanos(u64::from(nanoseconds))
}

pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status().map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}
