//! Requests that fail: before they change anything, half way, or so that nobody knows.

use super::common::Daemon;
use super::common::guest::{Guest, Machine};
use super::look::Look;
use super::requests::{CREAT, EXCL, MODE, NOREPLACE, RDWR, ROOT, SIZE};
use std::fs;
use virtio_fs_version_table::Key;

fn with_guest(options: &[&str], test: impl FnOnce(&Daemon, Look<'_>, &mut Guest<'_>)) {
    let daemon =
        Daemon::start_on(&[&["--host-changes", "none", "--version-table", "516K"], options].concat(), |share| {
            ["a", "b"].iter().for_each(|name| fs::write(share.join(name), name).unwrap());
            fs::create_dir_all(share.join("d/full")).unwrap();
        });
    let machine = Machine::connect(&daemon);
    let mut guest = machine.boot();
    test(&daemon, Look::at(&machine), &mut guest);
    machine.reset(guest);
}

#[test]
fn what_failed_before_it_changed_anything_is_not_counted() {
    with_guest(&[], |_, look, guest| {
        let a = guest.lookup("a");
        look.leaves_all("names", || {
            guest.mkdir(ROOT, "a").unwrap_err();
            guest.mknod(ROOT, "a").unwrap_err();
            guest.symlink(ROOT, "a").unwrap_err();
            guest.link(a.nodeid, ROOT, "b").unwrap_err();
            guest.create(ROOT, "a", RDWR | EXCL).unwrap_err();
            guest.unlink(ROOT, "missing").unwrap_err();
            guest.unlink(ROOT, "d").unwrap_err();
            guest.rmdir(ROOT, "d").unwrap_err();
            guest.rename((ROOT, "missing"), (ROOT, "new")).unwrap_err();
            guest.rename2((ROOT, "a"), (ROOT, "b"), NOREPLACE).unwrap_err();
        });
        look.leaves_all("nodeids that nobody was told", || {
            guest.mkdir(99, "new").unwrap_err();
            guest.unlink(99, "a").unwrap_err();
            guest.setattr(99, None, MODE, 0).unwrap_err();
            guest.write(99, 7, 0).unwrap_err();
        });
    });
}

#[test]
fn what_failed_half_way_is_counted() {
    with_guest(&[], |daemon, look, guest| {
        let a = guest.lookup("a");
        let handle = guest.open(a.nodeid, 0);
        // The mode is set, and then the length cannot be, since the file is open for reading.
        let keys = [Key::attributes(a.ino), Key::content(a.ino)];
        look.raises("SETATTR", &keys, || guest.setattr(a.nodeid, Some(handle), MODE | SIZE, 1).unwrap_err());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(daemon.file("a")).unwrap().permissions().mode() & 0o777, 0o600);
    });
}

#[test]
fn a_request_at_which_the_server_panics_raises_the_floor() {
    with_guest(&[], |_, look, guest| {
        let a = guest.lookup("a");
        let handle = guest.open(a.nodeid, RDWR);
        look.raises_the_floor("WRITE", || guest.write(a.nodeid, handle, u64::MAX).unwrap_err());
    });
}

#[test]
fn with_readonly_the_table_is_there_and_nothing_that_fails_is_counted() {
    with_guest(&["--readonly"], |_, look, guest| {
        let a = guest.lookup("a");
        look.leaves_all("changes", || {
            guest.mkdir(ROOT, "new").unwrap_err();
            guest.create(ROOT, "new", 0).unwrap_err();
            guest.unlink(ROOT, "a").unwrap_err();
            guest.setattr(a.nodeid, None, MODE, 0).unwrap_err();
        });
        look.raises("CREATE that only opens", &[], || guest.create(ROOT, "a", CREAT).unwrap());
    });
}
