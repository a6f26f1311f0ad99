//! What own changes determine, and what they make unknown.

use super::*;
use crate::Timestamp;
use crate::fs::{FileTimes, OpenOptions};
use crate::vnode::{AllocateFlags, RenameFlags, SetTime, XattrFlags};
use crate::wire::FileType;

/// In these modes what is known does not expire during a test; in the second, what leads nowhere is known, too.
const MODES: [CacheMode; 2] = [CacheMode::Auto, CacheMode::Always];

/// A mount with files, directories and a symbolic link, of which everything is known.
fn known(mode: CacheMode) -> Mounted {
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
fn assert_told(mounted: &Mounted, path: &str, requests: &[u32]) {
    let (told, sent) = mounted.sent_by(|| mounted.fs.node(path).and_then(|node| node.getattr()).unwrap());
    assert_eq!(told, mounted.server(|server| server.attr(path)), "{path}");
    assert_eq!(sent, requests, "{path}");
}

const TIME: Timestamp = Timestamp { seconds: 5, nanoseconds: 6 };

const KNOWN: &[u32] = &[];
const ATTRIBUTES_UNKNOWN: &[u32] = &[opcode::GETATTR];

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
        let changes: [fn(&VirtioFs) -> Result<(), Error>; 5] = [
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
    mounted.server(|server| drop(server.fault(opcode::SETATTR, 0, Fault::Refuse(Errno::EIO))));
    assert_eq!(mounted.fs.set_permissions("a", 0o600), refused(Errno::EIO));
    assert_told(&mounted, "a", ATTRIBUTES_UNKNOWN);
    mounted.unmount();
}

#[test]
fn after_a_change_of_content_the_attributes_are_asked_for_once() {
    let changes: [fn(&VirtioFs) -> Result<(), Error>; 7] = [
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
fn a_new_name_is_known_and_its_directory_asked_for() {
    let makes: [fn(&Node) -> Result<(), Error>; 5] = [
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
    mounted.server(|server| drop(server.file("f", "theirs").dir("d")));
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
        assert_eq!(mounted.sends(|fs| fs.remove_file("f")), [opcode::UNLINK], "f was not known");
        assert_eq!(mounted.sends(|fs| fs.remove_dir("d")), [opcode::RMDIR]);
        assert_eq!(mounted.miss("f"), requests, "{mode:?} {negative_timeout:?}");
        assert_eq!(mounted.miss("d"), requests, "{mode:?} {negative_timeout:?}");
        mounted.fs.create_dir("d").unwrap();
        mounted.fs.create("f").unwrap();
        assert_eq!(
            (mounted.stat("d").len(), mounted.stat("f").len()),
            match negative_timeout {
                // Who believes no names asks again.
                _ => (0, 0),
            }
        );
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
    let changes: [fn(&VirtioFs) -> Result<(), Error>; 4] = [
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
    mounted.server(|server| drop(server.remove("b")));
    assert_eq!(mounted.fs.remove_file("b"), refused(Errno::ENOENT));
    assert_eq!(mounted.miss("b"), [opcode::LOOKUP]);
    mounted.unmount();
}

/// The requests that it takes to look for a name that a rename took away: unless nobody else changes anything, it may be
/// there again.
fn gone(mode: CacheMode) -> &'static [u32] {
    match mode {
        CacheMode::Always => &[],
        _ => &[opcode::LOOKUP],
    }
}

#[test]
fn a_renamed_file_is_known_by_its_new_name_alone() {
    for mode in MODES {
        for (from, to) in [("a", "b"), ("a", "d/f"), ("d/f", "a"), ("e", "d/e"), ("e", "new"), ("d", "e")] {
            let mounted = known(mode);
            if to == "new" || to == "d/e" {
                mounted.miss(to);
            }
            let node = mounted.fs.node(from).unwrap();
            assert_eq!(mounted.sends(|fs| fs.rename(from, to)), [opcode::RENAME], "{mode:?} {from} {to}");
            let (moved, sent) = mounted.sent_by(|| mounted.fs.node(to).unwrap());
            assert_eq!(sent, NO_REQUESTS, "{mode:?} {from} {to}");
            assert!(Arc::ptr_eq(moved.inode(), node.inode()));
            assert_eq!(mounted.miss(from), gone(mode), "{mode:?} {from} {to}");
            assert_told(&mounted, to, ATTRIBUTES_UNKNOWN);
            drop((node, moved));
            mounted.unmount();
        }
    }
}

#[test]
fn names_in_a_renamed_directory_stay_known() {
    let mounted = known(CacheMode::Auto);
    mounted.fs.rename("d", "e/d").unwrap();
    assert_told(&mounted, "e/d/f", KNOWN);
    mounted.unmount();
}

#[test]
fn a_rename_keeps_how_long_the_name_is_good() {
    let mounted = mount(CacheMode::Auto, |server| drop(server.file("a", "").file("b", "")));
    mounted.stat("a");
    mounted.advance(SECOND / 2);
    mounted.stat("b");
    mounted.fs.rename("a", "b").unwrap();
    assert_eq!(mounted.stat("b"), [opcode::GETATTR]);
    mounted.advance(SECOND / 2);
    assert_eq!(mounted.stat("b"), [opcode::LOOKUP]);
    mounted.unmount();
}

#[test]
fn a_rename_makes_the_attributes_unknown_of_all_that_it_touches() {
    for mode in MODES {
        let mounted = known(mode);
        let victim = mounted.fs.open("d/f").unwrap();
        mounted.fs.rename("a", "d/f").unwrap();
        for path in ["/", "d", "d/f"] {
            assert_told(&mounted, path, ATTRIBUTES_UNKNOWN);
            assert_told(&mounted, path, KNOWN);
        }
        assert_eq!(mounted.sent_by(|| victim.metadata().unwrap().attr().nlink), (0, vec![opcode::GETATTR]));
        ["b", "e"].iter().for_each(|path| assert_told(&mounted, path, KNOWN));
        drop(victim);
        mounted.unmount();
    }
}

#[test]
fn names_of_which_one_was_not_known_are_asked_for_after_a_rename() {
    let mounted = mount(CacheMode::Always, |server| drop(server.file("a", "").file("b", "").file("c", "")));
    mounted.fs.rename("a", "b").unwrap();
    assert_eq!(mounted.stat("b"), [opcode::LOOKUP]);
    // Its old name, or that of another name of the same file.
    assert_eq!(mounted.miss("a"), [opcode::LOOKUP]);
    mounted.unmount();
}

#[test]
fn a_rename_that_does_not_replace_leaves_nothing_behind() {
    for mode in MODES {
        let mounted = known(mode);
        let sent = mounted.sends(|fs| fs.rename_with("a", "d/new", RenameFlags::NOREPLACE));
        assert_eq!(sent, [opcode::RENAME2]);
        assert_told(&mounted, "d/new", ATTRIBUTES_UNKNOWN);
        assert_eq!(mounted.miss("a"), gone(mode));
        mounted.unmount();
    }
}

#[test]
fn exchanged_names_are_both_known() {
    for mode in MODES {
        for (one, other) in [("a", "b"), ("a", "d/f"), ("e", "b"), ("d", "e")] {
            let mounted = known(mode);
            let before = [one, other].map(|path| mounted.fs.node(path).unwrap());
            let sent = mounted.sends(|fs| fs.rename_with(one, other, RenameFlags::EXCHANGE));
            assert_eq!(sent, [opcode::RENAME2]);
            let (after, sent) = mounted.sent_by(|| [other, one].map(|path| mounted.fs.node(path).unwrap()));
            assert_eq!(sent, NO_REQUESTS, "{mode:?} {one} {other}");
            assert!(before.iter().zip(&after).all(|(old, new)| Arc::ptr_eq(old.inode(), new.inode())));
            [one, other].iter().for_each(|path| assert_told(&mounted, path, ATTRIBUTES_UNKNOWN));
            drop((before, after));
            mounted.unmount();
        }
    }
}

#[test]
fn an_exchange_with_a_name_that_is_not_known_moves_the_other() {
    let mounted = mount(CacheMode::Always, |server| drop(server.file("a", "aaa").file("b", "")));
    mounted.stat("a");
    mounted.fs.rename_with("a", "b", RenameFlags::EXCHANGE).unwrap();
    assert_told(&mounted, "b", ATTRIBUTES_UNKNOWN);
    assert_eq!(mounted.stat("a"), [opcode::LOOKUP]);
    mounted.fs.rename_with("c", "a", RenameFlags::EXCHANGE).unwrap_err();
    mounted.unmount();
}

#[test]
fn where_a_whiteout_was_left_the_server_is_asked() {
    for mode in MODES {
        let mounted = known(mode);
        mounted.fs.rename_with("a", "b", RenameFlags::WHITEOUT).unwrap();
        assert_told(&mounted, "b", ATTRIBUTES_UNKNOWN);
        assert_eq!(mounted.stat("a"), [opcode::LOOKUP]);
        assert_eq!(mounted.fs.node("a").unwrap().file_type(), FileType::CharDevice);
        mounted.unmount();
    }
}

#[test]
fn a_name_renamed_to_itself_stays_there() {
    for mode in MODES {
        for path in ["a", "d", "d/f"] {
            let mounted = known(mode);
            mounted.fs.rename(path, path).unwrap();
            mounted.stat(path);
            assert_told(&mounted, path, KNOWN);
            mounted.unmount();
        }
    }
}

#[test]
fn two_names_of_one_file_stay_when_one_is_renamed_to_the_other() {
    for mode in MODES {
        for knows in [true, false] {
            let mounted = mount(mode, |server| drop(server.file("a", "").hard_link("a", "b")));
            mounted.stat("a");
            if knows {
                mounted.stat("b");
            }
            mounted.fs.rename("a", "b").unwrap();
            ["a", "b"].iter().for_each(|path| drop(mounted.fs.metadata(path).unwrap()));
            mounted.unmount();
        }
    }
}

#[test]
fn what_was_believed_to_lead_nowhere_and_was_renamed_is_found() {
    for flags in [RenameFlags::empty(), RenameFlags::EXCHANGE] {
        let mounted = mount(CacheMode::Auto, |server| {
            server.file("b", "");
            long_lived(server);
        });
        mounted.miss("a");
        mounted.stat("b");
        mounted.server(|server| drop(server.file("a", "made by others")));
        mounted.fs.rename_with("a", "b", flags).unwrap();
        assert_eq!(mounted.fs.metadata("b").unwrap().len(), 14, "{flags:?}");
        assert_eq!(mounted.fs.exists("a"), Ok(flags == RenameFlags::EXCHANGE));
        mounted.unmount();
    }
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "");
        long_lived(server);
    });
    mounted.stat("a");
    mounted.miss("b");
    mounted.server(|server| drop(server.file("b", "made by others")));
    mounted.fs.rename_with("a", "b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(mounted.fs.metadata("a").unwrap().len(), 14);
    mounted.unmount();
}

#[test]
fn after_a_rename_that_failed_both_names_are_asked_for() {
    for mode in MODES {
        let mounted = known(mode);
        assert_eq!(mounted.fs.rename("a", "d"), refused(Errno::EISDIR));
        assert_eq!(mounted.stat("a"), [opcode::LOOKUP]);
        assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
        assert_eq!(mounted.fs.rename_with("a", "b", RenameFlags::NOREPLACE), refused(Errno::EEXIST));
        assert_eq!(mounted.stat("a"), [opcode::LOOKUP]);
        assert_eq!(mounted.stat("b"), [opcode::LOOKUP]);
        mounted.unmount();
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
