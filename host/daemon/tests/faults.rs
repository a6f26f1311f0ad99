//! Faults that are injected.

mod common;

use common::Daemon;
use common::guest::{Guest, MAP_ALIGNMENT, Machine, Setup, errno};
use rustix::io::Errno;
use std::fs;
use std::time::{Duration, Instant};

const GETATTR: u32 = 3;

fn with_guest(faults: &[&str], test: impl FnOnce(&Daemon, &mut Guest<'_>)) {
    let options: Vec<_> = faults.iter().flat_map(|fault| ["--inject", fault]).chain(["--window", "64K"]).collect();
    let daemon = Daemon::start_on(&options, |share| fs::write(share.join("file"), [7; 8192]).unwrap());
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    test(&daemon, &mut guest);
    machine.reset(guest);
}

fn getattr(guest: &mut Guest<'_>) -> i32 {
    guest.ask::<0>(GETATTR, 1, &[0; 16]).0
}

#[test]
fn an_error_is_answered_in_place_of_the_second_and_third() {
    with_guest(&["getattr,after=1,times=2:error=ENOSPC"], |daemon, guest| {
        let errors: Vec<_> = (0..4).map(|_| getattr(guest)).collect();
        assert_eq!(errors, [0, Errno::NOSPC.raw_os_error(), Errno::NOSPC.raw_os_error(), 0]);
        assert_eq!((daemon.stat("injected"), daemon.stat("errors getattr")), (2, 2));
    });
}

#[test]
fn an_error_in_place_of_a_mapping_maps_nothing() {
    with_guest(&["setupmapping,times=1:error=ENOMEM"], |daemon, guest| {
        let file = guest.lookup("file");
        let refused = errno(guest.set_up(file.nodeid, Setup::pages(0, 1, 0)));
        assert_eq!((refused, guest.see(0)), (Some(Errno::NOMEM.raw_os_error()), 0));
        guest.set_up(file.nodeid, Setup::pages(0, 1, 0)).unwrap();
        assert_eq!((guest.see(0), daemon.stat("maps made")), (7, 1));
    });
}

#[test]
fn a_delay_comes_before_the_answer() {
    with_guest(&["getattr:delay=300"], |_, guest| {
        let start = Instant::now();
        assert_eq!(getattr(guest), 0);
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    });
}

#[test]
fn what_is_dropped_is_never_answered_and_what_follows_is() {
    let options = ["--inject", "getattr,times=1:drop"];
    let daemon = Daemon::start(&options);
    let machine = Machine::connect_with_patience(&daemon, Duration::from_millis(500));
    let mut guest = machine.boot();
    guest.queue.send(GETATTR, 1, &[0; 16]);
    assert!(!guest.queue.wait(Duration::from_millis(300)), "it was answered");
    assert_eq!((daemon.stat("injected"), daemon.stat("messages getattr")), (1, 1));
    // One entry of the used ring is missing, so that this queue cannot tell a reply any more; the daemon can.
    guest.queue.send(GETATTR, 1, &[0; 16]);
    common::eventually("the next one is served", || daemon.stat("messages getattr") == 2);
    assert_eq!(daemon.stat("errors getattr"), 0);
    // Whoever has lost a buffer gives the connection up.
    drop(machine);
}

#[test]
fn a_fault_can_kill_the_daemon() {
    let daemon = Daemon::start(&["--inject", "getattr:kill"]);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot_without_session();
    guest.init(MAP_ALIGNMENT, 0);
    guest.queue.send(GETATTR, 1, &[0; 16]);
    assert!(!guest.queue.wait(common::PATIENCE), "it was answered");
    let (status, _folder) = daemon.ends();
    assert_eq!(status.code(), Some(137));
}
