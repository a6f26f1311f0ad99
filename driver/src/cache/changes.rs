//! What local changes of names determine.

use super::version_table::{Validity, Version};
use super::{Cache, Dentry, Inode, Stamp};
use crate::Instant;
use crate::wire::{FileType, RenameFlags};
use alloc::sync::Arc;
use core::time::Duration;

/// A local change of names in a directory, from before it is asked for until what it made of them is known.
pub(crate) struct NamesChange {
    directory: Arc<Inode>,
    stamp: Stamp,
    /// The version of the directory's mode, if that was valid.
    mode: Version,
    place: u64,
    /// No other one was under way when it began.
    began_alone: bool,
}

impl NamesChange {
    /// When it was asked for.
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether no other one was under way at any time since it began.
    fn is_alone(&self) -> bool {
        self.began_alone && self.directory.is_last_begun(self.place)
    }
}

impl Drop for NamesChange {
    fn drop(&mut self) {
        self.directory.end_change_of_names();
    }
}

/// A name in a directory that a rename is about, and what it led to before that was asked for.
pub(crate) struct Renamed<'r> {
    pub(crate) change: &'r NamesChange,
    pub(crate) name: &'r [u8],
    pub(crate) before: Option<&'r Arc<Inode>>,
}

impl Cache {
    /// A change of names in `directory` is about to be asked for.
    pub(crate) fn begin_change_of_names(&self, directory: &Arc<Inode>) -> NamesChange {
        let (place, began_alone) = directory.begin_change_of_names();
        // The stamp first: what was changed before it is in the version table when that is looked at.
        let stamp = self.stamp();
        let mode = directory.valid_mode();
        NamesChange { directory: directory.clone(), stamp, mode, place, began_alone }
    }

    /// A request that may have changed `name` in `directory` is answered: what it leads to is not known any more.
    pub(crate) fn forget_name(&self, directory: &Inode, name: &[u8]) {
        directory.note_changed_names(None);
        self.take_name(directory, name);
    }

    /// A local change of `name` is complete, after which it leads to `target`; which is good for `ttl`.
    pub(crate) fn change_name(&self, change: &NamesChange, name: &[u8], target: Dentry<Arc<Inode>>, ttl: Duration) {
        let expires = self.expiry_of_name(&target, ttl, &change.stamp);
        let made = Made::by(self, change);
        self.take_name(&change.directory, name);
        made.put(self, name, target.clone(), expires);
        if !made.is_last()
            && let Dentry::Inode(inode) = target
        {
            // It may have lost the name again to a change that did not find it here.
            inode.note_change();
        }
    }

    /// A local rename of `from` to `to` is complete.
    pub(crate) fn move_name(&self, from: &Renamed<'_>, to: &Renamed<'_>, flags: RenameFlags) {
        let (directory, new_directory) = (&from.change.directory, &to.change.directory);
        let is_one_directory = Arc::ptr_eq(directory, new_directory);
        // What it led to when the server did it is not known if other changes were under way: they may be heard of
        // later.
        let is_sure = from.change.is_alone() && to.change.is_alone();
        let made_from = Made::by(self, from.change);
        let made_to = if is_one_directory { made_from } else { Made::by(self, to.change) };
        let moved = self.take_name(directory, from.name);
        let replaced = self.take_name(new_directory, to.name);
        let Some((Dentry::Inode(inode), validity)) = moved else { return };
        let expires = validity.until();
        // And a LOOKUP may have found the names as they are now.
        if !is_sure || !from.before.is_some_and(|before| Arc::ptr_eq(before, &inode)) {
            return;
        }
        if flags.contains(RenameFlags::EXCHANGE) {
            // What was believed to lead nowhere led somewhere: else nothing would have been exchanged.
            if let Some((Dentry::Inode(other), validity)) = replaced
                && to.before.is_some_and(|before| Arc::ptr_eq(before, &other))
            {
                made_from.put(self, from.name, Dentry::Inode(other), validity.until());
            }
        } else if !flags.contains(RenameFlags::WHITEOUT) {
            // Two names of one inode stay as they are, and so does one that is moved to itself.
            let is_gone = match &replaced {
                Some((Dentry::Inode(replaced), _)) => !Arc::ptr_eq(replaced, &inode),
                Some((Dentry::Absent, _)) => true,
                None if flags.contains(RenameFlags::NOREPLACE) => true,
                // Directories have one name.
                None => inode.file_type == FileType::Directory && !(is_one_directory && from.name == to.name),
            };
            if is_gone {
                let expires = self.expiry_of_name(&Dentry::Absent, Duration::ZERO, &from.change.stamp);
                made_from.put(self, from.name, Dentry::Absent, expires);
            }
        }
        made_to.put(self, to.name, Dentry::Inode(inode), expires);
    }

    /// Takes a name out; what it led to has changed, too: its links, and the time of that.
    fn take_name(&self, directory: &Inode, name: &[u8]) -> Option<(Dentry<Arc<Inode>>, Validity)> {
        let taken = self.dentries.remove(directory.serial, name);
        if let Some((Dentry::Inode(inode), _)) = &taken {
            inode.note_change();
        }
        taken
    }
}

/// What a local change that is complete made of names.
#[derive(Clone, Copy)]
struct Made<'d> {
    directory: &'d Inode,
    number: u64,
    /// No other change of names there was complete since its request was sent. Of changes that were under way together
    /// it is not known which was the last: that is taken to be unknown which is determined by each of them.
    was_alone: bool,
    sent: Instant,
    /// Of what it determines.
    version: Version,
}

impl<'d> Made<'d> {
    /// By a change that was made by one request.
    fn by(cache: &Cache, change: &'d NamesChange) -> Self {
        let NamesChange { directory, stamp, .. } = change;
        let version = cache.version_after_own(stamp.sampled, 1);
        let (number, last) = directory.note_changed_names(version.map(|version| (change.mode, version)));
        let version = version.unwrap_or(stamp.sampled.version());
        Self { directory, number, was_alone: last <= stamp.changes, sent: stamp.sent, version }
    }

    /// Whether no other change of names there is known to have been under way, or was complete since.
    fn is_last(&self) -> bool {
        self.was_alone && self.directory.is_last_changed_name(self.number)
    }

    /// Remembers what a name leads to now.
    fn put(&self, cache: &Cache, name: &[u8], target: Dentry<Arc<Inode>>, expires: Instant) {
        let (validity, slot) = self.directory.validity_of_name(name, expires, self.version);
        if validity.is_of_use(self.sent) {
            cache.dentries.insert(self.directory.serial, name, target, (validity, slot), || self.is_last());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CacheMode;
    use crate::test_utils::{FakeChannel, FakeServer, Mounted};

    #[test]
    fn what_a_change_determines_is_not_remembered_once_another_one_is_complete() {
        let mounted = Mounted::caching(FakeChannel::new(FakeServer::new()), CacheMode::Always).unwrap();
        let (cache, root) = (mounted.fs.root().cache(), mounted.fs.root().inode());
        let never = Instant(Duration::MAX);
        let change = cache.begin_change_of_names(root);
        let made = Made::by(cache, &change);
        made.put(cache, b"name", Dentry::Absent, never);
        assert!(cache.find(root, b"name", cache.now()).is_some());
        cache.forget_name(root, b"name");
        made.put(cache, b"name", Dentry::Absent, never);
        assert!(cache.find(root, b"name", cache.now()).is_none());
        drop(change);
        mounted.unmount();
    }
}
