//! What is known of inodes.

use super::names::slow_down;
use super::*;
use crate::vnode::{Access, SetAttr};
use crate::wire::FileType;

/// A mount with a file, whose name stays known.
fn with_file(options: CacheOptions) -> Mounted {
    mount_with(options, |server| {
        server.file("f", "content");
        server.options.entry_ttl = 1000 * YEAR;
    })
}

fn auto() -> CacheOptions {
    CacheOptions::default()
}

#[test]
fn attributes_are_asked_for_when_they_expire_and_the_name_has_not() {
    let mounted = with_file(auto());
    assert_eq!(mounted.stat("f"), [opcode::LOOKUP]);
    for _ in 0..3 {
        mounted.advance(SECOND - MILLISECOND);
        assert_eq!(mounted.stat("f"), NO_REQUESTS);
        mounted.advance(MILLISECOND);
        assert_eq!(mounted.stat("f"), [opcode::GETATTR]);
    }
    mounted.unmount();
}

#[test]
fn a_given_time_counts_more_than_the_servers() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        for server_says in [Duration::ZERO, SECOND, YEAR] {
            let mounted = with_file(CacheOptions { mode, attr_timeout: Some(10 * SECOND), ..auto() });
            mounted.server(|server| server.options.attr_ttl = server_says);
            mounted.stat("f");
            mounted.advance(10 * SECOND - MILLISECOND);
            assert_eq!(mounted.stat("f"), NO_REQUESTS, "{mode:?} {server_says:?}");
            mounted.advance(MILLISECOND);
            assert_eq!(mounted.stat("f"), [opcode::GETATTR], "{mode:?} {server_says:?}");
            mounted.advance(10 * SECOND - MILLISECOND);
            assert_eq!(mounted.stat("f"), NO_REQUESTS, "{mode:?} {server_says:?}");
            mounted.unmount();
        }
    }
}

#[test]
fn a_given_time_of_zero_forbids_to_believe_attributes() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let mounted = with_file(CacheOptions { mode, attr_timeout: Some(Duration::ZERO), ..auto() });
        mounted.server(long_lived);
        assert_eq!(mounted.stat("f"), [opcode::LOOKUP], "{mode:?}");
        for _ in 0..3 {
            assert_eq!(mounted.stat("f"), [opcode::GETATTR], "{mode:?}");
        }
        mounted.unmount();
    }
}

#[test]
fn attributes_stay_true_where_nobody_else_changes_anything() {
    let mounted = with_file(CacheOptions { mode: CacheMode::Always, ..auto() });
    let root = mounted.fs.root();
    assert_eq!(mounted.sends(|_| root.getattr()), [opcode::GETATTR]);
    mounted.stat("f");
    mounted.advance(1000 * YEAR);
    assert_eq!(mounted.stat("f"), NO_REQUESTS);
    assert_eq!(mounted.stat("/"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn the_time_to_live_counts_from_when_the_attributes_were_asked_for() {
    for (slow, sent) in [(opcode::GETATTR, vec![opcode::GETATTR]), (opcode::SETATTR, vec![opcode::SETATTR])] {
        let mounted = with_file(auto());
        mounted.stat("f");
        mounted.advance(SECOND);
        slow_down(&mounted, slow, 600 * MILLISECOND);
        if slow == opcode::SETATTR {
            assert_eq!(mounted.sends(|fs| fs.set_permissions("f", 0o600)), sent);
        } else {
            assert_eq!(mounted.stat("f"), sent);
        }
        mounted.advance(399 * MILLISECOND);
        assert_eq!(mounted.stat("f"), NO_REQUESTS);
        mounted.advance(MILLISECOND);
        assert_eq!(mounted.stat("f"), [opcode::GETATTR]);
        mounted.server(|server| {
            server.tamper(|_, _| {});
        });
        mounted.unmount();
    }
}

#[test]
fn an_open_file_and_its_name_share_attributes() {
    let mounted = with_file(auto());
    let file = mounted.fs.open("f").unwrap();
    assert_eq!(mounted.sends(|_| file.metadata()), NO_REQUESTS);
    mounted.advance(SECOND);
    assert_eq!(mounted.sends(|_| file.metadata()), [opcode::GETATTR]);
    assert_eq!(mounted.stat("f"), NO_REQUESTS);
    drop(file);
    mounted.unmount();
}

#[test]
fn all_names_of_a_file_share_its_attributes() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "").hard_link("a", "b");
    });
    let (a, b) = (mounted.fs.node("a").unwrap(), mounted.fs.node("b").unwrap());
    assert!(Arc::ptr_eq(a.inode(), b.inode()));
    mounted.advance(SECOND);
    mounted.server(|server| server.attr_mut("a").permissions = 0o600);
    assert_eq!(mounted.sends(|_| a.getattr()), [opcode::GETATTR]);
    let (attr, sent) = mounted.sent_by(|| b.getattr().unwrap());
    assert_eq!((attr.permissions, sent), (0o600, vec![]));
    drop((a, b));
    mounted.unmount();
}

#[test]
fn what_a_lookup_says_counts_for_all_names() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "").hard_link("a", "b");
    });
    mounted.stat("a");
    mounted.server(|server| server.attr_mut("a").permissions = 0o600);
    assert_eq!(mounted.fs.metadata("a").unwrap().permissions(), 0o644);
    assert_eq!(mounted.stat("b"), [opcode::LOOKUP]);
    assert_eq!(mounted.fs.metadata("a").unwrap().permissions(), 0o600);
    mounted.unmount();
}

#[test]
fn a_nodeid_of_another_generation_is_another_inode() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("f", "old");
    });
    let old = mounted.fs.node("f").unwrap();
    mounted.server(|server| {
        server.file("f", "newer").set_generation("f", 7);
    });
    mounted.advance(SECOND);
    let new = mounted.fs.node("f").unwrap();
    assert_eq!(new.nodeid(), old.nodeid());
    assert!(!Arc::ptr_eq(old.inode(), new.inode()));
    let again = mounted.fs.node("f").unwrap();
    assert!(Arc::ptr_eq(new.inode(), again.inode()));
    assert_eq!(mounted.sends(|_| new.getattr()), NO_REQUESTS);
    drop((old, again));
    // The nodeid stays known for the new one, under its number.
    mounted.advance(SECOND);
    assert!(Arc::ptr_eq(mounted.fs.node("f").unwrap().inode(), new.inode()));
    drop(new);
    mounted.unmount();
}

#[test]
fn a_nodeid_of_another_kind_is_another_inode() {
    let mounted = mount(CacheMode::Auto, |server| {
        (server.options.minor, server.options.statx) = (39, true);
        server.file("f", "");
    });
    let old = mounted.fs.node("f").unwrap();
    mounted.server(|server| server.attr_mut("f").file_type = FileType::Fifo);
    mounted.advance(SECOND);
    let new = mounted.fs.node("f").unwrap();
    assert_eq!((new.nodeid(), new.file_type()), (old.nodeid(), FileType::Fifo));
    let other_kind = Error::Protocol("an inode became one of another kind");
    assert_eq!(old.getattr(), Err(other_kind));
    let changes = SetAttr { uid: Some(5), ..SetAttr::default() };
    assert_eq!(old.setattr(&changes), Err(other_kind));
    assert_eq!(old.statx().map(drop), Err(other_kind));
    drop((old, new));
    mounted.unmount();
}

#[test]
fn names_known_in_a_directory_are_not_those_of_another_generation_of_it() {
    let mounted = mount(CacheMode::Always, |server| {
        server.file("d/f", "");
    });
    let old = mounted.fs.node("d").unwrap();
    mounted.stat("d/f");
    mounted.server(|server| {
        server.set_generation("d", 1).remove("d/f");
    });
    mounted.cache().forget_name(mounted.fs.root().inode(), b"d");
    assert_eq!(mounted.miss("d/f"), [opcode::LOOKUP; 2]);
    assert!(old.lookup("f").is_ok());
    drop(old);
    mounted.unmount();
}

/// A mount in which user 1000 may enter, but not write, `d` with a file.
fn for_users(mode: CacheMode) -> Mounted {
    mount(mode, |server| {
        server.file("d/f", "");
        for (path, permissions) in [("d", 0o711), ("d/f", 0o644)] {
            server.attr_mut(path).permissions = permissions;
        }
    })
}

#[test]
fn a_user_walks_a_known_path_without_requests() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let mounted = for_users(mode);
        let fs = mounted.fs.with_credentials(user());
        let (_, sent) = mounted.sent_by(|| fs.metadata("d/f").unwrap());
        assert_eq!(sent, [opcode::GETATTR, opcode::LOOKUP, opcode::LOOKUP]);
        assert_eq!(mounted.sends(|_| fs.metadata("d/f")), NO_REQUESTS);
        assert_eq!(mounted.sends(|_| fs.access("d/f", Access::READ)), NO_REQUESTS);
        // Whether the content changed is asked for, unless nobody else changes anything.
        let asked = if mode == CacheMode::Auto { vec![opcode::GETATTR] } else { vec![] };
        assert_eq!(mounted.sends(|_| fs.open("d/f")), asked, "{mode:?}");
        drop(fs);
        mounted.unmount();
    }
}

#[test]
fn what_a_user_may_not_do_is_refused_by_what_is_known() {
    let mounted = for_users(CacheMode::Auto);
    let fs = mounted.fs.with_credentials(user());
    mounted.stat("/");
    mounted.stat("d/f");
    let denied = |result: Result<(), Error>| assert_eq!(result, refused(Errno::EACCES));
    let (_, sent) = mounted.sent_by(|| {
        denied(fs.read_dir("d").map(drop));
        denied(fs.create("d/f").map(drop));
        denied(fs.access("d", Access::WRITE));
        denied(fs.remove_file("d/f"));
        denied(fs.create_dir("new").map(drop));
    });
    assert!(sent.iter().all(|&opcode| opcode == opcode::LOOKUP), "{sent:?}");
    drop(fs);
    mounted.unmount();
}

#[test]
fn own_changes_of_permissions_count_at_once_and_those_of_others_when_the_attributes_expire() {
    let mounted = for_users(CacheMode::Auto);
    let fs = mounted.fs.with_credentials(user());
    fs.metadata("d/f").unwrap();
    mounted.fs.set_permissions("d", 0o700).unwrap();
    assert_eq!(fs.metadata("d/f").map(drop), refused(Errno::EACCES));
    mounted.fs.set_permissions("d", 0o711).unwrap();
    fs.metadata("d/f").unwrap();
    mounted.server(|server| server.attr_mut("d").permissions = 0o700);
    fs.metadata("d/f").unwrap();
    mounted.advance(SECOND);
    assert_eq!(fs.metadata("d/f").map(drop), refused(Errno::EACCES));
    drop(fs);
    mounted.unmount();
}

#[test]
fn who_has_given_a_file_away_may_not_change_it_any_more() {
    let mounted = for_users(CacheMode::Always);
    mounted.server(|server| server.attr_mut("d/f").uid = 1000);
    let fs = mounted.fs.with_credentials(user());
    fs.set_permissions("d/f", 0o640).unwrap();
    mounted.fs.set_owner("d/f", Some(2000), None).unwrap();
    assert_eq!(fs.set_permissions("d/f", 0o600), refused(Errno::EPERM));
    drop(fs);
    mounted.unmount();
}

#[test]
fn entries_of_a_listing_bring_attributes() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("d/f", "content");
    });
    let node = mounted.fs.node("d/f").unwrap();
    mounted.advance(SECOND);
    mounted.server(|server| server.attr_mut("d/f").permissions = 0o600);
    assert_eq!(mounted.fs.read_dir("d").unwrap().map(Result::unwrap).count(), 1);
    let (attr, sent) = mounted.sent_by(|| node.getattr().unwrap());
    assert_eq!((attr.permissions, sent), (0o600, vec![]));
    drop(node);
    mounted.unmount();
}
