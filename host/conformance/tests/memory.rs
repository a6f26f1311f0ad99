//! A tree of which the caches' budget holds a hundredth is walked: the daemon keeps no more inodes open than the budget
//! allows, and this process takes no more memory.
//!
//! For root. The number of directories, of 20,000 files each, is in the environment variable
//! `VIRTIO_FS_MEMORY_DIRECTORIES`, 5 if there is none; 50 are a million files, and a budget of 10,000.

use std::fs;
use virtio_fs::{CacheMode, CacheOptions, MountOptions, VirtioFs};
use virtio_fs_conformance::{CountingAllocator, Folder, expect_descriptors, expect_root, settled_descriptors};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const FILES: usize = 20_000;
/// What a name costs with its inode, the tables included: names here have 8 bytes.
const BYTES_PER_ENTRY: usize = 448;
/// What a walk may take besides, most of it for replies of listings, and what the system makes of it.
const FURTHER_BYTES: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn directories() -> usize {
    std::env::var("VIRTIO_FS_MEMORY_DIRECTORIES").map_or(5, |text| text.parse().expect("a number"))
}

/// What the process has in memory, in bytes (`VmRSS`).
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("what is resident");
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Lists a directory and asks for the attributes of each entry, as they come along with the listing or by path.
fn walk(vfs: &VirtioFs, directory: usize, by_path: bool) {
    let mut count = 0;
    for entry in vfs.read_dir(format!("{directory}")).unwrap() {
        let entry = entry.unwrap();
        let metadata = match by_path {
            true => vfs.metadata([format!("{directory}/").as_bytes(), entry.file_name()].concat()),
            false => entry.metadata(),
        };
        assert!(metadata.unwrap().is_file());
        count += 1;
    }
    assert_eq!(count, FILES);
}

#[test]
fn a_tree_much_larger_than_the_budget_costs_no_more_than_the_budget() {
    expect_root();
    let folder = Folder::in_memory(64 << 20);
    for directory in 0..directories() {
        let path = folder.path().join(directory.to_string());
        fs::create_dir(&path).unwrap();
        (0..FILES).for_each(|number| drop(fs::File::create(path.join(format!("{number:08}"))).unwrap()));
    }
    for mode in [CacheMode::Auto, CacheMode::Always] {
        walk_in(&folder, mode);
    }
}

fn walk_in(folder: &Folder, mode: CacheMode) {
    let budget = directories() * FILES / 100;
    // An inode is a descriptor then, with every virtiofsd.
    let arguments = vec!["--inode-file-handles=never".into()];
    let options = DaemonOptions { log_requests: false, arguments, ..DaemonOptions::default() };
    let daemon = Daemon::start(folder.path(), &options).unwrap_or_else(|error| panic!("{error}"));
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    let cache = CacheOptions { mode, max_entries: budget, ..CacheOptions::default() };
    let options = MountOptions { cache, ..MountOptions::default() };
    let vfs = VirtioFs::mount::<GuestHal>(transport, platform, &options).expect("a mount");
    // What is made once is there.
    walk(&vfs, 0, false);
    vfs.drop_caches();
    vfs.maintain();
    let descriptors_before = settled_descriptors(&daemon);
    let (in_use_before, resident_before) = (ALLOCATOR.bytes_in_use(), resident_bytes());

    for by_path in [false, true] {
        for directory in 0..directories() {
            walk(&vfs, directory, by_path);
            let names = vfs.statistics().cached_names as usize;
            assert!(names <= budget, "{names} names are cached");
        }
        vfs.maintain();
        let descriptors = settled_descriptors(&daemon) - descriptors_before;
        let statistics = vfs.statistics();
        let names = statistics.cached_names as usize;
        // Listings that are kept are pages, which have a budget of their own.
        let in_use = ALLOCATOR.bytes_in_use() - in_use_before - statistics.cached_bytes as i64;
        let in_use = usize::try_from(in_use).unwrap_or(0);
        let resident = resident_bytes().saturating_sub(resident_before);
        println!(
            "{mode:?}, {} files, by path: {by_path}: {names} names are cached, {descriptors} inodes open in the daemon; \
             {in_use} bytes, {} for each name; {} KiB more are resident",
            directories() * FILES,
            in_use / names,
            resident >> 10
        );
        assert!(names + 1 >= budget, "{names} names are cached, where there is room for {budget}");
        assert!(descriptors <= budget, "{descriptors} inodes for {names} names");
        assert!(in_use < names * BYTES_PER_ENTRY, "{} bytes for each name", in_use / names);
        assert!(resident < budget * BYTES_PER_ENTRY + FURTHER_BYTES, "{resident} bytes more are resident");
    }
    vfs.drop_caches();
    expect_descriptors(&daemon, &vfs, descriptors_before);
    vfs.unmount().unwrap();
}
