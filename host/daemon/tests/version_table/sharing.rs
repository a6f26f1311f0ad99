//! Several servers of one table, and those that come after.

use super::common::guest::{Found, Guest, Machine, PAGE, Setup};
use super::common::{Daemon, Folder, eventually, program, sandbox};
use super::look::Look;
use super::requests::{RDWR, ROOT};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use virtio_fs::{CacheMode, CacheOptions, MountOptions, VirtioFs};
use virtio_fs_version_table::Key;
use virtio_fs_vhost_user::GuestHal;

const MARKED: u64 = u64::MAX;

/// A directory, and where the table of its servers is.
struct Place(Folder);

impl Place {
    fn new() -> Self {
        let folder = Folder::new();
        fs::create_dir(folder.path().join("share")).unwrap();
        fs::write(folder.path().join("share/file"), [7; PAGE as usize]).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn table(&self) -> PathBuf {
        self.path("table").into()
    }

    fn serve(&self) -> Daemon {
        self.serve_with(&[])
    }

    fn serve_with(&self, options: &[&str]) -> Daemon {
        let (share, table) = (self.path("share"), self.path("table"));
        let all = ["--shared-dir", &share, "--version-table", &table, "--host-changes", "none", "--window", "64K"];
        Daemon::start(&[&all, options].concat())
    }

    fn ino(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().ino()
    }
}

fn epoch(look: Look<'_>) -> u64 {
    look.table().expect("a table").epoch()
}

fn versions(look: Look<'_>, file: Found) -> Vec<u64> {
    look.versions(&[Key::content(file.ino), Key::attributes(file.ino)])
}

#[test]
fn what_one_server_counts_the_guest_of_another_sees() {
    let place = Place::new();
    let daemons = [place.serve(), place.serve()];
    let machines = daemons.each_ref().map(Machine::connect);
    let [mut one, mut two] = machines.each_ref().map(Machine::boot);
    let [first, second] = machines.each_ref().map(Look::at);
    assert_eq!(epoch(first), epoch(second));
    let root = place.ino("share");
    let names = |name: &str| [Key::name(root, name.as_bytes()), Key::content(root), Key::attributes(root)];
    second.raises("CREATE", &names("x"), || one.create(ROOT, "x", RDWR).unwrap());
    let x = two.lookup("x");
    let keys = [&names("x")[..], &names("y"), &[Key::attributes(x.ino)]].concat();
    first.raises("RENAME", &keys, || two.rename((ROOT, "x"), (ROOT, "y")).unwrap());
    let keys = [&names("y")[..], &[Key::attributes(x.ino)]].concat();
    second.raises("UNLINK", &keys, || one.unlink(ROOT, "y").unwrap());
    machines[0].reset(one);
    machines[1].reset(two);
}

#[test]
fn changes_of_the_same_names_by_two_servers_are_all_counted() {
    const ROUNDS: usize = 1000;
    let place = Place::new();
    let daemons = [place.serve(), place.serve()];
    let machines = daemons.each_ref().map(Machine::connect);
    let guest = machines[0].boot();
    let look = Look::at(&machines[0]);
    let before = (look.clock(), look.floor());
    machines[0].reset(guest);
    // Both remove and replace what the other has made, at the same time.
    let churn = |machine: &Machine| {
        let mut guest = machine.boot();
        let one_round = |round| {
            let made = guest.mknod(ROOT, "x").is_ok();
            let moved = guest.rename((ROOT, "x"), (ROOT, ["y", "z"][round % 2])).is_ok();
            let removed = guest.unlink(ROOT, "y").is_ok();
            u64::from(made) + u64::from(moved) + u64::from(removed)
        };
        let changes: u64 = (0..ROUNDS).map(one_round).sum();
        machine.reset(guest);
        changes
    };
    let changes: u64 = std::thread::scope(|scope| {
        let threads = machines.each_ref().map(|machine| scope.spawn(|| churn(machine)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let guest = machines[0].boot();
    // Each took a number, and each was known: without the locks a name would have led elsewhere than it was seen to.
    assert_eq!((look.clock(), look.floor()), (before.0 + changes, before.1));
    machines[0].reset(guest);
}

/// Locks of files do not hold threads of the same process apart.
#[test]
fn changes_of_the_same_names_by_the_threads_of_one_server_are_all_counted() {
    const ROUNDS: usize = 1000;
    let place = Place::new();
    let daemon = place.serve_with(&["--request-queues", "4"]);
    let (transport, platform) = virtio_fs_vhost_user::connect(daemon.socket(), "share").unwrap();
    let options = MountOptions {
        cache: CacheOptions { mode: CacheMode::None, ..CacheOptions::default() },
        ..MountOptions::default()
    };
    let mount = VirtioFs::mount::<GuestHal>(transport, platform, &options).unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mount = &mount;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // What others have taken away meanwhile is missed.
                    let _ = mount.create("x");
                    let _ = mount.rename("x", ["y", "z"][(number + round) % 2]);
                    let _ = mount.remove_file("y");
                }
            });
        }
    });
    mount.unmount().unwrap();
    let word = |place_of: u64| {
        let mut bytes = [0; 8];
        File::open(place.table()).unwrap().read_exact_at(&mut bytes, place_of).unwrap();
        u64::from_le_bytes(bytes)
    };
    assert_eq!(word(192), 0, "the floor");
    assert!(word(64) > 2 * ROUNDS as u64 && word(64) == word(128), "clock and settled");
}

#[test]
fn who_joins_raises_the_floor_before_it_serves() {
    let place = Place::new();
    let first = place.serve();
    let machine = Machine::connect(&first);
    let guest = machine.boot();
    let look = Look::at(&machine);
    assert_eq!((look.clock(), look.floor()), (0, 0));
    let _second = place.serve();
    assert_eq!((look.clock(), look.floor()), (1, 1));
    machine.reset(guest);
}

#[test]
fn who_serves_alone_makes_a_new_table_and_nothing_of_the_old_one_is_valid() {
    let place = Place::new();
    let first = place.serve();
    let machine = Machine::connect(&first);
    let guest = machine.boot();
    let before = epoch(Look::at(&machine));
    machine.reset(guest);
    drop(machine);
    let old = File::open(place.table()).unwrap();
    let floor = |file: &File| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 192).unwrap();
        u64::from_le_bytes(bytes)
    };
    first.signal(Signal::KILL);
    drop(first.ends());
    assert_eq!(floor(&old), 0);
    let second = place.serve();
    assert_eq!((floor(&old), floor(&File::open(place.table()).unwrap())), (u64::MAX, 0));
    let machine = Machine::connect(&second);
    let guest = machine.boot();
    assert_ne!(epoch(Look::at(&machine)), before);
    machine.reset(guest);
}

#[test]
fn a_server_that_is_killed_leaves_the_table_to_the_others() {
    let place = Place::new();
    let (first, second) = (place.serve(), place.serve());
    let machine = Machine::connect(&second);
    let mut guest = machine.boot();
    let look = Look::at(&machine);
    let table = look.table().unwrap();
    first.signal(Signal::KILL);
    drop(first.ends());
    let beat = table.heartbeat();
    eventually("the heartbeat moves", || table.heartbeat() > beat + 2);
    guest.mkdir(ROOT, "new").unwrap();
    let before = look.clock();
    let third = place.serve();
    assert_eq!((look.floor(), look.clock()), (before + 1, before + 1));
    let other = Machine::connect(&third);
    let other_guest = other.boot();
    assert_eq!(epoch(Look::at(&other)), epoch(look));
    other.reset(other_guest);
    machine.reset(guest);
}

#[test]
fn a_mark_is_gone_when_no_server_has_the_file_mapped_and_that_of_a_killed_one_stays() {
    let place = Place::new();
    let daemons = [place.serve(), place.serve()];
    let machines = daemons.each_ref().map(Machine::connect);
    let [mut one, mut two] = machines.each_ref().map(Machine::boot);
    let look = Look::at(&machines[1]);
    let (file, same) = (one.lookup("file"), two.lookup("file"));
    let map = |guest: &mut Guest<'_>, file: Found| guest.set_up(file.nodeid, Setup::pages(0, 1, 0)).unwrap();
    map(&mut one, file);
    map(&mut two, same);
    one.remove(&[(0, PAGE)]).unwrap();
    assert_eq!(versions(look, same), [MARKED; 2]);
    two.remove(&[(0, PAGE)]).unwrap();
    assert!(versions(look, same).iter().all(|version| *version <= look.clock()));

    map(&mut one, file);
    let [first, second] = daemons;
    first.signal(Signal::KILL);
    drop(first.ends());
    assert_eq!(versions(look, same), [MARKED; 2]);
    map(&mut two, same);
    two.remove(&[(0, PAGE)]).unwrap();
    assert_eq!(versions(look, same), [MARKED; 2]);
    machines[1].reset(two);
    drop(machines);
    // All begins anew with the table.
    second.signal(Signal::TERM);
    drop(second.ends());
    let third = place.serve();
    let machine = Machine::connect(&third);
    let mut guest = machine.boot();
    let (look, file) = (Look::at(&machine), guest.lookup("file"));
    map(&mut guest, file);
    guest.remove(&[(0, PAGE)]).unwrap();
    assert!(versions(look, file).iter().all(|version| *version <= look.clock()));
    machine.reset(guest);
}

#[test]
fn the_files_of_a_table_are_for_this_user_and_what_is_no_table_is_left_alone() {
    let place = Place::new();
    drop(place.serve());
    for name in ["table", "table.servers"] {
        assert_eq!(fs::metadata(place.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    assert!(fs::metadata(place.path("table.new")).is_err());
    assert_eq!(fs::metadata(place.table()).unwrap().len(), 4096 + (8 << 16));
    let letter = "dear reader, ".repeat(1000);
    fs::write(place.path("letter"), &letter).unwrap();
    let missing = place.path("missing/table");
    for (path, why) in
        [(&place.path("letter"), "no version table"), (&place.path("share"), "directory"), (&missing, "No such")]
    {
        let output = program()
            .args(["--shared-dir", &place.path("share"), "--socket-path", &place.path("socket")])
            .args(["--sandbox", sandbox(), "--host-changes", "none", "--version-table", path])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("--version-table") && error.contains(path.as_str()) && error.contains(why), "{error}");
    }
    assert_eq!(fs::read(place.path("letter")).unwrap(), letter.as_bytes());
}

#[test]
fn a_table_that_somebody_removes_is_believed_no_more() {
    for name in ["table", "table.servers"] {
        let place = Place::new();
        let daemon = place.serve();
        let machine = Machine::connect(&daemon);
        let guest = machine.boot();
        let table = Look::at(&machine).table().expect("a table");
        assert!(!table.is_void(0), "{name}");
        fs::remove_file(place.path(name)).unwrap();
        eventually("all that guests keep is void", || table.is_void(u64::MAX - 1));
        machine.reset(guest);
    }
}
