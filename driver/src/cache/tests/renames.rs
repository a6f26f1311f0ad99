//! What a rename determines, and what it makes unknown.

use super::changes::{ATTRIBUTES_UNKNOWN, KNOWN, MODES, assert_told, gone, known};
use super::*;
use crate::vnode::RenameFlags;
use crate::wire::FileType;

#[test]
fn a_renamed_file_is_known_by_its_new_name_alone() {
    for mode in MODES {
        for (from, to) in [("a", "b"), ("a", "d/f"), ("d/f", "a"), ("e", "d/e"), ("e", "new"), ("d", "e")] {
            let mounted = known(mode);
            if to == "new" || to == "d/e" {
                mounted.miss(to);
            }
            let node = mounted.fs.node(from).unwrap();
            // What has the new name would lose it: so it has to be known what that is.
            let asks = mode == CacheMode::Auto && (to == "new" || to == "d/e");
            let expected = if asks { vec![opcode::LOOKUP, opcode::RENAME] } else { vec![opcode::RENAME] };
            assert_eq!(mounted.sends(|fs| fs.rename(from, to)), expected, "{mode:?} {from} {to}");
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
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "").file("b", "");
    });
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
fn names_that_are_not_known_are_asked_for_before_a_rename() {
    let mounted = mount(CacheMode::Always, |server| {
        server.file("a", "").file("b", "").file("c", "");
    });
    let sent = mounted.sends(|fs| fs.rename("a", "b"));
    assert_eq!(sent, [opcode::LOOKUP, opcode::LOOKUP, opcode::RENAME]);
    assert_told(&mounted, "b", ATTRIBUTES_UNKNOWN);
    assert_eq!(mounted.miss("a"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn a_rename_that_does_not_replace_leaves_nothing_behind() {
    for mode in MODES {
        let mounted = known(mode);
        let sent = mounted.sends(|fs| fs.rename_with("a", "d/new", RenameFlags::NOREPLACE));
        assert_eq!(sent, [opcode::LOOKUP, opcode::RENAME2]);
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
fn an_exchange_asks_for_a_name_that_is_not_known() {
    let mounted = mount(CacheMode::Always, |server| {
        server.file("a", "aaa").file("b", "");
    });
    mounted.stat("a");
    let sent = mounted.sends(|fs| fs.rename_with("a", "b", RenameFlags::EXCHANGE));
    assert_eq!(sent, [opcode::LOOKUP, opcode::RENAME2]);
    ["a", "b"].iter().for_each(|path| assert_told(&mounted, path, ATTRIBUTES_UNKNOWN));
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
            let mounted = mount(mode, |server| {
                server.file("a", "").hard_link("a", "b");
            });
            mounted.stat("a");
            if knows {
                mounted.stat("b");
            }
            mounted.fs.rename("a", "b").unwrap();
            ["a", "b"].iter().for_each(|path| drop(mounted.stat(path)));
            mounted.unmount();
        }
    }
}

#[test]
fn a_name_believed_to_lead_nowhere_is_not_moved_until_that_expires() {
    for flags in [RenameFlags::empty(), RenameFlags::EXCHANGE] {
        let mounted = mount(CacheMode::Auto, |server| {
            server.file("b", "");
            long_lived(server);
        });
        mounted.miss("a");
        mounted.stat("b");
        mounted.server(|server| {
            server.file("a", "made by others");
        });
        let (renamed, sent) = mounted.sent_by(|| mounted.fs.rename_with("a", "b", flags));
        assert_eq!((renamed, sent), (refused(Errno::ENOENT), vec![]), "{flags:?}");
        mounted.advance(YEAR);
        mounted.fs.rename_with("a", "b", flags).unwrap();
        assert_eq!(mounted.fs.metadata("b").unwrap().len(), 14, "{flags:?}");
        assert_eq!(mounted.fs.exists("a"), Ok(flags == RenameFlags::EXCHANGE));
        mounted.unmount();
    }
}

#[test]
fn what_was_believed_to_lead_nowhere_and_was_exchanged_is_found() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "");
        long_lived(server);
    });
    mounted.stat("a");
    mounted.miss("b");
    mounted.server(|server| {
        server.file("b", "made by others");
    });
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
