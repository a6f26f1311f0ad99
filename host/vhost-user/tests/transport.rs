//! The transport alone, against the real virtiofsd: a split virtqueue made by hand shows that memory, kicks and calls
//! work, and that a lost daemon is noticed.

mod common;
#[allow(dead_code, reason = "the benchmark needs more of it")]
mod raw_queue;

use common::Folder;
use raw_queue::{RawQueue, served};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use virtio_fs::Error;
use virtio_fs::virtio::{DeviceStatus, RingAddresses, Transport};
use virtio_fs_vhost_user::{
    ConnectError, ConnectOptions, Daemon, DaemonOptions, GuestMemory, Sandbox, connect, connect_with,
};

#[test]
fn init_and_getattr_are_answered_and_counted() {
    let (folder, daemon, transport, platform) = served(&DaemonOptions::default());
    let mut config = [0; 40];
    transport.read_config(0, &mut config).unwrap();
    assert_eq!(&config[..5], b"test\0");
    assert_eq!(config[36..], 1_u32.to_le_bytes(), "one request queue");
    assert!(transport.read_config(37, &mut [0; 4]).is_err());

    let mut queue = RawQueue::start(&transport, &*platform);
    assert!(queue.init() >= 31);
    let root = std::fs::metadata(folder.path()).unwrap();
    for _ in 0..100 {
        assert_eq!(queue.getattr_root(), (root.ino(), root.mode()));
    }
    let requests = daemon.requests();
    assert_eq!(requests.get("Init"), Some(&1));
    assert_eq!(requests.get("Getattr"), Some(&100));
}

#[test]
fn a_reset_is_confirmed_and_the_same_connection_serves_again() {
    for thread_pool in [0, 2] {
        let (_folder, daemon, transport, platform) = served(&DaemonOptions { thread_pool, ..Default::default() });
        for round in 1..=50 {
            let mut queue = RawQueue::start(&transport, &*platform);
            queue.init();
            queue.getattr_root();
            // A request in flight at the reset: the daemon finishes it first.
            queue.send(3, 1, &[0; 16]);
            transport.reset(&*platform).unwrap();
            assert_eq!(transport.status(), DeviceStatus::empty(), "round {round}");
        }
        assert_eq!(daemon.requests().get("Init"), Some(&50));
    }
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let (_folder, _daemon, transport, _platform) = served(&DaemonOptions::default());
    let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(status).unwrap();
    transport.set_driver_features(1 << 32 | 1 << 50);
    transport.set_status(status | DeviceStatus::FEATURES_OK).unwrap();
    assert_eq!(transport.status(), status);
    let rings = RingAddresses { descriptors: 0x1000, available: 0x2000, used: 0x3000 };
    assert!(matches!(transport.enable_queue(1, 4, rings), Err(Error::Protocol(_))), "outside guest memory");
    assert_eq!(transport.max_queue_size(1), 1024);
    assert_eq!(transport.max_queue_size(2), 0);
}

#[test]
fn a_killed_daemon_is_noticed_at_once_and_a_new_one_is_used_after_the_reset() {
    for sandbox in sandboxes() {
        a_killed_daemon_is_replaced(sandbox);
    }
}

fn a_killed_daemon_is_replaced(sandbox: Sandbox) {
    let (_folder, mut daemon, transport, platform) = served(&DaemonOptions { sandbox, ..Default::default() });
    let mut queue = RawQueue::start(&transport, &*platform);
    queue.init();
    assert_eq!(transport.status().bits(), 15);

    // The killing thread is another one, so that this one sleeps when it happens.
    daemon.pause();
    queue.send(3, 1, &[0; 16]);
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            daemon.kill();
        });
        assert!(!queue.wait(Duration::from_secs(30)));
    });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET));

    transport.reset(&*platform).unwrap();
    assert!(transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET), "there is no daemon yet");
    let refused = transport.set_status(DeviceStatus::ACKNOWLEDGE);
    assert_eq!(refused, Err(Error::Device("the vhost-user daemon hung up")));

    daemon.restart().unwrap();
    let mut queue = RawQueue::start(&transport, &*platform);
    queue.init();
    queue.getattr_root();
}

/// In namespaces, the process that listened, and which the socket names, is not the one that has the memory mapped.
#[test]
fn the_end_of_a_process_that_does_not_serve_gives_no_memory_back() {
    if !sandboxes().contains(&Sandbox::Namespaces) {
        return;
    }
    let (_folder, daemon, transport, platform) =
        served(&DaemonOptions { sandbox: Sandbox::Namespaces, ..Default::default() });
    let mut queue = RawQueue::start(&transport, &*platform);
    queue.init();
    let serving = daemon.pid();
    daemon.pause();
    queue.send(3, 1, &[0; 16]);
    kill(parent(serving));

    transport.reset(&*platform).unwrap();
    let before = GuestMemory::usage().unwrap();
    queue.free();
    assert!(GuestMemory::usage().unwrap().abandoned_pages > before.abandoned_pages);
    let dead = Error::Device("a vhost-user daemon that did not stop still has the memory");
    assert_eq!(transport.set_status(DeviceStatus::ACKNOWLEDGE), Err(dead));

    assert_eq!(daemon.pid(), serving, "it is still there");
    daemon.kill();
    assert!(matches!(state(serving).as_deref(), None | Some("Z")), "it is still there");
}

/// The sandboxes that can be had here. Without one there is no test at all; some containers' root has no other.
fn sandboxes() -> Vec<Sandbox> {
    let default = Sandbox::default();
    if default == Sandbox::Namespaces {
        return vec![default];
    }
    let folder = Folder::new();
    match Daemon::start(folder.path(), &DaemonOptions { sandbox: Sandbox::Namespaces, ..Default::default() }) {
        Ok(_) => vec![default, Sandbox::Namespaces],
        Err(error) => {
            eprintln!("the tests in namespaces are left out: {error}");
            vec![default]
        }
    }
}

fn parent(pid: u32) -> u32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

fn state(pid: u32) -> Option<String> {
    Some(stat(pid)?.swap_remove(0))
}

/// What follows the name in /proc/PID/stat.
fn stat(pid: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(line.rsplit_once(") ")?.1.split(' ').map(String::from).collect())
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_stopped_daemon_is_given_up_and_what_it_may_still_write_is_never_used_again() {
    for sandbox in sandboxes() {
        a_stopped_daemon_is_given_up(sandbox);
    }
}

fn a_stopped_daemon_is_given_up(sandbox: Sandbox) {
    let (_folder, daemon, transport, platform) = served(&DaemonOptions { sandbox, ..Default::default() });
    let mut queue = RawQueue::start(&transport, &*platform);
    queue.init();
    daemon.pause();
    queue.send(3, 1, &[0; 16]);
    assert!(!queue.wait(Duration::from_millis(50)));

    let started = Instant::now();
    transport.reset(&*platform).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let before = GuestMemory::usage().unwrap();
    queue.free();
    let after = GuestMemory::usage().unwrap();
    assert!(after.abandoned_pages > before.abandoned_pages);

    daemon.resume();
    let dead = Error::Device("a vhost-user daemon that did not stop still has the memory");
    assert_eq!(transport.set_status(DeviceStatus::ACKNOWLEDGE), Err(dead));
    assert!(transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET));
}

#[test]
fn a_wrong_socket_gives_a_clear_error() {
    let folder = Folder::new();
    let socket = folder.path().join("socket");
    let refusal = |path: &std::path::Path| {
        let options = ConnectOptions { patience: Duration::from_millis(300), ..Default::default() };
        let started = Instant::now();
        let error = connect_with(path, "test", options).err().expect("an error");
        assert!(started.elapsed() < Duration::from_secs(5));
        (error.to_string(), error)
    };
    let (text, error) = refusal(&socket);
    assert!(matches!(error, ConnectError::Socket { .. }) && text.contains("No such file"), "{text}");

    std::fs::write(&socket, "no socket").unwrap();
    let (text, error) = refusal(&socket);
    assert!(matches!(error, ConnectError::Socket { .. }) && text.contains("refused"), "{text}");

    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let (text, error) = refusal(&socket);
    assert!(matches!(error, ConnectError::Handshake { .. }) && text.contains("no answer within"), "{text}");

    let hangs_up = std::thread::spawn(move || drop(listener.accept().and_then(|_| listener.accept())));
    let (text, error) = refusal(&socket);
    assert!(matches!(error, ConnectError::Handshake { .. }) && text.contains("hung up"), "{text}");
    hangs_up.join().unwrap();

    assert!(matches!(connect(&socket, ""), Err(ConnectError::Options(_))));
    assert!(matches!(connect(&socket, &"t".repeat(37)), Err(ConnectError::Options(_))));
}
