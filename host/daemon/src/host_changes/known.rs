//! Which inodes the guest knows, so that of whole file systems only those are counted: where nobody else has the table.
//!
//! On a busy file system all else would wear the table out, as keys share slots, and keep guests from re-stamping.

use super::Found;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// # Locking
///
/// `asking`, then `inodes`.
#[derive(Default)]
pub(super) struct Known {
    /// See [`super::HostChanges::asking`].
    asking: RwLock<()>,
    inodes: Mutex<Inodes>,
}

/// Inodes by nodeid, with how often the guest was told; and how many nodeids each inode number has.
#[derive(Default)]
struct Inodes {
    by_nodeid: HashMap<u64, (u64, u64)>,
    inos: HashMap<u64, usize>,
}

/// All that may be known, while nothing is handed out.
pub(super) struct Certain<'a> {
    inodes: MutexGuard<'a, Inodes>,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Certain<'_> {
    pub(super) fn has(&self, ino: u64) -> bool {
        self.inodes.inos.contains_key(&ino)
    }
}

impl Known {
    pub(super) fn asking(&self) -> RwLockReadGuard<'_, ()> {
        self.asking.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for requests that are about to hand out what was looked at before: of that events may have come already.
    pub(super) fn certain(&self) -> Certain<'_> {
        let alone = self.asking.write().unwrap_or_else(PoisonError::into_inner);
        Certain { inodes: self.inodes(), _alone: alone }
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, found: Found) {
        let inodes = &mut *self.inodes();
        let (_, lookups) = inodes.by_nodeid.entry(found.nodeid).or_insert_with(|| {
            *inodes.inos.entry(found.ino).or_default() += 1;
            (found.ino, 0)
        });
        *lookups += 1;
    }

    pub(super) fn forget(&self, nodeid: u64, count: u64) {
        let inodes = &mut *self.inodes();
        let Some((ino, lookups)) = inodes.by_nodeid.get_mut(&nodeid) else { return };
        *lookups = lookups.saturating_sub(count);
        if *lookups == 0 {
            let ino = *ino;
            inodes.by_nodeid.remove(&nodeid);
            if let Some(nodeids) = inodes.inos.get_mut(&ino) {
                *nodeids -= 1;
                if *nodeids == 0 {
                    inodes.inos.remove(&ino);
                }
            }
        }
    }

    pub(super) fn clear(&self) {
        *self.inodes() = Inodes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_known_until_all_that_was_told_is_forgotten() {
        let known = Known::default();
        let found = |nodeid| Found { nodeid, ino: 7, links: 1, is_directory: false };
        // On two file systems, both have the same number.
        [2, 2, 3].into_iter().for_each(|nodeid| known.add(found(nodeid)));
        known.forget(2, 1);
        known.forget(3, 1);
        assert!(known.certain().has(7));
        known.forget(2, 1);
        known.forget(2, 1);
        assert!(!known.certain().has(7));
        known.add(found(2));
        known.clear();
        assert!(!known.certain().has(7));
    }
}
