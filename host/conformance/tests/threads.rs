//! Eight threads over one mount: nothing fails that must not, every byte is where it belongs, and nothing is left
//! behind. In the second half of the time some requests and replies are late, and so in another order.
//!
//! For root. The time is in the environment variable `VIRTIO_FS_THREADS_SECONDS`, 60 if there is none.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use virtio_fs::fs::OpenOptions;
use virtio_fs::test_utils::{FaultInjector, FaultRates};
use virtio_fs::{AllocateFlags, CacheMode, Errno, Error, RenameFlags, VirtioFs, XattrFlags};
use virtio_fs_conformance::{
    CountingAllocator, Folder, expect_descriptors, expect_root, mount_options, settled_descriptors,
};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const THREADS: u64 = 8;
const RECORD: usize = 64;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn seconds() -> Duration {
    let seconds = std::env::var("VIRTIO_FS_THREADS_SECONDS").map_or(60, |text| text.parse().expect("seconds"));
    Duration::from_secs(seconds)
}

fn count(requests: &BTreeMap<String, u64>, operation: &str) -> u64 {
    requests.get(operation).copied().unwrap_or(0)
}

/// `Ok` for an error that others cause who use the same names.
fn allow<T>(result: Result<T, Error>, expected: &[Errno]) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if expected.contains(&error.errno()) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Bytes that say whose they are.
fn content(thread: u64, round: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (thread * 31 + round * 7 + (at ^ at >> 9)) as u8).collect()
}

/// What a thread does with files of its own, once.
fn own(vfs: &VirtioFs, thread: u64, round: u64) -> Result<(), Error> {
    let at = |name: &str| format!("own-{thread}/{name}");
    let length = (round * 7919 % 200_000) as usize;
    let data = content(thread, round, length);
    vfs.write(at("file"), &data)?;
    let mut file = OpenOptions::new().read(true).write(true).open(vfs, at("file"))?;
    file.write_all_at(length as u64, b"tail")?;
    assert!(vfs.read(at("file"))? == [&data[..], b"tail"].concat(), "thread {thread}, round {round}");
    file.set_len(length as u64 / 2)?;
    vfs.rename(at("file"), at("moved"))?;
    assert_eq!(vfs.copy(at("moved"), at("copy"))?, length as u64 / 2);
    vfs.remove_file(at("moved"))?;
    let mut rest = vec![0; length];
    let mut read = 0;
    loop {
        match file.read(&mut rest[read..])? {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(rest[..read] == data[..length / 2], "an unlinked file, thread {thread}, round {round}");
    file.allocate(0, 4096, AllocateFlags::KEEP_SIZE)?;
    file.close()?;
    assert!(vfs.read(at("copy"))? == data[..length / 2], "a copy, thread {thread}, round {round}");
    vfs.create_dir_all(at("a/b/c"))?;
    vfs.symlink("b/c", at("a/link"))?;
    vfs.write(at("a/link/deep"), round.to_string())?;
    vfs.hard_link(at("a/b/c/deep"), at("second"))?;
    assert_eq!(vfs.read_to_string(at("second"))?, round.to_string());
    vfs.set_xattr(at("second"), "user.round", round.to_string(), XattrFlags::empty())?;
    assert_eq!(vfs.get_xattr(at("a/b/c/deep"), "user.round")?, round.to_string().as_bytes());
    vfs.set_permissions(at("second"), 0o600 | (round % 8) as u16)?;
    assert_eq!(vfs.metadata(at("a/b/c/deep"))?.permissions(), 0o600 | (round % 8) as u16);
    let mut names: Vec<_> =
        vfs.read_dir(at(""))?.map(|entry| entry.map(|entry| entry.file_name().to_vec())).collect::<Result<_, _>>()?;
    names.sort();
    assert_eq!(names, [&b"a"[..], b"copy", b"second"]);
    for name in ["copy", "second"] {
        vfs.remove_file(at(name))?;
    }
    vfs.remove_dir_all(at("a"))
}

/// What all threads do with the same files, once.
fn shared(vfs: &VirtioFs, thread: u64, round: u64, appended: &AtomicU64) -> Result<(), Error> {
    // Records of one size stay whole, whoever else appends.
    let record = content(thread, round, RECORD - 1);
    let mut log = OpenOptions::new().append(true).open(vfs, "log")?;
    let record = [&[thread as u8], &record[..]].concat();
    assert_eq!(log.write(&record)?, RECORD);
    log.close()?;
    appended.fetch_add(1, Ordering::Relaxed);
    // Each thread has a page of the same file.
    let pages = OpenOptions::new().read(true).write(true).open(vfs, "pages")?;
    let page = content(thread, round, 4096);
    pages.write_all_at(thread << 12, &page)?;
    let mut back = [0; 4096];
    assert_eq!(pages.read_at(thread << 12, &mut back)?, 4096);
    assert!(back[..] == page[..], "the page of thread {thread}, round {round}");
    drop(pages);
    // Names that all fight for.
    // What goes away twice between a name and its inode is stale, for virtiofsd 1.14.
    let gone = [Errno::ENOENT, Errno::EEXIST, Errno::ESTALE];
    let name = format!("race/{}", round % 5);
    let other = format!("race/{}", (round + 1) % 5);
    match (round + thread) % 7 {
        0 => drop(allow(vfs.write(&name, &record), &gone)),
        1 => drop(allow(vfs.remove_file(&name), &gone)),
        2 => drop(allow(vfs.rename(&name, &other), &gone)),
        3 => drop(allow(vfs.rename_with(&name, &other, RenameFlags::EXCHANGE), &gone)),
        4 => drop(allow(vfs.hard_link(&name, &other), &gone)),
        5 => {
            // What is there is what somebody wrote there, or nothing yet.
            if let Some(found) = allow(vfs.read(&name), &gone) {
                assert!(found.is_empty() || found.len() == RECORD, "{} bytes", found.len());
            }
        }
        _ => {
            for entry in vfs.read_dir("race")? {
                let entry = entry?;
                let _ = allow(entry.metadata(), &gone);
            }
        }
    }
    Ok(())
}

#[test]
fn eight_threads_disturb_nobody_and_leave_nothing() {
    expect_root();
    let folder = Folder::in_memory(256 << 20);
    let mut arguments = vec!["--xattr".into()];
    if mount_options().cache.mode != CacheMode::None {
        // An inode that is remembered is a descriptor then, with every virtiofsd.
        arguments.push("--inode-file-handles=never".into());
    }
    let options = DaemonOptions { arguments, thread_pool: 4, ..DaemonOptions::default() };
    let daemon = Daemon::start(folder.path(), &options).unwrap_or_else(|error| panic!("{error}"));
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    let faults = FaultInjector::new(|| std::thread::sleep(Duration::from_micros(100)));
    let vfs = faults.mount::<GuestHal>(transport, platform, &mount_options()).unwrap();
    for name in ["log", "pages"] {
        vfs.write(name, "").unwrap();
    }
    for number in 0..THREADS {
        vfs.create_dir(format!("own-{number}")).unwrap();
    }
    vfs.create_dir("race").unwrap();
    vfs.drop_caches();
    vfs.maintain();
    let (before, memory_before) = (settled_descriptors(&daemon), ALLOCATOR.bytes_in_use());

    let (appended, rounds) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = Instant::now() + seconds();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (vfs, appended, rounds) = (&vfs, &appended, &rounds);
            scope.spawn(move || {
                for round in 0.. {
                    if Instant::now() >= end {
                        break;
                    }
                    own(vfs, thread, round).unwrap_or_else(|error| panic!("thread {thread}, round {round}: {error}"));
                    shared(vfs, thread, round, appended)
                        .unwrap_or_else(|error| panic!("thread {thread}, round {round}: {error}"));
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(seconds() / 2);
        faults.start(1, FaultRates { delays: 50, ..FaultRates::default() });
    });
    println!("{} rounds, {} late requests", rounds.load(Ordering::Relaxed), faults.stop().len());

    let log = fs::read(folder.path().join("log")).unwrap();
    assert_eq!(log.len() as u64, RECORD as u64 * appended.load(Ordering::Relaxed));
    let mut next = [0; THREADS as usize];
    for record in log.chunks(RECORD) {
        let thread = record[0] as usize;
        assert!(record[1..] == content(thread as u64, next[thread], RECORD - 1), "a record of thread {thread} is torn");
        next[thread] += 1;
    }
    drop(log);

    // What is cached is not left behind.
    vfs.drop_caches();
    expect_descriptors(&daemon, &vfs, before);
    // Buffers that grow once and are kept have their place here; what each of thousands of operations left would not.
    let grown = ALLOCATOR.bytes_in_use() - memory_before;
    assert!(grown < 64 << 10, "{grown} bytes more are in use than before");
    let requests = daemon.requests();
    // Some files were there when they were to be made, and some gone when they were to be opened.
    let opened = count(&requests, "Open") + count(&requests, "Create");
    assert!(count(&requests, "Release") > 0 && count(&requests, "Release") <= opened);
    assert_eq!(count(&requests, "Opendir"), count(&requests, "Releasedir"));
    vfs.unmount().unwrap();
}
