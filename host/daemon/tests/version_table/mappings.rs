//! Mappings for writing: their inodes' slots are marked for as long as there is one.

use super::common::guest::{Found, Guest, Machine, PAGE, READ, Setup};
use super::common::{Daemon, eventually};
use super::look::Look;
use super::requests::RDWR;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use virtio_fs_version_table::Key;

const MARKED: u64 = u64::MAX;
const OPTIONS: [&str; 6] = ["--host-changes", "none", "--version-table", "516K", "--window", "64K"];

fn fill(share: &Path) {
    ["a", "b"].iter().for_each(|name| fs::write(share.join(name), [7; 4 * PAGE as usize]).unwrap());
}

fn both(file: Found) -> [Key; 2] {
    [Key::content(file.ino), Key::attributes(file.ino)]
}

fn is_marked(look: Look<'_>, file: Found) -> bool {
    let versions = look.versions(&both(file));
    assert_eq!(versions[0] == MARKED, versions[1] == MARKED);
    versions[0] == MARKED
}

/// Checks that a request takes the marks away: the slots have the last numbers.
fn unmarks(look: Look<'_>, file: Found, request: impl FnOnce()) {
    assert!(is_marked(look, file));
    let before = look.clock();
    request();
    let mut versions = look.versions(&both(file));
    versions.sort_unstable();
    assert_eq!((versions, look.clock()), (vec![before + 1, before + 2], before + 2));
}

fn with_guest(test: impl FnOnce(Look<'_>, &mut Guest<'_>)) {
    let daemon = Daemon::start_on(&OPTIONS, fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    test(Look::at(&machine), &mut guest);
    machine.reset(guest);
}

#[test]
fn a_mapping_for_writing_is_marked_until_it_is_removed() {
    with_guest(|look, guest| {
        let [a, b] = ["a", "b"].map(|name| guest.lookup(name));
        guest.set_up(a.nodeid, Setup::pages(0, 2, 0)).unwrap();
        assert!(is_marked(look, a) && !is_marked(look, b));
        // It stays marked whatever else changes the file.
        let handle = guest.open(a.nodeid, RDWR);
        guest.write(a.nodeid, handle, 0).unwrap();
        assert!(is_marked(look, a));
        unmarks(look, a, || guest.remove(&[(0, 2 * PAGE)]).unwrap());
        // Where nothing is mapped any more, nothing is to be unmarked.
        look.leaves_all("REMOVEMAPPING", || guest.remove(&[(0, 2 * PAGE)]).unwrap());
    });
}

#[test]
fn mappings_for_reading_are_not_marked_and_failures_leave_no_mark() {
    with_guest(|look, guest| {
        let a = guest.lookup("a");
        look.leaves_all("for reading", || {
            guest.set_up(a.nodeid, Setup { flags: READ, ..Setup::pages(0, 1, 0) }).unwrap();
            guest.remove(&[(0, PAGE)]).unwrap();
        });
        guest.set_up(a.nodeid, Setup::pages(0, 1, 9)).unwrap_err();
        assert!(!is_marked(look, a));
    });
}

#[test]
fn the_last_of_several_mappings_takes_the_mark_away() {
    with_guest(|look, guest| {
        let a = guest.lookup("a");
        guest.set_up(a.nodeid, Setup::pages(0, 1, 0)).unwrap();
        guest.set_up(a.nodeid, Setup::pages(4, 3, 0)).unwrap();
        guest.remove(&[(0, PAGE)]).unwrap();
        assert!(is_marked(look, a));
        // A hole in the middle of the other leaves two.
        guest.remove(&[(5 * PAGE, PAGE)]).unwrap();
        assert!(is_marked(look, a));
        guest.remove(&[(4 * PAGE, PAGE)]).unwrap();
        assert!(is_marked(look, a));
        unmarks(look, a, || guest.remove(&[(6 * PAGE, PAGE)]).unwrap());
    });
}

#[test]
fn another_mapping_in_its_place_takes_the_mark_away() {
    with_guest(|look, guest| {
        let [a, b] = ["a", "b"].map(|name| guest.lookup(name));
        guest.set_up(a.nodeid, Setup::pages(1, 2, 0)).unwrap();
        unmarks(look, a, || guest.set_up(b.nodeid, Setup::pages(0, 4, 0)).unwrap());
        unmarks(look, b, || guest.set_up(b.nodeid, Setup { flags: READ, ..Setup::pages(0, 4, 0) }).unwrap());
    });
}

#[test]
fn the_end_of_a_session_takes_the_marks_away() {
    with_guest(|look, guest| {
        let a = guest.lookup("a");
        guest.set_up(a.nodeid, Setup::pages(0, 1, 0)).unwrap();
        unmarks(look, a, || guest.destroy());
        guest.init(0, 0);
        let a = guest.lookup("a");
        guest.set_up(a.nodeid, Setup::pages(0, 1, 0)).unwrap();
        unmarks(look, a, || {
            guest.init(0, 0);
        });
    });
}

#[test]
fn a_reset_and_the_end_of_a_front_end_take_the_marks_away() {
    let mut daemon = Daemon::start_on(&OPTIONS, fill);
    let machine = Machine::connect(&daemon);
    let look = Look::at(&machine);
    let mut guest = machine.boot();
    let a = guest.lookup("a");
    guest.set_up(a.nodeid, Setup::pages(0, 1, 0)).unwrap();
    assert!(is_marked(look, a));
    machine.reset(guest);
    let mut guest = machine.boot();
    assert!(!is_marked(look, a));
    let a = guest.lookup("a");
    guest.set_up(a.nodeid, Setup::pages(0, 1, 0)).unwrap();
    assert!(is_marked(look, a));
    // Without a reset, as a machine that is switched off.
    drop(machine);
    daemon.waits_for_a_front_end(2);
    let machine = Machine::connect(&daemon);
    let guest = machine.boot();
    eventually("the mark is gone", || !is_marked(Look::at(&machine), a));
    machine.reset(guest);
}

#[test]
fn a_slot_that_two_files_share_is_marked_until_neither_is_mapped() {
    const FILES: usize = 300;
    let daemon = Daemon::start_on(&["--host-changes", "none", "--version-table", "8K", "--window", "64K"], |share| {
        (0..FILES).for_each(|name| fs::write(share.join(name.to_string()), [7; PAGE as usize]).unwrap());
    });
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let look = Look::at(&machine);
    let table = look.table().unwrap();
    let mut content: HashMap<_, Found> = HashMap::new();
    // With 300 files in 512 slots there are two that share one.
    let (first, second) = (0..FILES)
        .find_map(|name| {
            let file = guest.lookup(&name.to_string());
            content.insert(table.slot(Key::content(file.ino)), file).map(|other| (other, file))
        })
        .expect("two files whose content is in the same slot");
    let shared = [Key::content(first.ino)];
    guest.set_up(first.nodeid, Setup::pages(0, 1, 0)).unwrap();
    guest.set_up(second.nodeid, Setup::pages(1, 1, 0)).unwrap();
    guest.remove(&[(0, PAGE)]).unwrap();
    assert_eq!(look.versions(&shared), [MARKED]);
    guest.remove(&[(PAGE, PAGE)]).unwrap();
    assert!(look.versions(&shared)[0] <= look.clock());
    machine.reset(guest);
}

#[test]
fn a_file_that_was_longer_for_the_moment_of_a_mapping_has_changed() {
    let daemon = Daemon::start_on(&[&OPTIONS[..], &["--map-past-eof"]].concat(), fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let look = Look::at(&machine);
    let a = guest.lookup("a");
    let reading = |pages| Setup { flags: READ, ..Setup::pages(0, pages, 0) };
    look.leaves_all("within the file", || guest.set_up(a.nodeid, reading(4)).unwrap());
    look.raises("behind its end", &both(a), || guest.set_up(a.nodeid, reading(8)).unwrap());
    machine.reset(guest);
}
