//! Replies that are older than a local change whose reply came before them.

use super::*;
use crate::Timestamp;
use crate::fs::OpenOptions;
use crate::vnode::RenameFlags;
use crate::wire::{Entry, LookedUp, Lookup, Name, NodeId};

/// A mount in which nothing expires, and what others change is asked for only when it is not known.
fn lasting(build: impl FnOnce(&mut FakeServer)) -> Mounted {
    mount(CacheMode::Auto, |server| {
        build(server);
        long_lived(server);
    })
}

#[test]
fn a_name_found_before_it_was_removed_is_not_remembered() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let mounted = mount(mode, |server| {
            server.file("f", "");
            long_lived(server);
        });
        let found = mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("f"), |fs| fs.remove_file("f").unwrap());
        assert!(found.is_ok(), "it was there when it was asked for");
        mounted.miss("f");
        mounted.unmount();
    }
}

#[test]
fn a_name_found_before_it_was_moved_is_not_remembered() {
    let mounted = lasting(|server| {
        server.file("a", "").file("b", "content");
    });
    mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("a"), |fs| fs.rename("a", "c").unwrap()).unwrap();
    mounted.miss("a");
    // The one that is moved away from under the other's name.
    mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("b"), |fs| fs.rename("c", "b").unwrap()).unwrap();
    assert_eq!(mounted.fs.metadata("b").unwrap().len(), 0);
    mounted.unmount();
}

#[test]
fn names_found_before_they_were_exchanged_are_not_remembered() {
    let mounted = lasting(|server| {
        server.file("a", "1").file("d/b", "22");
    });
    mounted.stat("d");
    let exchange = |fs: &VirtioFs| fs.rename_with("a", "d/b", RenameFlags::EXCHANGE).unwrap();
    mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("a"), exchange).unwrap();
    assert_eq!(mounted.fs.metadata("a").unwrap().len(), 2);
    mounted.cache().drop_names();
    mounted.stat("d");
    mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("d/b"), exchange).unwrap();
    assert_eq!(mounted.fs.metadata("d/b").unwrap().len(), 2);
    mounted.unmount();
}

#[test]
fn a_name_missed_before_it_was_made_is_not_remembered() {
    let mounted = lasting(|server| {
        server.file("old", "");
    });
    let makes: [(&str, Action); 5] = [
        ("file", |fs| fs.create("file").map(drop)),
        ("dir", |fs| fs.create_dir("dir")),
        ("link", |fs| fs.symlink("to", "link")),
        ("hard", |fs| fs.hard_link("old", "hard")),
        ("moved", |fs| fs.rename("old", "moved")),
    ];
    for (name, make) in makes {
        let missed = mounted.overtake(opcode::LOOKUP, |fs| fs.metadata(name), |fs| make(fs).unwrap());
        assert_eq!(missed.map(drop), refused(Errno::ENOENT), "{name}");
        mounted.fs.symlink_metadata(name).unwrap();
    }
    mounted.unmount();
}

#[test]
fn a_name_in_a_directory_where_nothing_changed_is_remembered() {
    let mounted = lasting(|server| {
        server.file("d/f", "").file("g", "");
    });
    mounted.stat("d");
    let removed = mounted.fs.node("g").unwrap();
    mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("d/f"), |fs| fs.remove_file("g").unwrap()).unwrap();
    assert_eq!(mounted.stat("d/f"), NO_REQUESTS);
    drop(removed);
    mounted.unmount();
}

#[test]
fn attributes_from_before_they_were_changed_are_not_remembered() {
    let changes: [Action; 6] = [
        |fs| fs.set_permissions("f", 0o600),
        |fs| fs.truncate("f", 1),
        |fs| fs.write("f", "longer than it was"),
        |fs| fs.hard_link("f", "hard"),
        |fs| fs.rename("f", "d/f").and_then(|()| fs.rename("d/f", "f")),
        |fs| fs.create("f").map(drop),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mounted = lasting(|server| {
            server.file("f", "content").dir("d");
        });
        let node = mounted.fs.node("f").unwrap();
        mounted.server(|server| server.options.now = Timestamp { seconds: 1_800_000_000, nanoseconds: 0 });
        node.inode().note_any_change();
        let old = mounted.server(|server| server.attr("f"));
        let told = mounted.overtake(opcode::GETATTR, |_| node.getattr(), |fs| change(fs).unwrap());
        assert_eq!(told, Ok(old), "as it was when it was asked for");
        assert_eq!(node.getattr().unwrap(), mounted.server(|server| server.attr("f")), "change {at}");
        drop(node);
        mounted.unmount();
    }
}

#[test]
fn attributes_that_come_with_a_name_from_before_they_were_changed_are_not_remembered() {
    let mounted = lasting(|server| {
        server.file("a", "content").hard_link("a", "b");
    });
    let node = mounted.fs.node("a").unwrap();
    let found = mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("b"), |fs| fs.set_permissions("a", 0o600).unwrap());
    assert_eq!(found.unwrap().permissions(), 0o644);
    assert_eq!(mounted.fs.metadata("a").unwrap().permissions(), 0o600);
    assert_eq!(mounted.fs.metadata("b").unwrap().permissions(), 0o600);
    drop(node);
    mounted.unmount();
}

#[test]
fn attributes_from_before_a_change_are_not_remembered_of_an_inode_that_was_forgotten_meanwhile() {
    let mounted = lasting(|server| {
        server.file("f", "content");
    });
    let change = |fs: &VirtioFs| {
        fs.set_permissions("f", 0o600).unwrap();
        fs.root().cache().drop_names();
    };
    let found = mounted.overtake(opcode::LOOKUP, |fs| fs.metadata("f"), change);
    assert_eq!(found.unwrap().permissions(), 0o644);
    assert_eq!(mounted.fs.metadata("f").unwrap().permissions(), 0o600);
    mounted.unmount();
}

#[test]
fn attributes_from_before_a_change_are_not_remembered_either_when_two_replies_make_an_inode_known_again() {
    let mounted = lasting(|server| {
        server.file("f", "content");
    });
    let (cache, root) = (mounted.cache(), mounted.fs.root().inode());
    let lookup = Lookup { name: Name::new(b"f").unwrap() };
    let before = cache.stamp();
    let old = [(); 2].map(|()| mounted.session().call(&Credentials::DRIVER, NodeId::ROOT, &lookup).unwrap());
    mounted.fs.set_permissions("f", 0o600).unwrap();
    cache.drop_names();
    let inodes = old.map(|reply| match reply {
        LookedUp::Found(entry) => cache.inode(root, &entry, &before).unwrap().0,
        LookedUp::Absent { .. } => panic!("it is there"),
    });
    assert!(Arc::ptr_eq(&inodes[0], &inodes[1]));
    assert!(inodes[0].attr(cache.now()).is_none());
    drop(inodes);
    mounted.unmount();
}

#[test]
fn attributes_from_before_a_change_of_an_inode_that_lives_on_elsewhere_are_not_remembered() {
    // A listing is read long after it was asked for.
    let mounted = lasting(|server| {
        server.file("d/e", "").file("d/f", "content");
    });
    let mut listing = mounted.fs.read_dir("d").unwrap();
    listing.next().unwrap().unwrap();
    mounted.fs.set_permissions("d/f", 0o600).unwrap();
    mounted.cache().drop_names();
    listing.next().unwrap().unwrap();
    assert_eq!(mounted.fs.metadata("d/f").unwrap().permissions(), 0o600);
    drop(listing);
    mounted.unmount();
}

#[test]
fn entries_of_a_listing_from_before_they_were_removed_are_not_remembered() {
    let mounted = lasting(|server| {
        server.file("d/e", "").file("d/f", "").file("d/g", "");
    });
    let mut listing = mounted.fs.read_dir("d").unwrap();
    listing.next().unwrap().unwrap();
    mounted.fs.remove_file("d/f").unwrap();
    mounted.fs.rename("d/g", "d/h").unwrap();
    // The server lists the new name after them.
    assert_eq!(listing.by_ref().map(Result::unwrap).count(), 3);
    drop(listing);
    mounted.miss("d/f");
    mounted.miss("d/g");
    mounted.stat("d/h");
    mounted.unmount();
}

#[test]
fn a_listing_that_arrives_after_a_removal_is_not_remembered() {
    let mounted = lasting(|server| {
        server.file("d/f", "").file("d/g", "");
    });
    mounted.stat("d");
    let list = |fs: &VirtioFs| fs.read_dir("d").unwrap().map(Result::unwrap).count();
    let entries = mounted.overtake(opcode::READDIRPLUS, list, |fs| fs.remove_file("d/f").unwrap());
    assert_eq!(entries, 2);
    mounted.miss("d/f");
    mounted.unmount();
}

#[test]
fn of_two_changes_of_attributes_that_were_under_way_together_none_is_remembered() {
    for late_first in [true, false] {
        let mounted = lasting(|server| {
            server.file("f", "");
        });
        mounted.stat("f");
        if late_first {
            let set = |fs: &VirtioFs| fs.set_permissions("f", 0o600).unwrap();
            mounted.overtake(opcode::SETATTR, set, |fs| fs.set_permissions("f", 0o640).unwrap());
        } else {
            let write = |fs: &VirtioFs| fs.set_permissions("f", 0o640).unwrap();
            mounted.overtake(opcode::SETATTR, write, |fs| fs.write("f", "content").unwrap());
        }
        assert_eq!(mounted.stat("f"), [opcode::GETATTR]);
        assert_eq!(mounted.fs.metadata("f").unwrap().permissions(), 0o640);
        mounted.unmount();
    }
}

#[test]
fn of_two_files_made_together_in_one_directory_both_are_found() {
    let mounted = lasting(|server| {
        server.dir("d");
    });
    mounted.miss("d/a");
    mounted.miss("d/b");
    let make = |fs: &VirtioFs| fs.write("d/a", "1").unwrap();
    mounted.overtake(opcode::CREATE, make, |fs| fs.write("d/b", "22").unwrap());
    assert_eq!(mounted.fs.metadata("d/a").unwrap().len(), 1);
    assert_eq!(mounted.fs.metadata("d/b").unwrap().len(), 2);
    mounted.unmount();
}

#[test]
fn a_file_made_and_removed_together_is_what_the_server_made_of_it() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        // The server made it first, but that is heard of last.
        let mounted = mount(mode, |_| {});
        mounted.overtake(opcode::CREATE, |fs| fs.create("f").map(drop), |fs| fs.remove_file("f").unwrap()).unwrap();
        mounted.miss("f");
        mounted.fs.create("f").unwrap();
        // The server removed it first.
        let make = |fs: &VirtioFs| OpenOptions::new().write(true).create_new(true).open(fs, "f").map(drop);
        mounted.overtake(opcode::UNLINK, |fs| fs.remove_file("f"), |fs| make(fs).unwrap()).unwrap();
        mounted.stat("f");
        mounted.unmount();
    }
}

#[test]
fn a_file_moved_twice_together_is_where_the_server_put_it() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        // A rename looks its new name up first: that it leads nowhere is not to be believed by the other.
        let cache = CacheOptions { mode, negative_timeout: Some(Duration::ZERO), ..CacheOptions::default() };
        let mounted = mount_with(cache, |server| {
            server.file("a", "content").dir("d");
        });
        ["a", "d"].iter().for_each(|path| drop(mounted.stat(path)));
        mounted.overtake(opcode::RENAME, |fs| fs.rename("a", "b"), |fs| fs.rename("b", "d/c").unwrap()).unwrap();
        assert_eq!(mounted.fs.metadata("d/c").unwrap().len(), 7);
        mounted.miss("a");
        mounted.miss("b");
        mounted.unmount();
    }
}

/// A mount in which the names of three files are known: `a` of one byte, `b` of two and `d/c` of three.
fn three_files() -> Mounted {
    let mounted = lasting(|server| {
        server.file("a", "1").file("b", "22").file("d/c", "333");
    });
    ["a", "b", "d/c"].iter().for_each(|path| drop(mounted.stat(path)));
    mounted
}

#[test]
fn a_file_that_replaced_another_just_before_that_was_moved_is_where_the_server_put_it() {
    let mounted = three_files();
    mounted.overtake(opcode::RENAME, |fs| fs.rename("a", "b"), |fs| fs.rename("b", "d/c").unwrap()).unwrap();
    assert_eq!(mounted.fs.metadata("d/c").unwrap().len(), 1);
    mounted.unmount();
}

#[test]
fn a_file_made_where_another_one_was_moved_away_is_not_taken_for_that() {
    let mounted = three_files();
    let make = |fs: &VirtioFs| OpenOptions::new().write(true).create_new(true).open(fs, "a").map(drop);
    mounted.overtake(opcode::RENAME, |fs| fs.rename("a", "d/c"), |fs| make(fs).unwrap()).unwrap();
    assert_eq!(mounted.fs.metadata("d/c").unwrap().len(), 1);
    assert_eq!(mounted.fs.metadata("a").unwrap().len(), 0);
    mounted.unmount();
}

#[test]
fn a_link_that_was_replaced_at_once_is_not_counted() {
    let mounted = three_files();
    mounted.miss("new");
    let link = |fs: &VirtioFs| fs.hard_link("a", "new");
    mounted.overtake(opcode::LINK, link, |fs| fs.rename("b", "new").unwrap()).unwrap();
    assert_eq!(mounted.fs.node("a").unwrap().getattr().unwrap().nlink, 1);
    mounted.unmount();
}

#[test]
fn names_found_just_after_they_were_exchanged_are_not_exchanged_again() {
    let mounted = three_files();
    let exchange = |fs: &VirtioFs| fs.rename_with("a", "b", RenameFlags::EXCHANGE);
    let look = |fs: &VirtioFs| {
        fs.root().cache().drop_names();
        ["a", "b"].iter().for_each(|path| assert!(fs.metadata(path).is_ok()));
    };
    mounted.overtake(opcode::RENAME2, exchange, look).unwrap();
    assert_eq!(["a", "b"].map(|path| mounted.fs.metadata(path).unwrap().len()), [2, 1]);
    mounted.unmount();
}

/// An entry as a reply to LOOKUP has it.
fn entry(nodeid: u64, attr: Attr) -> Entry {
    Entry { nodeid: NodeId(nodeid), generation: 0, entry_ttl: YEAR, attr_ttl: YEAR, attr: Ok(attr) }
}

#[test]
fn what_a_stamp_is_older_than_is_not_learned() {
    let mounted = lasting(|_| {});
    let (cache, root) = (mounted.cache(), mounted.fs.root().inode());
    let attr = mounted.fs.root().getattr().unwrap();
    let attr = Attr { file_type: crate::FileType::Regular, ..attr };
    let now = cache.now();

    let before = cache.stamp();
    let (inode, _) = cache.inode(root, &entry(77, attr), &before).unwrap();
    cache.learn_name(root, b"name", Dentry::Inode(inode.clone()), YEAR, &before);
    assert!(cache.find(root, b"name", now).is_some());
    cache.forget_name(root, b"name");
    cache.learn_name(root, b"name", Dentry::Inode(inode.clone()), YEAR, &before);
    assert!(cache.find(root, b"name", now).is_none());
    cache.learn_name(root, b"other", Dentry::Absent, YEAR, &before);
    assert!(cache.find(root, b"other", now).is_none());
    let after = cache.stamp();
    cache.learn_name(root, b"name", Dentry::Inode(inode.clone()), YEAR, &after);
    assert!(cache.find(root, b"name", now).is_some());

    assert!(inode.attr(now).is_none(), "the name was forgotten");
    inode.learn_attr(&attr, YEAR, &after);
    assert!(inode.attr(now).is_some());
    inode.note_change();
    inode.learn_attr(&attr, YEAR, &after);
    assert!(inode.attr(now).is_none());
    assert!(inode.mode(now).is_some());
    inode.change_attr(&attr, YEAR, &after);
    assert!(inode.attr(now).is_none(), "of two changes");
    let after = cache.stamp();
    inode.change_attr(&attr, YEAR, &after);
    assert!(inode.attr(now).is_some());
    inode.note_any_change();
    assert!(inode.mode(now).is_none());
    // The server knows nothing of these lookups.
    core::mem::forget(inode);
}
