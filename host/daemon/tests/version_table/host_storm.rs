//! The host changes names and files while a guest looks at them: what is still valid when it is quiet again must be
//! true.

use super::common::guest::{Guest, Machine};
use super::common::{Daemon, eventually};
use super::host::{daemon, ways};
use super::look::Look;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use virtio_fs_version_table::Key;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const LOOKUP: u32 = 1;
/// Every second one is a storm; in others the host changes a few things only, as what is changed all the time is not
/// valid.
const ROUNDS: u64 = 24;
const LOOKS: u64 = 100;

/// Numbers that only look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What is told of an inode: number, length, times of change with nanoseconds, mode and links.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Attributes([u64; 8]);

impl Attributes {
    /// From `fuse_entry_out`.
    fn told(reply: &[u8; 128]) -> Self {
        let long = |at: usize| u64::from_le_bytes(reply[at..at + 8].try_into().unwrap());
        let short = |at: usize| u64::from(u32::from_le_bytes(reply[at..at + 4].try_into().unwrap()));
        Self([long(40), long(48), long(72), long(80), short(92), short(96), short(100), short(104)])
    }

    fn at(path: &Path) -> Option<Self> {
        let is = fs::symlink_metadata(path).ok()?;
        let [mtime, ctime] = [(is.mtime(), is.mtime_nsec()), (is.ctime(), is.ctime_nsec())];
        let times = [mtime.0, ctime.0, mtime.1, ctime.1].map(i64::cast_unsigned);
        let (mode, links) = (is.mode().into(), is.nlink());
        Some(Self([is.ino(), is.len(), times[0], times[1], times[2], times[3], mode, links]))
    }

    fn ino(self) -> u64 {
        self.0[0]
    }
}

/// One change of the host, among these directories. Many fail, as names are not there.
fn change(numbers: &mut Numbers, directories: &[PathBuf]) -> io::Result<()> {
    let mut path = || numbers.of(directories).join(numbers.of(&NAMES));
    let (path, other) = (path(), path());
    match numbers.below(10) {
        0 | 1 => fs::write(&path, vec![b'x'; numbers.below(5000)]),
        2 => fs::rename(&path, &other),
        3 => fs::remove_file(&path),
        4 => fs::hard_link(&path, &other),
        5 => fs::create_dir(&path),
        6 => fs::remove_dir(&path),
        7 => File::options().write(true).open(&path).and_then(|file| file.set_len(numbers.below(9000) as u64)),
        8 => fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + numbers.below(8) as u32)),
        _ => {
            let new = path.with_extension("new");
            fs::write(&new, "new").and_then(|()| fs::rename(&new, &other))
        }
    }
}

/// What a guest was told, by which stamp.
struct Kept {
    stamp: u64,
    directory: usize,
    name: &'static str,
    /// `None`: no such name.
    told: Option<Attributes>,
}

fn look(guest: &mut Guest<'_>, table: Look<'_>, nodeids: &[u64], numbers: &mut Numbers) -> Kept {
    let (directory, name) = (numbers.below(nodeids.len()), *numbers.of(&NAMES));
    let stamp = table.clock();
    let (error, reply) = guest.ask::<128>(LOOKUP, nodeids[directory], format!("{name}\0").as_bytes());
    assert!(error == 0 || error == 2, "LOOKUP: {error}");
    Kept { stamp, directory, name, told: (error == 0).then(|| Attributes::told(&reply)) }
}

/// Checks what is valid; gives how much that is.
fn check(kept: &[Kept], table: Look<'_>, directories: &[PathBuf], what: &str) -> usize {
    let table = table.table().unwrap();
    let is_valid = |key, stamp| table.is_valid(table.slot(key), stamp);
    let inos = directories.iter().map(|path| fs::metadata(path).unwrap().ino()).collect::<Vec<_>>();
    let paths = directories.iter().flat_map(|path| NAMES.map(|name| path.join(name)));
    let now: HashMap<_, _> = paths.filter_map(|path| Attributes::at(&path)).map(|is| (is.ino(), is)).collect();
    let mut valid = 0;
    for entry in kept {
        let Kept { stamp, directory, name, told } = *entry;
        if is_valid(Key::name(inos[directory], name.as_bytes()), stamp) {
            let ino = Attributes::at(&directories[directory].join(name)).map(Attributes::ino);
            assert_eq!(told.map(Attributes::ino), ino, "{what}: where {name} in {directory} leads");
            valid += 1;
        }
        if let Some(told) = told
            && is_valid(Key::attributes(told.ino()), stamp)
        {
            // With no name it cannot be looked at here.
            now.get(&told.ino()).inspect(|is| assert_eq!(told, **is, "{what}: {name} in {directory}"));
            valid += 1;
        }
    }
    valid
}

fn storm(daemon: &Daemon, way: &str) {
    let directories = ["", "folder", "empty"].map(|name| daemon.file(name));
    let machine = Machine::connect(daemon);
    let mut guest = machine.boot();
    let table = Look::at(&machine);
    let nodeids = [1, guest.lookup("folder").nodeid, guest.lookup("empty").nodeid];
    let mut numbers = Numbers(1);
    let mut valid = 0;
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut numbers = Numbers(100 + round);
                let most = if round % 2 == 0 { usize::MAX } else { 1 + numbers.below(12) };
                let mut made = 0;
                while made < most && !is_over.load(Ordering::Relaxed) {
                    made += usize::from(change(&mut numbers, &directories).is_ok());
                }
            });
            kept.extend((0..LOOKS).map(|_| look(&mut guest, table, &nodeids, &mut numbers)));
            is_over.store(true, Ordering::Relaxed);
        });
        // Some that nothing happens to any more, unless an event is late.
        kept.extend((0..20).map(|_| look(&mut guest, table, &nodeids, &mut numbers)));
        let beat = table.table().unwrap().heartbeat();
        eventually("all is counted", || table.table().unwrap().heartbeat() > beat + 1);
        valid += check(&kept, table, &directories, &format!("{way}, round {round}"));
    }
    println!("{way}: {valid} looks found what was valid, and true");
    assert!(valid > 0, "{way}: nothing was valid");
    machine.reset(guest);
}

#[test]
fn what_is_valid_when_the_host_is_quiet_again_is_true() {
    for way in ways() {
        storm(&daemon(way, &[]), way);
    }
}
