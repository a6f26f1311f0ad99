//! What a mount sees of changes that others make, the host itself and a second mount, and what they see of its own; by the
//! rules of each cache mode. For root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use virtio_fs::fs::{File, OpenOptions};
use virtio_fs::{CacheMode, CacheOptions, Errno, Error, FileType, MountOptions, OpenFlags, Permissions, VirtioFs};
use virtio_fs_conformance::{Folder, expect_root};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const MIB: usize = 1 << 20;
/// Times of the host's files are no finer than this.
const TICK: Duration = Duration::from_millis(12);
/// What a test gives as the time that something may be believed.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Nothing of a mount whose daemon is gone may take longer.
const BOUND: Duration = Duration::from_secs(10);
/// Few, so that changes meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "d/e/a"];
/// No content is longer: it is one page of the cache.
const LENGTH: u64 = 12_000;

/// A share, and mounts of it.
struct Share {
    folder: Folder,
}

/// A mount, with the daemon that it has for itself.
struct Guest {
    fs: VirtioFs,
    daemon: Daemon,
}

impl Share {
    fn new() -> Self {
        expect_root();
        let folder = Folder::in_memory(64 * MIB);
        fs::create_dir_all(folder.path().join("d/e")).unwrap();
        Self { folder }
    }

    fn mount(&self, cache: CacheOptions) -> Guest {
        self.mount_with(MountOptions { cache, ..MountOptions::default() })
    }

    fn mount_with(&self, options: MountOptions) -> Guest {
        let daemon_options = DaemonOptions { log_requests: false, ..DaemonOptions::default() };
        let daemon = Daemon::start(self.folder.path(), &daemon_options).unwrap_or_else(|error| panic!("{error}"));
        let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
        let fs = VirtioFs::mount::<GuestHal>(transport, platform, &options).expect("a mount");
        Guest { fs, daemon }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn none() -> CacheOptions {
    CacheOptions { mode: CacheMode::None, ..CacheOptions::default() }
}

fn auto(timeout: Duration) -> CacheOptions {
    CacheOptions { entry_timeout: Some(timeout), attr_timeout: Some(timeout), ..CacheOptions::default() }
}

fn always() -> CacheOptions {
    CacheOptions { mode: CacheMode::Always, ..CacheOptions::default() }
}

fn eager(cache: CacheOptions) -> CacheOptions {
    CacheOptions { lazy_open: false, ..cache }
}

/// The server checks permissions, and so opens each file at once.
fn checked_by_server(cache: CacheOptions) -> MountOptions {
    MountOptions { cache, permissions: Permissions::Server, ..MountOptions::default() }
}

/// However files are opened, and whoever may say no to that.
fn each_way(cache: &CacheOptions) -> [MountOptions; 3] {
    let mount = |cache| MountOptions { cache, ..MountOptions::default() };
    [mount(cache.clone()), mount(eager(cache.clone())), checked_by_server(cache.clone())]
}

fn writeback(cache: CacheOptions) -> CacheOptions {
    CacheOptions { writeback: true, ..cache }
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }

    /// Content of this length that nothing else has.
    fn content(&mut self, length: u64) -> Vec<u8> {
        let seed = self.below(u64::MAX);
        (0..length).map(|at| (seed >> (at % 8 * 8) ^ at >> 8) as u8).collect()
    }
}

/// What there is at a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Directory { permissions: u32, names: BTreeSet<Vec<u8>> },
    File { permissions: u32, links: u64, modified: (i64, u32), content: Vec<u8> },
    Link { links: u64, target: Vec<u8> },
}

fn on_host(path: &Path) -> Found {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::symlink_metadata(path) else { return Found::Nothing };
    let (permissions, links) = (metadata.mode() & 0o7777, metadata.nlink());
    if metadata.is_dir() {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec());
        Found::Directory { permissions, names: names.collect() }
    } else if metadata.is_symlink() {
        Found::Link { links, target: fs::read_link(path).unwrap().into_os_string().into_vec() }
    } else {
        let content = fs::read(path).unwrap();
        Found::File { permissions, links, modified: (metadata.mtime(), metadata.mtime_nsec() as u32), content }
    }
}

/// What a mount finds there; what it finds has to be one thing.
fn on_mount(vfs: &VirtioFs, path: &str) -> Result<Found, Error> {
    let metadata = match vfs.symlink_metadata(path) {
        Err(error) if error.errno() == Errno::ENOENT => return Ok(Found::Nothing),
        metadata => metadata?,
    };
    let (permissions, links) = (metadata.permissions().into(), metadata.attr().nlink.into());
    Ok(match metadata.file_type() {
        FileType::Directory => {
            let names = vfs.read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name().to_vec()));
            Found::Directory { permissions, names: names.collect::<Result<_, _>>()? }
        }
        FileType::Symlink => Found::Link { links, target: vfs.read_link(path)? },
        _ => {
            let modified = metadata.attr().modified;
            let content = vfs.read(path)?;
            assert_eq!(content.len() as u64, metadata.len(), "{path}: the size and the content");
            Found::File { permissions, links, modified: (modified.seconds, modified.nanoseconds), content }
        }
    })
}

/// Asserts that a mount finds everywhere what there is.
fn expect_equal(share: &Share, vfs: &VirtioFs, change: &str) {
    for path in NAMES.into_iter().chain(["/", "d", "d/e"]) {
        let found = on_mount(vfs, path).unwrap_or_else(|error| panic!("{path} after {change}: {error}"));
        let is = on_host(&share.at(path.trim_start_matches('/')));
        assert!(found == is, "{path} after {change}: found\n{found:?}\nwhere there is\n{is:?}");
    }
}

/// Changes something on the host, and tells what.
fn change_on_host(share: &Share, random: &mut Random) -> String {
    let (name, other) = (random.name(), random.name());
    let path = share.at(name);
    let file = fs::symlink_metadata(&path).ok().filter(|metadata| metadata.is_file());
    let what = match (random.below(9), file) {
        // In place: the inode and the size stay.
        (0..=2, Some(metadata)) => {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(&random.content(metadata.len()), 0).unwrap();
            "overwritten"
        }
        (3, Some(_)) => {
            let length = random.below(LENGTH);
            fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            "resized"
        }
        (4, Some(_)) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600 | random.below(0o100) as u32)).unwrap();
            "chmod"
        }
        (5, Some(_)) => {
            let _ = fs::remove_file(share.at(other));
            let linked = name == other || fs::hard_link(&path, share.at(other)).is_ok();
            assert!(linked, "{name} -> {other}");
            "linked"
        }
        (6, Some(_)) => {
            fs::rename(&path, share.at(other)).unwrap();
            "renamed"
        }
        (7, Some(_)) => {
            fs::remove_file(&path).unwrap();
            "removed"
        }
        (8, _) => {
            let _ = fs::remove_file(&path);
            symlink(other, &path).unwrap();
            "a symbolic link"
        }
        _ => {
            let _ = fs::remove_file(&path);
            fs::write(&path, random.content(LENGTH)).unwrap();
            "new"
        }
    };
    format!("{name} ({other}) is {what}")
}

#[test]
fn without_a_cache_the_next_call_sees_every_change() {
    let share = Share::new();
    let guests = each_way(&none()).map(|options| share.mount_with(options));
    let mut random = Random(1);
    for number in 0..300 {
        let change = change_on_host(&share, &mut random);
        for guest in &guests {
            expect_equal(&share, &guest.fs, &format!("change {number}, {change}"));
        }
    }
}

#[test]
fn without_a_cache_open_files_see_every_change() {
    let share = Share::new();
    fs::write(share.at("a"), "first").unwrap();
    let guests = each_way(&none()).map(|options| share.mount_with(options));
    let files: Vec<_> = guests.iter().flat_map(|guest| [guest.fs.open("a"), read_write(&guest.fs, "a")]).collect();
    let host = fs::File::options().write(true).open(share.at("a")).unwrap();
    let mut random = Random(2);
    let mut content = vec![0; LENGTH as usize];
    for _ in 0..300 {
        let length = random_length(&mut random);
        let new = random.content(length);
        host.set_len(new.len() as u64).unwrap();
        host.write_all_at(&new, 0).unwrap();
        for file in &files {
            let file = file.as_ref().unwrap();
            let bytes = file.read_at(0, &mut content).unwrap();
            assert!(content[..bytes] == new);
            assert_eq!(file.metadata().unwrap().len(), new.len() as u64);
        }
    }
}

fn read_write(vfs: &VirtioFs, path: &str) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(vfs, path)
}

fn random_length(random: &mut Random) -> u64 {
    1 + random.below(LENGTH - 1)
}

#[test]
fn what_is_believed_for_no_time_is_seen_by_the_next_call_and_content_when_a_file_is_opened() {
    let share = Share::new();
    let caches = [auto(Duration::ZERO), writeback(auto(Duration::ZERO))];
    let guests: Vec<_> = caches.iter().flat_map(each_way).map(|options| share.mount_with(options)).collect();
    let mut random = Random(3);
    for number in 0..300 {
        std::thread::sleep(TICK);
        let change = change_on_host(&share, &mut random);
        for guest in &guests {
            expect_equal(&share, &guest.fs, &format!("change {number}, {change}"));
        }
    }
}

#[test]
fn what_is_believed_for_a_time_is_seen_after_it() {
    let share = Share::new();
    let guests = each_way(&auto(TIMEOUT)).map(|options| share.mount_with(options));
    let mut random = Random(4);
    for number in 0..25 {
        let changes: Vec<_> = (0..4).map(|_| change_on_host(&share, &mut random)).collect();
        std::thread::sleep(TIMEOUT + TICK);
        for guest in &guests {
            expect_equal(&share, &guest.fs, &format!("changes {number}, {changes:?}"));
        }
    }
}

/// The host replaces the content in place, mostly by as many bytes, while the file is open, too.
#[test]
fn new_content_is_seen_by_who_opens_the_file_whatever_is_believed_of_its_attributes() {
    let share = Share::new();
    let mut random = Random(5);
    let mut old = random.content(LENGTH);
    fs::write(share.at("a"), &old).unwrap();
    let host = fs::File::options().write(true).open(share.at("a")).unwrap();
    let long = auto(Duration::from_secs(600));
    let mounts = [long.clone(), writeback(long), auto(TIMEOUT)].map(|cache| each_way(&cache));
    for options in mounts.into_iter().flatten() {
        let guest = share.mount_with(options);
        for round in 0..60 {
            let open = |is_for_writing| match is_for_writing {
                true => read_write(&guest.fs, "a").unwrap(),
                false => guest.fs.open("a").unwrap(),
            };
            let before = open(round % 3 == 1);
            let mut content = vec![0; LENGTH as usize + 1];
            let bytes = before.read_at(0, &mut content).unwrap();
            assert!(content[..bytes] == old, "round {round}: read before the change");
            std::thread::sleep(TICK);
            let length = if round % 4 == 0 { random_length(&mut random) } else { old.len() as u64 };
            let new = random.content(length);
            host.set_len(length).unwrap();
            host.write_all_at(&new, 0).unwrap();
            let expect_either = |when: &str| {
                let mut content = vec![0; LENGTH as usize + 1];
                let bytes = before.read_at(0, &mut content).unwrap();
                assert!(content[..bytes] == old || content[..bytes] == new, "round {round}: open meanwhile, {when}");
            };
            expect_either("after the change");
            let after = open(round % 3 == 2);
            let bytes = after.read_at(0, &mut content).unwrap();
            assert!(content[..bytes] == new, "round {round}: opened after the change");
            assert!(guest.fs.read("a").unwrap() == new, "round {round}: read as a whole");
            expect_either("when another has opened it");
            old = new;
        }
    }
}

#[test]
fn what_is_believed_for_ever_is_seen_once_the_caches_are_dropped() {
    let share = Share::new();
    fs::write(share.at("a"), "first").unwrap();
    symlink("a", share.at("b")).unwrap();
    let guest = share.mount(always());
    let mut before: Vec<_> = NAMES.into_iter().chain(["/", "d", "d/e"]).map(|path| on_mount(&guest.fs, path)).collect();
    let mut random = Random(6);
    for number in 0..20 {
        for _ in 0..10 {
            change_on_host(&share, &mut random);
        }
        let found: Vec<_> = NAMES.into_iter().chain(["/", "d", "d/e"]).map(|path| on_mount(&guest.fs, path)).collect();
        assert!(found == before, "what others changed is seen: {number}");
        guest.fs.drop_caches();
        expect_equal(&share, &guest.fs, &format!("changes {number}"));
        before = NAMES.into_iter().chain(["/", "d", "d/e"]).map(|path| on_mount(&guest.fs, path)).collect();
    }
}

/// Writes anywhere in a file, and what it holds then.
fn write_anywhere(file: &File, content: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(20) {
        let (at, length) = (random.below(200_000) as usize, random.below(9000));
        let data = random.content(length);
        file.write_all_at(at as u64, &data).unwrap();
        if !data.is_empty() {
            content.resize(content.len().max(at + data.len()), 0);
            content[at..][..data.len()].copy_from_slice(&data);
        }
    }
}

#[test]
fn the_host_has_every_byte_once_a_file_is_closed_or_synchronised() {
    let share = Share::new();
    let mut random = Random(7);
    let small = CacheOptions { max_data_bytes: 64 << 10, ..writeback(auto(Duration::from_secs(1))) };
    // Who waits for nothing but what is said here.
    let patient = CacheOptions { dirty_age: Duration::from_secs(600), ..writeback(always()) };
    let mounts = [always(), writeback(auto(Duration::from_secs(1))), patient, small].map(|cache| each_way(&cache));
    for options in mounts.into_iter().flatten() {
        let cache = options.cache.clone();
        let guest = share.mount_with(options);
        for round in 0..36 {
            let name = NAMES[round % NAMES.len()];
            let expect = |content: &[u8], when: &str| {
                let is = fs::read(share.at(name)).unwrap();
                assert!(is == content, "{cache:?}, round {round}: {} bytes after {when}", is.len());
            };
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).open(&guest.fs, name).unwrap();
            let mut content = guest.fs.read(name).unwrap();
            write_anywhere(&file, &mut content, &mut random);
            match round % 4 {
                0 => file.sync_all().unwrap(),
                1 => file.sync_data().unwrap(),
                2 => guest.fs.sync().unwrap(),
                _ => guest.fs.drop_caches(),
            }
            expect(&content, "it was synchronised");
            write_anywhere(&file, &mut content, &mut random);
            if round % 2 == 0 {
                let length = random.below(200_000);
                file.set_len(length).unwrap();
                content.resize(length as usize, 0);
                write_anywhere(&file, &mut content, &mut random);
            }
            assert!(guest.fs.read(name).unwrap() == content, "round {round}: what the mount itself reads");
            match round % 3 {
                0 => file.close().unwrap(),
                1 => drop(file),
                _ => file.as_open_file().flush(virtio_fs::LockOwner(1)).unwrap(),
            }
            expect(&content, "it was closed");
        }
    }
}

#[test]
fn the_host_has_what_waited_for_the_dirty_age() {
    let share = Share::new();
    let dirty_age = Duration::from_millis(100);
    let guest = share.mount(CacheOptions { dirty_age, ..writeback(always()) });
    assert_eq!(guest.fs.maintain(), None, "something is to be done where nothing was written");
    let file = guest.fs.create("a").unwrap();
    for content in ["first", "later"] {
        let written = Instant::now();
        file.write_all_at(0, content.as_bytes()).unwrap();
        let next = guest.fs.maintain();
        // A machine that is busy may have needed that long.
        if written.elapsed() < dirty_age {
            assert!(next.is_some(), "nothing is to be done about what was written");
            assert!(fs::read(share.at("a")).unwrap() != content.as_bytes(), "it was written at once");
        }
        std::thread::sleep(dirty_age);
        assert_eq!(guest.fs.maintain(), None);
        assert_eq!(fs::read(share.at("a")).unwrap(), content.as_bytes());
    }
    file.close().unwrap();
}

#[test]
fn the_host_has_what_the_caches_budget_has_no_room_for() {
    const BUDGET: usize = 256 << 10;
    let share = Share::new();
    let dirty_age = Duration::from_secs(600);
    let guest = share.mount(CacheOptions { max_data_bytes: BUDGET, dirty_age, ..writeback(always()) });
    let mut random = Random(8);
    let content = random.content(8 * MIB as u64);
    let file = guest.fs.create("a").unwrap();
    for (number, piece) in content.chunks(4096).enumerate() {
        file.write_all_at(number as u64 * 4096, piece).unwrap();
        let used = guest.fs.statistics().cached_bytes;
        assert!(used <= BUDGET as u64, "{used} bytes of pages");
    }
    let is = fs::read(share.at("a")).unwrap();
    assert!(is.len() + BUDGET >= content.len(), "the host has {} bytes", is.len());
    assert!(is == content[..is.len()]);
    file.close().unwrap();
    assert!(fs::read(share.at("a")).unwrap() == content);
}

#[test]
fn a_daemon_that_is_killed_with_dirty_pages_is_an_error_at_fsync_and_close_and_nothing_hangs() {
    let share = Share::new();
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let options = CacheOptions { mode, writeback: true, ..CacheOptions::default() };
        let guest = share.mount(CacheOptions { dirty_age: Duration::ZERO, ..options });
        let files: Vec<_> = NAMES.iter().map(|name| guest.fs.create(name).unwrap()).collect();
        let second = OpenOptions::new().write(true).open(&guest.fs, NAMES[0]).unwrap();
        for file in &files {
            file.write_all_at(0, &[1; 100_000]).unwrap();
        }
        guest.daemon.kill();
        let killed = Instant::now();
        // Whatever tries to write first.
        guest.fs.maintain();
        assert!(guest.fs.sync().is_err());
        for (number, file) in files.into_iter().enumerate() {
            if number % 2 == 0 {
                assert!(matches!(file.sync_all(), Err(Error::Device(_))));
            }
            let _ = file.write_at(200_000, &[2; 1000]);
            assert!(matches!(file.close(), Err(Error::Device(_))), "{mode:?}: {number}");
        }
        assert!(matches!(second.close(), Err(Error::Device(_))), "{mode:?}: another that was open");
        let Guest { fs: vfs, daemon } = guest;
        vfs.drop_caches();
        drop(vfs);
        drop(daemon);
        assert!(killed.elapsed() < BOUND, "{:?}", killed.elapsed());
    }
}

/// Changes something through a mount, and tells what.
fn change_on_mount(vfs: &VirtioFs, random: &mut Random) -> Result<String, Error> {
    let (name, other) = (random.name(), random.name());
    let is_file = vfs.symlink_metadata(name).is_ok_and(|metadata| metadata.file_type() == FileType::Regular);
    let remove = |name: &str| match vfs.remove_file(name) {
        Err(error) if error.errno() != Errno::ENOENT => Err(error),
        _ => Ok(()),
    };
    let what = match random.below(9) {
        0..=2 if is_file => {
            let file = OpenOptions::new().write(true).open(vfs, name)?;
            let length = file.metadata()?.len();
            file.write_all_at(0, &random.content(length))?;
            file.close()?;
            "overwritten"
        }
        3 if is_file => {
            vfs.truncate(name, random.below(LENGTH))?;
            "resized"
        }
        4 if is_file => {
            vfs.set_permissions(name, 0o600 | random.below(0o100) as u16)?;
            "chmod"
        }
        5 if is_file && name != other => {
            remove(other)?;
            vfs.hard_link(name, other)?;
            "linked"
        }
        6 if is_file => {
            vfs.rename(name, other)?;
            "renamed"
        }
        7 if is_file => {
            vfs.remove_file(name)?;
            "removed"
        }
        8 => {
            remove(name)?;
            vfs.symlink(other, name)?;
            "a symbolic link"
        }
        _ => {
            remove(name)?;
            let mut file = OpenOptions::new().write(true).create_new(true).open(vfs, name)?;
            file.write_all(&random.content(LENGTH))?;
            file.close()?;
            "new"
        }
    };
    Ok(format!("{name} ({other}) is {what}"))
}

/// Two mounts of one directory, by two daemons, change it in turns; the host looks on.
fn take_turns(cache: &CacheOptions, pause: Duration, rounds: usize) {
    let share = Share::new();
    let guests = [share.mount(cache.clone()), share.mount(cache.clone())];
    let mut random = Random(9);
    for round in 0..rounds {
        let change = change_on_mount(&guests[random.below(2) as usize].fs, &mut random)
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        std::thread::sleep(pause);
        for (number, guest) in guests.iter().enumerate() {
            expect_equal(&share, &guest.fs, &format!("round {round}, seen by {number}: {change}"));
        }
    }
}

#[test]
fn two_mounts_without_a_cache_see_each_others_changes_at_once() {
    take_turns(&none(), Duration::ZERO, 200);
}

#[test]
fn two_mounts_that_believe_nothing_for_any_time_see_each_others_changes_at_once() {
    take_turns(&auto(Duration::ZERO), TICK, 200);
    take_turns(&writeback(auto(Duration::ZERO)), TICK, 200);
}

#[test]
fn two_mounts_that_believe_for_a_time_see_each_others_changes_after_it() {
    take_turns(&auto(TIMEOUT), TIMEOUT + TICK, 40);
}

/// Each appends lines to one file in turns, opening it each time, as scripts do with a log.
#[test]
fn what_two_mounts_append_in_turns_stays_in_order() {
    let share = Share::new();
    for cache in [auto(Duration::from_secs(1)), writeback(auto(Duration::from_secs(1)))] {
        let guests = [share.mount(cache.clone()), share.mount(cache)];
        let mut expected = String::new();
        fs::write(share.at("a"), "").unwrap();
        for number in 0..100 {
            let vfs = &guests[number % 2].fs;
            assert_eq!(vfs.read_to_string("a").unwrap(), expected, "line {number}");
            let line = format!("line {number} is said by {}\n", number % 2);
            let mut file = OpenOptions::new().append(true).open(vfs, "a").unwrap();
            file.write_all(line.as_bytes()).unwrap();
            file.close().unwrap();
            expected += &line;
            assert_eq!(fs::read_to_string(share.at("a")).unwrap(), expected);
            std::thread::sleep(TICK);
        }
    }
}

#[test]
fn what_is_opened_to_be_direct_is_seen_at_once() {
    let share = Share::new();
    fs::write(share.at("a"), "first").unwrap();
    let guest = share.mount(always());
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OpenFlags::DIRECT).open(&guest.fs, "a").unwrap();
    for content in ["other", "third"] {
        fs::write(share.at("a"), content).unwrap();
        let mut is = [0; 5];
        assert_eq!(file.read_at(0, &mut is).unwrap(), 5);
        assert_eq!(is, content.as_bytes());
    }
}
