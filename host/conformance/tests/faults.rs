//! Shares that are full, read-only or limited, and a daemon that dies. For root.

use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use virtio_fs::fs::{File, OpenOptions};
use virtio_fs::{AllocateFlags, CacheMode, CacheOptions, Errno, Error, FileType, MountOptions, VirtioFs, XattrFlags};
use virtio_fs_conformance::{
    Folder, OWNER, expect_descriptors, expect_root, mount_options, private_mounts, settled_descriptors,
};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const MIB: usize = 1 << 20;

fn start(folder: &Path) -> (Daemon, VirtioFs) {
    start_with(folder, &mount_options())
}

fn start_with(folder: &Path, mount_options: &MountOptions) -> (Daemon, VirtioFs) {
    let options = DaemonOptions { arguments: vec!["--xattr".into()], thread_pool: 2, ..DaemonOptions::default() };
    let daemon = Daemon::start(folder, &options).unwrap_or_else(|error| panic!("{error}"));
    let vfs = mount_with(&daemon, mount_options);
    (daemon, vfs)
}

fn mount_daemon(daemon: &Daemon) -> VirtioFs {
    mount_with(daemon, &mount_options())
}

fn mount_with(daemon: &Daemon, options: &MountOptions) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    VirtioFs::mount::<GuestHal>(transport, platform, options).expect("a mount")
}

/// Writes, and waits for the server's answer, also where writes are collected.
fn write_at(file: &File, offset: u64, data: &[u8]) -> Result<usize, Error> {
    let bytes = file.write_at(offset, data)?;
    if mount_options().cache.writeback {
        file.sync_data()?;
    }
    Ok(bytes)
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    result.unwrap_err().errno()
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

#[test]
fn a_full_share_says_so_and_loses_nothing() {
    expect_root();
    let folder = Folder::new();
    private_mounts();
    mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), c"size=8m,nr_inodes=20").expect("a tmpfs");
    let (daemon, vfs) = start(folder.path());
    let before = settled_descriptors(&daemon);

    let data = content(12 * MIB);
    let file = vfs.create("file").unwrap();
    let mut written = 0;
    let error = loop {
        match write_at(&file, written as u64, &data[written..][..MIB]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.errno(), Errno::ENOSPC);
    assert!((6 * MIB..=8 * MIB).contains(&written), "{written} bytes were written");
    assert_eq!(errno(write_at(&file, written as u64, &data[written..])), Errno::ENOSPC);
    let back = fs::read(folder.path().join("file")).unwrap();
    assert!(back[..written] == data[..written], "what was written before is something else");
    assert_eq!(errno(file.allocate(0, 12 << 20, AllocateFlags::empty())), Errno::ENOSPC);
    assert_eq!(errno(vfs.write("other", &data[..MIB])), Errno::ENOSPC);
    assert_eq!(vfs.statvfs("/").unwrap().blocks_available, 0);
    file.close().unwrap();

    // Room comes back, and is used.
    vfs.truncate("file", MIB as u64).unwrap();
    vfs.write("other", &data[..2 * MIB]).unwrap();
    assert!(vfs.read("file").unwrap() == data[..MIB]);
    assert!(vfs.read("other").unwrap() == data[..2 * MIB]);

    // Requests of one large write are in flight together: what is told to be written is, and behind it may be more.
    let large = vfs.create("large").unwrap();
    // The first of them may come too late.
    let written = large.write_at(0, &data).or_else(|error| match error.errno() {
        Errno::ENOSPC => Ok(0),
        _ => Err(error),
    });
    let written = written.unwrap();
    assert!(written < 7 * MIB, "{written} bytes were written");
    let back = fs::read(folder.path().join("large")).unwrap();
    assert!(back[..written] == data[..written], "what was written is something else");
    assert!(back[written..].iter().zip(&data[written..]).all(|(is, sent)| is == sent || *is == 0));
    large.close().unwrap();
    vfs.remove_file("large").unwrap();

    // No inodes are left.
    let made = (0..).map(|number| vfs.create_dir(format!("d{number}"))).find_map(Result::err);
    assert_eq!(made.unwrap().errno(), Errno::ENOSPC);
    assert_eq!(errno(vfs.create("n")), Errno::ENOSPC);
    assert_eq!(errno(vfs.symlink("t", "n")), Errno::ENOSPC);
    assert_eq!(errno(vfs.mknod("n", FileType::Fifo, 0o600, 0)), Errno::ENOSPC);
    vfs.remove_dir("d0").unwrap();
    vfs.create("n").unwrap().close().unwrap();
    expect_descriptors(&daemon, &vfs, before);
    vfs.unmount().unwrap();
}

/// Makes `folder` a file system, in a file in `image`, whose files may together have so many bytes.
fn mount_with_quota(image: &Folder, folder: &Folder, quota: &str) {
    let (image, folder) = (image.path().join("image"), folder.path());
    let run = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(Command::new("mkfs.btrfs").args(["--quiet", "--mixed"]).arg(&image));
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder));
    run(Command::new("btrfs").args(["quota", "enable"]).arg(folder));
    run(Command::new("btrfs").args(["qgroup", "limit", quota]).arg(folder));
}

/// By btrfs, the file system with quotas that most kernels have.
#[test]
fn a_quota_that_is_used_up_is_an_error_and_nothing_is_lost() {
    expect_root();
    let (image, folder) = (Folder::in_memory(96 * MIB), Folder::new());
    mount_with_quota(&image, &folder, "8M");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (daemon, vfs) = start(folder.path());
    let before = settled_descriptors(&daemon);
    let user = vfs.with_credentials(OWNER.credentials());

    let data = content(12 * MIB);
    let file = user.create("file").unwrap();
    let mut written = 0;
    let error = loop {
        match write_at(&file, written as u64, &data[written..][..MIB]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.errno(), Errno::EDQUOT);
    assert!((6 * MIB..=8 * MIB).contains(&written), "{written} bytes were written");
    assert_eq!(errno(write_at(&file, written as u64, &data[written..])), Errno::EDQUOT);
    assert_eq!(errno(file.allocate(0, 12 << 20, AllocateFlags::empty())), Errno::EDQUOT);
    assert_eq!(errno(user.write("other", &data[..MIB])), Errno::EDQUOT);
    let back = fs::read(folder.path().join("file")).unwrap();
    assert!(back[..written] == data[..written], "what was written before is something else");
    file.close().unwrap();

    // Room comes back, and is used.
    user.remove_file("file").unwrap();
    user.write("other", &data[..6 * MIB]).unwrap();
    assert!(user.read("other").unwrap() == data[..6 * MIB]);
    drop(user);
    expect_descriptors(&daemon, &vfs, before);
    vfs.unmount().unwrap();
}

/// What writes collected pages to the server: the last of those who do it is who is told first.
#[derive(Clone, Copy, Debug)]
enum Writer {
    Fsync,
    Close,
    Sync,
    Maintenance,
    MemoryPressure,
}

#[test]
fn what_was_collected_and_finds_no_room_is_told_once_to_each_file_that_is_open() {
    use Writer::*;
    for mode in [CacheMode::Auto, CacheMode::Always] {
        for writer in [Fsync, Close, Sync, Maintenance, MemoryPressure] {
            collect_too_much(mode, writer);
        }
    }
}

fn collect_too_much(mode: CacheMode, writer: Writer) {
    let folder = Folder::in_memory(8 * MIB);
    let max_data_bytes = if matches!(writer, Writer::MemoryPressure) { MIB } else { 32 * MIB };
    let dirty_age = Duration::ZERO;
    let cache = CacheOptions { mode, writeback: true, max_data_bytes, dirty_age, ..CacheOptions::default() };
    let (daemon, vfs) = start_with(folder.path(), &MountOptions { cache, ..MountOptions::default() });
    vfs.drop_caches();
    let before = settled_descriptors(&daemon);
    let data = content(12 * MIB);
    let safe = vfs.create("safe").unwrap();
    safe.write_all_at(0, &data[..MIB]).unwrap();
    safe.sync_all().unwrap();

    let file = vfs.create("file").unwrap();
    let open = || OpenOptions::new().read(true).write(true).open(&vfs, "file").unwrap();
    let (synchronised, closed, dropped, reader) = (open(), open(), open(), vfs.open("file").unwrap());
    for (number, piece) in data.chunks(MIB / 16).enumerate() {
        file.write_all_at((number * MIB / 16) as u64, piece).unwrap();
    }
    let told = |result: Result<(), Error>, who: &str| {
        assert_eq!(result.map_err(Error::errno), Err(Errno::ENOSPC), "{mode:?}, {writer:?}: {who}");
    };
    let not_told = |result: Result<(), Error>, who: &str| {
        assert_eq!(result, Ok(()), "{mode:?}, {writer:?}: {who}, who was told or need not be")
    };
    match writer {
        Writer::Fsync | Writer::MemoryPressure => {
            told(file.sync_all(), "who wrote");
            not_told(file.sync_all(), "who wrote");
            not_told(file.close(), "who wrote");
        }
        Writer::Close => told(file.close(), "who wrote"),
        Writer::Sync => {
            vfs.sync().unwrap();
            told(file.sync_data(), "who wrote");
            not_told(file.close(), "who wrote");
        }
        Writer::Maintenance => {
            vfs.maintain();
            told(file.close(), "who wrote");
        }
    }
    let later = open();
    told(synchronised.sync_data(), "who synchronises");
    not_told(synchronised.sync_all(), "who synchronises");
    not_told(synchronised.close(), "who synchronises");
    told(closed.close(), "who closes");
    told(reader.close(), "who only reads");
    drop(dropped);
    not_told(later.sync_all(), "who came later");
    not_told(later.close(), "who came later");
    not_told(safe.close(), "who has another file");

    assert!(fs::read(folder.path().join("safe")).unwrap() == data[..MIB], "what was synchronised is something else");
    let is = fs::read(folder.path().join("file")).unwrap();
    assert!(is.iter().zip(&data).all(|(is, sent)| is == sent || *is == 0), "what is there was never written");
    vfs.remove_file("file").unwrap();
    vfs.write("other", &data[..MIB]).unwrap();
    assert!(fs::read(folder.path().join("other")).unwrap() == data[..MIB], "the room of what was removed is not used");
    vfs.drop_caches();
    expect_descriptors(&daemon, &vfs, before);
    vfs.unmount().unwrap();
}

#[test]
fn a_share_that_is_mounted_read_only_is_read() {
    expect_root();
    let (folder, view) = (Folder::new(), Folder::new());
    private_mounts();
    fs::write(folder.path().join("file"), "content").unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    mount_bind(folder.path(), view.path()).expect("a bind mount");
    mount_remount(view.path(), MountFlags::BIND | MountFlags::RDONLY, "").expect("a read-only mount");
    let (daemon, vfs) = start(view.path());
    let before = settled_descriptors(&daemon);

    assert_eq!(vfs.read("file").unwrap(), b"content");
    assert_eq!(errno(vfs.write("file", "other")), Errno::EROFS);
    assert_eq!(errno(vfs.create("n")), Errno::EROFS);
    assert_eq!(errno(vfs.create_dir("n")), Errno::EROFS);
    assert_eq!(errno(vfs.symlink("t", "n")), Errno::EROFS);
    assert_eq!(errno(vfs.hard_link("file", "n")), Errno::EROFS);
    assert_eq!(errno(vfs.rename("file", "n")), Errno::EROFS);
    assert_eq!(errno(vfs.remove_file("file")), Errno::EROFS);
    assert_eq!(errno(vfs.remove_dir("d")), Errno::EROFS);
    assert_eq!(errno(vfs.truncate("file", 0)), Errno::EROFS);
    assert_eq!(errno(vfs.set_permissions("file", 0o600)), Errno::EROFS);
    assert_eq!(errno(vfs.set_owner("file", Some(1), None)), Errno::EROFS);
    assert_eq!(errno(vfs.set_xattr("file", "user.a", "v", XattrFlags::empty())), Errno::EROFS);
    expect_descriptors(&daemon, &vfs, before);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"content");
}

/// The daemon lives only if it ignores SIGXFSZ, as whoever limits it has to take care of: it inherits that.
#[test]
#[allow(unsafe_code)]
fn a_limit_of_file_sizes_is_an_error() {
    expect_root();
    let folder = Folder::in_memory(64 * MIB);
    // SAFETY: no handler is set.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let (daemon, vfs) = start(folder.path());
    let limit = Some(2 * MIB as u64);
    let pid = Pid::from_raw(daemon.pid() as i32);
    prlimit(pid, Resource::Fsize, Rlimit { current: limit, maximum: limit }).expect("a limit");
    let before = settled_descriptors(&daemon);

    let data = content(5 * MIB);
    let file = vfs.create("file").unwrap();
    let mut written = 0;
    let error = loop {
        match write_at(&file, written as u64, &data[written..]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!((error.errno(), written), (Errno::EFBIG, 2 * MIB));
    assert_eq!(errno(write_at(&file, 4 << 20, b"x")), Errno::EFBIG);
    assert_eq!(errno(file.set_len(4 << 20)), Errno::EFBIG);
    assert_eq!(errno(file.allocate(0, 4 << 20, AllocateFlags::empty())), Errno::EFBIG);
    file.close().unwrap();
    assert!(vfs.read("file").unwrap() == data[..written], "what was written before is something else");
    vfs.write("other", &data[..MIB]).unwrap();
    expect_descriptors(&daemon, &vfs, before);
    vfs.unmount().unwrap();
}

#[test]
fn a_daemon_that_dies_in_the_middle_of_writes_fails_them_all_and_is_mounted_again() {
    const WRITERS: usize = 4;
    const BOUND: Duration = Duration::from_secs(10);
    expect_root();
    let folder = Folder::in_memory(256 * MIB);
    let (mut daemon, vfs) = start(folder.path());
    let data = content(16 * MIB);
    let safe = vfs.create("safe").unwrap();
    safe.write_all_at(0, &data[..3 * MIB]).unwrap();
    safe.sync_all().unwrap();

    for round in 0..5 {
        let vfs = mount_again(&mut daemon, round, &vfs);
        let written = AtomicU64::new(0);
        let (failed, killed) = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|number| {
                    let (vfs, data, written) = (&vfs, &data, &written);
                    scope.spawn(move || {
                        let file = vfs.create(format!("file-{number}"))?;
                        loop {
                            // Fewer bytes than asked for are followed by an error.
                            written.fetch_add(file.write_at(0, data)? as u64, Ordering::Relaxed);
                        }
                    })
                })
                .collect::<Vec<std::thread::ScopedJoinHandle<'_, Result<(), Error>>>>();
            let patience = Instant::now() + BOUND;
            while written.load(Ordering::Relaxed) < 64 << 20 && Instant::now() < patience {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(round * 3));
            daemon.kill();
            let killed = Instant::now();
            let failed: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap().unwrap_err()).collect();
            (failed, killed)
        });
        assert!(killed.elapsed() < BOUND, "pending writes failed after {:?}", killed.elapsed());
        assert!(failed.iter().all(|error| matches!(error, Error::Device(_))), "{failed:?}");
        let later = Instant::now();
        for _ in 0..100 {
            assert!(matches!(vfs.metadata("safe"), Err(Error::Device(_))));
            assert!(matches!(vfs.write("n", "x"), Err(Error::Device(_))));
            assert!(matches!(vfs.create_dir("n"), Err(Error::Device(_))));
        }
        drop(vfs);
        assert!(later.elapsed() < BOUND, "later calls failed after {:?}", later.elapsed());
        assert!(fs::read(folder.path().join("safe")).unwrap() == data[..3 * MIB], "what was synchronised is gone");
    }
    daemon.restart().unwrap_or_else(|error| panic!("{error}"));
    let vfs = mount_daemon(&daemon);
    assert!(vfs.read("safe").unwrap() == data[..3 * MIB]);
    vfs.write("file-0", "again").unwrap();
    assert_eq!(vfs.read("file-0").unwrap(), b"again");
    vfs.unmount().unwrap();
}

/// The mount of a round: the first is there already.
fn mount_again(daemon: &mut Daemon, round: u64, first: &VirtioFs) -> VirtioFs {
    if round == 0 {
        return first.clone();
    }
    daemon.restart().unwrap_or_else(|error| panic!("{error}"));
    mount_daemon(daemon)
}
