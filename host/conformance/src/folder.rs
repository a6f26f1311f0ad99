//! Folders for tests.

use crate::thread::private_mounts;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new folder, open to all, that is removed with this value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it where temporary files are.
    #[expect(clippy::new_without_default, reason = "it makes something")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("virtio-fs-conformance-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder for the test");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a folder's permissions");
        Self(path)
    }

    /// Makes one in memory that holds so many bytes, for this thread and for what it starts.
    pub fn in_memory(bytes: usize) -> Self {
        let folder = Self::new();
        let options = CString::new(format!("size={bytes},mode=755")).expect("no NUL");
        private_mounts();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).expect("a tmpfs");
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Empties a folder, and makes it root's, open to all.
pub(crate) fn renew(folder: &Path) {
    empty(folder);
    std::os::unix::fs::chown(folder, Some(0), Some(0)).expect("a folder's owner");
    let mut names = [0; 4096];
    let bytes = rustix::fs::listxattr(folder, &mut names).unwrap_or(0);
    for name in names[..bytes].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        rustix::fs::removexattr(folder, name).expect("a folder without attributes");
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("a folder's permissions");
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is mounted there is so for this thread at most.
        while unmount(&self.0, UnmountFlags::DETACH).is_ok() {}
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what is in a folder. What is mounted there stays, but is emptied, too.
fn empty(folder: &Path) {
    let device = |path: &Path| fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.is_dir()));
    let (own, _) = device(folder).expect("a folder's device");
    for entry in fs::read_dir(folder).expect("the folder's entries") {
        let path = entry.expect("an entry").path();
        let removed = match device(&path).expect("an entry's device") {
            (other, true) if other != own => {
                empty(&path);
                Ok(())
            }
            (_, true) => fs::remove_dir_all(&path),
            (_, false) => fs::remove_file(&path),
        };
        removed.unwrap_or_else(|error| panic!("{} stays: {error}", path.display()));
    }
}
