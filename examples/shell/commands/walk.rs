//! What is in a directory, and in a file.

use crate::failure::{At, Outcome};
use crate::{Shell, join};
use alloc::vec::Vec;
use virtio_fs::fs::Metadata;

impl Shell<'_> {
    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in self.fs.read_dir(path).at(path)? {
            names.push(entry.at(path)?.file_name().to_vec());
        }
        names.sort();
        Ok(names)
    }

    /// The names in a directory with their metadata, sorted.
    pub(super) fn entries(&self, path: &[u8]) -> Outcome<Vec<(Vec<u8>, Metadata)>> {
        let mut entries = Vec::new();
        for entry in self.fs.read_dir(path).at(path)? {
            let entry = entry.at(path)?;
            let metadata = entry.metadata().at(&join(path, entry.file_name()))?;
            entries.push((entry.file_name().to_vec(), metadata));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }
}

/// How much to read next of a file whose size was `size_bytes`, of at most `step_bytes`.
pub(super) fn read_bytes(offset: u64, size_bytes: u64, step_bytes: usize) -> usize {
    /// Behind the end there is most likely nothing: that takes one request to see, not many.
    const BEHIND_END_BYTES: usize = 64 << 10;
    match size_bytes.saturating_sub(offset) {
        0 => step_bytes.min(BEHIND_END_BYTES),
        left => step_bytes.min(usize::try_from(left).unwrap_or(usize::MAX)),
    }
}
