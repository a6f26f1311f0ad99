//! The driver itself in front of the daemon, through the DAX window.

#[path = "../common/mod.rs"]
mod common;

mod coherence;
mod content;
mod faults;
mod messages;
mod sharing;
mod sizes;
mod truncation;
mod version_table;

use common::{Daemon, Folder};
use std::fs;
use std::path::Path;
use virtio_fs::{CacheMode, CacheOptions, Dax, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{GuestHal, connect};

const MIB: usize = 1 << 20;
const MODES: [CacheMode; 3] = [CacheMode::None, CacheMode::Auto, CacheMode::Always];

/// Files are mapped wherever that is possible.
fn options(mode: CacheMode) -> MountOptions {
    let cache = CacheOptions { mode, ..CacheOptions::default() };
    MountOptions { cache, dax: Dax::Always, ..MountOptions::default() }
}

fn without_window(mode: CacheMode) -> MountOptions {
    MountOptions { dax: Dax::Never, ..options(mode) }
}

fn mount(daemon: &Daemon, options: &MountOptions) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "share").expect("a connection");
    VirtioFs::mount::<GuestHal>(transport, platform, options).expect("a mount")
}

/// How many requests of these operations were sent.
fn requests(fs: &VirtioFs, names: &[&str]) -> u64 {
    let statistics = fs.statistics();
    names.iter().map(|name| statistics.requests_of(name)).sum()
}

/// A daemon that serves a folder in memory.
fn daemon_in_memory(options: &[&str], fill: impl FnOnce(&Path)) -> Daemon {
    let folder = Folder::in_memory();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    fill(&share);
    Daemon::start_in(folder, options)
}
