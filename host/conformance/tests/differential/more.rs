//! What no single system call stands for: compared with the standard library, or with what is known of virtiofsd.

use rustix::fs::statvfs;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom as Host, Write};
use std::path::Path;
use std::time::SystemTime;
use virtio_fs::fs::{OpenOptions, SeekFrom};
use virtio_fs::vnode::{Durability, Wait};
use virtio_fs::{
    Credentials, Errno, Error, FileType, Lock, LockKind, LockOwner, MountOptions, OpenFlags, Timestamp, VirtioFs,
};
use virtio_fs_conformance::{World, WorldOptions, difference, mount_options, read_tree};

/// The same in both directories.
fn make(path: &Path) {
    fs::create_dir_all(path.join("d/e/g")).unwrap();
    fs::write(path.join("f"), "content of f").unwrap();
    fs::write(path.join("d/x"), "").unwrap();
    fs::write(path.join("d/e/y"), "y").unwrap();
    std::os::unix::fs::symlink("d", path.join("l")).unwrap();
    std::os::unix::fs::symlink("../f", path.join("d/e/m")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("dangling")).unwrap();
}

fn of_host<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno(error.raw_os_error().unwrap_or(0) as u16))
}

/// Does the same by the driver and by the standard library, each time in new directories.
fn compare<T: PartialEq + std::fmt::Debug>(
    behaviour: &str,
    mounted: impl Fn(&VirtioFs) -> Result<T, Error>,
    plain: impl Fn(&Path) -> io::Result<T>,
) {
    const UMASK: u16 = 0o022;
    rustix::process::umask(u32::from(UMASK).into());
    let credentials = Credentials { umask: UMASK, ..Credentials::default() };
    let mount = MountOptions { credentials, ..mount_options() };
    let world = World::with_options(&WorldOptions { mount, ..WorldOptions::default() });
    make(world.served());
    make(world.plain());
    let is = mounted(world.fs()).map_err(Error::errno);
    assert_eq!(is, of_host(plain(world.plain())), "{behaviour}");
    if let Some(difference) = difference(&read_tree(world.served()), &read_tree(world.plain())) {
        panic!("{behaviour}: {difference}");
    }
}

const PATHS: [&str; 12] =
    ["d", "f", "n", "n/m/o", "d/e", "d/e/g/h/i", "f/x", "l", "l/e/z", "dangling", "dangling/x", "d/e/m"];

#[test]
fn directories_are_made_with_those_above_them() {
    for path in PATHS {
        compare(path, |vfs| vfs.create_dir_all(path), |plain| fs::create_dir_all(plain.join(path)));
    }
}

#[test]
fn directories_are_removed_with_what_is_in_them() {
    for path in PATHS {
        compare(path, |vfs| vfs.remove_dir_all(path), |plain| fs::remove_dir_all(plain.join(path)));
    }
}

#[test]
fn files_are_copied() {
    for from in ["f", "d/e/y", "d/e/m", "n", "d/x", "dangling"] {
        for to in ["n", "d/x", "d/e/m", "d", "n/m", "f/x", "dangling"] {
            // The standard library loses what it copies onto itself.
            let is_one_file = from == to || (from, to) == ("f", "d/e/m");
            if is_one_file {
                continue;
            }
            let behaviour = format!("{from} to {to}");
            compare(&behaviour, |vfs| vfs.copy(from, to), |plain| fs::copy(plain.join(from), plain.join(to)));
        }
    }
}

#[test]
fn files_are_written_and_read_whole() {
    for path in PATHS {
        compare(path, |vfs| vfs.write(path, "new"), |plain| fs::write(plain.join(path), "new"));
        compare(path, |vfs| vfs.read(path), |plain| fs::read(plain.join(path)));
        // What is no directory has nothing in it.
        compare(
            path,
            |vfs| vfs.exists(path),
            |plain| match plain.join(path).try_exists() {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
                result => result,
            },
        );
        compare(
            path,
            |vfs| vfs.read_link(path),
            |plain| fs::read_link(plain.join(path)).map(|target| target.into_os_string().into_encoded_bytes()),
        );
    }
}

#[test]
fn positions_move_as_those_of_the_standard_library() {
    let world = World::new(&[]);
    make(world.served());
    make(world.plain());
    let mut is = OpenOptions::new().read(true).write(true).open(world.fs(), "f").unwrap();
    let mut should_be = fs::OpenOptions::new().read(true).write(true).open(world.plain().join("f")).unwrap();
    let seeks = [
        (SeekFrom::Start(3), Host::Start(3)),
        (SeekFrom::Current(4), Host::Current(4)),
        (SeekFrom::Current(-2), Host::Current(-2)),
        (SeekFrom::End(-1), Host::End(-1)),
        (SeekFrom::End(-100), Host::End(-100)),
        (SeekFrom::End(5), Host::End(5)),
        (SeekFrom::Start(u64::MAX), Host::Start(u64::MAX)),
        (SeekFrom::Current(i64::MIN), Host::Current(i64::MIN)),
        (SeekFrom::Start(0), Host::Start(0)),
    ];
    for (to, host) in seeks {
        assert_eq!(is.seek(to).map_err(Error::errno), of_host(should_be.seek(host)), "{host:?}");
        let (mut read, mut expected) = ([0; 5], [0; 5]);
        let bytes = is.read(&mut read).unwrap();
        assert_eq!(bytes, should_be.read(&mut expected).unwrap());
        assert_eq!(read[..bytes], expected[..bytes], "{host:?}");
        assert_eq!(is.write(b"ab").unwrap(), should_be.write(b"ab").unwrap());
    }
    assert_eq!(world.fs().read("f").unwrap(), fs::read(world.plain().join("f")).unwrap());
}

#[test]
fn the_room_is_that_of_the_host() {
    let world = World::new(&[]);
    world.fs().write("f", vec![1; 3 << 20]).unwrap();
    let (is, should_be) = (world.fs().statvfs("/").unwrap(), statvfs(world.served()).unwrap());
    assert_eq!((is.blocks, is.files), (should_be.f_blocks, should_be.f_files));
    assert_eq!((is.blocks_free, is.blocks_available), (should_be.f_bfree, should_be.f_bavail));
    assert_eq!(
        (u64::from(is.fragment_size_bytes), u64::from(is.name_max_bytes)),
        (should_be.f_frsize, should_be.f_namemax)
    );
    assert_eq!(is.files_free, should_be.f_ffree);
    assert_eq!(world.fs().node("f").unwrap().statfs(), Ok(is), "every inode knows the room of its file system");
}

#[test]
fn metadata_is_that_of_the_standard_library() {
    let world = World::new(&[]);
    make(world.served());
    let date = |time: io::Result<SystemTime>| {
        let since = time.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
    };
    for path in ["f", "d", "l", "dangling", "d/e/y"] {
        let host = world.served().join(path);
        let mut both = vec![(world.fs().symlink_metadata(path).unwrap(), fs::symlink_metadata(&host).unwrap())];
        if path != "dangling" {
            both.push((world.fs().metadata(path).unwrap(), fs::metadata(&host).unwrap()));
        }
        for (is, should_be) in both {
            assert_eq!(
                (is.is_dir(), is.is_file(), is.is_symlink()),
                (should_be.is_dir(), should_be.is_file(), should_be.is_symlink()),
                "{path}"
            );
            assert_eq!(
                (is.accessed(), is.modified()),
                (date(should_be.accessed()), date(should_be.modified())),
                "{path}"
            );
        }
    }
}

#[test]
fn all_is_written_from_the_position_on_or_at_the_end() {
    let world = World::new(&[]);
    for path in [world.served(), world.plain()] {
        fs::write(path.join("f"), "content").unwrap();
    }
    let large = vec![b'x'; 3 << 20];
    for appends in [false, true] {
        let mut is = OpenOptions::new().write(true).append(appends).open(world.fs(), "f").unwrap();
        let mut should_be = fs::OpenOptions::new().write(true).append(appends).open(world.plain().join("f")).unwrap();
        for data in [&b"abc"[..], b"", &large, b"d"] {
            is.write_all(data).unwrap();
            should_be.write_all(data).unwrap();
            assert_eq!(is.seek(SeekFrom::Current(0)), Ok(should_be.stream_position().unwrap()));
        }
        let flags = is.as_open_file().flags();
        assert_eq!(flags.contains(OpenFlags::APPEND), appends);
        assert!(flags.contains(OpenFlags::WRITE_ONLY) && !flags.contains(OpenFlags::READ_WRITE), "{flags:?}");
        is.close().unwrap();
        assert!(fs::read(world.served().join("f")).unwrap() == fs::read(world.plain().join("f")).unwrap());
    }
}

#[test]
fn what_virtiofsd_lacks_is_not_supported() {
    let world = World::new(&["--xattr"]);
    let fs = world.fs();
    fs.write("f", "content").unwrap();
    let file = fs.node("f").unwrap().open(OpenFlags::READ_WRITE).unwrap();
    let lock = Lock { kind: LockKind::Write, start: 0, end: Lock::TO_THE_END, pid: 1 };
    let not_supported = Err(Errno::EOPNOTSUPP);
    assert_eq!(file.setlk(LockOwner(1), &lock, Wait::No).map_err(Error::errno), not_supported);
    assert_eq!(file.getlk(LockOwner(1), &lock).map(drop).map_err(Error::errno), not_supported);
    assert_eq!(file.flock(LockKind::Write, Wait::No).map_err(Error::errno), not_supported);
    let tmpfile = fs.root().tmpfile(OpenFlags::READ_WRITE, 0o600).map(drop);
    assert_eq!(tmpfile.map_err(Error::errno), not_supported);
    assert_eq!(fs.root().statx().map(|(_, born)| born), Ok(None));
    assert_eq!(file.flush(LockOwner(1)), Ok(()));
    assert_eq!(file.close(), Ok(()));
}

#[test]
fn listings_go_on_where_they_were() {
    const ENTRIES: usize = 3000;
    let world = World::new(&[]);
    for number in 0..ENTRIES {
        fs::write(world.served().join(format!("name-{number:05}")), "").unwrap();
    }
    let mut dir = world.fs().root().opendir().unwrap();
    let mut places = Vec::new();
    while let Some(entry) = dir.next_entry().unwrap() {
        places.push((entry.name.to_vec(), entry.file_type, entry.cookie));
        assert_eq!(entry.cookie, places.last().unwrap().2);
    }
    let names: BTreeSet<_> = places.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!((names.len(), places.len()), (ENTRIES + 2, ENTRIES + 2));
    assert!(places.iter().all(|(name, kind, _)| name.starts_with(b".") || *kind == Some(FileType::Regular)));
    for at in (0..ENTRIES).step_by(97) {
        dir.seek(places[at].2);
        assert_eq!(dir.position(), places[at].2);
        assert_eq!(dir.next_entry().unwrap().unwrap().name, places[at + 1].0);
    }
    // What is removed meanwhile is not listed by who asks anew.
    for number in (0..ENTRIES).step_by(2) {
        fs::remove_file(world.served().join(format!("name-{number:05}"))).unwrap();
    }
    dir.seek(0);
    let mut left = 0;
    while dir.next_entry().unwrap().is_some() {
        left += 1;
    }
    assert_eq!(left, ENTRIES / 2 + 2);
    dir.fsync(Durability::All).unwrap();
    dir.close().unwrap();
}
