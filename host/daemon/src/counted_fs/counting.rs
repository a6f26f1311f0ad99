//! What a request changed, and that it is counted whatever becomes of it.

use super::CountedFs;
use crate::mode::is_directory;
use crate::version_table::VersionTable;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::sync::{MutexGuard, PoisonError};
use virtio_fs_version_table::Key;
use virtiofsd::filesystem::{Context, Entry, FileSystem, OpenOptions, ROOT_ID};

/// What is known of a nodeid.
pub(super) struct Known {
    ino: u64,
    /// Of which the guest was told and has not forgotten them.
    lookups: u64,
}

/// Where a name leads.
#[derive(Clone, Copy)]
pub(super) struct Found {
    ino: u64,
    is_directory: bool,
}

impl<F: FileSystem> CountedFs<F> {
    pub(super) fn inodes(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest is about to be told of a lookup.
    pub(super) fn know(&self, entry: &Entry) {
        let ino = entry.attr.ino;
        let mut inodes = self.inodes();
        let known = inodes.entry(entry.inode).or_insert(Known { ino, lookups: 0 });
        // The root is looked up as `.` only, and was known before.
        known.lookups = known.lookups.saturating_add(1);
        let before = std::mem::replace(&mut known.ino, ino);
        drop(inodes);
        if before != ino {
            // Some file systems give numbers that do not last. What was counted by the old one guests may not have seen.
            self.table.raise_floor();
        }
    }

    /// The guest has forgotten lookups.
    pub(super) fn unknow(&self, nodeid: u64, count: u64) {
        let mut inodes = self.inodes();
        if let Some(known) = inodes.get_mut(&nodeid) {
            known.lookups = known.lookups.saturating_sub(count);
            if known.lookups == 0 {
                inodes.remove(&nodeid);
            }
        }
    }

    pub(super) fn ino(&self, context: Context, nodeid: u64) -> io::Result<u64> {
        if let Some(known) = self.inodes().get(&nodeid) {
            return Ok(known.ino);
        }
        let (attr, _) = self.inner.getattr(context, nodeid.into(), None)?;
        if nodeid == ROOT_ID {
            // Nobody looks it up.
            self.inodes().insert(nodeid, Known { ino: attr.ino, lookups: u64::MAX });
        }
        Ok(attr.ino)
    }

    /// Where a name leads, if it is there.
    pub(super) fn look(&self, context: Context, parent: u64, name: &CStr) -> io::Result<Option<Found>> {
        match self.inner.lookup(context, parent.into(), name) {
            Ok(entry) => {
                self.inner.forget(context, entry.inode.into(), 1);
                Ok(Some(Found { ino: entry.attr.ino, is_directory: is_directory(entry.attr.mode) }))
            }
            Err(error) if is(&error, Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does what may change something. If it panics, nobody knows what it did.
    pub(super) fn attempt<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let unknown = Unknown(&self.table);
        let result = change();
        std::mem::forget(unknown);
        result
    }

    /// Changes the inode of this number, or fails half way.
    pub(super) fn change<T>(
        &self,
        ino: io::Result<u64>,
        with_content: bool,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let result = self.attempt(change);
        match (&result, ino) {
            (Err(error), _) if is(error, Errno::ROFS) => {}
            // No such inode in this session, or none any more.
            (Err(error), Err(_)) if is(error, Errno::BADF) || is(error, Errno::STALE) => {}
            (_, Ok(ino)) => {
                let keys = [Key::attributes(ino), Key::content(ino)];
                self.table.publish(if with_content { &keys } else { &keys[..1] });
            }
            (_, Err(_)) => self.table.raise_floor(),
        }
        result
    }

    /// Makes a name, or fails half way; `linked` is the nodeid that it is made for, if that was there before.
    pub(super) fn make(
        &self,
        context: Context,
        (parent, name): (u64, &CStr),
        linked: Option<u64>,
        make: impl FnOnce() -> io::Result<Entry>,
    ) -> io::Result<Entry> {
        let directory = self.ino(context, parent)?;
        let mut keys = names_changed(directory, name).to_vec();
        if let Some(nodeid) = linked {
            keys.push(Key::attributes(self.ino(context, nodeid)?));
        }
        let names = self.table.lock_names([directory; 2]);
        let result = self.attempt(make);
        drop(names);
        match &result {
            Err(error) if is(error, Errno::EXIST) || is(error, Errno::ROFS) => {}
            _ => self.table.publish(&keys),
        }
        result.inspect(|entry| self.know(entry))
    }

    /// Takes a name away.
    pub(super) fn remove(
        &self,
        context: Context,
        (parent, name): (u64, &CStr),
        remove: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let directory = self.ino(context, parent)?;
        let names = self.table.lock_names([directory; 2]);
        let victim = self.look(context, parent, name);
        let result = self.attempt(remove);
        drop(names);
        match (&result, victim) {
            (Err(error), _) if did_nothing(error) => {}
            (_, Ok(Some(victim))) => {
                let mut keys = names_changed(directory, name).to_vec();
                lost_a_name(victim, &mut keys);
                self.table.publish(&keys);
            }
            _ => self.table.raise_floor(),
        }
        result
    }

    /// Opens what there is by a name, as CREATE does it.
    pub(super) fn open_existing(
        &self,
        context: Context,
        (parent, name): (u64, &CStr),
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<(Entry, Option<F::Handle>, OpenOptions)> {
        let mut entry = self.inner.lookup(context, parent.into(), name)?;
        let open = || self.inner.open(context, entry.inode.into(), kill_priv, flags);
        let opened = if truncates(flags) {
            self.change(Ok(entry.attr.ino), true, open)
        } else {
            open().inspect(|_| self.table.publish(&[]))
        };
        let nodeid = entry.inode;
        let (handle, options) = opened.inspect_err(|_| self.inner.forget(context, nodeid.into(), 1))?;
        if truncates(flags)
            && let Ok((attr, _)) = self.inner.getattr(context, nodeid.into(), None)
        {
            // As it is now, without what it had.
            entry.attr = attr;
        }
        Ok((entry, handle, options))
    }
}

/// Raises the floor, unless it is forgotten.
struct Unknown<'a>(&'a VersionTable);

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        self.0.raise_floor();
    }
}

pub(super) fn names_changed(directory: u64, name: &CStr) -> [Key; 3] {
    [Key::name(directory, name.to_bytes()), Key::content(directory), Key::attributes(directory)]
}

/// What becomes of an inode that loses a name: a directory is gone then, with all names in it.
pub(super) fn lost_a_name(victim: Found, keys: &mut Vec<Key>) {
    keys.push(Key::attributes(victim.ino));
    if victim.is_directory {
        keys.push(Key::content(victim.ino));
    }
}

/// What becomes of an inode that is moved between directories.
pub(super) fn moved(inode: Found, from: u64, to: u64, keys: &mut Vec<Key>) {
    keys.push(Key::attributes(inode.ino));
    if inode.is_directory && from != to {
        keys.extend([Key::name(inode.ino, b".."), Key::content(inode.ino)]);
    }
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Whether a request that is one system call has changed nothing when it fails so. Others may have been done and not be
/// known to be, as on file systems behind a network.
pub(super) fn did_nothing(error: &io::Error) -> bool {
    const BEFORE: [Errno; 15] = [
        Errno::ACCESS,
        Errno::BADF,
        Errno::BUSY,
        Errno::EXIST,
        Errno::INVAL,
        Errno::ISDIR,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::NOTEMPTY,
        Errno::NOSYS,
        Errno::PERM,
        Errno::ROFS,
        Errno::XDEV,
    ];
    BEFORE.iter().any(|errno| is(error, *errno))
}

pub(super) fn truncates(flags: u32) -> bool {
    flags & OFlags::TRUNC.bits() != 0
}
