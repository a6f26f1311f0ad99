//! Real changes of a folder, and which keys are raised for them.

mod changes;
mod fanotify;
mod inotify;

use super::*;
use rustix::fs::{AtFlags, RenameFlags, XattrFlags, statat};
use rustix::io::Errno;
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
    /// Why no directory can be opened, if that is so.
    refused: Option<Errno>,
}

impl<'a> Guest<'a> {
    fn new(folder: &'a Folder) -> Self {
        let (inotify, counted) = (Inotify::begin().unwrap(), Counted::default());
        let guest = Self { folder, inotify, counted, directories: Mutex::default(), refused: None };
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

impl Directories for Guest<'_> {
    fn open_directory(&self, nodeid: u64) -> io::Result<File> {
        if let Some(error) = self.refused {
            return Err(error.into());
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

/// By fanotify, where it can be had. Else it is looked whether that is known, and what is used in its place.
fn fanotify(folder: &Folder) -> Option<Fanotify> {
    match Fanotify::begin(&folder.0, true) {
        Ok(fanotify) => Some(fanotify),
        Err(why) => {
            println!("{why}");
            assert!(HostChanges::begin(Way::Fanotify, &folder.0, true).is_err());
            assert!(HostChanges::begin(Way::Auto, &folder.0, true).unwrap().flags().intersects(Flags::INOTIFY));
            None
        }
    }
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
    assert!(HostChanges::begin(Way::Auto, place, true).unwrap().flags().intersects(Flags::INOTIFY));
    assert!(HostChanges::begin(Way::Fanotify, place, true).err().unwrap().contains("fanotify"));
    assert_eq!(HostChanges::begin(Way::None, place, true).unwrap().flags(), Flags::empty());
    let folder = Folder::new();
    let has_fanotify = Fanotify::begin(&folder.0, true).is_ok();
    let auto = HostChanges::begin(Way::Auto, &folder.0, true).unwrap().flags();
    assert_eq!(auto, if has_fanotify { Flags::FANOTIFY } else { Flags::INOTIFY });
}

/// A request has looked at something that is changed before it is told of.
#[test]
fn what_is_about_to_be_handed_out_is_waited_for() {
    let folder = Folder::new();
    fill(&folder);
    let content = Key::content(folder.ino("one/file"));
    let write = || fs::write(folder.at("one/file"), "more").unwrap();

    let guest = Guest::new(&folder);
    guest.look_up("one");
    let asking = guest.inotify.asking();
    let file = guest.open("one/file");
    write();
    let counted = waits_for(
        asking,
        || guest.count(),
        || {
            let _ = guest.inotify.handed_out(folder.ino("one"), c"file", file, &guest, &guest.counted);
        },
    );
    assert!(counted.keys.contains(&content));

    if fanotify(&folder).is_some() {
        let fanotify = Fanotify::begin(&folder.0, false).unwrap();
        let known = fanotify.known().unwrap();
        let asking = known.asking();
        write();
        let count = || {
            let counted = Counted::default();
            fanotify.count_others(NOBODY, &counted).unwrap();
            counted.take()
        };
        let counted = waits_for(asking, count, || known.add(file));
        assert!(counted.keys.contains(&content));
    }
}

/// Checks that `count` waits for a request, which tells what it hands out before it is done.
fn waits_for<G>(asking: G, count: impl FnOnce() -> Seen + Send, hand_out: impl FnOnce()) -> Seen {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(count()));
        assert!(is_done.recv_timeout(Duration::from_millis(100)).is_err(), "it does not wait");
        hand_out();
        drop(asking);
        is_done.recv_timeout(PATIENCE).unwrap()
    })
}
