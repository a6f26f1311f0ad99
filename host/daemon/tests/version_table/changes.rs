//! What each request concerns (`SPEC-version-table.md`, section 4).

use super::common::guest::{Guest, Machine};
use super::common::{Daemon, Folder};
use super::look::Look;
use super::requests::{EXCHANGE, EXCL, NOREPLACE, RDWR, ROOT, TRUNC, WHITEOUT};
use super::requests::{MODE, SIZE};
use std::fs;
use std::os::unix::fs::MetadataExt;
use virtio_fs_version_table::Key;

/// A guest before a daemon with a table, whose directory has the files `a` and `b`, and the directories `d` and `e`.
fn with_guest(options: &[&str], test: impl FnOnce(&Daemon, Look<'_>, &mut Guest<'_>)) {
    let daemon =
        Daemon::start_on(&[&["--host-changes", "none", "--version-table", "516K"], options].concat(), |share| {
            ["a", "b"].iter().for_each(|name| fs::write(share.join(name), name).unwrap());
            ["d", "e"].iter().for_each(|name| fs::create_dir(share.join(name)).unwrap());
        });
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    test(&daemon, Look::at(&machine), &mut guest);
    machine.reset(guest);
}

fn ino(daemon: &Daemon, name: &str) -> u64 {
    fs::symlink_metadata(daemon.file(name)).unwrap().ino()
}

/// What is concerned where a directory gets or loses a name.
fn names(directory: u64, name: &str) -> Vec<Key> {
    vec![Key::name(directory, name.as_bytes()), Key::content(directory), Key::attributes(directory)]
}

fn both(ino: u64) -> Vec<Key> {
    vec![Key::content(ino), Key::attributes(ino)]
}

#[test]
fn who_makes_a_name_concerns_it_and_its_directory() {
    with_guest(&[], |daemon, look, guest| {
        let (root, d) = (ino(daemon, ""), guest.lookup("d"));
        look.raises("MKDIR", &names(root, "1"), || guest.mkdir(ROOT, "1").unwrap());
        look.raises("MKNOD", &names(root, "2"), || guest.mknod(ROOT, "2").unwrap());
        look.raises("SYMLINK", &names(root, "3"), || guest.symlink(ROOT, "3").unwrap());
        look.raises("CREATE", &names(root, "4"), || guest.create(ROOT, "4", RDWR).unwrap());
        look.raises("CREATE", &names(root, "5"), || guest.create(ROOT, "5", RDWR | EXCL | TRUNC).unwrap());
        look.raises("in a directory", &names(d.ino, "6"), || guest.create(d.nodeid, "6", RDWR).unwrap());
        let a = guest.lookup("a");
        let keys = [names(d.ino, "7"), vec![Key::attributes(a.ino)]].concat();
        look.raises("LINK", &keys, || guest.link(a.nodeid, d.nodeid, "7").unwrap());
    });
}

#[test]
fn a_create_that_only_opens_takes_a_number_and_concerns_nothing_but_what_it_empties() {
    with_guest(&[], |daemon, look, guest| {
        let opened = look.raises("CREATE", &[], || guest.create(ROOT, "a", RDWR).unwrap());
        assert_eq!(opened.ino, ino(daemon, "a"));
        assert_eq!(fs::read(daemon.file("a")).unwrap(), b"a");
        let emptied = || guest.create(ROOT, "a", RDWR | TRUNC).unwrap();
        let emptied = look.raises("CREATE that empties", &both(opened.ino), emptied);
        // A guest that keeps what the reply says keeps what is true after the change.
        assert_eq!((opened.size, emptied.size), (1, 0));
        assert_eq!(fs::read(daemon.file("a")).unwrap(), b"");
    });
}

#[test]
fn who_removes_a_name_concerns_it_its_directory_and_what_it_named() {
    with_guest(&[], |daemon, look, guest| {
        let (root, a, d) = (ino(daemon, ""), ino(daemon, "a"), ino(daemon, "d"));
        fs::hard_link(daemon.file("a"), daemon.file("d/link")).unwrap();
        let keys = [names(root, "a"), vec![Key::attributes(a)]].concat();
        look.raises("UNLINK", &keys, || guest.unlink(ROOT, "a").unwrap());
        // Of an inode and a directory that the guest has looked up.
        let directory = guest.lookup("d");
        guest.lookup_in(directory.nodeid, "link");
        let keys = [names(d, "link"), vec![Key::attributes(a)]].concat();
        look.raises("UNLINK", &keys, || guest.unlink(directory.nodeid, "link").unwrap());
        let keys = [names(root, "d"), both(d)].concat();
        look.raises("RMDIR", &keys, || guest.rmdir(ROOT, "d").unwrap());
    });
}

#[test]
fn a_rename_concerns_both_names_both_directories_what_moves_and_what_is_replaced() {
    with_guest(&[], |daemon, look, guest| {
        let [root, a, b, e] = ["", "a", "b", "e"].map(|name| ino(daemon, name));
        let d = guest.lookup("d");
        let keys = [names(root, "a"), names(root, "c"), vec![Key::attributes(a)]].concat();
        look.raises("RENAME", &keys, || guest.rename((ROOT, "a"), (ROOT, "c")).unwrap());
        let keys = [names(root, "c"), names(d.ino, "x"), vec![Key::attributes(a)]].concat();
        look.raises("elsewhere", &keys, || guest.rename2((ROOT, "c"), (d.nodeid, "x"), NOREPLACE).unwrap());
        let keys = [names(root, "b"), names(d.ino, "x"), vec![Key::attributes(a), Key::attributes(b)]].concat();
        look.raises("in its place", &keys, || guest.rename((ROOT, "b"), (d.nodeid, "x")).unwrap());
        // A directory that stays where it was, in the place of an empty one.
        fs::create_dir(daemon.file("empty")).unwrap();
        let empty = ino(daemon, "empty");
        let keys = [names(root, "e"), names(root, "empty"), vec![Key::attributes(e)], both(empty)].concat();
        look.raises("a directory in its place", &keys, || guest.rename((ROOT, "e"), (ROOT, "empty")).unwrap());
    });
}

/// Not every file system has whiteouts; that in memory has.
#[test]
fn a_name_that_a_whiteout_takes_leads_elsewhere() {
    let folder = Folder::in_memory();
    fs::create_dir(folder.path().join("share")).unwrap();
    fs::write(folder.path().join("share/a"), "a").unwrap();
    let daemon = Daemon::start_in(folder, &["--host-changes", "none", "--version-table", "516K"]);
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    let (root, a) = (ino(&daemon, ""), ino(&daemon, "a"));
    let keys = [names(root, "a"), names(root, "b"), vec![Key::attributes(a)]].concat();
    Look::at(&machine).raises("whiteout", &keys, || guest.rename2((ROOT, "a"), (ROOT, "b"), WHITEOUT).unwrap());
    assert_ne!(ino(&daemon, "a"), a);
    machine.reset(guest);
}

#[test]
fn a_directory_that_comes_to_another_parent_has_another_one() {
    with_guest(&[], |daemon, look, guest| {
        let (root, e) = (ino(daemon, ""), ino(daemon, "e"));
        let d = guest.lookup("d");
        let parent = |ino: u64| [both(ino), vec![Key::name(ino, b"..")]].concat();
        let keys = [names(root, "e"), names(d.ino, "e"), parent(e)].concat();
        look.raises("RENAME", &keys, || guest.rename((ROOT, "e"), (d.nodeid, "e")).unwrap());
        fs::create_dir(daemon.file("f")).unwrap();
        let f = ino(daemon, "f");
        let keys = [names(root, "f"), names(d.ino, "e"), parent(e), parent(f)].concat();
        look.raises("exchange", &keys, || guest.rename2((ROOT, "f"), (d.nodeid, "e"), EXCHANGE).unwrap());
        let a = ino(daemon, "a");
        let keys = [names(root, "a"), names(d.ino, "e"), parent(f), vec![Key::attributes(a)]].concat();
        look.raises("exchange with a file", &keys, || {
            guest.rename2((ROOT, "a"), (d.nodeid, "e"), EXCHANGE).unwrap();
        });
    });
}

#[test]
fn what_changes_a_file_concerns_its_content_or_only_its_attributes() {
    with_guest(&["--xattr"], |_, look, guest| {
        let [a, b] = ["a", "b"].map(|name| guest.lookup(name));
        let attributes = [Key::attributes(a.ino)];
        let handle = look.leaves_all("OPEN", || guest.open(a.nodeid, RDWR));
        look.raises("WRITE", &both(a.ino), || guest.write(a.nodeid, handle, 0).unwrap());
        look.raises("FALLOCATE", &both(a.ino), || guest.fallocate(a.nodeid, handle).unwrap());
        look.raises("SETATTR of the mode", &attributes, || guest.setattr(a.nodeid, None, MODE, 0).unwrap());
        look.raises("SETATTR of the length", &both(a.ino), || {
            guest.setattr(a.nodeid, Some(handle), SIZE, 9).unwrap();
        });
        look.raises("SETXATTR", &attributes, || guest.setxattr(a.nodeid, "user.x").unwrap());
        look.raises("REMOVEXATTR", &attributes, || guest.removexattr(a.nodeid, "user.x").unwrap());
        let to = guest.open(b.nodeid, RDWR);
        look.raises("COPY_FILE_RANGE", &both(b.ino), || {
            guest.copy_file_range((a.nodeid, handle), (b.nodeid, to)).unwrap();
        });
        look.raises("OPEN that empties", &both(a.ino), || guest.open(a.nodeid, RDWR | TRUNC));
    });
}

#[test]
fn what_only_looks_is_not_counted() {
    with_guest(&[], |_, look, guest| {
        look.leaves_all("LOOKUP, OPEN, READ, GETATTR, FORGET", || {
            let a = guest.lookup("a");
            let handle = guest.open(a.nodeid, 0);
            let mut arguments = [0; 40];
            arguments[..8].copy_from_slice(&handle.to_le_bytes());
            arguments[16..20].copy_from_slice(&2032_u32.to_le_bytes());
            guest.ask_for_nothing(15, a.nodeid, &arguments).unwrap();
            guest.ask_for_nothing(3, a.nodeid, &[0; 16]).unwrap();
            guest.forget(a.nodeid);
        });
    });
}

/// Also by a server whose guest has never looked the inode up, or has forgotten it.
#[test]
fn an_inode_that_was_forgotten_has_its_number_still() {
    with_guest(&[], |_, look, guest| {
        let a = guest.lookup("a");
        assert_eq!(guest.lookup("a").nodeid, a.nodeid);
        guest.forget(a.nodeid);
        look.raises("SETATTR", &[Key::attributes(a.ino)], || guest.setattr(a.nodeid, None, MODE, 0).unwrap());
        guest.forget(a.nodeid);
        // The look at who loses a name left nothing behind, so that this nodeid is gone.
        assert_ne!(guest.ask::<0>(3, a.nodeid, &[0; 16]).0, 0);
        let b = guest.lookup("b");
        look.raises("UNLINK", &[names(root(guest), "b"), vec![Key::attributes(b.ino)]].concat(), || {
            guest.unlink(ROOT, "b").unwrap();
        });
        guest.forget(b.nodeid);
        assert_ne!(guest.ask::<0>(3, b.nodeid, &[0; 16]).0, 0);
    });
}

/// It can be asked by no name and no handle of the file system.
#[test]
fn a_file_that_has_no_name_any_more_is_known_as_long_as_it_is_open() {
    with_guest(&[], |_, look, guest| {
        let a = guest.lookup("a");
        guest.lookup("a");
        let handle = guest.open(a.nodeid, RDWR);
        guest.unlink(ROOT, "a").unwrap();
        guest.forget(a.nodeid);
        look.raises("WRITE", &both(a.ino), || guest.write(a.nodeid, handle, 0).unwrap());
    });
}

fn root(guest: &mut Guest<'_>) -> u64 {
    guest.lookup(".").ino
}
