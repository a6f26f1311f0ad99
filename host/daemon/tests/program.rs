//! The program: wrong usage, failures, statistics.

mod common;

use common::guest::{Machine, PAGE, Setup};
use common::{Daemon, Folder, eventually, numbers, program, sandbox};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// Runs the program to its end; gives status, standard output and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_are_printed() {
    let (status, out, _) = run(&["--help"]);
    assert!(status == Some(0) && out.contains("--map-past-eof") && out.contains("RISK"), "{out}");
    assert_eq!(run(&["-V"]).1, concat!("virtio-fs-daemon ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_is_named_with_status_2() {
    let folder = Folder::new();
    let path = folder.path().to_str().unwrap();
    for (arguments, named) in [
        (&["--socket-path", "s"][..], "--shared-dir is missing"),
        (&["--shared-dir", path, "--socket-path", "s", "--window", "0"], "--window 0"),
        (&["--shared-dir", path, "--socket-path", "s", "--dax", "always"], "--dax needs --window"),
        (&["--shared-dir", path, "--socket-path", "s", "--wrong"], "--wrong"),
    ] {
        let (status, out, error) = run(arguments);
        assert_eq!((status, &*out), (Some(2), ""), "{error}");
        assert!(error.contains(named) && error.contains("--help"), "{error}");
    }
}

#[test]
fn what_cannot_be_done_is_named_with_status_1() {
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "kept").unwrap();
    let (share, socket) = (path(""), path("socket"));
    for (arguments, named) in [
        (["--shared-dir", &path("missing"), "--socket-path", &socket], "is no directory"),
        (["--shared-dir", &path("file"), "--socket-path", &socket], "is no directory"),
        (["--shared-dir", &share, "--socket-path", &path("file")], "something else is there"),
        (["--shared-dir", &share, "--socket-path", &path("missing/socket")], "No such file"),
    ] {
        let (status, _, error) = run(&[&arguments[..], &["--sandbox", sandbox()]].concat());
        assert_eq!(status, Some(1), "{error}");
        assert!(error.contains(named), "{error}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"kept");
    let stats = path("missing/stats");
    let (status, _, error) = run(&["--shared-dir", &share, "--socket-path", &socket, "--stats", &stats]);
    assert!(status == Some(1) && error.contains("--stats"), "{error}");
}

#[test]
fn a_socket_that_somebody_listens_to_is_left_alone() {
    let daemon = Daemon::start(&[]);
    let (share, socket) = (daemon.share(), daemon.socket());
    let paths = [&share, &socket].map(|path| path.to_str().unwrap());
    let (status, _, error) = run(&["--shared-dir", paths[0], "--socket-path", paths[1], "--sandbox", sandbox()]);
    assert!(status == Some(1) && error.contains("another process"), "{error}");
    Machine::connect(&daemon);
}

fn fill(share: &Path) {
    fs::write(share.join("file"), [7; 4 * PAGE as usize]).unwrap();
}

#[test]
fn the_statistics_count_messages_maps_and_bytes() {
    let daemon = Daemon::start_on(&["--window", "64K"], fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let file = guest.lookup("file");
    let handle = guest.open(file.nodeid, 2);
    // READ of as much as the buffer takes, which virtiofsd relies upon, and WRITE of 500 bytes.
    let mut arguments = [0; 40];
    arguments[..8].copy_from_slice(&handle.to_le_bytes());
    arguments[16..20].copy_from_slice(&2032_u32.to_le_bytes());
    assert_eq!(guest.ask::<0>(15, file.nodeid, &arguments).0, 0);
    arguments[16..20].copy_from_slice(&500_u32.to_le_bytes());
    assert_eq!(guest.ask::<0>(16, file.nodeid, &[&arguments[..], &[1; 500]].concat()).0, 0);
    assert_ne!(guest.ask::<0>(1, 1, b"missing\0").0, 0);
    guest.set_up(file.nodeid, Setup::pages(0, 4, 0)).unwrap();
    guest.set_up(file.nodeid, Setup::pages(1, 1, 3)).unwrap();
    guest.remove(&[(0, PAGE)]).unwrap();
    guest.set_up(file.nodeid, Setup::pages(0, 9, 0)).unwrap_err();
    let text = daemon.stats_text();
    let seen = numbers(&text);
    let expected = [
        ("connections", 1),
        ("sessions", 1),
        ("messages init", 1),
        ("messages lookup", 2),
        ("messages open", 1),
        ("messages read", 1),
        ("messages write", 1),
        ("messages setupmapping", 3),
        ("messages removemapping", 1),
        ("errors lookup", 1),
        ("errors setupmapping", 1),
        ("bytes read", 2032),
        ("bytes written", 500),
        ("maps live", 2),
        ("maps live_bytes", 3 * PAGE),
        // The second replaced one, and put two remainders back.
        ("maps made", 4),
        ("maps removed", 2),
        ("maps refused", 1),
        ("maps barriers", 0),
        ("injected", 0),
    ];
    let expected = expected.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
    assert_eq!(seen, expected, "{text}");
    machine.reset(guest);
}

#[test]
fn requests_that_make_no_sense_are_errors_and_others_are_served() {
    let daemon = Daemon::start_on(&[], fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let file = guest.lookup("file");
    let handle = guest.open(file.nodeid, 2);
    // READ and WRITE at an offset that no file has, at which virtiofsd panics.
    let mut arguments = [0; 40];
    arguments[..8].copy_from_slice(&handle.to_le_bytes());
    arguments[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    arguments[16..20].copy_from_slice(&100_u32.to_le_bytes());
    assert_ne!(guest.ask::<0>(15, file.nodeid, &arguments).0, 0);
    assert_ne!(guest.ask::<0>(16, file.nodeid, &[&arguments[..], &[1; 100]].concat()).0, 0);
    // All but those without a reply, and INIT.
    for opcode in (1..60).chain([4096, u32::MAX]).filter(|opcode| ![2, 26, 36, 38, 42].contains(opcode)) {
        for bytes in [&[0xff; 900][..], &[0; 900], &[]] {
            guest.ask::<0>(opcode, file.nodeid, bytes);
        }
    }
    assert_eq!(guest.ask::<0>(3, 1, &[0; 16]).0, 0);
    assert_eq!(guest.lookup("file").nodeid, file.nodeid);
    machine.reset(guest);
}

#[test]
fn a_statistics_file_is_up_to_date_within_a_second_and_at_the_end() {
    let outside = Folder::new();
    let stats = outside.path().join("stats");
    let daemon = Daemon::start_on(&["--stats", stats.to_str().unwrap()], fill);
    let read = |name: &str| {
        let text = fs::read_to_string(&stats).unwrap();
        // Not in the middle of being written.
        if text.ends_with('\n') { numbers(&text).get(name).copied() } else { None }
    };
    eventually("the file is written", || read("connections") == Some(0));
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    guest.lookup("file");
    eventually("the file is brought up to date", || read("messages lookup") == Some(1));
    guest.lookup("file");
    daemon.signal(Signal::TERM);
    let _folder = daemon.ends();
    // With namespaces the process that was started does not wait for the one that writes.
    eventually("the file is brought up to date at the end", || read("messages lookup") == Some(2));
}

#[test]
fn the_log_tells_of_each_request_if_it_is_asked_to() {
    let daemon = Daemon::start_on(&["--log-level", "debug"], fill);
    let machine = Machine::connect(&daemon);
    machine.boot().lookup("file");
    assert!(daemon.log().contains("Received request: opcode=Lookup (1)"), "{}", daemon.log());
}
