//! Real changes of a folder, and which keys are raised for them.

use super::*;
use rustix::fs::{AtFlags, RenameFlags, XattrFlags, statat};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing takes this long but what hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// No process has this number.
const NOBODY: i32 = -1;

/// A folder that is removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("virtio-fs-changes-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn ino(&self, name: &str) -> u64 {
        fs::symlink_metadata(self.at(name)).unwrap().ino()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Remembers what was counted.
#[derive(Default)]
struct Counted(Mutex<Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    keys: HashSet<Key>,
    unknown: u32,
    marks: Vec<u64>,
}

impl Sink for Counted {
    fn changed(&self, keys: &[Key]) {
        self.0.lock().unwrap().keys.extend(keys);
    }

    fn unknown(&self) {
        self.0.lock().unwrap().unknown += 1;
    }

    fn mark(&self, ino: u64) {
        self.0.lock().unwrap().marks.push(ino);
    }

    fn unmark(&self, ino: u64) {
        let marks = &mut self.0.lock().unwrap().marks;
        let place = marks.iter().position(|marked| *marked == ino).expect("it was marked");
        marks.remove(place);
    }
}

impl Counted {
    /// What was counted since the last call; marks stay.
    fn take(&self) -> Seen {
        let mut seen = self.0.lock().unwrap();
        let marks = seen.marks.clone();
        std::mem::replace(&mut *seen, Seen { marks, ..Seen::default() })
    }
}

/// A guest of inotify that was told of what it asked for: nodeids are inode numbers here.
struct Guest<'a> {
    folder: &'a Folder,
    inotify: Inotify,
    counted: Counted,
    directories: Mutex<HashMap<u64, File>>,
    /// As if there were no more watches.
    is_refused: bool,
}

impl<'a> Guest<'a> {
    fn new(folder: &'a Folder) -> Self {
        let (inotify, counted) = (Inotify::begin().unwrap(), Counted::default());
        let guest = Self { folder, inotify, counted, directories: Mutex::default(), is_refused: false };
        guest.inotify.root(guest.open("."), &guest);
        guest
    }

    fn open(&self, name: &str) -> Found {
        let found = found(&self.folder.0, name);
        if found.is_directory {
            let directory = File::open(self.folder.at(name)).unwrap();
            self.directories.lock().unwrap().insert(found.nodeid, directory);
        }
        found
    }

    /// LOOKUP of a path, whose directories were looked up before. Whether attributes have to be asked for again.
    fn look_up(&self, path: &str) -> bool {
        let _asking = self.inotify.asking();
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let found = self.open(path);
        let name = std::ffi::CString::new(name).unwrap();
        self.inotify.handed_out(self.folder.ino(directory), &name, found, self, &self.counted)
    }

    fn count(&self) -> Seen {
        self.inotify.count(self, &self.counted).unwrap();
        self.counted.take()
    }
}

impl Tree for Guest<'_> {
    fn open_directory(&self, nodeid: u64) -> io::Result<File> {
        if self.is_refused {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.directories.lock().unwrap()[&nodeid].try_clone()
    }

    fn look(&self, directory: u64, name: &CStr) -> io::Result<Found> {
        let directories = self.directories.lock().unwrap();
        let stat = statat(&directories[&directory], name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Found {
            nodeid: stat.st_ino,
            ino: stat.st_ino,
            links: stat.st_nlink as u32,
            is_directory: stat.st_mode & 0o170_000 == 0o040_000,
        })
    }
}

fn found(folder: &Path, name: &str) -> Found {
    let metadata = fs::symlink_metadata(folder.join(name)).unwrap();
    let (nodeid, links, is_directory) = (metadata.ino(), metadata.nlink() as u32, metadata.is_dir());
    Found { nodeid, ino: nodeid, links, is_directory }
}

/// `one/file`, `one/other`, `one/folder/inner`, `two/`.
fn fill(folder: &Folder) {
    fs::create_dir_all(folder.at("one/folder")).unwrap();
    fs::create_dir(folder.at("two")).unwrap();
    for name in ["one/file", "one/other", "one/folder/inner"] {
        fs::write(folder.at(name), "text").unwrap();
    }
}

const ALL: [&str; 6] = ["one", "two", "one/file", "one/other", "one/folder", "one/folder/inner"];

/// What is done to a folder, and which keys of it that concerns, by paths as they were before.
type Change = (&'static str, fn(&Folder), &'static [Concerned]);

#[derive(Clone, Copy)]
enum Concerned {
    Attributes(&'static str),
    Content(&'static str),
    /// Content and attributes of the directory as well.
    Name(&'static str, &'static str),
    Parent(&'static str),
}
use Concerned::{Attributes, Content, Name, Parent};

const CHANGES: [Change; 17] = [
    ("create", |at| fs::write(at.at("two/new"), "").unwrap(), &[Name("two", "new")]),
    ("write", |at| fs::write(at.at("one/file"), "more").unwrap(), &[Content("one/file")]),
    ("append", |at| append(&at.at("one/file")), &[Content("one/file")]),
    (
        "truncate",
        |at| File::options().write(true).open(at.at("one/file")).unwrap().set_len(1).unwrap(),
        &[Content("one/file")],
    ),
    (
        "chmod",
        |at| fs::set_permissions(at.at("one/file"), fs::Permissions::from_mode(0o600)).unwrap(),
        &[Attributes("one/file")],
    ),
    (
        "chmod of a directory",
        |at| fs::set_permissions(at.at("one/folder"), fs::Permissions::from_mode(0o700)).unwrap(),
        &[Attributes("one/folder")],
    ),
    (
        "setxattr",
        |at| rustix::fs::setxattr(at.at("one/file"), "user.test", b"1", XattrFlags::empty()).unwrap(),
        &[Attributes("one/file")],
    ),
    (
        "rename within a directory",
        |at| fs::rename(at.at("one/file"), at.at("one/new")).unwrap(),
        &[Name("one", "file"), Name("one", "new"), Attributes("one/file")],
    ),
    (
        "rename to another directory",
        |at| fs::rename(at.at("one/file"), at.at("two/new")).unwrap(),
        &[Name("one", "file"), Name("two", "new"), Attributes("one/file")],
    ),
    (
        "rename over another file",
        |at| fs::rename(at.at("one/file"), at.at("one/other")).unwrap(),
        &[Name("one", "file"), Name("one", "other"), Attributes("one/file"), Attributes("one/other")],
    ),
    (
        "rename of a directory to another one",
        |at| fs::rename(at.at("one/folder"), at.at("two/new")).unwrap(),
        &[Name("one", "folder"), Name("two", "new"), Attributes("one/folder"), Parent("one/folder")],
    ),
    (
        "exchange",
        |at| {
            let cwd = rustix::fs::CWD;
            rustix::fs::renameat_with(cwd, at.at("one/folder"), cwd, at.at("two"), RenameFlags::EXCHANGE).unwrap();
        },
        &[Name("one", "folder"), Name(".", "two"), Parent("one/folder"), Parent("two")],
    ),
    ("unlink", |at| fs::remove_file(at.at("one/file")).unwrap(), &[Name("one", "file"), Attributes("one/file")]),
    ("rmdir", |at| fs::remove_dir(at.at("two")).unwrap(), &[Name(".", "two"), Content("two")]),
    (
        "rename over a directory",
        |at| fs::rename(at.at("one/folder"), at.at("two")).unwrap(),
        &[Name("one", "folder"), Name(".", "two"), Content("two"), Parent("one/folder")],
    ),
    ("symlink", |at| symlink("target", at.at("two/new")).unwrap(), &[Name("two", "new")]),
    (
        "mkdir, and a file in it",
        |at| {
            fs::create_dir(at.at("two/new")).unwrap();
            fs::write(at.at("two/new/file"), "").unwrap();
        },
        &[Name("two", "new")],
    ),
];

fn append(path: &Path) {
    use std::io::Write;
    File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

/// The keys, with the folder as it is.
fn keys(folder: &Folder, concerned: &[Concerned]) -> Vec<(String, Key)> {
    let mut keys = Vec::new();
    let mut add = |what: String, key| keys.push((what, key));
    for what in concerned {
        match what {
            Attributes(path) => add(format!("attributes of {path}"), Key::attributes(folder.ino(path))),
            Content(path) => {
                add(format!("content of {path}"), Key::content(folder.ino(path)));
                add(format!("attributes of {path}"), Key::attributes(folder.ino(path)));
            }
            Name(path, name) => {
                add(format!("{name} in {path}"), Key::name(folder.ino(path), name.as_bytes()));
                add(format!("content of {path}"), Key::content(folder.ino(path)));
                add(format!("attributes of {path}"), Key::attributes(folder.ino(path)));
            }
            Parent(path) => {
                add(format!(".. in {path}"), Key::name(folder.ino(path), b".."));
                add(format!("content of {path}"), Key::content(folder.ino(path)));
            }
        }
    }
    keys
}

fn check(what: &str, way: &str, expected: &[(String, Key)], seen: &Seen) {
    let missing: Vec<_> = expected.iter().filter(|(_, key)| !seen.keys.contains(key)).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "{way}: {what}: not raised: {missing:?}");
    assert_eq!(seen.unknown, 0, "{way}: {what}: all is known");
}

/// By fanotify, where it can be had. Else it is looked whether that is known, and what is used in its place.
fn fanotify(folder: &Folder) -> Option<Fanotify> {
    match Fanotify::begin(&folder.0) {
        Ok(fanotify) => Some(fanotify),
        Err(why) => {
            println!("{why}");
            assert!(HostChanges::begin(Way::Fanotify, &folder.0).is_err());
            assert!(HostChanges::begin(Way::Auto, &folder.0).unwrap().flags().intersects(Flags::INOTIFY));
            None
        }
    }
}

#[test]
fn fanotify_raises_the_keys_of_each_change() {
    for (what, change, concerned) in CHANGES {
        let folder = Folder::new();
        fill(&folder);
        let Some(fanotify) = fanotify(&folder) else { return };
        let expected = keys(&folder, concerned);
        change(&folder);
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        check(what, "fanotify", &expected, &counted.take());
    }
    println!("fanotify was tried");
}

#[test]
fn inotify_raises_the_keys_of_each_change() {
    for (what, change, concerned) in CHANGES {
        let folder = Folder::new();
        fill(&folder);
        let guest = Guest::new(&folder);
        ALL.iter().for_each(|path| _ = guest.look_up(path));
        let expected = keys(&folder, concerned);
        change(&folder);
        let seen = guest.count();
        check(what, "inotify", &expected, &seen);
        assert_eq!(seen.marks, [0; 0], "{what}");
    }
}

#[test]
fn links_are_told_and_with_inotify_what_has_several_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let concerned = [Name("two", "new"), Attributes("one/file")];
    let expected = keys(&folder, &concerned);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    let fanotify = fanotify(&folder);
    fs::hard_link(folder.at("one/file"), folder.at("two/new")).unwrap();
    if let Some(fanotify) = fanotify {
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        check("link", "fanotify", &expected, &counted.take());
    }
    let seen = guest.count();
    check("link", "inotify", &expected, &seen);
    let ino = folder.ino("one/file");
    assert_eq!(seen.marks, [ino]);
    guest.inotify.forgotten(ino, 1, &guest.counted);
    assert_eq!(guest.count().marks, [0; 0]);
    guest.look_up("two/new");
    assert_eq!(guest.count().marks, [ino], "it has two when it is handed out");
    guest.inotify.session_ends(&guest.counted);
    assert_eq!(guest.counted.take().marks, [0; 0]);
}

#[test]
fn reading_raises_nothing_and_neither_does_what_nobody_was_told_of() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file"].iter().for_each(|path| _ = guest.look_up(path));
    let fanotify = fanotify(&folder);
    fs::read(folder.at("one/file")).unwrap();
    fs::read_dir(folder.at("one")).unwrap().count();
    let of_file = [Key::attributes(folder.ino("one/file")), Key::content(folder.ino("one/file"))];
    if let Some(fanotify) = fanotify {
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        assert!(of_file.iter().all(|key| !counted.take().keys.contains(key)));
    }
    fs::write(folder.at("one/other"), "more").unwrap();
    fs::write(folder.at("two/new"), "more").unwrap();
    let seen = guest.count();
    assert_eq!((seen.keys, seen.unknown), (HashSet::new(), 0));
}

#[test]
fn fanotify_leaves_out_what_this_process_did() {
    let folder = Folder::new();
    fill(&folder);
    let Some(fanotify) = fanotify(&folder) else { return };
    let counted = Counted::default();
    let created = |name: &[u8]| Key::name(folder.ino("two"), name);
    fs::write(folder.at("two/own"), "").unwrap();
    assert!(Command::new("touch").arg(folder.at("two/other")).status().unwrap().success());
    fanotify.count(&counted).unwrap();
    let seen = counted.take();
    assert!(!seen.keys.contains(&created(b"own")) && seen.keys.contains(&created(b"other")));
}

#[test]
fn the_descriptor_can_be_read_when_something_was_changed() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    let fanotify = fanotify(&folder);
    let poll = |descriptor: BorrowedFd<'_>| {
        let mut descriptors = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
        let time = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        rustix::event::poll(&mut descriptors, Some(&time)).unwrap() == 1
    };
    fs::create_dir(folder.at("new")).unwrap();
    assert!(poll(guest.inotify.descriptor()));
    assert!(fanotify.is_none_or(|fanotify| poll(fanotify.descriptor())));
}

#[test]
fn where_fanotify_cannot_be_had_inotify_takes_its_place_and_only_if_it_may() {
    // Nobody knows handles of /proc.
    let place = Path::new("/proc");
    assert!(HostChanges::begin(Way::Auto, place).unwrap().flags().intersects(Flags::INOTIFY));
    assert!(HostChanges::begin(Way::Fanotify, place).err().unwrap().contains("fanotify"));
    assert_eq!(HostChanges::begin(Way::None, place).unwrap().flags(), Flags::empty());
    let folder = Folder::new();
    let has_fanotify = Fanotify::begin(&folder.0).is_ok();
    let auto = HostChanges::begin(Way::Auto, &folder.0).unwrap().flags();
    assert_eq!(auto, if has_fanotify { Flags::FANOTIFY } else { Flags::INOTIFY });
}

#[test]
fn a_directory_that_was_not_watched_yet_is_asked_for_again() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    assert!(guest.look_up("one"));
    assert!(!guest.look_up("one") && !guest.look_up("one/file"));
}

#[test]
fn what_was_moved_to_where_nobody_watches_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file", "one/other"].iter().for_each(|path| _ = guest.look_up(path));
    let ino = folder.ino("one/file");
    fs::rename(folder.at("one/file"), folder.at("two/away")).unwrap();
    // And what was moved to where it is watched is followed.
    fs::rename(folder.at("one/other"), folder.at("here")).unwrap();
    let begin = Instant::now();
    while guest.count().marks != [ino] {
        assert!(begin.elapsed() < PATIENCE, "it is given up");
    }
    fs::write(folder.at("here"), "more").unwrap();
    assert!(guest.count().keys.contains(&Key::content(folder.ino("here"))));
}

#[test]
fn a_name_that_was_used_anew_counts_for_all_that_had_it() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file"].iter().for_each(|path| _ = guest.look_up(path));
    let old = folder.ino("one/file");
    let file = File::options().write(true).open(folder.at("one/file")).unwrap();
    fs::write(folder.at("new"), "").unwrap();
    fs::rename(folder.at("new"), folder.at("one/file")).unwrap();
    guest.look_up("one/file");
    assert_ne!(folder.ino("one/file"), old);
    let seen = guest.count();
    assert!(seen.keys.contains(&Key::attributes(old)) && seen.keys.contains(&Key::attributes(folder.ino("one/file"))));
    // It has no name any more.
    file.set_len(0).unwrap();
    assert!(guest.count().keys.contains(&Key::content(old)));
}

#[test]
fn a_new_name_that_is_gone_before_it_was_looked_at_may_have_been_a_link() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    fs::hard_link(folder.at("one/file"), folder.at("two/new")).unwrap();
    fs::remove_file(folder.at("two/new")).unwrap();
    assert_eq!(guest.count().unknown, 1);
    // What replaces something by way of another name is found by the last one.
    fs::write(folder.at("two/new"), "").unwrap();
    fs::rename(folder.at("two/new"), folder.at("one/file")).unwrap();
    assert_eq!(guest.count().unknown, 0);
}

#[test]
fn while_a_directory_cannot_be_watched_nothing_is_believed() {
    let folder = Folder::new();
    fill(&folder);
    let mut guest = Guest::new(&folder);
    guest.is_refused = true;
    assert!(!guest.look_up("one"));
    assert!(!guest.look_up("one/file"));
    assert_eq!((guest.count().unknown, guest.count().unknown), (1, 1));
    guest.inotify.forgotten(folder.ino("one"), 1, &guest.counted);
    assert_eq!(guest.count().unknown, 0);
}

#[test]
fn when_events_were_lost_the_floor_is_raised_and_what_is_not_where_it_was_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse::<u32>().unwrap();
    // Two that take turns are not merged.
    let files = ["one/file", "one/other"].map(|name| File::options().write(true).open(folder.at(name)).unwrap());
    for number in 0..=limit {
        rustix::io::pwrite(files[number as usize % 2].as_fd(), b"x", 0).unwrap();
    }
    let ino = folder.ino("one/file");
    fs::rename(folder.at("one/file"), folder.at("two/new")).unwrap();
    let seen = guest.count();
    assert_eq!((seen.unknown, seen.marks), (1, vec![ino]));
    assert_eq!(guest.count().unknown, 0);
    fs::write(folder.at("one/other"), "more").unwrap();
    assert!(guest.count().keys.contains(&Key::content(folder.ino("one/other"))));
}

#[test]
fn fanotify_raises_the_floor_when_events_were_lost() {
    let folder = Folder::new();
    fill(&folder);
    let Some(fanotify) = fanotify(&folder) else { return };
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap().trim().parse::<u32>().unwrap();
    // Events of the same file are merged. Each name is an object of its own.
    for number in 0..=limit.div_ceil(2) {
        let name = folder.at(&format!("two/{number}"));
        symlink("target", &name).unwrap();
        fs::remove_file(&name).unwrap();
    }
    let counted = Counted::default();
    fanotify.count_others(NOBODY, &counted).unwrap();
    assert_eq!(counted.take().unknown, 1);
}
