//! What local changes of names determine.

use super::{Cache, Dentry, Inode, Stamp};
use crate::Instant;
use crate::wire::{FileType, RenameFlags};
use alloc::sync::Arc;
use core::time::Duration;

impl Cache {
    /// A request that may have changed `name` in `directory` is answered: what it leads to is not known any more.
    pub(crate) fn forget_name(&self, directory: &Inode, name: &[u8]) {
        directory.note_changed_names();
        self.take_name(directory, name);
    }

    /// A local change of `name` in `directory` is complete, after which it leads to `target`; which is good for `ttl`.
    /// The request had this stamp.
    pub(crate) fn change_name(
        &self,
        directory: &Inode,
        name: &[u8],
        target: Dentry<Arc<Inode>>,
        ttl: Duration,
        stamp: &Stamp,
    ) {
        let expires = self.expiry_of_name(&target, ttl, stamp);
        let change = Change::new(directory, stamp);
        self.take_name(directory, name);
        change.put(self, name, target, expires);
    }

    /// A local rename is complete.
    pub(crate) fn move_name(
        &self,
        (directory, name): (&Inode, &[u8]),
        (new_directory, new_name): (&Inode, &[u8]),
        flags: RenameFlags,
        stamp: &Stamp,
    ) {
        let is_one_directory = core::ptr::eq(directory, new_directory);
        let from = Change::new(directory, stamp);
        let to = if is_one_directory { from } else { Change::new(new_directory, stamp) };
        let moved = self.take_name(directory, name);
        let replaced = self.take_name(new_directory, new_name);
        let Some((Dentry::Inode(inode), expires)) = moved else { return };
        if flags.contains(RenameFlags::EXCHANGE) {
            // What was believed to lead nowhere led somewhere: else nothing would have been exchanged.
            if let Some((target @ Dentry::Inode(_), expires)) = replaced {
                from.put(self, name, target, expires);
            }
        } else if !flags.contains(RenameFlags::WHITEOUT) {
            // Two names of one inode stay as they are, and so does one that is moved to itself.
            let is_gone = match &replaced {
                Some((Dentry::Inode(replaced), _)) => !Arc::ptr_eq(replaced, &inode),
                Some((Dentry::Absent, _)) => true,
                None if flags.contains(RenameFlags::NOREPLACE) => true,
                // Directories have one name.
                None => inode.file_type == FileType::Directory && !(is_one_directory && name == new_name),
            };
            if is_gone {
                let expires = self.expiry_of_name(&Dentry::Absent, Duration::ZERO, stamp);
                from.put(self, name, Dentry::Absent, expires);
            }
        }
        to.put(self, new_name, Dentry::Inode(inode), expires);
    }

    /// Takes a name out; what it led to has changed, too: its links, and the time of that.
    fn take_name(&self, directory: &Inode, name: &[u8]) -> Option<(Dentry<Arc<Inode>>, Instant)> {
        let taken = self.dentries.remove(directory.serial, name);
        if let Some((Dentry::Inode(inode), _)) = &taken {
            inode.note_change();
        }
        taken
    }
}

/// A local change of names in a directory that is complete.
#[derive(Clone, Copy)]
struct Change<'d> {
    directory: &'d Inode,
    number: u64,
    /// No other change of names there was complete since its request was sent. Of changes that were under way together
    /// it is not known which was the last: that is taken to be unknown which is determined by each of them.
    was_alone: bool,
    sent: Instant,
}

impl<'d> Change<'d> {
    fn new(directory: &'d Inode, stamp: &Stamp) -> Self {
        let was_alone = directory.names_unchanged_since(stamp);
        Self { directory, number: directory.note_changed_names(), was_alone, sent: stamp.sent }
    }

    /// Remembers what a name leads to now.
    fn put(&self, cache: &Cache, name: &[u8], target: Dentry<Arc<Inode>>, expires: Instant) {
        if self.was_alone && expires > self.sent {
            let is_last = || self.directory.is_last_changed_name(self.number);
            cache.dentries.insert(self.directory.serial, name, target, expires, is_last);
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
        let change = Change::new(root, &cache.stamp());
        change.put(cache, b"name", Dentry::Absent, never);
        assert!(cache.find(root, b"name", cache.now()).is_some());
        cache.forget_name(root, b"name");
        change.put(cache, b"name", Dentry::Absent, never);
        assert!(cache.find(root, b"name", cache.now()).is_none());
        mounted.unmount();
    }
}
