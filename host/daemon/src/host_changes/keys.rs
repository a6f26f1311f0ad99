//! What an event concerns, as keys (the table of section 4).

use super::known::Certain;
use virtio_fs_version_table::Key;

/// Keys of changes that were found together.
#[derive(Default)]
pub(super) struct Keys<'a> {
    keys: Vec<Key>,
    /// What is counted; `None` is everything.
    known: Option<Certain<'a>>,
}

impl<'a> Keys<'a> {
    /// Of inodes that are known only.
    pub(super) fn of(known: Option<Certain<'a>>) -> Self {
        Self { keys: Vec::new(), known }
    }

    pub(super) fn attributes(&mut self, ino: u64) {
        self.add(ino, Key::attributes(ino));
    }

    /// A file's bytes, or the names in a directory: its times change with them.
    pub(super) fn content(&mut self, ino: u64) {
        self.add(ino, Key::content(ino));
        self.attributes(ino);
    }

    /// A name was made, taken away, or leads to something else.
    pub(super) fn name(&mut self, directory: u64, name: &[u8]) {
        self.add(directory, Key::name(directory, name));
        self.content(directory);
    }

    /// A directory may have come to another parent.
    pub(super) fn parent(&mut self, directory: u64) {
        self.name(directory, b"..");
    }

    fn add(&mut self, ino: u64, key: Key) {
        if self.known.as_ref().is_none_or(|known| known.has(ino)) {
            self.keys.push(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes them, each once.
    pub(super) fn take(&mut self) -> Vec<Key> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable_by_key(|key| key.hash());
        keys.dedup();
        keys
    }
}
