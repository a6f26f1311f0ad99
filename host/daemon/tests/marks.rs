//! Which files are marked for DAX.

mod common;

use common::Daemon;
use common::guest::{Guest, HAS_INODE_DAX, MAP_ALIGNMENT, Machine};
use std::fs;
use std::path::Path;

fn fill(share: &Path) {
    for name in ["a.db", "b.db", "text"] {
        fs::write(share.join(name), name).unwrap();
    }
    fs::create_dir(share.join("d.db")).unwrap();
    fs::hard_link(share.join("text"), share.join("link.db")).unwrap();
}

fn marked<const N: usize>(options: &[&str], names: [&str; N]) -> [bool; N] {
    with_guest(options, fill, |guest| names.map(|name| guest.lookup(name).is_marked))
}

fn with_guest<R>(options: &[&str], fill: impl FnOnce(&Path), test: impl FnOnce(&mut Guest<'_>) -> R) -> R {
    let daemon = Daemon::start_on(options, fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let result = test(&mut guest);
    machine.reset(guest);
    result
}

/// `flags` of the attributes that GETATTR gives.
fn getattr_is_marked(guest: &mut Guest<'_>, nodeid: u64) -> bool {
    let (error, reply) = guest.ask::<104>(3, nodeid, &[0; 16]);
    assert_eq!(error, 0);
    u32::from_le_bytes(reply[100..].try_into().unwrap()) & 2 != 0
}

#[test]
fn with_a_window_all_regular_files_are_marked_unless_the_rule_is_never() {
    let names = ["a.db", "text", "d.db"];
    assert_eq!(marked(&["--window", "1M"], names), [true, true, false]);
    assert_eq!(marked(&["--window", "1M", "--dax", "always"], names), [true, true, false]);
    assert_eq!(marked(&["--window", "1M", "--dax", "never"], names), [false; 3]);
    assert_eq!(marked(&[], names), [false; 3]);
}

#[test]
fn files_are_marked_by_patterns_of_their_names_until_they_are_forgotten() {
    let options = ["--window", "1M", "--dax", "inode=*.db,x?"];
    assert_eq!(marked(&options, ["a.db", "text", "d.db"]), [true, false, false]);
    with_guest(&options, fill, |guest| {
        let text = guest.lookup("text");
        assert!(!text.is_marked && !getattr_is_marked(guest, text.nodeid));
        // The same inode by a name that fits: what is marked is the inode.
        let link = guest.lookup("link.db");
        assert_eq!((link.nodeid, link.is_marked), (text.nodeid, true));
        assert!(getattr_is_marked(guest, text.nodeid));
        assert!(guest.lookup("text").is_marked);
        // BATCH_FORGET of all three lookups: 1 inode, then nodeid and count.
        let forget: Vec<_> = [1_u64, text.nodeid, 3].into_iter().flat_map(u64::to_le_bytes).collect();
        guest.queue.send(42, 0, &forget);
        assert!(guest.queue.wait(common::PATIENCE));
        assert!(!guest.lookup("text").is_marked);
    });
}

#[test]
fn a_file_that_is_made_is_marked_by_the_same_rule() {
    with_guest(
        &["--window", "1M", "--dax", "inode=*.db"],
        |_| {},
        |guest| {
            for (name, is_marked) in [("new.db", true), ("new", false)] {
                // fuse_create_in: flags O_RDWR | O_CREAT, mode, umask, and no open flags.
                let mut arguments: Vec<u8> =
                    [0o102_u32, 0o100_644, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
                arguments.extend(name.bytes().chain([0]));
                let (error, reply) = guest.ask::<128>(35, 1, &arguments);
                assert_eq!(error, 0);
                assert_eq!(u32::from_le_bytes(reply[124..].try_into().unwrap()) & 2 != 0, is_marked, "{name}");
            }
        },
    );
}

#[test]
fn files_are_marked_by_an_extended_attribute() {
    let options = ["--window", "1M", "--xattr", "--dax", "xattr=user.dax"];
    let with_attribute = |share: &Path| {
        fill(share);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(share.join("text"), "user.dax", b"", flags).expect("a file system with user attributes");
    };
    with_guest(&options, with_attribute, |guest| {
        let [text, other] = ["text", "a.db"].map(|name| guest.lookup(name));
        assert_eq!((text.is_marked, other.is_marked), (true, false));
        assert!(getattr_is_marked(guest, text.nodeid));
        // REMOVEXATTR
        assert_eq!(guest.ask::<0>(24, text.nodeid, b"user.dax\0").0, 0);
        assert!(!getattr_is_marked(guest, text.nodeid));
    });
}

#[test]
fn a_guest_that_does_not_know_marks_sees_none() {
    let daemon = Daemon::start_on(&["--window", "1M"], fill);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot_without_session();
    guest.init(MAP_ALIGNMENT, 0);
    assert!(!guest.lookup("text").is_marked);
    guest.init(MAP_ALIGNMENT, HAS_INODE_DAX);
    assert!(guest.lookup("text").is_marked);
    machine.reset(guest);
}
