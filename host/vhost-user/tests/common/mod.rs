//! A folder to serve, and how it is mounted.
#![allow(dead_code)] // each test program uses a part

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_fs::{CacheMode, CacheOptions, MountOptions};

/// A folder that is removed with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("virtio-fs-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Without caches each call is a request.
pub(crate) fn uncached() -> MountOptions {
    cached(CacheMode::None)
}

pub(crate) fn cached(mode: CacheMode) -> MountOptions {
    MountOptions { cache: CacheOptions { mode, ..CacheOptions::default() }, ..MountOptions::default() }
}
