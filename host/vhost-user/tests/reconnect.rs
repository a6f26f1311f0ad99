//! A daemon that ends, and another one in its place.

mod common;

use common::Folder;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use virtio_fs::{Error, VirtioFs};
use virtio_fs_vhost_user::{ConnectOptions, Daemon, DaemonOptions, GuestHal, GuestMemory, connect, connect_with};

/// Descriptors, threads and memory are counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Descriptors, threads, and free and abandoned pages of guest memory.
fn held() -> [usize; 4] {
    let entries = |folder| fs::read_dir(folder).unwrap().count();
    let memory = GuestMemory::usage().unwrap();
    [entries("/proc/self/fd"), entries("/proc/self/task"), memory.free_pages, memory.abandoned_pages]
}

fn mount(daemon: &Daemon) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    VirtioFs::mount::<GuestHal>(transport, platform, &common::uncached()).unwrap()
}

#[test]
fn after_a_daemon_was_killed_in_the_middle_of_reads_everything_can_begin_anew() {
    const BYTES: usize = 16 << 20;
    const ROUNDS: usize = 5;
    let _alone = alone();
    let folder = Folder::new();
    fs::write(folder.path().join("file"), vec![42; BYTES]).unwrap();
    let mut daemon = Daemon::start(folder.path(), &DaemonOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut before = None;
    for round in 0..ROUNDS {
        let fs = mount(&daemon);
        let file = fs.open("file").unwrap();
        let reads = AtomicU64::new(0);
        let killed = std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut buffer = vec![0; BYTES];
                    let error = loop {
                        match file.read_at(0, &mut buffer) {
                            // A read that was cut off by the end gives what came before it.
                            Ok(bytes) => assert!(buffer[..bytes].iter().all(|byte| *byte == 42)),
                            Err(error) => break error,
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                    };
                    assert!(matches!(error, Error::Device(_)), "{error}");
                });
            }
            while reads.load(Ordering::Relaxed) < 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let killed = Instant::now();
            daemon.kill();
            killed
        });
        assert!(matches!(fs.metadata("file"), Err(Error::Device(_))));
        drop(file);
        drop(fs);
        assert!(killed.elapsed() < Duration::from_secs(5), "round {round}: {:?}", killed.elapsed());

        daemon.restart().unwrap();
        let fs = mount(&daemon);
        assert!(fs.read("file").unwrap() == vec![42; BYTES]);
        fs.unmount().unwrap();
        // A daemon ends with its connection.
        daemon.restart().unwrap();
        assert_eq!(*before.get_or_insert_with(held), held(), "round {round}");
    }
    assert_eq!(held()[3], 0, "abandoned pages");
}

#[test]
fn a_socket_that_nobody_listens_on_yet_is_waited_for() {
    let _alone = alone();
    let folder = Folder::new();
    let daemon = Daemon::start(folder.path(), &DaemonOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let patient = ConnectOptions { patience: Duration::from_secs(20), ..ConnectOptions::default() };
    let socket = folder.path().join("socket");
    // First there is nothing, then a socket that was left behind, then the daemon's.
    let connecting = std::thread::spawn({
        let socket = socket.clone();
        move || connect_with(socket, "test", patient).map(drop)
    });
    std::thread::sleep(Duration::from_millis(100));
    drop(UnixListener::bind(&socket).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    assert!(!connecting.is_finished());
    symlink(daemon.socket(), folder.path().join("new")).unwrap();
    fs::rename(folder.path().join("new"), &socket).unwrap();
    connecting.join().unwrap().unwrap();
}
