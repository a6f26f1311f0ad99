//! What a guest was told of, as far as it may still know it: inodes, and the names that may lead to them.
//!
//! A name is kept as long as its inode, also when it was removed or leads to another one by then: events come late, and
//! who has a file open goes on to change it by the name it had.

use super::Found;
use std::collections::{HashMap, HashSet};

/// What inotify calls a watched directory.
pub(super) type Watch = i32;

/// A name in a directory.
pub(super) type Named = (Watch, Box<[u8]>);

/// More names than these an inode gets from renames only; what has more is not followed.
const MOST_NAMES: usize = 16;

#[derive(Default)]
pub(super) struct HandedOut {
    inodes: HashMap<u64, Inode>,
    directories: HashMap<Watch, Directory>,
    /// Directories that could not be watched.
    unwatched: HashSet<u64>,
}

struct Inode {
    ino: u64,
    is_directory: bool,
    /// How often the guest was told of it.
    lookups: u64,
    watch: Option<Watch>,
    names: Vec<Named>,
    /// Changes of it are not told.
    is_marked: bool,
}

struct Directory {
    ino: u64,
    /// Its nodeids: it may have been forgotten, and handed out anew.
    nodeids: Vec<u64>,
    names: HashMap<Box<[u8]>, Vec<u64>>,
}

/// What is to be given back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) watches: Vec<Watch>,
    /// The inode number of what was marked.
    pub(super) marks: Vec<u64>,
}

impl HandedOut {
    /// The guest is told of an inode, once more. Whether it is a directory that is neither watched, nor known for one
    /// that cannot be.
    pub(super) fn add(&mut self, found: Found) -> bool {
        let new = Inode {
            ino: found.ino,
            is_directory: found.is_directory,
            lookups: 0,
            watch: None,
            names: Vec::new(),
            is_marked: false,
        };
        let inode = self.inodes.entry(found.nodeid).or_insert(new);
        inode.lookups += 1;
        inode.is_directory && inode.watch.is_none() && !self.unwatched.contains(&found.nodeid)
    }

    /// A directory that was added is watched.
    pub(super) fn watched(&mut self, nodeid: u64, watch: Watch) {
        if let Some(inode) = self.inodes.get_mut(&nodeid) {
            inode.watch = Some(watch);
            let new = || Directory { ino: inode.ino, nodeids: Vec::new(), names: HashMap::new() };
            self.directories.entry(watch).or_insert_with(new).nodeids.push(nodeid);
        }
    }

    /// A directory that was added cannot be watched.
    pub(super) fn not_watched(&mut self, nodeid: u64) {
        self.unwatched.insert(nodeid);
    }

    /// A watched directory cannot be watched any more, though it is there.
    pub(super) fn is_unmounted(&mut self, watch: Watch) {
        if let Some(directory) = self.directories.get(&watch) {
            self.unwatched.extend(&directory.nodeids);
        }
    }

    /// Whether the guest knows directories in which nothing is told.
    pub(super) fn has_unwatched(&self) -> bool {
        !self.unwatched.is_empty()
    }

    pub(super) fn watch_of(&self, nodeid: u64) -> Option<Watch> {
        self.inodes.get(&nodeid)?.watch
    }

    /// A name may lead to an inode from now on. Returns its number if it is to be marked, since it has too many.
    #[must_use]
    pub(super) fn named(&mut self, nodeid: u64, directory: Watch, name: &[u8]) -> Option<u64> {
        let (Some(inode), Some(place)) = (self.inodes.get_mut(&nodeid), self.directories.get_mut(&directory)) else {
            return None;
        };
        if inode.is_marked || inode.names.iter().any(|(at, known)| *at == directory && **known == *name) {
            return None;
        }
        if inode.names.len() == MOST_NAMES {
            return self.mark(nodeid);
        }
        inode.names.push((directory, name.into()));
        place.names.entry(name.into()).or_default().push(nodeid);
        None
    }

    /// An inode is not followed by its names any more. Returns its number, unless that was so already.
    #[must_use]
    pub(super) fn mark(&mut self, nodeid: u64) -> Option<u64> {
        let inode = self.inodes.get_mut(&nodeid).filter(|inode| !inode.is_marked)?;
        inode.is_marked = true;
        let (ino, names) = (inode.ino, std::mem::take(&mut inode.names));
        // Those who are watched for the sake of this name only are given up when something is forgotten.
        names.into_iter().for_each(|(directory, name)| self.unname(nodeid, directory, &name));
        Some(ino)
    }

    /// The guest forgets that it was told so often.
    pub(super) fn forget(&mut self, nodeid: u64, count: u64) -> Released {
        let mut released = Released::default();
        let Some(inode) = self.inodes.get_mut(&nodeid) else { return released };
        inode.lookups = inode.lookups.saturating_sub(count);
        if inode.lookups > 0 {
            return released;
        }
        let Some(inode) = self.inodes.remove(&nodeid) else { return released };
        self.unwatched.remove(&nodeid);
        released.marks.extend(inode.is_marked.then_some(inode.ino));
        let mut places: Vec<_> = inode.watch.into_iter().collect();
        for (directory, name) in inode.names {
            self.unname(nodeid, directory, &name);
            places.push(directory);
        }
        if let Some(directory) = inode.watch.and_then(|watch| self.directories.get_mut(&watch)) {
            directory.nodeids.retain(|known| *known != nodeid);
        }
        // What the guest knows of its content is watched longer than a directory itself.
        for watch in places {
            let is_needed = |directory: &Directory| !directory.nodeids.is_empty() || !directory.names.is_empty();
            if self.directories.get(&watch).is_some_and(|directory| !is_needed(directory)) {
                self.directories.remove(&watch);
                released.watches.push(watch);
            }
        }
        released
    }

    /// The guest knows nothing any more.
    pub(super) fn clear(&mut self) -> Released {
        self.unwatched.clear();
        let watches = self.directories.drain().map(|(watch, _)| watch).collect();
        let marks = self.inodes.drain().filter(|(_, inode)| inode.is_marked).map(|(_, inode)| inode.ino).collect();
        Released { watches, marks }
    }

    /// The directory is gone, and its watch with it.
    pub(super) fn watch_is_gone(&mut self, watch: Watch) {
        let Some(directory) = self.directories.remove(&watch) else { return };
        for nodeid in directory.nodeids {
            if let Some(inode) = self.inodes.get_mut(&nodeid) {
                inode.watch = None;
            }
        }
        for nodeid in directory.names.into_values().flatten() {
            if let Some(inode) = self.inodes.get_mut(&nodeid) {
                inode.names.retain(|(at, _)| *at != watch);
            }
        }
    }

    /// The inode number of a watched directory.
    pub(super) fn directory(&self, watch: Watch) -> Option<u64> {
        self.directories.get(&watch).map(|directory| directory.ino)
    }

    /// By which the directory can be asked for.
    pub(super) fn nodeid(&self, watch: Watch) -> Option<u64> {
        self.directories.get(&watch)?.nodeids.first().copied()
    }

    /// What a name may lead to, or have led to.
    pub(super) fn led_to(&self, watch: Watch, name: &[u8]) -> Vec<u64> {
        self.directories.get(&watch).and_then(|directory| directory.names.get(name)).cloned().unwrap_or_default()
    }

    /// The number of an inode that the guest knows, and whether it is a directory.
    pub(super) fn inode(&self, nodeid: u64) -> Option<(u64, bool)> {
        self.inodes.get(&nodeid).map(|inode| (inode.ino, inode.is_directory))
    }

    /// All that is followed by names.
    pub(super) fn followed(&self) -> Vec<(u64, Vec<Named>)> {
        let followed = self.inodes.iter().filter(|(_, inode)| !inode.names.is_empty());
        followed.map(|(nodeid, inode)| (*nodeid, inode.names.clone())).collect()
    }

    fn unname(&mut self, nodeid: u64, directory: Watch, name: &[u8]) {
        let Some(directory) = self.directories.get_mut(&directory) else { return };
        if let Some(nodeids) = directory.names.get_mut(name) {
            nodeids.retain(|known| *known != nodeid);
            if nodeids.is_empty() {
                directory.names.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Found = Found { nodeid: 1, ino: 100, links: 2, is_directory: true };
    const FOLDER: Found = Found { nodeid: 2, ino: 200, links: 2, is_directory: true };
    const FILE: Found = Found { nodeid: 3, ino: 300, links: 1, is_directory: false };

    /// A file in a folder in the root.
    fn three() -> HandedOut {
        let mut known = HandedOut::default();
        assert!(known.add(ROOT));
        known.watched(1, 10);
        assert!(known.add(FOLDER));
        known.watched(2, 20);
        assert_eq!(known.named(2, 10, b"folder"), None);
        assert!(!known.add(FILE));
        assert_eq!(known.named(3, 20, b"file"), None);
        known
    }

    #[test]
    fn a_name_leads_to_all_that_it_led_to_until_that_is_forgotten() {
        let mut known = three();
        let other = Found { nodeid: 4, ino: 400, ..FILE };
        known.add(other);
        assert_eq!(known.named(4, 20, b"file"), None);
        assert_eq!(known.led_to(20, b"file"), [3, 4]);
        assert_eq!(known.forget(3, 1), Released::default());
        assert_eq!(known.led_to(20, b"file"), [4]);
        assert_eq!(known.inode(3), None);
    }

    #[test]
    fn what_was_told_twice_is_forgotten_twice() {
        let mut known = three();
        known.add(FILE);
        known.forget(3, 1);
        assert_eq!(known.inode(3), Some((300, false)));
        known.forget(3, 1);
        assert_eq!((known.inode(3), known.led_to(20, b"file")), (None, vec![]));
    }

    #[test]
    fn a_directory_is_watched_until_it_and_what_it_holds_are_forgotten() {
        let mut known = three();
        assert_eq!(known.forget(2, 1), Released::default());
        assert_eq!((known.directory(20), known.nodeid(20)), (Some(200), None));
        assert_eq!(known.forget(3, 1).watches, [20]);
        assert_eq!(known.directory(20), None);
        let mut known = three();
        known.forget(3, 1);
        assert_eq!(known.forget(2, 1).watches, [20]);
    }

    #[test]
    fn a_mark_is_made_once_and_given_back_with_the_inode() {
        let mut known = three();
        assert_eq!((known.mark(3), known.mark(3)), (Some(300), None));
        assert_eq!(known.led_to(20, b"file"), [0; 0]);
        assert_eq!(known.named(3, 20, b"file"), None);
        assert_eq!(known.led_to(20, b"file"), [0; 0]);
        assert_eq!(known.forget(3, 1).marks, [300]);
        let mut known = three();
        assert_eq!(known.mark(3), Some(300));
        let mut released = known.clear();
        released.watches.sort_unstable();
        assert_eq!(released, Released { watches: vec![10, 20], marks: vec![300] });
        assert_eq!(known.clear(), Released::default());
    }

    #[test]
    fn what_was_renamed_too_often_is_marked() {
        let mut known = three();
        for number in 1..MOST_NAMES {
            assert_eq!(known.named(3, 20, format!("{number}").as_bytes()), None);
        }
        assert_eq!(known.named(3, 20, b"file"), None, "it has this one already");
        assert_eq!(known.named(3, 20, b"last"), Some(300));
    }

    #[test]
    fn a_directory_that_is_gone_is_watched_anew_if_it_is_told_again() {
        let mut known = three();
        known.watch_is_gone(20);
        assert_eq!((known.directory(20), known.watch_of(2)), (None, None));
        assert!(known.add(FOLDER));
        assert_eq!(known.followed().len(), 1, "the folder");
        known.not_watched(2);
        assert!(!known.add(FOLDER) && known.has_unwatched());
        known.forget(2, 3);
        assert!(!known.has_unwatched());
    }
}
