//! That the table is there, where, and for how long.

use super::common::guest::{Machine, PAGE, Setup};
use super::common::{Daemon, eventually};
use super::look::Look;
use super::requests::{RDWR, ROOT};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::FileExt;
use virtio_fs::virtio::Transport;
use virtio_fs_version_table::{Flags, Key};

#[test]
fn a_table_has_as_many_slots_as_fit_and_its_region_is_as_long() {
    for (size, log2_slots) in [("8K", 9), ("12287", 9), ("12K", 10), ("516K", 16), ("1M", 16)] {
        let daemon = Daemon::start(&["--host-changes", "none", "--version-table", size]);
        let machine = Machine::connect(&daemon);
        let guest = machine.boot();
        let look = Look::at(&machine);
        let table = look.table().expect("a table");
        assert_eq!((table.log2_slots(), look.bytes()), (log2_slots, 4096 + (8 << log2_slots)), "{size}");
        assert_ne!(table.epoch(), 0);
        assert!(!table.flags().intersects(Flags::FANOTIFY.union(Flags::INOTIFY)));
        // No window, and no mapping of it.
        assert_eq!((guest.window_bytes(), daemon.stat("maps live"), daemon.stat("maps made")), (None, 0, 0));
        machine.reset(guest);
    }
}

#[test]
fn the_table_is_there_after_each_init_and_is_the_same_one() {
    let daemon = Daemon::start(&["--host-changes", "none", "--version-table", "8K"]);
    let machine = Machine::connect(&daemon);
    let look = Look::at(&machine);
    assert!(look.table().is_none());
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let mut guest = machine.boot_without_session();
        assert!(look.table().is_none(), "not before INIT");
        for _ in 0..2 {
            guest.init(0, 0);
            guest.mkdir(ROOT, &format!("{}", epochs.len())).unwrap();
            epochs.push(look.table().expect("a table").epoch());
            assert_eq!(look.clock(), epochs.len() as u64);
        }
        guest.destroy();
        guest.init(0, 0);
        assert_eq!(look.table().expect("a table").epoch(), epochs[0]);
        machine.reset(guest);
        assert!(look.table().is_none(), "a reset takes it away");
    }
    assert_eq!(epochs, [epochs[0]; 4]);
}

#[test]
fn the_table_is_there_for_the_next_front_end() {
    let mut daemon = Daemon::start(&["--host-changes", "none", "--version-table", "8K", "--window", "64K"]);
    let before = daemon.descriptors();
    let mut epochs = Vec::new();
    for round in 1..=3 {
        let machine = Machine::connect(&daemon);
        machine.boot();
        epochs.push(Look::at(&machine).table().expect("a table").epoch());
        drop(machine);
        daemon.waits_for_a_front_end(1 + round);
        eventually("descriptors are closed", || daemon.descriptors() == before);
    }
    assert_eq!(epochs, [epochs[0]; 3]);
}

#[test]
fn a_front_end_that_can_shows_the_table_for_reading_only() {
    let daemon = Daemon::start(&["--host-changes", "none", "--version-table", "8K"]);
    let machine = Machine::connect(&daemon);
    let guest = machine.boot();
    let start = format!("{:x}-", Look::at(&machine).start() as usize);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&start)).expect("a mapping");
    assert_eq!(line.split(' ').nth(1), Some("r--s"), "{line}");
    machine.reset(guest);
}

#[test]
fn window_and_table_do_not_count_for_each_other_and_fill_a_power_of_two() {
    let daemon = Daemon::start_on(
        &["--host-changes", "none", "--version-table", "8K", "--window", "20K", "--max-maps", "1"],
        |share| {
            fs::write(share.join("file"), [7; PAGE as usize]).unwrap();
        },
    );
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let lengths = [0, 1, 2, 3].map(|id| machine.transport.shared_memory(id).map(|region| region.length_bytes));
    assert_eq!(lengths, [Some(20 << 10), Some(8 << 10), Some(4 << 10), None]);
    let file = guest.lookup("file");
    guest.set_up(file.nodeid, Setup::pages(4, 1, 0)).unwrap();
    assert_eq!((guest.see(4 * PAGE), daemon.stat("maps live"), daemon.stat("maps made")), (7, 1, 1));
    assert!(Look::at(&machine).table().is_some());
    machine.reset(guest);
}

#[test]
fn the_heartbeat_moves_ten_times_a_second() {
    // Of two processes only one would be stopped.
    let daemon = Daemon::start(&["--sandbox", "none", "--host-changes", "none", "--version-table", "8K"]);
    let machine = Machine::connect(&daemon);
    let guest = machine.boot();
    let table = Look::at(&machine).table().unwrap();
    let (start, first) = (std::time::Instant::now(), table.heartbeat());
    eventually("it moves", || table.heartbeat() >= first + 5);
    assert!(start.elapsed().as_millis() > 300, "not much faster");
    daemon.signal(Signal::STOP);
    let stopped = table.heartbeat();
    std::thread::sleep(std::time::Duration::from_millis(300));
    // One that was under way.
    assert!(table.heartbeat() <= stopped + 1);
    daemon.signal(Signal::CONT);
    eventually("it moves again", || table.heartbeat() > stopped + 1);
    machine.reset(guest);
}

/// Some front ends map for writing whatever they are told. It is the same memory.
#[test]
fn a_guest_that_writes_into_the_table_harms_no_server() {
    let folder = super::common::Folder::new();
    let path = folder.path().join("table");
    let daemon = Daemon::start_on(
        &[
            "--host-changes",
            "none",
            "--version-table",
            path.to_str().unwrap(),
            "--version-table-size",
            "8K",
            "--window",
            "64K",
        ],
        |share| fs::write(share.join("file"), [7; PAGE as usize]).unwrap(),
    );
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let machine = Machine::connect(&daemon);
    let mut state = 1_u64;
    for round in 0..20 {
        let mut guest = machine.boot();
        // Random bytes, and then those that servers look for themselves.
        let noise: Vec<u8> = (0..8192)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                if round % 4 == 0 { 0xff } else { (state >> 56) as u8 }
            })
            .collect();
        file.write_all_at(&noise, 0).unwrap();
        let name = format!("{round}");
        let made = guest.create(ROOT, &name, RDWR).unwrap();
        let handle = guest.open(made.nodeid, RDWR);
        guest.write(made.nodeid, handle, 0).unwrap();
        let found = guest.lookup("file");
        guest.set_up(found.nodeid, Setup::pages(0, 1, 0)).unwrap();
        file.write_all_at(&noise, 0).unwrap();
        assert_eq!(guest.see(0), 7);
        guest.remove(&[(0, PAGE)]).unwrap();
        guest.rename((ROOT, &name), (ROOT, "moved")).unwrap();
        guest.unlink(ROOT, "moved").unwrap();
        machine.reset(guest);
    }
    assert_eq!(file.metadata().unwrap().len(), 8192);
    // What is lost is what guests see: their keys are where they were.
    let mut guest = machine.boot();
    file.write_all_at(&[0; 8192], 0).unwrap();
    let found = guest.lookup("file");
    let handle = guest.open(found.nodeid, RDWR);
    guest.write(found.nodeid, handle, 0).unwrap();
    let slot = Key::content(found.ino).hash() >> (64 - 9);
    let mut version = [0; 8];
    fs::File::open(&path).unwrap().read_exact_at(&mut version, 4096 + 8 * slot).unwrap();
    assert_eq!(u64::from_le_bytes(version), 1);
    machine.reset(guest);
}
