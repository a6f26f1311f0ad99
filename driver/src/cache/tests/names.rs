//! What names lead to, as the server said.

use super::*;
use crate::virtio::fake::allocations;
use crate::vnode::RenameFlags;
use crate::wire::FileType;

fn deep(server: &mut FakeServer) {
    server.file("a/b/c/f", "content");
}

#[test]
fn a_path_is_asked_for_name_by_name_and_then_not_again_until_that_expires() {
    let mounted = mount(CacheMode::Auto, deep);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4]);
    assert_eq!(mounted.stat("a/b/c/f"), NO_REQUESTS);
    mounted.advance(SECOND - MILLISECOND);
    assert_eq!(mounted.stat("a/b/c/f"), NO_REQUESTS);
    mounted.advance(MILLISECOND);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4]);
    assert_eq!(mounted.stat("a/b/c/f"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn a_path_with_a_known_beginning_is_asked_for_from_there_on() {
    let mounted = mount(CacheMode::Auto, deep);
    assert_eq!(mounted.stat("a/b"), [opcode::LOOKUP; 2]);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 2]);
    assert_eq!(mounted.stat("/a/./b/c/../../b//c/f"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn each_name_expires_by_itself() {
    let mounted = mount(CacheMode::Auto, deep);
    mounted.stat("a/b");
    mounted.advance(SECOND / 2);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 2]);
    mounted.advance(SECOND / 2);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 2], "a and b");
    mounted.advance(SECOND / 2);
    assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 2], "c and f");
    mounted.unmount();
}

#[test]
fn nothing_is_believed_without_a_cache() {
    let given = Some(YEAR);
    let options = CacheOptions {
        mode: CacheMode::None,
        entry_timeout: given,
        attr_timeout: given,
        negative_timeout: given,
        ..CacheOptions::default()
    };
    for options in [CacheOptions { mode: CacheMode::None, ..CacheOptions::default() }, options] {
        let mounted = mount_with(options, |server| {
            deep(server);
            long_lived(server);
        });
        let node = mounted.fs.node("a/b/c/f").unwrap();
        for _ in 0..3 {
            assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4]);
            assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
            assert_eq!(mounted.sent_by(|| node.getattr().unwrap()).1, [opcode::GETATTR]);
        }
        assert_eq!(mounted.cache().names(), 0);
        drop(node);
        mounted.unmount();
    }
}

#[test]
fn what_was_once_said_stays_true_where_nobody_else_changes_anything() {
    for ttl in [Duration::ZERO, SECOND] {
        let mounted = mount(CacheMode::Always, |server| {
            deep(server);
            (server.options.entry_ttl, server.options.attr_ttl) = (ttl, ttl);
        });
        assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4]);
        mounted.advance(1000 * YEAR);
        assert_eq!(mounted.stat("a/b/c/f"), NO_REQUESTS);
        mounted.unmount();
    }
}

#[test]
fn a_given_time_counts_more_than_the_servers() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        for server_says in [Duration::ZERO, SECOND, YEAR] {
            let options = CacheOptions { mode, entry_timeout: Some(10 * SECOND), ..CacheOptions::default() };
            let mounted = mount_with(options, |server| {
                deep(server);
                server.options.entry_ttl = server_says;
                server.options.attr_ttl = YEAR;
            });
            assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4]);
            mounted.advance(10 * SECOND - MILLISECOND);
            assert_eq!(mounted.stat("a/b/c/f"), NO_REQUESTS, "{mode:?} {server_says:?}");
            mounted.advance(MILLISECOND);
            assert_eq!(mounted.stat("a/b/c/f"), [opcode::LOOKUP; 4], "{mode:?} {server_says:?}");
            mounted.unmount();
        }
    }
}

#[test]
fn a_given_time_of_zero_forbids_to_believe_names() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let zero = Some(Duration::ZERO);
        let options = CacheOptions { mode, entry_timeout: zero, negative_timeout: zero, ..CacheOptions::default() };
        let mounted = mount_with(options, |server| {
            deep(server);
            long_lived(server);
        });
        for _ in 0..3 {
            assert_eq!(mounted.stat("a/b"), [opcode::LOOKUP; 2], "{mode:?}");
            assert_eq!(mounted.miss("none"), [opcode::LOOKUP], "{mode:?}");
        }
        assert_eq!(mounted.cache().names(), 0);
        mounted.unmount();
    }
}

#[test]
fn a_name_that_may_not_be_believed_is_not_remembered() {
    let mounted = mount(CacheMode::Auto, |server| {
        deep(server);
        server.options.entry_ttl = Duration::ZERO;
    });
    for _ in 0..3 {
        assert_eq!(mounted.stat("a/b"), [opcode::LOOKUP; 2]);
    }
    assert_eq!(mounted.cache().names(), 0);
    mounted.unmount();
}

#[test]
fn the_longest_time_to_live_is_for_ever() {
    let mounted = mount(CacheMode::Auto, |server| {
        deep(server);
        let longest = Duration::new(u64::MAX, 999_999_999);
        (server.options.entry_ttl, server.options.attr_ttl) = (longest, longest);
        server.options.negative_ttl = Some(longest);
    });
    mounted.advance(YEAR);
    mounted.stat("a/b");
    mounted.miss("none");
    mounted.advance(1000 * YEAR);
    assert_eq!(mounted.stat("a/b"), NO_REQUESTS);
    assert_eq!(mounted.miss("none"), NO_REQUESTS);
    mounted.unmount();
}

/// Lets the reply to each request of this kind take `time` by the driver's clock.
pub(super) fn slow_down(mounted: &Mounted, slow: u32, time: Duration) {
    let channel = mounted.channel.clone();
    mounted.server(|server| {
        server.tamper(move |opcode, _| {
            if opcode == slow {
                channel.advance(time);
            }
        });
    });
}

#[test]
fn the_time_to_live_counts_from_when_the_name_was_asked_for() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.dir("d").options.negative_ttl = Some(SECOND);
    });
    slow_down(&mounted, opcode::LOOKUP, 600 * MILLISECOND);
    assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
    mounted.advance(399 * MILLISECOND);
    assert_eq!(mounted.stat("d"), NO_REQUESTS);
    mounted.advance(MILLISECOND);
    assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
    mounted.advance(YEAR);
    assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
    mounted.advance(399 * MILLISECOND);
    assert_eq!(mounted.miss("none"), NO_REQUESTS);
    mounted.advance(MILLISECOND);
    assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
    // A hook that knows the channel would keep the server alive.
    mounted.server(|server| {
        server.tamper(|_, _| {});
    });
    mounted.unmount();
}

#[test]
fn that_a_name_leads_nowhere_is_believed_as_long_as_the_server_says() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.dir("d").options.negative_ttl = Some(3 * SECOND);
    });
    assert_eq!(mounted.miss("d/none"), [opcode::LOOKUP; 2]);
    mounted.advance(SECOND - MILLISECOND);
    assert_eq!(mounted.miss("d/none"), NO_REQUESTS);
    assert_eq!(mounted.miss("d/none/deeper"), NO_REQUESTS);
    mounted.advance(2 * SECOND);
    assert_eq!(mounted.miss("d/none"), [opcode::LOOKUP], "d has expired");
    mounted.advance(MILLISECOND);
    assert_eq!(mounted.miss("d/none"), [opcode::LOOKUP], "the other has");
    mounted.unmount();
}

#[test]
fn an_error_says_nothing_about_how_long_a_name_leads_nowhere() {
    let mounted = mount(CacheMode::Auto, |_| {});
    for _ in 0..3 {
        assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
    }
    mounted.unmount();
}

#[test]
fn that_a_name_leads_nowhere_is_believed_for_a_given_time() {
    for server_says in [None, Some(Duration::ZERO), Some(YEAR)] {
        let options = CacheOptions { negative_timeout: Some(10 * SECOND), ..CacheOptions::default() };
        let mounted = mount_with(options, |server| server.options.negative_ttl = server_says);
        assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
        mounted.advance(10 * SECOND - MILLISECOND);
        assert_eq!(mounted.miss("none"), NO_REQUESTS, "{server_says:?}");
        mounted.advance(MILLISECOND);
        assert_eq!(mounted.miss("none"), [opcode::LOOKUP], "{server_says:?}");
        mounted.unmount();
    }
}

#[test]
fn that_a_name_leads_nowhere_stays_true_where_nobody_else_changes_anything() {
    for server_says in [None, Some(Duration::ZERO)] {
        let mounted = mount(CacheMode::Always, |server| server.options.negative_ttl = server_says);
        assert_eq!(mounted.miss("none"), [opcode::LOOKUP]);
        mounted.advance(1000 * YEAR);
        assert_eq!(mounted.miss("none"), NO_REQUESTS);
        mounted.unmount();
    }
}

#[test]
fn other_errors_are_not_believed() {
    let mounted = mount(CacheMode::Always, |server| {
        server.dir("d");
    });
    for _ in 0..2 {
        mounted.server(|server| {
            server.fault(opcode::LOOKUP, 0, Fault::Refuse(Errno::EIO));
        });
        assert_eq!(mounted.fs.metadata("d").map(drop), refused(Errno::EIO));
    }
    assert_eq!(mounted.stat("d"), [opcode::LOOKUP]);
    mounted.unmount();
}

#[test]
fn a_name_that_others_made_is_seen_when_its_absence_expires() {
    let mounted = mount(CacheMode::Auto, |server| server.options.negative_ttl = Some(SECOND));
    mounted.miss("f");
    mounted.server(|server| {
        server.file("f", "");
    });
    assert_eq!(mounted.miss("f"), NO_REQUESTS);
    mounted.advance(SECOND);
    assert_eq!(mounted.stat("f"), [opcode::LOOKUP]);
    assert_eq!(mounted.stat("f"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn a_name_that_others_replaced_leads_to_the_new_inode_when_it_expires() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("f", "old");
    });
    let old = mounted.fs.node("f").unwrap();
    mounted.server(|server| {
        server.remove("f").file("f", "newer");
    });
    assert_eq!(mounted.fs.node("f").unwrap().nodeid(), old.nodeid());
    mounted.advance(SECOND);
    assert_eq!(mounted.fs.metadata("f").unwrap().len(), 5);
    assert_ne!(mounted.fs.node("f").unwrap().nodeid(), old.nodeid());
    drop(old);
    mounted.unmount();
}

#[test]
fn names_in_other_directories_are_other_names() {
    let mounted = mount(CacheMode::Always, |server| {
        server.file("a/f", "1").file("b/f", "22").dir("c");
    });
    assert_eq!(mounted.fs.metadata("a/f").unwrap().len(), 1);
    assert_eq!(mounted.fs.metadata("b/f").unwrap().len(), 2);
    assert_eq!(mounted.miss("c/f"), [opcode::LOOKUP; 2]);
    assert_eq!(mounted.fs.metadata("a/f").unwrap().len(), 1);
    mounted.unmount();
}

#[test]
fn a_file_made_by_a_name_known_to_lead_nowhere_is_not_looked_for() {
    let mounted = mount(CacheMode::Auto, |server| {
        long_lived(server);
        server.file("old", "");
    });
    let make: [(&str, Action<Node>); 5] = [
        ("file", |root| root.create("file", OpenFlags::READ_WRITE, 0o644).map(drop)),
        ("fifo", |root| root.mknod("fifo", FileType::Fifo, 0o644, 0).map(drop)),
        ("dir", |root| root.mkdir("dir", 0o755).map(drop)),
        ("link", |root| root.symlink("link", b"to").map(drop)),
        ("moved", |root| root.rename("old", root, "moved", RenameFlags::empty())),
    ];
    for (name, make) in make {
        assert_eq!(mounted.miss(name), [opcode::LOOKUP]);
        if name == "moved" {
            mounted.stat("old");
        }
        make(mounted.fs.root()).unwrap();
        let (found, sent) = mounted.sent_by(|| mounted.fs.symlink_metadata(name));
        found.unwrap();
        let expected = if name == "moved" { vec![opcode::GETATTR] } else { vec![] };
        assert_eq!(sent, expected, "{name}");
    }
    assert_eq!(mounted.miss("hard"), [opcode::LOOKUP]);
    mounted.fs.hard_link("moved", "hard").unwrap();
    assert_eq!(mounted.stat("hard"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn entries_of_a_listing_are_not_looked_for() {
    let mounted = mount(CacheMode::Auto, |server| {
        for at in 0..20 {
            server.file(alloc::format!("d/{at}"), "x");
        }
    });
    let (entries, sent) = mounted.sent_by(|| mounted.fs.read_dir("d").unwrap().map(Result::unwrap).count());
    assert_eq!(entries, 20);
    assert!(sent.contains(&opcode::READDIRPLUS));
    for at in 0..20 {
        assert_eq!(mounted.stat(&alloc::format!("d/{at}")), NO_REQUESTS);
    }
    mounted.advance(SECOND);
    assert_eq!(mounted.stat("d/7"), [opcode::LOOKUP; 2]);
    mounted.unmount();
}

#[test]
fn entries_of_a_listing_are_good_from_when_it_was_asked_for() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("d/f", "").file("d/g", "");
        server.options.entry_ttl = 2 * SECOND;
    });
    let mut listing = mounted.fs.read_dir("d").unwrap();
    listing.next().unwrap().unwrap();
    mounted.advance(SECOND);
    listing.next().unwrap().unwrap();
    drop(listing);
    mounted.stat("d");
    assert_eq!(mounted.stat("d/f"), [opcode::GETATTR]);
    assert_eq!(mounted.stat("d/g"), [opcode::GETATTR]);
    mounted.advance(SECOND);
    assert_eq!(mounted.stat("d/g"), [opcode::LOOKUP; 2]);
    mounted.unmount();
}

#[test]
fn a_listing_is_not_as_old_as_the_open_directory() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("d/f", "").file("d/g", "");
    });
    let listing = mounted.fs.read_dir("d").unwrap();
    mounted.fs.remove_file("d/g").unwrap();
    mounted.advance(SECOND);
    assert_eq!(listing.map(Result::unwrap).count(), 1);
    assert_eq!(mounted.stat("d/f"), [opcode::LOOKUP], "d alone");
    mounted.unmount();
}

#[test]
fn a_listing_without_attributes_teaches_no_names() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("d/f", "");
        server.options.readdirplus = false;
    });
    assert_eq!(mounted.fs.read_dir("d").unwrap().map(Result::unwrap).count(), 1);
    assert_eq!(mounted.stat("d/f"), [opcode::LOOKUP]);
    mounted.unmount();
}

/// Nothing expires, and the server opens files when they are opened.
fn opens_at_once() -> CacheOptions {
    CacheOptions { mode: CacheMode::Always, lazy_open: false, ..CacheOptions::default() }
}

#[test]
fn a_path_that_became_stale_is_followed_again_without_what_is_known_of_names() {
    let mounted = mount_with(opens_at_once(), |server| {
        server.file("a/b/f", "content");
    });
    mounted.stat("a/b/f");
    mounted.server(|server| {
        server.fault(opcode::OPEN, 0, Fault::Refuse(Errno::ESTALE));
    });
    let sent = mounted.sends(|fs| fs.open("a/b/f"));
    let expected = [opcode::OPEN, opcode::LOOKUP, opcode::LOOKUP, opcode::LOOKUP, opcode::OPEN, opcode::RELEASE];
    assert_eq!(sent, expected);
    mounted.unmount();
}

#[test]
fn a_path_that_became_stale_is_followed_again_by_whatever_asks() {
    let asks: [(u32, Action); 6] = [
        (opcode::LOOKUP, |fs| fs.metadata("d/f").map(drop)),
        (opcode::GETATTR, |fs| fs.metadata("d").map(drop)),
        (opcode::LOOKUP, |fs| fs.symlink_metadata("d/f").map(drop)),
        (opcode::SETATTR, |fs| fs.set_permissions("d", 0o700)),
        (opcode::OPENDIR, |fs| fs.read_dir("d").map(drop)),
        (opcode::READLINK, |fs| fs.read_link("l").map(drop)),
    ];
    for (at, (opcode, ask)) in asks.into_iter().enumerate() {
        let mounted = mount(CacheMode::Always, |server| {
            server.file("d/f", "").symlink("l", "d");
        });
        let d = mounted.fs.node("d").unwrap();
        mounted.fs.symlink_metadata("l").unwrap();
        d.inode().note_change();
        mounted.server(|server| {
            server.fault(opcode, 0, Fault::Refuse(Errno::ESTALE));
        });
        let sent = mounted.sends(ask);
        assert!(sent[0] == opcode && sent[1] == opcode::LOOKUP, "{at}: {sent:?}");
        drop(d);
        mounted.unmount();
    }
}

#[test]
fn a_path_that_stays_stale_is_an_error() {
    let mounted = mount_with(opens_at_once(), |server| {
        server.file("f", "");
    });
    mounted.stat("f");
    for skip in 0..2 {
        mounted.server(|server| {
            server.fault(opcode::OPEN, skip, Fault::Refuse(Errno::ESTALE));
        });
    }
    assert_eq!(mounted.fs.open("f").map(drop), refused(Errno::ESTALE));
    assert_eq!(mounted.count(opcode::OPEN), 2);
    mounted.unmount();
}

#[test]
fn a_known_path_is_followed_without_memory() {
    let path = "1/2/3/4/5/6/7/file";
    for who in [Credentials::default(), user()] {
        let mounted = mount(CacheMode::Auto, |server| {
            server.file(path, "");
        });
        let fs = mounted.fs.with_credentials(who);
        fs.metadata(path).unwrap();
        fs.metadata("/1/2/none").unwrap_err();
        let (allocations, sent) = mounted.sent_by(|| {
            allocations::count(|| {
                assert_eq!(fs.metadata(path).map(|found| found.len()), Ok(0));
                assert_eq!(fs.exists(path), Ok(true));
                assert!(fs.node(path).is_ok());
            })
        });
        assert_eq!(sent, NO_REQUESTS);
        assert_eq!(allocations, 0);
        drop(fs);
        mounted.unmount();
    }
}
