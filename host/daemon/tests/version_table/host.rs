//! What the host changes by itself, as guests see it.

use super::common::guest::{Guest, Machine};
use super::common::{Daemon, Folder, PATIENCE, eventually};
use super::look::Look;
use super::requests::{RDWR, ROOT};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};
use virtio_fs_version_table::{Flags, Key, MARKED};

/// A daemon that finds changes in this way, on the file `file`, the file `folder/inner`, and the directory `empty`.
pub(crate) fn daemon(way: &str, more: &[&str]) -> Daemon {
    Daemon::start_on(&[&["--version-table", "516K", "--host-changes", way], more].concat(), |share| {
        fs::create_dir(share.join("folder")).unwrap();
        fs::create_dir(share.join("empty")).unwrap();
        ["file", "folder/inner"].iter().for_each(|name| fs::write(share.join(name), "text").unwrap());
    })
}

/// The ways that can be had here, by what the daemon says when it chooses.
pub(crate) fn ways() -> Vec<&'static str> {
    let daemon = daemon("auto", &[]);
    let machine = Machine::connect(&daemon);
    let guest = machine.boot();
    let flags = Look::at(&machine).table().unwrap().flags();
    machine.reset(guest);
    if daemon.log().contains("found by inotify: no fanotify: ") {
        println!("there is no fanotify here: {}", daemon.log());
        assert_eq!(flags, Flags::INOTIFY);
        vec!["inotify"]
    } else {
        assert_eq!(flags, Flags::FANOTIFY);
        vec!["fanotify", "inotify"]
    }
}

fn sandboxes() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["namespace", "chroot", "none"] } else { &["namespace", "none"] }
}

fn ino(daemon: &Daemon, name: &str) -> u64 {
    fs::symlink_metadata(daemon.file(name)).unwrap().ino()
}

/// Changes something on the host, and waits until these keys are not valid any more, for other reasons than the floor.
fn sees(look: Look<'_>, what: &str, keys: &[Key], change: impl FnOnce()) {
    let table = look.table().unwrap();
    let (stamp, floor) = (table.sample().clock, look.floor());
    change();
    let begin = Instant::now();
    for key in keys {
        while table.is_valid(table.slot(*key), stamp) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {key:?} is still valid");
            std::thread::yield_now();
        }
    }
    assert_eq!(look.floor(), floor, "{what}: the floor");
}

fn each_way(test: impl Fn(&str, &Daemon, Look<'_>, &mut Guest<'_>)) {
    for way in ways() {
        let daemon = daemon(way, &[]);
        let machine = Machine::connect(&daemon);
        let mut guest = machine.boot();
        test(way, &daemon, Look::at(&machine), &mut guest);
        machine.reset(guest);
    }
}

#[test]
fn what_the_host_changes_is_seen_in_every_sandbox() {
    for way in ways() {
        for sandbox in sandboxes() {
            let daemon = daemon(way, &["--sandbox", sandbox]);
            let machine = Machine::connect(&daemon);
            let mut guest = machine.boot();
            let look = Look::at(&machine);
            let (folder, _) = (guest.lookup("folder"), guest.lookup("file"));
            guest.lookup_in(folder.nodeid, "inner");
            guest.lookup("empty");
            let what = format!("{way} in {sandbox}");
            let [root, file, inner, empty] = ["", "file", "folder/inner", "empty"].map(|name| ino(&daemon, name));
            let both = |ino| [Key::attributes(ino), Key::content(ino)];
            let names =
                |directory: u64, name: &str| [&both(directory)[..], &[Key::name(directory, name.as_bytes())]].concat();
            sees(look, &what, &both(file), || fs::write(daemon.file("file"), "more").unwrap());
            sees(look, &what, &both(inner), || fs::write(daemon.file("folder/inner"), "more").unwrap());
            sees(look, &what, &names(folder.ino, "new"), || fs::write(daemon.file("folder/new"), "").unwrap());
            let moved = [names(folder.ino, "inner"), names(root, "moved"), vec![Key::attributes(inner)]].concat();
            let rename = || fs::rename(daemon.file("folder/inner"), daemon.file("moved")).unwrap();
            sees(look, &what, &moved, rename);
            sees(look, &what, &both(inner), || fs::write(daemon.file("moved"), "again").unwrap());
            let parent = [names(empty, ".."), names(folder.ino, "empty")].concat();
            let rename = || fs::rename(daemon.file("empty"), daemon.file("folder/empty")).unwrap();
            sees(look, &what, &parent, rename);
            let removed = [names(folder.ino, "empty"), both(empty).to_vec()].concat();
            sees(look, &what, &removed, || fs::remove_dir(daemon.file("folder/empty")).unwrap());
            sees(look, &what, &names(root, "file"), || fs::remove_file(daemon.file("file")).unwrap());
            machine.reset(guest);
        }
    }
}

#[test]
fn a_change_on_the_host_is_seen_soon() {
    each_way(|way, daemon, look, guest| {
        let file = guest.lookup("file");
        let opened = File::options().write(true).open(daemon.file("file")).unwrap();
        let table = look.table().unwrap();
        let mut times: Vec<_> = (0..20)
            .map(|_| {
                // Who tends the table waits again, soon after a beat.
                let beat = table.heartbeat();
                eventually("it beats", || table.heartbeat() > beat);
                let begin = Instant::now();
                sees(look, way, &[Key::content(file.ino)], || opened.write_all_at(b"more", 0).unwrap());
                begin.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        println!(
            "{way}: a write is seen {} µs after it began (median; the longest of 20: {} µs)",
            times[10], times[19]
        );
        // It does not wait for the next beat.
        assert!(times[10] < 50_000, "{way}: {times:?}");
    });
}

#[test]
fn what_guests_change_themselves_is_counted_once_by_fanotify() {
    if !ways().contains(&"fanotify") {
        return;
    }
    for sandbox in sandboxes() {
        let daemon = daemon("fanotify", &["--sandbox", sandbox]);
        let machine = Machine::connect(&daemon);
        let mut guest = machine.boot();
        let look = Look::at(&machine);
        let table = look.table().unwrap();
        let file = guest.lookup("file");
        let handle = guest.open(file.nodeid, RDWR);
        let begin = look.clock();
        for _ in 0..10 {
            guest.write(file.nodeid, handle, 0).unwrap();
        }
        guest.mkdir(ROOT, "new").unwrap();
        // What nobody was told of is not counted for this guest.
        fs::write(daemon.file("folder/inner"), "more").unwrap();
        let beat = table.heartbeat();
        eventually("all is counted", || table.heartbeat() > beat + 1);
        assert_eq!(look.clock(), begin + 11, "{sandbox}");
        machine.reset(guest);
    }
}

#[test]
fn directories_that_guests_make_are_watched() {
    each_way(|way, daemon, look, guest| {
        let made = guest.mkdir(ROOT, "made").unwrap();
        let inside = guest.mkdir(made.nodeid, "inside").unwrap();
        let keys = [Key::name(inside.ino, b"new"), Key::content(inside.ino)];
        sees(look, way, &keys, || fs::write(daemon.file("made/inside/new"), "").unwrap());
        let new = guest.lookup_in(inside.nodeid, "new");
        sees(look, way, &[Key::content(new.ino)], || fs::write(daemon.file("made/inside/new"), "more").unwrap());
    });
}

#[test]
fn with_inotify_what_has_several_links_is_not_believed_until_it_is_forgotten() {
    let daemon = daemon("inotify", &[]);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let look = Look::at(&machine);
    let both = |ino| [Key::attributes(ino), Key::content(ino)];
    fs::hard_link(daemon.file("file"), daemon.file("empty/link")).unwrap();
    let file = guest.lookup("file");
    assert_eq!(look.versions(&both(file.ino)), [MARKED; 2]);
    guest.forget(file.nodeid);
    // The next request comes after it in the queue.
    let inner = guest.lookup("folder").nodeid;
    let inner = guest.lookup_in(inner, "inner");
    assert!(look.versions(&both(file.ino)).iter().all(|version| *version <= look.clock()));
    assert!(look.versions(&both(inner.ino)).iter().all(|version| *version <= look.clock()));
    // One that the host makes where it is watched.
    fs::hard_link(daemon.file("folder/inner"), daemon.file("folder/link")).unwrap();
    eventually("it is marked", || look.versions(&both(inner.ino)) == [MARKED; 2]);
    machine.reset(guest);
    let guest = machine.boot();
    assert!(look.versions(&both(inner.ino)).iter().all(|version| *version <= look.clock()), "the session has ended");
    machine.reset(guest);
}

#[test]
fn who_does_not_count_what_the_table_says_is_counted_does_not_advance_its_heartbeat() {
    let folder = Folder::new();
    let table = folder.path().join("table");
    let table = table.to_str().unwrap();
    let first = Daemon::start(&["--version-table", table, "--host-changes", "inotify"]);
    let share = first.share();
    let share = ["--shared-dir", share.to_str().unwrap()];
    let second = Daemon::start(&[&["--version-table", table, "--host-changes", "none"], &share[..]].concat());
    assert!(second.log().contains("others count more"), "{}", second.log());
    let machine = Machine::connect(&second);
    let guest = machine.boot();
    let look = Look::at(&machine);
    let seen = look.table().unwrap();
    assert_eq!((seen.flags(), look.floor()), (Flags::INOTIFY, 1));
    let beat = seen.heartbeat();
    eventually("the first one advances it", || seen.heartbeat() > beat + 1);
    first.signal(Signal::KILL);
    let _share = first.ends();
    let stopped = seen.heartbeat();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(seen.heartbeat(), stopped);
    machine.reset(guest);
}
