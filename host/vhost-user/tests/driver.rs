//! The driver against the real virtiofsd: what it reads, and how many requests that takes.

mod common;

use common::{Folder, cached, uncached};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use virtio_fs::fs::DirEntry;
use virtio_fs::{CacheMode, Errno, Error, FileType, MountOptions, Platform, VirtioFs};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, NativePlatform, connect};

const MODES: [CacheMode; 3] = [CacheMode::None, CacheMode::Auto, CacheMode::Always];

/// A running daemon for `folder`, and a mount of it that caches nothing.
fn mount(folder: &Path) -> (Daemon, VirtioFs) {
    mount_in_mode(folder, CacheMode::None)
}

fn mount_in_mode(folder: &Path, mode: CacheMode) -> (Daemon, VirtioFs) {
    let daemon = Daemon::start(folder, &DaemonOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let fs = mount_daemon(&daemon, &cached(mode));
    (daemon, fs)
}

fn mount_daemon(daemon: &Daemon, options: &MountOptions) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    VirtioFs::mount::<GuestHal>(transport, platform, options).unwrap()
}

/// How many requests named `operation` the daemon got.
fn count(requests: &BTreeMap<String, u64>, operation: &str) -> u64 {
    requests.get(operation).copied().unwrap_or(0)
}

/// How many descriptors the daemon has open: one for each inode that it remembers, and for each open file.
fn open_descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Bytes that differ from page to page.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

#[test]
fn what_the_guest_sees_is_what_the_host_has() {
    let folder = Folder::new();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/file"), content(123_456)).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("hello"), "hello\n").unwrap();
    fs::set_permissions(at("hello"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(at("hello"), at("again")).unwrap();
    symlink("../../hello", at("a/b/up")).unwrap();
    symlink("/a/b", at("absolute")).unwrap();
    symlink("loop", at("loop")).unwrap();
    mkfifo(&at("fifo"));
    let (_daemon, vfs) = mount(folder.path());

    assert_eq!(vfs.read("a/b/file").unwrap(), content(123_456));
    assert_eq!(vfs.read("/absolute/up").unwrap(), b"hello\n");
    assert_eq!(vfs.read_to_string("empty").unwrap(), "");
    assert_eq!(vfs.read_link("absolute").unwrap(), b"/a/b");
    assert_eq!(vfs.metadata("loop").unwrap_err().errno(), Errno::ELOOP);
    assert_eq!(vfs.open("fifo").unwrap_err().errno(), Errno::EOPNOTSUPP);
    assert!(vfs.exists("a/../hello").unwrap());
    assert!(!vfs.exists("a/hello").unwrap());
    for path in ["a/b/file", "empty", "hello", "again", "a", "fifo", "absolute", "loop", "."] {
        let (guest, host) = (vfs.symlink_metadata(path).unwrap(), fs::symlink_metadata(at(path)).unwrap());
        let attr = guest.attr();
        assert_eq!((guest.len(), attr.ino, u64::from(attr.nlink)), (host.len(), host.ino(), host.nlink()), "{path}");
        assert_eq!(u32::from(guest.permissions()), host.mode() & 0o7777, "{path}");
        assert_eq!((attr.uid, attr.gid, attr.blocks), (host.uid(), host.gid(), host.blocks()), "{path}");
        assert_eq!(guest.modified().seconds, host.mtime(), "{path}");
        assert_eq!(i64::from(guest.modified().nanoseconds), host.mtime_nsec(), "{path}");
    }
    let mut names: Vec<_> = vfs.read_dir("/").unwrap().map(|entry| entry.unwrap().file_name().to_vec()).collect();
    names.sort();
    assert_eq!(names, [&b"a"[..], b"absolute", b"again", b"empty", b"fifo", b"hello", b"loop"]);
    assert_eq!(vfs.metadata("fifo").unwrap().file_type(), FileType::Fifo);
    assert!(vfs.statvfs("/").unwrap().blocks > 0);
    let (attr, born) = vfs.root().statx().unwrap();
    assert_eq!((attr.ino, born), (fs::metadata(folder.path()).unwrap().ino(), None), "virtiofsd 1.13 has no STATX");
    vfs.unmount().unwrap();
}

fn mkfifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

#[test]
fn a_64_mib_file_takes_64_reads() {
    let folder = Folder::new();
    fs::write(folder.path().join("big"), content(64 << 20)).unwrap();
    let (daemon, vfs) = mount(folder.path());
    assert_eq!(vfs.negotiated().max_transfer_bytes, 1 << 20);
    let read = vfs.read("big").unwrap();
    assert!(read == content(64 << 20), "the bytes differ");
    assert_eq!(count(&daemon.requests(), "Read"), 64);
    vfs.unmount().unwrap();
}

/// A driver that stands still at its next wait, until something was done.
struct Halting {
    inner: Arc<NativePlatform>,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl Platform for Halting {
    fn now(&self) -> virtio_fs::Instant {
        self.inner.now()
    }

    fn wall_clock(&self) -> virtio_fs::Timestamp {
        self.inner.wall_clock()
    }

    fn wait_until(&self, deadline: virtio_fs::Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.inner.wait_until(deadline, ready)
    }

    fn cpu(&self) -> usize {
        self.inner.cpu()
    }
}

/// The daemon is stopped while the driver sends, so that none of the requests is answered before the driver waits for
/// the first reply. What the daemon gets when it continues, with the driver still standing there, was in flight
/// together.
#[test]
fn reads_of_a_large_file_are_in_flight_together() {
    const TOGETHER: u64 = 4;
    let folder = Folder::new();
    fs::write(folder.path().join("big"), content(64 << 20)).unwrap();
    let daemon = Daemon::start(folder.path(), &DaemonOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let daemon = Arc::new(daemon);
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    let platform = Arc::new(Halting { inner: platform, meanwhile: Mutex::new(None) });
    let vfs = VirtioFs::mount::<GuestHal>(transport, platform.clone(), &uncached()).unwrap();
    let file = vfs.open("big").unwrap();

    let together = Arc::new(AtomicU64::new(0));
    *platform.meanwhile.lock().unwrap() = Some(Box::new({
        let (daemon, together) = (daemon.clone(), together.clone());
        move || {
            daemon.resume();
            let deadline = Instant::now() + Duration::from_secs(10);
            while together.load(Ordering::Relaxed) < TOGETHER && Instant::now() < deadline {
                together.store(count(&daemon.requests(), "Read"), Ordering::Relaxed);
            }
        }
    }));
    daemon.pause();
    let mut buffer = vec![0; 64 << 20];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), buffer.len());
    assert!(buffer == content(64 << 20), "the bytes differ");
    let together = together.load(Ordering::Relaxed);
    assert!((TOGETHER..=64).contains(&together), "{together} requests were in flight together");
    assert_eq!(count(&daemon.requests(), "Read"), 64);
}

#[test]
fn listing_10_000_entries_takes_at_most_10_requests() {
    listing_10_000_entries(10);
}

/// Their entries with attributes are 4 MB.
#[test]
fn listing_10_000_entries_with_the_longest_names_takes_at_most_10_requests() {
    listing_10_000_entries(255);
}

fn listing_10_000_entries(name_bytes: usize) {
    let folder = Folder::new();
    for number in 0..10_000 {
        fs::write(folder.path().join(format!("{number:0name_bytes$}")), "").unwrap();
    }
    let (daemon, vfs) = mount(folder.path());
    let mut listed = 0;
    for entry in vfs.read_dir("/").unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.file_name().len(), name_bytes);
        assert_eq!(entry.metadata().unwrap().len(), 0);
        listed += 1;
    }
    assert_eq!(listed, 10_000);
    let requests = daemon.requests();
    let messages = count(&requests, "Readdir") + count(&requests, "Readdirplus");
    assert!(messages <= 10, "{messages} requests");
    assert_eq!(count(&requests, "Lookup"), 0, "attributes come with the listing");
    assert_eq!(count(&requests, "Forget"), 0, "forgets are batched");
    assert!(count(&requests, "BatchForget") <= 10_000_u64.div_ceil(250));
    vfs.unmount().unwrap();
}

/// DESTROY clears everything: what the daemon still remembers just before it is the driver's debt.
#[test]
fn before_destroy_the_daemon_remembers_only_the_root() {
    let folder = Folder::new();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("a/b/c")).unwrap();
    for number in 0..700 {
        fs::write(at(&format!("a/b/{number}")), "x").unwrap();
    }
    MODES.into_iter().for_each(|mode| the_daemon_remembers_only_the_root(folder.path(), mode));
}

fn the_daemon_remembers_only_the_root(folder: &Path, mode: CacheMode) {
    let (daemon, vfs) = mount_in_mode(folder, mode);
    let before = open_descriptors(&daemon);

    for number in (0..700).step_by(7) {
        assert_eq!(vfs.read(format!("a/b/{number}")).unwrap(), b"x");
        assert!(!vfs.exists(format!("a/b/c/{number}")).unwrap());
    }
    // Who wants to know more than names gets the inodes along with them.
    let with_inode = |entry: Result<DirEntry, Error>| entry.and_then(|entry| Ok((entry.metadata()?, entry))).unwrap();
    let kept: Vec<_> = vfs.read_dir("a/b").unwrap().map(with_inode).collect();
    // A cursor that is dropped half-way, and a file and a node that are held for a while.
    assert!(vfs.read_dir("a/b").unwrap().next().is_some());
    let (file, node) = (vfs.open("a/b/1").unwrap(), vfs.node("a/b/c").unwrap());
    assert!(open_descriptors(&daemon) > before + 600);
    drop((file, node, kept));
    vfs.drop_caches();
    vfs.maintain();
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_descriptors(&daemon) != before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(open_descriptors(&daemon), before, "{mode:?}: what the daemon still remembers");

    let requests = daemon.requests();
    assert!(count(&requests, "Open") > 0 && count(&requests, "Opendir") > 0);
    assert_eq!(count(&requests, "Open"), count(&requests, "Release"));
    assert_eq!(count(&requests, "Opendir"), count(&requests, "Releasedir"));
    assert_eq!(count(&requests, "Destroy"), 0);
    vfs.unmount().unwrap();
    assert_eq!(count(&daemon.requests(), "Destroy"), 1);
}

/// Nobody waits between the last use and `unmount`, and forgets travel on a queue of their own: they must not be
/// overtaken.
#[test]
fn every_forget_comes_before_destroy() {
    let folder = Folder::new();
    for number in 0..700 {
        fs::write(folder.path().join(number.to_string()), "x").unwrap();
    }
    for mode in MODES.into_iter().cycle().take(12) {
        let (daemon, vfs) = mount_in_mode(folder.path(), mode);
        let kept: Vec<_> = vfs.read_dir("/").unwrap().map(Result::unwrap).collect();
        let node = vfs.node("7").unwrap();
        assert_eq!(vfs.read("8").unwrap(), b"x");
        drop((kept, node));
        vfs.unmount().unwrap();

        let requests = daemon.requests();
        assert_eq!(count(&requests, "Destroy"), 1);
        let log = daemon.log();
        let order: Vec<_> = log.lines().filter_map(|line| line.split_once("Received request: opcode=")).collect();
        let places = |operation: &str| {
            let named = order.iter().enumerate().filter(|(_, (_, rest))| rest.starts_with(operation));
            named.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let forgets = [places("Forget "), places("BatchForget ")].concat();
        // All 700 inodes are forgotten, in batches or one by one.
        assert!(!forgets.is_empty());
        assert_eq!(places("Destroy "), [order.len() - 1], "something came after DESTROY:\n{log}");
    }
}

#[test]
fn a_mount_that_is_in_use_ends_when_the_last_user_does() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "still here").unwrap();
    let (daemon, vfs) = mount(folder.path());
    let mut file = vfs.open("file").unwrap();
    assert_eq!(vfs.unmount().unwrap_err().errno(), Errno::EBUSY);
    let mut buffer = [0; 64];
    assert_eq!(file.read(&mut buffer).unwrap(), 10);
    drop(file);
    let requests = daemon.requests();
    assert_eq!((count(&requests, "Release"), count(&requests, "Destroy")), (1, 1));
}

#[test]
fn a_daemon_serves_one_mount_after_the_other() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "again").unwrap();
    let daemon = Daemon::start(folder.path(), &DaemonOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let vfs = mount_daemon(&daemon, &MountOptions::default());
    assert_eq!(vfs.read("file").unwrap(), b"again");
    vfs.unmount().unwrap();
    drop(daemon);
    let (_daemon, vfs) = mount(folder.path());
    assert_eq!(vfs.read("file").unwrap(), b"again");
}

#[test]
fn two_mounts_stand_side_by_side() {
    let folders = [Folder::new(), Folder::new()];
    for (number, folder) in folders.iter().enumerate() {
        fs::write(folder.path().join("name"), format!("folder {number}")).unwrap();
    }
    let mounts = folders.each_ref().map(|folder| mount(folder.path()));
    for (number, (_, vfs)) in mounts.iter().enumerate() {
        assert_eq!(vfs.read_to_string("name").unwrap(), format!("folder {number}"));
    }
}

#[test]
fn threads_read_through_one_mount() {
    let folder = Folder::new();
    for number in 0..4 {
        fs::write(folder.path().join(format!("file-{number}")), content((3 << 20) + 1000 * number + 1)).unwrap();
    }
    MODES.into_iter().for_each(|mode| threads_read(folder.path(), mode));
}

fn threads_read(folder: &Path, mode: CacheMode) {
    let (daemon, vfs) = mount_in_mode(folder, mode);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let vfs = &vfs;
            scope.spawn(move || {
                for _ in 0..20 {
                    let path = format!("file-{number}");
                    assert!(vfs.read(&path).unwrap() == content((3 << 20) + 1000 * number + 1), "{path} differs");
                    assert_eq!(vfs.metadata("missing").unwrap_err().errno(), Errno::ENOENT);
                }
            });
        }
    });
    // FORGETs wait for RELEASEs.
    vfs.maintain();
    let requests = daemon.requests();
    let opened = count(&requests, "Open");
    assert_eq!(opened, count(&requests, "Release"));
    assert!(if mode == CacheMode::None { opened == 80 } else { (4..80).contains(&opened) }, "{mode:?}: {opened}");
    vfs.unmount().unwrap();
}

#[test]
fn what_was_said_once_is_not_asked_for_again_where_nothing_expires() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::write(folder.path().join("a/b/file"), content(300_000)).unwrap();
    let (daemon, vfs) = mount_in_mode(folder.path(), CacheMode::Always);
    let look = || {
        assert_eq!(vfs.metadata("a/b/file").unwrap().len(), 300_000);
        assert!(vfs.read("a/b/file").unwrap() == content(300_000));
        assert!(!vfs.exists("a/b/missing").unwrap());
    };
    look();
    // Nobody waits for what is sent when a file is closed.
    vfs.maintain();
    let before = vfs.statistics();
    let asked: u64 = daemon.requests().values().sum();
    (0..10).for_each(|_| look());
    vfs.maintain();
    assert_eq!(daemon.requests().values().sum::<u64>(), asked);
    let after = vfs.statistics();
    assert_eq!(after.all_requests(), before.all_requests());
    assert!(after.data_hits >= before.data_hits + 10 && after.name_hits >= before.name_hits + 60, "{after:?}");
    assert!(after.cached_bytes >= 300_000 && after.cached_names >= 4, "{after:?}");
    vfs.drop_caches();
    assert_eq!((vfs.statistics().cached_bytes, vfs.statistics().cached_names), (0, 0));
    look();
    vfs.unmount().unwrap();
}

#[test]
fn what_is_cached_is_seen_when_the_daemon_is_gone_and_the_rest_is_an_error() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "content").unwrap();
    fs::write(folder.path().join("other"), "content").unwrap();
    let (daemon, vfs) = mount_in_mode(folder.path(), CacheMode::Always);
    assert_eq!(vfs.read("file").unwrap(), b"content");
    daemon.kill();
    assert_eq!(vfs.read("file").unwrap(), b"content");
    assert!(matches!(vfs.read("other"), Err(Error::Device(_))));
    assert!(matches!(vfs.write("file", "new"), Err(Error::Device(_))));
}

#[test]
fn a_killed_daemon_is_an_error_and_not_a_hang() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), content(1 << 20)).unwrap();
    let (daemon, vfs) = mount(folder.path());
    let file = vfs.open("file").unwrap();
    daemon.kill();
    let start = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    assert!(matches!(file.read_at(0, &mut buffer), Err(Error::Device(_))));
    assert!(matches!(vfs.metadata("file"), Err(Error::Device(_))));
    drop((file, vfs));
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
}
