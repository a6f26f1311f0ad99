//! Files and directories that are open, by a mount and by the host.

use super::found::Facts;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use virtio_fs::vnode::Node;

/// A file that a mount has open.
pub(crate) struct HeldFile {
    pub(crate) file: virtio_fs::fs::File,
    on_host: File,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
}

impl HeldFile {
    /// `path` is where the host finds the same file, unless it has been moved since.
    pub(crate) fn new(
        file: virtio_fs::fs::File,
        path: &Path,
        (is_readable, is_writable): (bool, bool),
    ) -> Option<Self> {
        let on_host = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
        let is_it = file.metadata().ok()?.attr().ino == on_host.metadata().unwrap().ino();
        is_it.then_some(Self { file, on_host, is_readable, is_writable })
    }

    /// What is wrong with what the mount finds.
    pub(crate) fn difference(&self, counts_blocks: bool) -> Option<String> {
        if self.is_readable {
            let size = self.on_host.metadata().unwrap().len() as usize;
            let mut is = vec![0; size + 1];
            let mut bytes = vec![0; size];
            self.on_host.read_exact_at(&mut bytes, 0).unwrap();
            match self.file.read_at(0, &mut is) {
                Ok(read) if is[..read] == bytes[..] => {}
                Ok(read) => return Some(format!("read {}, where there is {}", brief(&is[..read]), brief(&bytes))),
                Err(error) => return Some(format!("cannot be read: {error}")),
            }
        }
        let facts = self.file.metadata().map(|metadata| Facts::of(metadata.attr(), counts_blocks));
        differ(facts, Facts::on_host(&self.on_host.metadata().unwrap(), counts_blocks))
    }
}

/// A directory that a mount keeps, wherever it goes.
pub(crate) struct HeldDirectory {
    pub(crate) node: Node,
    on_host: File,
}

impl HeldDirectory {
    /// As [`HeldFile::new`].
    pub(crate) fn new(node: Node, path: &Path) -> Option<Self> {
        let on_host = File::options().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
        let is_it = node.getattr().ok()?.ino == on_host.metadata().unwrap().ino();
        is_it.then_some(Self { node, on_host })
    }

    pub(crate) fn difference(&self, names: &[&str], counts_blocks: bool) -> Option<String> {
        use std::os::fd::AsRawFd;
        let facts = self.node.getattr().map(|attr| Facts::of(&attr, counts_blocks));
        if let Some(difference) = differ(facts, Facts::on_host(&self.on_host.metadata().unwrap(), counts_blocks)) {
            return Some(difference);
        }
        let path = format!("/proc/self/fd/{}", self.on_host.as_raw_fd());
        names.iter().find_map(|name| {
            let is = self
                .node
                .lookup(name)
                .map(|(_, attr)| Facts::of(&attr, counts_blocks))
                .map_err(virtio_fs::Error::errno);
            let should_be = fs::symlink_metadata(Path::new(&path).join(name))
                .map(|metadata| Facts::on_host(&metadata, counts_blocks));
            let should_be = should_be.map_err(|error| virtio_fs::Errno(error.raw_os_error().unwrap() as u16));
            (is != should_be).then(|| format!("name {name}: found\n{is:?}\nwhere there is\n{should_be:?}"))
        })
    }
}

fn differ(facts: Result<Facts, virtio_fs::Error>, should_be: Facts) -> Option<String> {
    match facts {
        Ok(facts) if facts == should_be => None,
        Ok(facts) => Some(format!("has\n{facts:?}\nwhere there is\n{should_be:?}")),
        Err(error) => Some(format!("cannot be looked at: {error}")),
    }
}

/// A length, and where which byte comes first.
fn brief(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, other| one == other).take(8).map(|run| format!("{} x {}", run[0], run.len()));
    format!("{} bytes [{}]", bytes.len(), runs.collect::<Vec<_>>().join(", "))
}
