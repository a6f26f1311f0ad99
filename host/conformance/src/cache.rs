//! By which rules the tests cache.

use std::time::Duration;
use virtio_fs::{CacheMode, CacheOptions, Dax, MountOptions};

/// How tests mount: as the environment variable `VIRTIO_FS_TEST_CACHE` says, and else without caches, since the host
/// changes what the driver would believe to know. The variable is words between commas: a mode (`none`, `auto`, `always`),
/// `writeback`, `eager` (no file is opened late), `pages=N` (a budget of so many pages of 4 KiB), `entries=N`, `dax` (the
/// daemon has a window, and all files are mapped into it).
///
/// # Panics
///
/// If the variable says something else.
pub fn mount_options() -> MountOptions {
    let words = std::env::var("VIRTIO_FS_TEST_CACHE").unwrap_or_else(|_| "none".into());
    let mut cache = CacheOptions { dirty_age: Duration::from_millis(100), ..CacheOptions::default() };
    let mut dax = Dax::default();
    for word in words.split(',') {
        match word.split_once('=').unwrap_or((word, "")) {
            ("none", "") => cache.mode = CacheMode::None,
            ("auto", "") => cache.mode = CacheMode::Auto,
            ("always", "") => cache.mode = CacheMode::Always,
            ("writeback", "") => cache.writeback = true,
            ("dax", "") => dax = Dax::Always,
            ("eager", "") => cache.lazy_open = false,
            ("pages", count) => cache.max_data_bytes = number(count) * 4096,
            ("entries", count) => cache.max_entries = number(count),
            _ => panic!("VIRTIO_FS_TEST_CACHE says {words}"),
        }
    }
    MountOptions { cache, dax, ..MountOptions::default() }
}

/// Whether the tests' mounts cache anything.
pub(crate) fn caches() -> bool {
    mount_options().cache.mode != CacheMode::None
}

/// Whether the tests' writes are collected.
pub(crate) fn writes_back() -> bool {
    mount_options().cache.writeback
}

/// Whether the tests' mounts read and write files through a window, and so can map them.
pub fn maps() -> bool {
    mount_options().dax == Dax::Always
}

/// Whether files are opened only when a request needs that.
pub(crate) fn opens_late() -> bool {
    let cache = mount_options().cache;
    cache.lazy_open && cache.mode != CacheMode::None
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("VIRTIO_FS_TEST_CACHE: {text} is no number"))
}
