//! A directory in memory, and mounts of it.

use super::common::{Daemon, Folder};
use std::fs;
use std::path::{Path, PathBuf};
use virtio_fs::{MountOptions, VirtioFs};
use virtio_fs_vhost_user::{GuestHal, connect};

/// A directory that daemons with one version table serve.
pub(crate) struct Share {
    folder: Folder,
    arguments: Vec<String>,
}

impl Share {
    /// An empty one. All daemons have these arguments.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let folder = Folder::in_memory();
        fs::create_dir(folder.path().join("share")).unwrap();
        Self { folder, arguments: arguments.iter().map(ToString::to_string).collect() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// One more daemon.
    pub(crate) fn serve(&self) -> Daemon {
        let path = |name: &str| self.folder.path().join(name).into_os_string().into_string().unwrap();
        let (table, share) = (path("table"), path("share"));
        let own = ["--version-table", &table, "--shared-dir", &share];
        Daemon::start(&own.into_iter().chain(self.arguments.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    /// A daemon that is a program of the host like others: what it changes is not counted by itself.
    pub(crate) fn serve_without_table(&self) -> Daemon {
        Daemon::start(&["--xattr", "--shared-dir", self.path().to_str().unwrap()])
    }
}

pub(crate) fn mount(daemon: &Daemon, options: &MountOptions) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "share").expect("a connection");
    VirtioFs::mount::<GuestHal>(transport, platform, options).expect("a mount")
}
