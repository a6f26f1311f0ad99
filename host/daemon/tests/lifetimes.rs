//! Resets, front ends that come and go, and what remains of them.

mod common;

use common::guest::{Guest, Machine, PAGE, Setup};
use common::{Daemon, eventually};
use rustix::process::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn fill(share: &Path) {
    fs::write(share.join("file"), [7; 4 * PAGE as usize]).unwrap();
}

fn map_something(guest: &mut Guest<'_>) {
    let file = guest.lookup("file");
    guest.open(file.nodeid, 2);
    guest.set_up(file.nodeid, Setup::pages(1, 2, 0)).unwrap();
    assert_eq!(guest.see_pages(4), [0, 7, 7, 0]);
}

#[test]
fn after_a_reset_nothing_is_mapped_and_a_new_driver_begins_anew() {
    let daemon = Daemon::start_on(&["--window", "64K"], fill);
    let machine = Machine::connect(&daemon);
    let mut counts = Vec::new();
    for round in 1..=3 {
        let mut guest = machine.boot();
        assert_eq!(guest.see_pages(4), [0; 4]);
        map_something(&mut guest);
        machine.reset(guest);
        eventually("nothing is live", || daemon.stat("maps live") == 0);
        assert_eq!((daemon.stat("sessions"), daemon.stat("connections")), (round, 1));
        counts.push(daemon.descriptors());
    }
    assert_eq!(counts[0], counts[2], "descriptors");
}

#[test]
fn after_a_front_end_left_all_descriptors_are_closed_and_the_next_one_is_served() {
    let mut daemon = Daemon::start_on(&["--window", "64K", "--request-queues", "3"], fill);
    let before = daemon.descriptors();
    for round in 1..=5 {
        let machine = Machine::connect(&daemon);
        let mut guest = machine.boot();
        map_something(&mut guest);
        assert!(daemon.descriptors() > before);
        if round % 2 == 0 {
            machine.reset(guest);
        }
        // Otherwise without a reset, as a machine that is switched off.
        drop(machine);
        daemon.waits_for_a_front_end(1 + round);
        eventually("descriptors are closed", || daemon.descriptors() == before);
        assert_eq!((daemon.stat("connections"), daemon.stat("maps live")), (round as u64, 0));
    }
}

/// This program, run again as a front end: it maps something, says so by a file, and sleeps.
#[test]
#[ignore = "it is the front end of another test"]
fn front_end_that_is_killed() {
    let folder = std::env::var_os("VIRTIO_FS_DAEMON_TEST_FRONT_END").expect("the other test's folder");
    let folder = Path::new(&folder);
    let (transport, platform) = virtio_fs_vhost_user::connect(folder.join("socket"), "test").unwrap();
    let machine = Machine { transport, platform };
    let mut guest = machine.boot();
    map_something(&mut guest);
    fs::write(folder.join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_front_end_that_was_killed_leaves_nothing_behind() {
    let mut daemon = Daemon::start_on(&["--window", "64K"], fill);
    let before = daemon.descriptors();
    let folder = daemon.socket().parent().unwrap().to_owned();
    for round in 1..=2 {
        let mut front_end = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "front_end_that_is_killed"])
            .env("VIRTIO_FS_DAEMON_TEST_FRONT_END", &folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the front end has mapped something", || folder.join("ready").exists());
        assert_eq!(daemon.stat("maps live"), 1);
        front_end.kill().unwrap();
        front_end.wait().unwrap();
        fs::remove_file(folder.join("ready")).unwrap();
        daemon.waits_for_a_front_end(1 + round);
        eventually("descriptors are closed", || daemon.descriptors() == before);
        assert_eq!(daemon.stat("maps live"), 0);
    }
    let machine = Machine::connect(&daemon);
    map_something(&mut machine.boot());
}

#[test]
fn a_second_front_end_is_served_when_the_first_has_left() {
    let daemon = Daemon::start_on(&["--window", "64K"], fill);
    let first = Machine::connect(&daemon);
    map_something(&mut first.boot());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let machine = Machine::connect(&daemon);
            map_something(&mut machine.boot());
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap();
    });
    assert_eq!(daemon.stat("connections"), 2);
}

#[test]
fn who_only_connects_or_talks_nonsense_is_hung_up_on_and_others_are_served() {
    use std::io::Write;
    let mut daemon = Daemon::start_on(&["--window", "64K"], fill);
    let before = daemon.descriptors();
    for (round, words) in (1..).zip([&b""[..], b"nonsense", &[0xff; 4096]]) {
        let mut socket = std::os::unix::net::UnixStream::connect(daemon.socket()).unwrap();
        let _ = socket.write_all(words);
        drop(socket);
        daemon.waits_for_a_front_end(1 + round);
    }
    eventually("descriptors are closed", || daemon.descriptors() == before);
    let machine = Machine::connect(&daemon);
    map_something(&mut machine.boot());
}

#[test]
fn a_signal_ends_the_daemon_while_it_serves() {
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Daemon::start_on(&["--window", "64K"], fill);
        let machine = Machine::connect(&daemon);
        map_something(&mut machine.boot());
        daemon.signal(signal);
        let (status, folder) = daemon.ends();
        // With namespaces the process that was started only waits for another one.
        let by_signal = (common::sandbox() == "namespace").then_some(signal.as_raw());
        assert_eq!((status.code(), status.signal()), (by_signal.map_or(Some(0), |_| None), by_signal));
        // Its socket is replaced by the next one's.
        let again = Daemon::start_in(folder, &["--window", "64K"]);
        let machine = Machine::connect(&again);
        map_something(&mut machine.boot());
    }
}

/// Where the system lets this user make namespaces.
#[test]
fn a_sandbox_of_namespaces_is_served_from_or_it_is_said_why_not() {
    let folder = common::Folder::new();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    fill(&share);
    let mut probe = common::program()
        .args(["--sandbox", "namespace", "--shared-dir"])
        .arg(&share)
        .arg("--socket-path")
        .arg(folder.path().join("probe"))
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut log = std::io::BufReader::new(probe.stderr.take().unwrap());
    while !first.contains("Waiting") && !first.contains("entering sandbox") {
        first.clear();
        assert_ne!(std::io::BufRead::read_line(&mut log, &mut first).unwrap(), 0, "it ended without a word");
    }
    if first.contains("entering sandbox") {
        assert_eq!(probe.wait().unwrap().code(), Some(1));
        return;
    }
    probe.kill().unwrap();
    probe.wait().unwrap();
    let daemon = Daemon::start_in(folder, &["--window", "64K", "--sandbox", "namespace"]);
    let before = daemon.descriptors();
    let machine = Machine::connect(&daemon);
    map_something(&mut machine.boot());
    drop(machine);
    eventually("descriptors are closed", || daemon.descriptors() == before);
}
