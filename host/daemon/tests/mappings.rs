//! SETUPMAPPING and REMOVEMAPPING, asked by a guest that is made by hand.

mod common;

use common::Daemon;
use common::guest::{Found, Guest, MAP_ALIGNMENT, Machine, NO_HANDLE, PAGE, READ, Setup, WRITE, errno};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Pages full of `first`, `first + 1` and so on.
fn pages(first: u8, count: u8) -> Vec<u8> {
    (first..first + count).flat_map(|byte| [byte; PAGE as usize]).collect()
}

fn fill(share: &Path) {
    fs::write(share.join("file"), pages(1, 8)).unwrap();
    fs::write(share.join("other"), pages(101, 8)).unwrap();
}

/// A guest in front of a daemon with a window of 16 pages, and the files `file` and `other`.
fn with_guest(options: &[&str], test: impl FnOnce(&Daemon, &mut Guest<'_>, Found, Found)) {
    let daemon = Daemon::start_on(&[&["--window", "64K"], options].concat(), fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let [file, other] = ["file", "other"].map(|name| guest.lookup(name));
    test(&daemon, &mut guest, file, other);
    machine.reset(guest);
}

fn host_file(daemon: &Daemon, name: &str) -> fs::File {
    fs::File::options().read(true).write(true).open(daemon.file(name)).unwrap()
}

fn byte_at(file: &fs::File, offset: u64) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0]
}

#[test]
fn the_reply_to_init_says_what_mappings_are_aligned_to_if_it_is_asked_and_there_is_a_window() {
    let with_window = Daemon::start(&["--window", "1M", "--map-alignment", "64K"]);
    let machine = Machine::connect(&with_window);
    let mut guest = machine.boot_without_session();
    let (flags, flags2, alignment) = guest.init(MAP_ALIGNMENT, common::guest::HAS_INODE_DAX);
    let dax = (flags & MAP_ALIGNMENT, flags2 & common::guest::HAS_INODE_DAX, alignment);
    assert_eq!(dax, (MAP_ALIGNMENT, common::guest::HAS_INODE_DAX, 16));
    let (flags, flags2, alignment) = guest.init(0, 0);
    assert_eq!((flags & MAP_ALIGNMENT, flags2 & common::guest::HAS_INODE_DAX, alignment), (0, 0, 0));
    machine.reset(guest);

    let without = Daemon::start_on(&[], fill);
    let machine = Machine::connect(&without);
    let mut guest = machine.boot_without_session();
    let (flags, flags2, alignment) = guest.init(MAP_ALIGNMENT, common::guest::HAS_INODE_DAX);
    assert_eq!((flags & MAP_ALIGNMENT, flags2 & common::guest::HAS_INODE_DAX, alignment), (0, 0, 0));
    assert_eq!(guest.window_bytes(), None);
    let file = guest.lookup("file");
    assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(0, 1, 0))), Some(Errno::NOSYS.raw_os_error()));
    assert_eq!(errno(guest.remove(&[(0, PAGE)])), Some(Errno::NOSYS.raw_os_error()));
    machine.reset(guest);
}

#[test]
fn the_window_has_the_size_that_was_asked_for_in_whole_units() {
    for (size, bytes) in [("1", 4096), ("6M", 6 << 20), ("4097", 8192)] {
        let daemon = Daemon::start(&["--window", size]);
        let machine = Machine::connect(&daemon);
        let guest = machine.boot();
        assert_eq!(guest.window_bytes(), Some(bytes));
        machine.reset(guest);
    }
}

#[test]
fn what_the_host_changes_is_seen_and_what_the_guest_stores_arrives() {
    with_guest(&[], |daemon, guest, file, _| {
        guest.set_up(file.nodeid, Setup::pages(2, 3, 4)).unwrap();
        assert_eq!(guest.see_pages(8), [0, 0, 5, 6, 7, 0, 0, 0]);
        let on_host = host_file(daemon, "file");
        on_host.write_all_at(&[99], 5 * PAGE).unwrap();
        assert_eq!(guest.see(3 * PAGE), 99);
        guest.store(2 * PAGE + 1, 77);
        assert_eq!(byte_at(&on_host, 4 * PAGE + 1), 77);
        guest.remove(&[(2 * PAGE, 3 * PAGE)]).unwrap();
        assert_eq!(guest.see_pages(8), [0; 8]);
        assert_eq!(daemon.stat("maps live"), 0);
    });
}

#[test]
fn a_mapping_outlives_the_handle_that_it_was_made_by() {
    with_guest(&[], |_, guest, file, _| {
        let handle = guest.open(file.nodeid, 2);
        guest.set_up(file.nodeid, Setup { handle, ..Setup::pages(0, 1, 0) }).unwrap();
        let mut release = [0; 24];
        release[..8].copy_from_slice(&handle.to_le_bytes());
        assert_eq!(guest.ask::<0>(18, file.nodeid, &release).0, 0);
        let again = Setup { handle, ..Setup::pages(1, 1, 0) };
        assert_eq!(errno(guest.set_up(file.nodeid, again)), Some(Errno::BADF.raw_os_error()));
        guest.store(0, 50);
        assert_eq!(guest.see_pages(2), [50, 0]);
    });
}

#[test]
fn every_wrong_argument_is_refused_and_changes_nothing() {
    with_guest(&[], |daemon, guest, file, other| {
        let right = Setup::pages(0, 2, 0);
        guest.set_up(file.nodeid, right).unwrap();
        let wrong_range = [
            Setup { length: 0, ..right },
            Setup { length: 100, ..right },
            Setup { length: 17 * PAGE, ..right },
            Setup { length: u64::MAX - PAGE + 1, ..right },
            Setup { offset: 1, ..right },
            Setup { offset: 15 * PAGE, ..right },
            Setup { offset: u64::MAX - PAGE + 1, ..right },
            Setup { file_offset: 2048, ..right },
            Setup { file_offset: u64::MAX - PAGE + 1, ..right },
            Setup { flags: 0, ..right },
            Setup { flags: WRITE, ..right },
            Setup { flags: 4 | READ, ..right },
        ];
        for setup in wrong_range {
            let error = errno(guest.set_up(other.nodeid, setup));
            assert_eq!(error, Some(Errno::INVAL.raw_os_error()), "{setup:?}");
        }
        for (setup, error) in [
            (Setup::pages(0, 2, 7), Errno::NXIO),
            (Setup::pages(0, 1, 8), Errno::NXIO),
            (Setup { file_offset: 1 << 40, ..right }, Errno::NXIO),
            (Setup { handle: 12345, ..right }, Errno::BADF),
        ] {
            let refused = errno(guest.set_up(other.nodeid, setup));
            assert_eq!(refused, Some(error.raw_os_error()), "{setup:?}");
        }
        let read_only = guest.open(other.nodeid, 0);
        let write_only = guest.open(other.nodeid, 1);
        for (handle, flags) in [(read_only, READ | WRITE), (write_only, READ), (write_only, READ | WRITE)] {
            let refused = errno(guest.set_up(other.nodeid, Setup { handle, flags, ..right }));
            assert_eq!(refused, Some(Errno::ACCESS.raw_os_error()), "{handle} {flags}");
        }
        assert_eq!(errno(guest.set_up(4711, right)), Some(Errno::BADF.raw_os_error()), "an unknown inode");
        assert_eq!(errno(guest.set_up(1, right)), Some(Errno::NODEV.raw_os_error()), "a directory");
        let cut_short = guest.ask::<0>(48, other.nodeid, &[0; 39]).0;
        assert_eq!(cut_short, Errno::INVAL.raw_os_error());

        let wrong_ranges: [&[(u64, u64)]; 7] = [
            &[],
            &[(0, 0)],
            &[(1, PAGE)],
            &[(0, PAGE - 1)],
            &[(0, 17 * PAGE)],
            &[(16 * PAGE, PAGE)],
            // The first of these alone would be right.
            &[(0, PAGE), (u64::MAX - PAGE + 1, PAGE)],
        ];
        for ranges in wrong_ranges {
            assert_eq!(errno(guest.remove(ranges)), Some(Errno::INVAL.raw_os_error()), "{ranges:?}");
        }
        let mut lies = [0; 20];
        lies[..4].copy_from_slice(&2_u32.to_le_bytes());
        lies[12..].copy_from_slice(&PAGE.to_le_bytes());
        assert_eq!(guest.ask::<0>(49, 0, &lies).0, Errno::INVAL.raw_os_error(), "fewer ranges than said");
        lies[..4].copy_from_slice(&0_u32.to_le_bytes());
        assert_eq!(guest.ask::<0>(49, 0, &lies).0, Errno::INVAL.raw_os_error(), "more ranges than said");
        assert_eq!(guest.ask::<0>(49, 0, &u32::MAX.to_le_bytes()).0, Errno::INVAL.raw_os_error());

        assert_eq!(guest.see_pages(3), [1, 2, 0]);
        assert_eq!((daemon.stat("maps live"), daemon.stat("maps made")), (1, 1));
        assert_eq!(daemon.stat("maps refused"), 12 + 4 + 3 + 2 + 1 + 7 + 3);
    });
}

#[test]
fn later_mappings_replace_earlier_ones_in_place_and_remainders_stay() {
    with_guest(&[], |daemon, guest, file, other| {
        guest.set_up(file.nodeid, Setup::pages(1, 4, 0)).unwrap();
        guest.set_up(other.nodeid, Setup::pages(1, 4, 3)).unwrap();
        assert_eq!(guest.see_pages(6), [0, 104, 105, 106, 107, 0], "exactly in place");
        guest.set_up(file.nodeid, Setup::pages(2, 1, 7)).unwrap();
        assert_eq!(guest.see_pages(6), [0, 104, 8, 106, 107, 0], "in the middle");
        guest.set_up(file.nodeid, Setup::pages(0, 2, 2)).unwrap();
        assert_eq!(guest.see_pages(6), [3, 4, 8, 106, 107, 0], "over the beginning");
        guest.set_up(other.nodeid, Setup::pages(1, 3, 0)).unwrap();
        assert_eq!(guest.see_pages(6), [3, 101, 102, 103, 107, 0], "over several");
        guest.remove(&[(2 * PAGE, PAGE), (8 * PAGE, 2 * PAGE)]).unwrap();
        assert_eq!(guest.see_pages(6), [3, 101, 0, 103, 107, 0], "a part is removed");
        // What remained leads to its file.
        guest.store(3 * PAGE, 55);
        assert_eq!(byte_at(&host_file(daemon, "other"), 2 * PAGE), 55);
        assert_eq!((daemon.stat("maps live"), daemon.stat("maps live_bytes")), (4, 4 * PAGE));
        guest.remove(&[(0, 16 * PAGE)]).unwrap();
        assert_eq!((guest.see_pages(6), daemon.stat("maps live")), (vec![0; 6], 0));
    });
}

#[test]
fn what_was_cut_off_does_not_remain_and_is_no_reason_to_refuse_what_replaces_the_rest() {
    with_guest(&[], |daemon, guest, file, other| {
        guest.set_up(file.nodeid, Setup::pages(0, 8, 0)).unwrap();
        host_file(daemon, "file").set_len(5 * PAGE + 1).unwrap();
        guest.set_up(other.nodeid, Setup::pages(2, 1, 0)).unwrap();
        assert_eq!(guest.see_pages(9), [1, 2, 101, 4, 5, 0, 0, 0, 0]);
        host_file(daemon, "file").set_len(0).unwrap();
        guest.set_up(other.nodeid, Setup::pages(4, 1, 1)).unwrap();
        assert_eq!((guest.see(2 * PAGE), guest.see(3 * PAGE), guest.see(4 * PAGE)), (101, 0, 102));
        assert_eq!(daemon.stat("maps refused"), 0);
    });
}

#[test]
fn only_complete_units_before_the_end_of_a_file_are_mapped_and_no_file_changes() {
    let daemon = Daemon::start_on(&["--window", "64K"], |share| {
        fs::write(share.join("empty"), "").unwrap();
        fs::write(share.join("short"), "short").unwrap();
        fs::write(share.join("long"), vec![7; 2 * PAGE as usize + 100]).unwrap();
    });
    let facts = || {
        ["empty", "short", "long"].map(|name| {
            let data = fs::metadata(daemon.file(name)).unwrap();
            (
                data.len(),
                data.mtime(),
                data.mtime_nsec(),
                data.ctime(),
                data.ctime_nsec(),
                fs::read(daemon.file(name)).unwrap(),
            )
        })
    };
    let before = facts();
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let nxio = Some(Errno::NXIO.raw_os_error());
    for (name, setup) in
        [("empty", Setup::pages(0, 1, 0)), ("short", Setup::pages(0, 1, 0)), ("long", Setup::pages(0, 3, 0))]
    {
        let found = guest.lookup(name);
        assert_eq!(errno(guest.set_up(found.nodeid, setup)), nxio, "{name}");
    }
    let long = guest.lookup("long");
    guest.set_up(long.nodeid, Setup::pages(0, 2, 0)).unwrap();
    assert_eq!(guest.see_pages(3), [7, 7, 0]);
    // The file grows, and what is mapped may follow.
    host_file(&daemon, "long").write_all_at(&[8; PAGE as usize], 2 * PAGE).unwrap();
    guest.set_up(long.nodeid, Setup::pages(0, 3, 0)).unwrap();
    assert_eq!(guest.see_pages(4), [7, 7, 8, 0]);
    machine.reset(guest);
    assert_eq!(facts()[..2], before[..2]);
}

#[test]
fn with_large_units_the_last_of_a_file_must_be_complete_too() {
    let daemon = Daemon::start_on(&["--window", "64K", "--map-alignment", "16K"], |share| {
        fs::write(share.join("file"), pages(1, 7)).unwrap();
    });
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let file = guest.lookup("file");
    assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(0, 1, 0))), Some(Errno::INVAL.raw_os_error()));
    assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(0, 8, 0))), Some(Errno::NXIO.raw_os_error()));
    guest.set_up(file.nodeid, Setup::pages(0, 4, 0)).unwrap();
    assert_eq!(guest.see_pages(5), [1, 2, 3, 4, 0]);
    machine.reset(guest);
}

#[test]
fn with_map_past_eof_a_file_is_mapped_beyond_its_end_and_is_as_long_as_before() {
    let daemon = Daemon::start_on(&["--window", "64K", "--map-past-eof"], |share| {
        fs::write(share.join("empty"), "").unwrap();
        fs::write(share.join("short"), "short").unwrap();
    });
    let facts = |name: &str| {
        let data = fs::metadata(daemon.file(name)).unwrap();
        (data.len(), data.mtime(), data.mtime_nsec())
    };
    let before = ["empty", "short"].map(facts);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let [empty, short] = ["empty", "short"].map(|name| guest.lookup(name));
    guest.set_up(short.nodeid, Setup::pages(0, 8, 0)).unwrap();
    guest.set_up(empty.nodeid, Setup { flags: READ, ..Setup::pages(8, 8, 0) }).unwrap();
    assert_eq!(guest.see(1), b'h');
    // Where the file grows to later, the mapping is there already.
    host_file(&daemon, "empty").write_all_at(b"x", PAGE).unwrap();
    assert_eq!((guest.see(9 * PAGE), guest.see(8 * PAGE)), (b'x', 0));
    assert_eq!(facts("short"), before[1]);
    // What is beyond the end is in the way all the same, and remains.
    guest.set_up(short.nodeid, Setup::pages(4, 1, 0)).unwrap();
    assert_eq!((guest.see(0), guest.see(4 * PAGE)), (b's', b's'));
    assert_eq!((facts("short"), daemon.stat("maps live")), (before[1], 4));
    machine.reset(guest);
}

#[test]
fn what_cannot_be_changed_is_mapped_for_reading_only() {
    with_guest(&["--readonly"], |daemon, guest, file, _| {
        assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(0, 1, 0))), Some(Errno::ACCESS.raw_os_error()));
        guest.set_up(file.nodeid, Setup { flags: READ, ..Setup::pages(0, 2, 0) }).unwrap();
        assert_eq!(guest.see_pages(3), [1, 2, 0]);
        host_file(daemon, "file").write_all_at(&[42], 0).unwrap();
        assert_eq!(guest.see(0), 42);
    });
}

#[test]
fn there_are_no_more_mappings_than_allowed_until_one_is_removed() {
    with_guest(&["--max-maps", "2"], |_, guest, file, _| {
        guest.set_up(file.nodeid, Setup::pages(0, 1, 0)).unwrap();
        guest.set_up(file.nodeid, Setup::pages(1, 1, 1)).unwrap();
        assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(2, 1, 2))), Some(Errno::NOSPC.raw_os_error()));
        guest.set_up(file.nodeid, Setup::pages(1, 1, 5)).unwrap();
        guest.remove(&[(0, PAGE)]).unwrap();
        guest.set_up(file.nodeid, Setup::pages(2, 1, 2)).unwrap();
        assert_eq!(guest.see_pages(4), [0, 6, 3, 0]);
    });
}

#[test]
fn many_mappings_of_one_file_share_a_descriptor_and_none_remains_when_they_are_gone() {
    with_guest(&[], |daemon, guest, file, other| {
        let before = daemon.descriptors();
        for page in 0..8 {
            guest.set_up(file.nodeid, Setup::pages(page, 1, page)).unwrap();
        }
        assert_eq!(daemon.descriptors(), before + 1);
        guest.set_up(other.nodeid, Setup::pages(8, 1, 0)).unwrap();
        assert_eq!(daemon.descriptors(), before + 2);
        guest.set_up(other.nodeid, Setup::pages(0, 8, 0)).unwrap();
        assert_eq!(daemon.descriptors(), before + 1);
        guest.remove(&[(0, 16 * PAGE)]).unwrap();
        assert_eq!(daemon.descriptors(), before);
    });
}

#[test]
fn a_new_session_begins_with_an_empty_window() {
    with_guest(&[], |daemon, guest, file, _| {
        guest.set_up(file.nodeid, Setup::pages(0, 2, 0)).unwrap();
        guest.init(MAP_ALIGNMENT, 0);
        assert_eq!((guest.see_pages(3), daemon.stat("maps live"), daemon.stat("sessions")), (vec![0; 3], 0, 2));
        assert_eq!(errno(guest.set_up(file.nodeid, Setup::pages(0, 1, 0))), Some(Errno::BADF.raw_os_error()));
        let file = guest.lookup("file");
        guest.set_up(file.nodeid, Setup::pages(1, 1, 0)).unwrap();
        assert_eq!(guest.see_pages(3), [0, 1, 0]);
        // DESTROY ends a session. virtiofsd does not answer it.
        guest.queue.send(38, 0, &[]);
        assert!(guest.queue.wait(common::PATIENCE));
        assert_eq!((guest.see_pages(3), daemon.stat("maps live")), (vec![0; 3], 0));
    });
}

#[test]
fn a_file_that_was_removed_stays_mapped() {
    with_guest(&[], |daemon, guest, file, _| {
        guest.set_up(file.nodeid, Setup { handle: NO_HANDLE, ..Setup::pages(0, 1, 2) }).unwrap();
        fs::remove_file(daemon.file("file")).unwrap();
        guest.store(1, 9);
        assert_eq!((guest.see(0), guest.see(1)), (3, 9));
        assert_eq!(daemon.stat("maps live"), 1);
    });
}
