//! What own changes determine, and what they make unknown.

use super::*;
use crate::Timestamp;
use crate::fs::{FileTimes, OpenOptions};
use crate::vnode::{AllocateFlags, RenameFlags, SetTime, XattrFlags};
use crate::wire::FileType;

/// In these modes what is known does not expire during a test; in the second, what leads nowhere is known, too.
pub(super) const MODES: [CacheMode; 2] = [CacheMode::Auto, CacheMode::Always];

/// A mount with files, directories and a symbolic link, of which everything is known.
pub(super) fn known(mode: CacheMode) -> Mounted {
    let mounted = mount(mode, |server| {
        server.file("a", "aaa").file("b", "bb").dir("d").file("d/f", "content").dir("e").symlink("l", "a");
        (server.options.entry_ttl, server.options.attr_ttl) = (YEAR, YEAR);
    });
    for path in ["/", "a", "b", "d", "d/f", "e"] {
        mounted.stat(path);
    }
    mounted.fs.symlink_metadata("l").unwrap();
    mounted
}

/// Asserts that what is told of a path is what the server has, and that it takes these requests.
pub(super) fn assert_told(mounted: &Mounted, path: &str, requests: &[u32]) {
    let (told, sent) = mounted.sent_by(|| mounted.fs.node(path).and_then(|node| node.getattr()).unwrap());
    assert_eq!(told, mounted.server(|server| server.attr(path)), "{path}");
    assert_eq!(sent, requests, "{path}");
}

const TIME: Timestamp = Timestamp { seconds: 5, nanoseconds: 6 };

pub(super) const KNOWN: &[u32] = &[];
pub(super) const ATTRIBUTES_UNKNOWN: &[u32] = &[opcode::GETATTR];

#[test]
fn what_is_known_is_what_the_server_has() {
    for mode in MODES {
        let mounted = known(mode);
        ["/", "a", "b", "d", "d/f", "e"].iter().for_each(|path| assert_told(&mounted, path, KNOWN));
        mounted.unmount();
    }
}

#[test]
fn what_a_change_of_attributes_made_of_them_is_known() {
    for mode in MODES {
        let mounted = known(mode);
        let changes: [Action; 5] = [
            |fs| fs.set_permissions("a", 0o4711),
            |fs| fs.set_owner("a", Some(7), Some(8)),
            |fs| fs.truncate("a", 12_345),
            |fs| fs.set_times("a", FileTimes { accessed: Some(SetTime::Now), modified: Some(SetTime::At(TIME)) }),
            |fs| OpenOptions::new().write(true).open(fs, "a")?.set_len(1),
        ];
        for change in changes {
            assert_eq!(mounted.sends(change).iter().filter(|&&one| one == opcode::SETATTR).count(), 1);
            assert_told(&mounted, "a", KNOWN);
            assert_told(&mounted, "b", KNOWN);
        }
        mounted.unmount();
    }
}

#[test]
fn after_a_change_that_failed_the_attributes_are_asked_for() {
    let mounted = known(CacheMode::Always);
    mounted.server(|server| {
        server.fault(opcode::SETATTR, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.set_permissions("a", 0o600), refused(Errno::EIO));
    assert_told(&mounted, "a", ATTRIBUTES_UNKNOWN);
    mounted.unmount();
}

#[test]
fn after_a_change_of_content_the_attributes_are_asked_for_once() {
    let changes: [Action; 7] = [
        |fs| OpenOptions::new().write(true).open(fs, "a")?.write_all(b"longer than before"),
        |fs| OpenOptions::new().append(true).open(fs, "a")?.write_all(b"more"),
        |fs| OpenOptions::new().write(true).truncate(true).open(fs, "a").map(drop),
        |fs| fs.create("a").map(drop),
        |fs| fs.write("a", "new"),
        |fs| {
            let file = OpenOptions::new().write(true).open(fs, "a")?;
            file.as_open_file().allocate(0, 1 << 20, AllocateFlags::empty())
        },
        |fs| fs.open("d/f")?.copy_range(0, &OpenOptions::new().write(true).open(fs, "a")?, 100, 7).map(drop),
    ];
    for mode in MODES {
        for (at, change) in changes.iter().enumerate() {
            let mounted = known(mode);
            mounted.sends(change);
            assert_eq!(mounted.stat("a"), ATTRIBUTES_UNKNOWN, "{mode:?}, change {at}");
            assert_told(&mounted, "a", KNOWN);
            assert_told(&mounted, "d/f", KNOWN);
            assert_told(&mounted, "/", KNOWN);
            mounted.unmount();
        }
    }
}

#[test]
fn after_a_change_of_extended_attributes_the_attributes_are_asked_for_once() {
    for mode in MODES {
        let mounted = known(mode);
        mounted.fs.set_xattr("a", "user.x", "value", XattrFlags::empty()).unwrap();
        assert_told(&mounted, "a", ATTRIBUTES_UNKNOWN);
        assert_told(&mounted, "a", KNOWN);
        mounted.fs.remove_xattr("a", "user.x").unwrap();
        assert_told(&mounted, "a", ATTRIBUTES_UNKNOWN);
        assert_told(&mounted, "a", KNOWN);
        mounted.unmount();
    }
}

#[test]
fn a_write_that_takes_set_id_bits_away_is_seen() {
    for killed_by_server in [true, false] {
        let mounted = mount(CacheMode::Always, |server| {
            server.file("f", "").attr_mut("f").permissions = 0o6777;
            if !killed_by_server {
                server.options.init_flags &= !(1 << 19 | 1 << 28);
            }
        });
        let fs = mounted.fs.with_credentials(user());
        let mut file = OpenOptions::new().write(true).open(&fs, "f").unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(fs.metadata("f").unwrap().permissions(), 0o777, "{killed_by_server}");
        assert_told(&mounted, "f", KNOWN);
        drop((file, fs));
        mounted.unmount();
    }
}

#[test]
fn a_change_of_content_leaves_the_mode_known_but_for_that_of_a_file_with_set_id_bits() {
    for (path, permissions, stays) in
        [("f", 0o755, true), ("f", 0o4755, false), ("f", 0o2755, false), ("d", 0o2755, true), ("d", 0o6755, true)]
    {
        let mounted = mount(CacheMode::Always, |server| {
            server.dir("d").file("f", "").attr_mut(path).permissions = permissions;
        });
        let node = mounted.fs.node(path).unwrap();
        node.inode().note_change();
        let now = mounted.cache().now();
        assert_eq!(node.inode().mode(now).is_some(), stays, "{path} {permissions:o}");
        assert!(node.inode().attr(now).is_none());
        drop(node);
        mounted.unmount();
    }
}

#[test]
fn a_new_name_is_known_and_its_directory_asked_for() {
    let makes: [Action<Node>; 5] = [
        |d| d.create("new", OpenFlags::READ_WRITE, 0o600).map(drop),
        |d| d.mknod("new", FileType::Fifo, 0o600, 0).map(drop),
        |d| d.mkdir("new", 0o700).map(drop),
        |d| d.symlink("new", b"to").map(drop),
        |d| d.lookup("f")?.0.link(d, "new").map(drop),
    ];
    for mode in MODES {
        for (at, make) in makes.iter().enumerate() {
            let mounted = known(mode);
            let d = mounted.fs.node("d").unwrap();
            mounted.sends(|_| make(&d));
            let (told, sent) = mounted.sent_by(|| mounted.fs.symlink_metadata("d/new").unwrap());
            assert_eq!(sent, NO_REQUESTS, "{mode:?}, {at}");
            assert_eq!(told.attr().nlink, mounted.server(|server| server.attr("d/new")).nlink, "{mode:?}, {at}");
            assert_told(&mounted, "d", ATTRIBUTES_UNKNOWN);
            assert_told(&mounted, "/", KNOWN);
            drop(d);
            mounted.unmount();
        }
    }
}

#[test]
fn a_new_file_is_good_as_long_as_its_reply_says() {
    let mounted = mount(CacheMode::Auto, |server| server.options.attr_ttl = YEAR);
    mounted.fs.create("f").unwrap();
    assert_eq!(mounted.stat("f"), NO_REQUESTS);
    mounted.advance(SECOND - MILLISECOND);
    assert_eq!(mounted.stat("f"), NO_REQUESTS);
    mounted.advance(MILLISECOND);
    assert_eq!(mounted.stat("f"), [opcode::LOOKUP]);
    mounted.unmount();
}

#[test]
fn a_user_who_makes_files_does_not_ask_for_the_directory_again() {
    for permissions in [0o777, 0o1777, 0o2777] {
        let mounted = mount(CacheMode::Auto, |server| {
            open_dir(server, "d");
            server.attr_mut("d").permissions = permissions;
        });
        let fs = mounted.fs.with_credentials(user());
        fs.write("d/1", "x").unwrap();
        let sent = mounted.sends(|_| fs.write("d/2", "x"));
        let expected = [opcode::LOOKUP, opcode::CREATE, opcode::WRITE, opcode::FLUSH, opcode::RELEASE];
        assert_eq!(sent, expected, "{permissions:o}");
        let sent = mounted.sends(|_| fs.create_dir("d/3"));
        assert_eq!(sent, [opcode::MKDIR], "{permissions:o}");
        drop(fs);
        mounted.unmount();
    }
}

#[test]
fn a_file_that_is_known_is_opened_without_trying_to_make_it() {
    let mounted = known(CacheMode::Auto);
    let sent = mounted.sends(|fs| fs.create("a"));
    assert_eq!(sent, [opcode::OPEN, opcode::RELEASE]);
    mounted.unmount();
}

#[test]
fn what_is_made_where_others_were_faster_is_found() {
    let mounted = mount(CacheMode::Always, |_| {});
    mounted.miss("f");
    mounted.miss("d");
    mounted.server(|server| {
        server.file("f", "theirs").dir("d");
    });
    assert_eq!(mounted.fs.create_dir("d"), refused(Errno::EEXIST));
    assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
    let file = OpenOptions::new().append(true).create(true).open(&mounted.fs, "f").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 6);
    drop(file);
    mounted.unmount();
}

#[test]
fn a_link_tells_how_many_names_the_file_has() {
    for mode in MODES {
        let mounted = known(mode);
        assert_eq!(mounted.sends(|fs| fs.hard_link("a", "d/a")), [opcode::LINK]);
        assert_told(&mounted, "a", KNOWN);
        assert_eq!(mounted.fs.metadata("a").unwrap().attr().nlink, 2);
        assert_told(&mounted, "d/a", KNOWN);
        mounted.fs.remove_file("a").unwrap();
        assert_told(&mounted, "d/a", ATTRIBUTES_UNKNOWN);
        assert_eq!(mounted.fs.metadata("d/a").unwrap().attr().nlink, 1);
        mounted.unmount();
    }
}

#[test]
fn a_removed_name_leads_nowhere_if_nobody_else_changes_anything_and_is_unknown_else() {
    for (mode, negative_timeout, requests) in [
        (CacheMode::Always, None, vec![]),
        (CacheMode::Auto, Some(SECOND), vec![]),
        (CacheMode::Auto, None, vec![opcode::LOOKUP]),
        (CacheMode::Auto, Some(Duration::ZERO), vec![opcode::LOOKUP]),
        (CacheMode::Always, Some(Duration::ZERO), vec![opcode::LOOKUP]),
    ] {
        let mounted = mount_with(CacheOptions { mode, negative_timeout, ..CacheOptions::default() }, |server| {
            server.file("f", "").dir("d");
        });
        mounted.stat("d");
        // What loses its name has to be known.
        assert_eq!(mounted.sends(|fs| fs.remove_file("f")), [opcode::LOOKUP, opcode::UNLINK], "{mode:?}");
        assert_eq!(mounted.sends(|fs| fs.remove_dir("d")), [opcode::RMDIR]);
        assert_eq!(mounted.miss("f"), requests, "{mode:?} {negative_timeout:?}");
        assert_eq!(mounted.miss("d"), requests, "{mode:?} {negative_timeout:?}");
        mounted.fs.create_dir("d").unwrap();
        mounted.fs.create("f").unwrap();
        assert_eq!(mounted.stat("d"), NO_REQUESTS);
        assert_eq!(mounted.stat("f"), NO_REQUESTS);
        mounted.unmount();
    }
}

#[test]
fn after_a_removal_the_inode_and_its_directory_are_asked_for() {
    for mode in MODES {
        let mounted = known(mode);
        let (f, e) = (mounted.fs.open("d/f").unwrap(), mounted.fs.node("e").unwrap());
        mounted.fs.remove_file("d/f").unwrap();
        assert_eq!(mounted.sent_by(|| f.metadata().unwrap().attr().nlink), (0, vec![opcode::GETATTR]));
        assert_told(&mounted, "d", ATTRIBUTES_UNKNOWN);
        mounted.fs.remove_dir("e").unwrap();
        assert_eq!(mounted.sent_by(|| e.getattr().unwrap().nlink), (0, vec![opcode::GETATTR]));
        assert_told(&mounted, "/", ATTRIBUTES_UNKNOWN);
        assert_told(&mounted, "a", KNOWN);
        drop((f, e));
        mounted.unmount();
    }
}

#[test]
fn a_change_of_a_name_that_was_not_known_is_seen_by_the_other_names_of_the_file() {
    let changes: [Action; 4] = [
        |fs| fs.remove_file("hard"),
        |fs| fs.rename("b", "hard"),
        |fs| fs.rename("hard", "new"),
        |fs| fs.rename_with("hard", "b", RenameFlags::EXCHANGE),
    ];
    for mode in MODES {
        for (at, change) in changes.iter().enumerate() {
            let mounted = known(mode);
            mounted.server(|server| {
                server.options.now = TIME;
                server.hard_link("a", "hard");
            });
            mounted.advance(if mode == CacheMode::Auto { YEAR } else { Duration::ZERO });
            mounted.cache().drop_names();
            ["a", "b"].iter().for_each(|path| drop(mounted.stat(path)));
            change(&mounted.fs).unwrap();
            let (told, _) = mounted.sent_by(|| mounted.fs.metadata("a").unwrap());
            assert_eq!(*told.attr(), mounted.server(|server| server.attr("a")), "{mode:?}, change {at}");
            mounted.unmount();
        }
    }
}

#[test]
fn after_a_removal_that_failed_the_name_is_asked_for() {
    let mounted = known(CacheMode::Always);
    assert_eq!(mounted.fs.remove_dir("d"), refused(Errno::ENOTEMPTY));
    assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
    mounted.server(|server| {
        server.remove("b");
    });
    assert_eq!(mounted.fs.remove_file("b"), refused(Errno::ENOENT));
    assert_eq!(mounted.miss("b"), [opcode::LOOKUP]);
    mounted.unmount();
}

/// The requests that it takes to look for a name that a rename took away: unless nobody else changes anything, it may
/// be there again.
pub(super) fn gone(mode: CacheMode) -> &'static [u32] {
    match mode {
        CacheMode::Always => &[],
        _ => &[opcode::LOOKUP],
    }
}

#[test]
fn what_is_removed_and_made_again_is_the_new_one() {
    for mode in MODES {
        let mounted = known(mode);
        let old = mounted.fs.node("a").unwrap().nodeid();
        mounted.fs.remove_file("a").unwrap();
        mounted.fs.write("a", "another").unwrap();
        assert_ne!(mounted.fs.node("a").unwrap().nodeid(), old);
        assert_eq!(mounted.fs.read("a").unwrap(), b"another");
        mounted.unmount();
    }
}

#[test]
fn a_removed_tree_is_gone() {
    for mode in MODES {
        let mounted = known(mode);
        mounted.fs.remove_dir_all("d").unwrap();
        assert_eq!(mounted.miss("d"), gone(mode));
        mounted.fs.create_dir("d").unwrap();
        assert_eq!(mounted.miss("d/f"), [opcode::LOOKUP]);
        mounted.unmount();
    }
}
