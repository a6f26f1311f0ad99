//! Two mounts of one folder, each with a daemon of its own, whose drivers go by the version table of both: the kernel's
//! own caches must not stand before that.
//!
//! VIRTIO_FS_DAEMON says where the daemon with a version table is, which `cargo build -p virtio-fs-daemon` makes.

mod common;

use common::{Folder, Mount, program, suite};
use rustix::fs::XattrFlags;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Two mounts of one folder, whose drivers would believe everything for ever by time.
fn two_mounts(outside: &Folder, options: &[&str]) -> [Mount; 2] {
    let daemon = suite("VIRTIO_FS_DAEMON", "--path host/daemon");
    // Nobody but the two changes anything.
    let table = format!("--version-table {} --host-changes none", outside.path().join("table").display());
    let program = || {
        let mut program = program();
        program.env("VIRTIOFSD", format!("{} {table}", daemon.display()));
        program
    };
    let options = [&["--cache", "always"], options].concat();
    let first = Mount::by(program(), &options);
    fs::create_dir(first.share.join("folder")).unwrap();
    for name in ["content", "mode", "name", "gone", "replaced", "folder/inner"] {
        fs::write(first.share.join(name), "old").unwrap();
    }
    symlink("old", first.share.join("link")).unwrap();
    let second = Mount::of(&first.share, program(), &options);
    [first, second]
}

/// All that can be seen of the folder, with a file that was open before.
#[derive(Debug, PartialEq)]
struct Seen {
    content: String,
    open: String,
    bytes: u64,
    mode: u32,
    exists: [bool; 4],
    replaced: String,
    target: PathBuf,
    listing: Vec<String>,
    xattr: Option<Vec<u8>>,
}

fn look(point: &Path, open: &File) -> Seen {
    let mut bytes = [0; 64];
    let read = open.read_at(&mut bytes, 0).unwrap();
    let mut listing: Vec<_> =
        fs::read_dir(point).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    listing.sort();
    let mut value = [0; 64];
    let xattr = rustix::fs::getxattr(point.join("content"), "user.note", &mut value).ok();
    Seen {
        content: fs::read_to_string(point.join("content")).unwrap(),
        open: String::from_utf8(bytes[..read].into()).unwrap(),
        bytes: open.metadata().unwrap().len(),
        mode: fs::metadata(point.join("mode")).unwrap().permissions().mode() & 0o7777,
        exists: ["name", "gone", "new", "folder/inner"].map(|name| point.join(name).exists()),
        replaced: fs::read_to_string(point.join("replaced")).unwrap(),
        target: fs::read_link(point.join("link")).unwrap(),
        listing,
        xattr: xattr.map(|bytes| value[..bytes].into()),
    }
}

fn change(point: &Path) {
    fs::write(point.join("content"), "longer").unwrap();
    fs::set_permissions(point.join("mode"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(point.join("name"), point.join("new")).unwrap();
    fs::remove_file(point.join("gone")).unwrap();
    fs::remove_dir_all(point.join("folder")).unwrap();
    fs::write(point.join("beside"), "new").unwrap();
    fs::rename(point.join("beside"), point.join("replaced")).unwrap();
    fs::remove_file(point.join("link")).unwrap();
    symlink("new", point.join("link")).unwrap();
    rustix::fs::setxattr(point.join("content"), "user.note", b"new", XattrFlags::empty()).unwrap();
}

#[test]
fn what_one_mount_changes_a_program_on_the_other_sees_at_its_next_call() {
    let outside = Folder::new();
    let mounts = two_mounts(&outside, &[]);
    let [first, second] = &mounts;
    let open = File::open(second.point.join("content")).unwrap();
    let before = look(&second.point, &open);
    assert_eq!(before, look(&second.point, &open));

    change(&first.point);
    let after = Seen {
        content: "longer".into(),
        open: "longer".into(),
        bytes: 6,
        mode: 0o600,
        exists: [false, false, true, false],
        replaced: "new".into(),
        target: "new".into(),
        listing: ["content", "link", "mode", "new", "replaced"].map(String::from).into(),
        xattr: Some(b"new".into()),
    };
    assert_eq!(look(&second.point, &open), after);
    drop(open);
    mounts.into_iter().for_each(Mount::end);
}

#[test]
fn by_time_the_other_mount_believes_what_it_saw_before() {
    let outside = Folder::new();
    let mounts = two_mounts(&outside, &["--coherence", "ttl"]);
    let [first, second] = &mounts;
    let look = || {
        let mode = fs::metadata(second.point.join("mode")).unwrap().permissions().mode() & 0o777;
        let exists = ["name", "gone", "new"].map(|name| second.point.join(name).exists());
        (mode, exists, fs::read_link(second.point.join("link")).unwrap())
    };
    let before = look();
    change(&first.point);
    assert_eq!(look(), before);
    assert_eq!(before, (0o644, [true, true, false], "old".into()));
    mounts.into_iter().for_each(Mount::end);
}

#[test]
fn what_programs_on_both_mounts_append_comes_one_after_the_other() {
    let outside = Folder::new();
    let mounts = two_mounts(&outside, &[]);
    let mut files = [0, 1].map(|at| File::options().append(true).open(mounts[at].point.join("content")).unwrap());
    for text in ["a", "bb", "ccc"] {
        files.iter_mut().for_each(|file| file.write_all(text.as_bytes()).unwrap());
    }
    for mount in &mounts {
        assert_eq!(fs::read_to_string(mount.point.join("content")).unwrap(), "oldaabbbbcccccc");
    }
    drop(files);
    mounts.into_iter().for_each(Mount::end);
}
