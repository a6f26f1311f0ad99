//! What an event concerns, as keys (the table of section 4).

use virtio_fs_version_table::Key;

/// Keys of changes that were found together.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn attributes(&mut self, ino: u64) {
        self.0.push(Key::attributes(ino));
    }

    /// A file's bytes, or the names in a directory: its times change with them.
    pub(super) fn content(&mut self, ino: u64) {
        self.0.push(Key::content(ino));
        self.attributes(ino);
    }

    /// A name was made, taken away, or leads to something else.
    pub(super) fn name(&mut self, directory: u64, name: &[u8]) {
        self.0.push(Key::name(directory, name));
        self.content(directory);
    }

    /// A directory may have come to another parent.
    pub(super) fn parent(&mut self, directory: u64) {
        self.name(directory, b"..");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes them, each once.
    pub(super) fn take(&mut self) -> Vec<Key> {
        let mut keys = std::mem::take(&mut self.0);
        keys.sort_unstable_by_key(|key| key.hash());
        keys.dedup();
        keys
    }
}
