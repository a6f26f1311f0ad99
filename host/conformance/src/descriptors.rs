//! What the daemon has open: a descriptor for each inode that it remembers, and for each open file.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use virtio_fs::VirtioFs;
use virtio_fs_vhost_user::Daemon;

fn open_descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("the daemon's descriptors").count()
}

/// What the daemon has open.
pub(crate) fn opened(daemon: &Daemon) -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("the daemon's descriptors");
    let mut names: Vec<_> = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    names.sort();
    names
}

/// How many descriptors the daemon has open when it has done all that it was told: forgetting is not answered.
pub fn settled_descriptors(daemon: &Daemon) -> usize {
    // A busy machine may let it rest in between.
    let (mut counted, mut unchanged) = (open_descriptors(daemon), 0);
    while unchanged < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let now = open_descriptors(daemon);
        unchanged = if now == counted { unchanged + 1 } else { 0 };
        counted = now;
    }
    counted
}

/// Whether the daemon has `before` descriptors open again, some time soon.
pub(crate) fn settles_at(daemon: &Daemon, before: usize) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    while open_descriptors(daemon) != before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    open_descriptors(daemon) == before
}

/// Waits until the daemon has as few descriptors open as it had `before`.
///
/// # Panics
///
/// If it keeps more, or fewer.
pub fn expect_descriptors(daemon: &Daemon, fs: &VirtioFs, before: usize) {
    fs.maintain();
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_descriptors(daemon) != before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(open_descriptors(daemon), before, "inodes or open files of the daemon: {:#?}", opened(daemon));
}
