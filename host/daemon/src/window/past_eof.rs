//! A file that is longer than it is, for the moment in which it is mapped (`--map-past-eof`).
//!
//! QEMU refuses to map what lies behind the end of a file. Once mapped, a file may be cut again: the pages behind its
//! end stay mapped, and only who touches them gets SIGBUS.

use crate::version_table::VersionTable;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, fstat, ftruncate, futimens};
use std::fs::File;
use std::io;
use std::sync::Arc;
use virtio_fs_version_table::Key;

/// A file that was made longer. Dropping this cuts it again.
pub(super) struct Longer<'a> {
    file: &'a File,
    old_size: u64,
    new_size: u64,
    modified: Timespec,
}

impl<'a> Longer<'a> {
    /// Makes the file reach `end`, if it does not. The file has to be open for writing.
    pub(super) fn reach(file: &'a File, end: u64) -> io::Result<Option<Self>> {
        let status = fstat(file)?;
        let old_size = u64::try_from(status.st_size).map_err(io::Error::other)?;
        if end <= old_size {
            return Ok(None);
        }
        let modified = Timespec { tv_sec: status.st_mtime as _, tv_nsec: status.st_mtime_nsec as _ };
        ftruncate(file, end)?;
        Ok(Some(Self { file, old_size, new_size: end, modified }))
    }

    fn cut(&self) -> io::Result<()> {
        let status = fstat(self.file)?;
        // Who made it longer or shorter meanwhile knows better.
        if u64::try_from(status.st_size) == Ok(self.new_size) {
            ftruncate(self.file, self.old_size)?;
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            futimens(self.file, &Timestamps { last_access: omit, last_modification: self.modified })?;
        }
        Ok(())
    }
}

impl Drop for Longer<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cut() {
            log::error!("a file stays {} bytes long, {} more than it was: {error}", self.new_size, self.old_size);
        }
    }
}

/// Counts, when it is dropped, that a file was longer and is no more: its times of change are others.
pub(super) struct Told {
    table: Option<Arc<VersionTable>>,
    ino: Option<u64>,
}

impl Told {
    pub(super) fn of(file: &File, table: Option<Arc<VersionTable>>) -> Self {
        Self { table, ino: fstat(file).ok().map(|status| status.st_ino) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        match (&self.table, self.ino) {
            (None, _) => {}
            (Some(table), Some(ino)) => table.publish(&[Key::content(ino), Key::attributes(ino)]),
            (Some(table), None) => table.raise_floor(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::unix::fs::MetadataExt;

    fn file(size: u64) -> File {
        let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(size).unwrap();
        file
    }

    #[test]
    fn a_file_is_longer_for_a_moment_and_then_as_it_was() {
        let file = file(10);
        let modified = |file: &File| file.metadata().map(|data| (data.mtime(), data.mtime_nsec())).unwrap();
        let before = modified(&file);
        let longer = Longer::reach(&file, 8192).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8192);
        drop(longer);
        assert_eq!((file.metadata().unwrap().len(), modified(&file)), (10, before));
        assert!(Longer::reach(&file, 10).unwrap().is_none());
    }

    #[test]
    fn a_file_that_somebody_else_changed_meanwhile_is_left_alone() {
        for other in [5, 10000] {
            let file = file(10);
            let longer = Longer::reach(&file, 8192).unwrap();
            file.set_len(other).unwrap();
            drop(longer);
            assert_eq!(file.metadata().unwrap().len(), other);
        }
    }
}
