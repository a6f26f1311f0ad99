//! The served tree, through the driver.

mod common;
// The platform of the tests of the native front end.
#[path = "../../vhost-user/tests/many_cpus/mod.rs"]
mod many_cpus;

use common::Daemon;
use common::guest::Machine;
use many_cpus::{CPU, ManyCpus};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use virtio_fs::{CacheMode, CacheOptions, Errno, Error, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{ConnectOptions, GuestHal, NativePlatform, VhostUserTransport, connect_with};

/// Without caches each call is a request.
fn uncached() -> MountOptions {
    let cache = CacheOptions { mode: CacheMode::None, ..CacheOptions::default() };
    MountOptions { cache, ..MountOptions::default() }
}

fn connect(daemon: &Daemon, request_queues: u16) -> (VhostUserTransport, Arc<NativePlatform>) {
    let options = ConnectOptions { request_queues, ..ConnectOptions::default() };
    connect_with(daemon.socket(), "test", options).unwrap_or_else(|error| panic!("{error}: {}", daemon.log()))
}

fn mount(daemon: &Daemon) -> VirtioFs {
    let (transport, platform) = connect(daemon, 1);
    VirtioFs::mount::<GuestHal>(transport, platform, &uncached()).unwrap()
}

/// Permissions, owner, content: of each path below a folder.
type Facts = BTreeMap<Vec<u8>, (u32, u32, Vec<u8>)>;

fn on_host(folder: &Path, path: &[u8], facts: &mut Facts) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (data, name) = (entry.metadata().unwrap(), [path, b"/", entry.file_name().as_bytes()].concat());
        let content = match () {
            () if data.is_file() => fs::read(entry.path()).unwrap(),
            () if data.is_symlink() => fs::read_link(entry.path()).unwrap().into_os_string().into_vec(),
            () => Vec::new(),
        };
        if data.is_dir() {
            on_host(&entry.path(), &name, facts);
        }
        facts.insert(name, (data.mode() & 0o7777, data.uid(), content));
    }
}

fn in_guest(guest: &VirtioFs, path: &[u8], facts: &mut Facts) {
    for entry in guest.read_dir(if path.is_empty() { b"/" } else { path }).unwrap() {
        let name = [path, b"/", entry.unwrap().file_name()].concat();
        let data = guest.symlink_metadata(&name).unwrap();
        let content = match () {
            () if data.is_file() => guest.read(&name).unwrap(),
            () if data.is_symlink() => guest.read_link(&name).unwrap(),
            () => Vec::new(),
        };
        if data.is_dir() {
            in_guest(guest, &name, facts);
        }
        facts.insert(name, (data.permissions().into(), data.attr().uid, content));
    }
}

fn fill(share: &Path) {
    fs::create_dir_all(share.join("folder/below")).unwrap();
    fs::write(share.join("folder/below/large"), vec![3; (3 << 20) + 17]).unwrap();
    fs::write(share.join("folder/empty"), "").unwrap();
    std::os::unix::fs::symlink("folder/empty", share.join("link")).unwrap();
    for number in 0..300 {
        fs::write(share.join(format!("folder/{number}")), format!("{number}")).unwrap();
    }
}

fn check_tree(daemon: &Daemon, guest: &VirtioFs) {
    let (mut host, mut seen) = (Facts::new(), Facts::new());
    on_host(&daemon.share(), b"", &mut host);
    in_guest(guest, b"", &mut seen);
    assert!(host.len() > 300);
    assert!(host == seen, "the trees differ");
}

#[test]
fn the_guest_sees_what_the_host_has_and_the_host_what_the_guest_writes() {
    let daemon = Daemon::start_on(&[], fill);
    let guest = mount(&daemon);
    check_tree(&daemon, &guest);
    guest.create_dir("folder/new").unwrap();
    guest.write("folder/new/file", vec![9; 2 << 20]).unwrap();
    guest.rename("folder/empty", "folder/new/empty").unwrap();
    guest.remove_file("link").unwrap();
    assert_eq!(fs::read(daemon.file("folder/new/file")).unwrap(), vec![9; 2 << 20]);
    check_tree(&daemon, &guest);
    guest.unmount().unwrap();
}

#[test]
fn with_a_window_files_are_served_as_without() {
    let daemon = Daemon::start_on(&["--window", "6M", "--map-past-eof"], fill);
    let guest = mount(&daemon);
    check_tree(&daemon, &guest);
    guest.write("link", "written").unwrap();
    assert_eq!(fs::read(daemon.file("folder/empty")).unwrap(), b"written");
    guest.unmount().unwrap();
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let daemon = Daemon::start_on(&[], |share| fs::write(share.join("../secret"), "secret").unwrap());
    let absolute = daemon.socket().with_file_name("secret").into_os_string().into_string().unwrap();
    assert!(Path::new(&absolute).exists());
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    // The driver would not send such names.
    for name in ["../secret", &absolute, "../../../etc/passwd", "/etc/passwd"] {
        let (error, _) = guest.ask::<0>(1, 1, format!("{name}\0").as_bytes());
        assert_ne!(error, 0, "{name}");
    }
    let (error, parent) = guest.ask::<8>(1, 1, b"..\0");
    assert!(error != 0 || parent == 1_u64.to_le_bytes(), "the root's parent is itself");
    machine.reset(guest);
}

#[test]
fn a_read_only_folder_can_be_read_and_not_changed() {
    let daemon = Daemon::start_on(&["--readonly"], fill);
    let guest = mount(&daemon);
    check_tree(&daemon, &guest);
    let refused = |result: Result<(), Error>| assert_eq!(result.map_err(|error| error.errno()), Err(Errno::EROFS));
    refused(guest.write("folder/empty", "x"));
    refused(guest.write("new", "x"));
    refused(guest.create_dir("new"));
    refused(guest.remove_file("link"));
    refused(guest.rename("link", "other"));
    check_tree(&daemon, &guest);
    guest.unmount().unwrap();
}

#[test]
fn each_request_queue_is_served_by_itself() {
    const QUEUES: usize = 3;
    let delay = Duration::from_millis(400);
    let daemon = Daemon::start_on(&["--request-queues", "3", "--inject", "statfs:delay=400"], fill);
    let (transport, platform) = connect(&daemon, 10);
    let guest = VirtioFs::mount::<GuestHal>(transport, Arc::new(ManyCpus(platform)), &uncached()).unwrap();
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for cpu in 0..QUEUES {
            let guest = &guest;
            scope.spawn(move || {
                CPU.set(cpu);
                guest.statvfs("/").unwrap();
                assert_eq!(guest.read("folder/below/large").unwrap(), vec![3; (3 << 20) + 17]);
            });
        }
    });
    let time = start.elapsed();
    assert!(time >= delay, "{time:?}: nothing was delayed");
    assert!(time < delay * 2, "{time:?}: one queue waited for another");
    guest.unmount().unwrap();
}

#[test]
fn threads_change_files_through_several_queues_and_lose_nothing() {
    let daemon = Daemon::start_on(&["--request-queues", "2"], |_| {});
    let (transport, platform) = connect(&daemon, 2);
    let guest = VirtioFs::mount::<GuestHal>(transport, Arc::new(ManyCpus(platform)), &uncached()).unwrap();
    std::thread::scope(|scope| {
        for cpu in 0..2 {
            let guest = &guest;
            scope.spawn(move || {
                CPU.set(cpu);
                for number in 0..100 {
                    let name = format!("{cpu}-{number}");
                    guest.write(&name, &name).unwrap();
                }
            });
        }
    });
    for (cpu, number) in (0..2).flat_map(|cpu| (0..100).map(move |number| (cpu, number))) {
        let name = format!("{cpu}-{number}");
        assert_eq!(fs::read_to_string(daemon.file(&name)).unwrap(), name);
    }
    guest.unmount().unwrap();
}
