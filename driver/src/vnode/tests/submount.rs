//! File systems of the host within the shared directory.

use super::*;
use crate::vnode::RenameFlags;
use std::thread;

fn server(announces: bool) -> FakeServer {
    let mut server = FakeServer::new();
    let flags = init::SUBMOUNTS;
    server.options.init_flags &= !flags;
    server.options.init_flags |= if announces { flags } else { 0 };
    server.dir("d").file("f", "").submount("sub").file("sub/f", "").dir("sub/d").submount("sub/d/nested");
    server.file("sub/d/nested/d/f", "");
    server
}

fn walk(root: &Node, path: &str) -> Node {
    path.split('/').fold(root.clone(), |node, name| node.lookup(name).unwrap().0)
}

#[test]
fn each_submount_is_a_device_of_its_own() {
    let mounted = mount_with(server(true), &crate::test_utils::uncached());
    let root = mounted.fs.root();
    let [d, sub, sub_d, nested] = ["d", "sub", "sub/d", "sub/d/nested"].map(|path| walk(root, path));
    let in_nested = walk(root, "sub/d/nested/d/f");
    assert_eq!(d.device(), root.device());
    assert_ne!(sub.device(), root.device());
    assert_eq!(sub_d.device(), sub.device());
    assert_ne!(nested.device(), sub.device());
    assert_ne!(nested.device(), root.device());
    assert_eq!(in_nested.device(), nested.device());
    // Inode numbers are those of each file system.
    assert_eq!(mounted.fs.metadata("/").unwrap().attr().ino, mounted.fs.metadata("sub").unwrap().attr().ino);
    assert_eq!(mounted.fs.metadata("sub/f").unwrap().device(), sub.device());
    // The device outlives the nodes through which it was reached.
    let before = nested.device();
    drop((d, sub, sub_d, nested));
    assert_eq!(in_nested.device(), before);
    drop(in_nested);
    mounted.unmount();
}

#[test]
fn submounts_in_submounts_may_be_deeper_than_a_stack() {
    const LEVELS: usize = 3000;
    let mut server = FakeServer::new();
    server.options.init_flags |= init::SUBMOUNTS;
    for level in 1..=LEVELS {
        server.submount("d/".repeat(level));
    }
    let mounted = mount_with(server, &MountOptions::default());
    thread::scope(|scope| {
        let small = thread::Builder::new().stack_size(128 << 10);
        let deepest = || drop((0..LEVELS).fold(mounted.fs.root().clone(), |node, _| node.lookup("d").unwrap().0));
        small.spawn_scoped(scope, deepest).unwrap();
    });
    mounted.unmount();
}

#[test]
fn what_a_listing_brings_is_on_its_device() {
    let mounted = mount_with(server(true), &crate::test_utils::uncached());
    let root = mounted.fs.root();
    let sub = walk(root, "sub");
    for (directory, name, device) in [(root, "d", root), (root, "sub", &sub), (&sub, "f", &sub)] {
        let mut dir = directory.opendir().unwrap();
        let node = loop {
            let mut entry = dir.next_entry().unwrap().unwrap();
            if entry.name == name.as_bytes() {
                break entry.take_node().unwrap().0;
            }
        };
        assert_eq!(node.device(), device.device(), "{name}");
    }
    let (made, _) = sub.mkdir("new", 0o700).unwrap();
    assert_eq!(made.device(), sub.device());
    drop((made, sub));
    mounted.unmount();
}

#[test]
fn a_name_stays_on_its_device() {
    let mounted = mount_with(server(true), &crate::test_utils::uncached());
    let root = mounted.fs.root();
    let (f, sub, nested) = (walk(root, "f"), walk(root, "sub"), walk(root, "sub/d/nested"));
    let (_, sent) = mounted.sent_by(|| {
        for (from, to) in [(root, &sub), (&sub, root), (&sub, &nested), (&nested, root)] {
            assert_eq!(from.rename("f", to, "g", RenameFlags::empty()), Err(Error::Invalid(Errno::EXDEV)));
        }
    });
    assert_eq!(sent, [0; 0]);
    let (_, sent) = mounted.sent_by(|| {
        assert_eq!(f.link(&sub, "g").err(), Some(Error::Invalid(Errno::EXDEV)));
        assert_eq!(f.link(&nested, "g").err(), Some(Error::Invalid(Errno::EXDEV)));
        assert_eq!(f.link(&sub, "f").err(), Some(Error::Refused(Errno::EEXIST)), "what exists is the first reason");
    });
    assert_eq!(sent, [opcode::LOOKUP; 3]);
    // Within a device both work, wherever it is.
    let d = walk(root, "sub/d");
    sub.rename("f", &d, "g", RenameFlags::empty()).unwrap();
    walk(root, "sub/d/g").link(&sub, "again").unwrap();
    assert_eq!(sub.rmdir("d").map_err(Error::errno), Err(Errno::ENOTEMPTY));
    assert_eq!(root.rmdir("sub").map_err(Error::errno), Err(Errno::EBUSY));
    drop((f, sub, nested, d));
    mounted.unmount();
}

#[test]
fn another_mount_is_another_device() {
    let [one, other] = [(); 2].map(|()| mount_with(server(true), &crate::test_utils::uncached()));
    let f = walk(one.fs.root(), "f");
    let renamed = one.fs.root().rename("f", other.fs.root(), "g", RenameFlags::empty());
    assert_eq!(renamed, Err(Error::Invalid(Errno::EXDEV)));
    assert_eq!(f.link(other.fs.root(), "g").err(), Some(Error::Invalid(Errno::EXDEV)));
    drop(f);
    one.unmount();
    other.unmount();
}

#[test]
fn bytes_are_copied_between_devices_and_between_mounts() {
    let [one, other] = [(); 2].map(|()| mount_with(server(true), &crate::test_utils::uncached()));
    one.server(|server| {
        server.file("f", "content");
    });
    let from = walk(one.fs.root(), "f").open(OpenFlags::READ_ONLY).unwrap();
    let to = walk(one.fs.root(), "sub/f").open(OpenFlags::WRITE_ONLY).unwrap();
    assert_eq!(from.copy_range(0, &to, 0, 100), Ok(7));
    let to_other = walk(other.fs.root(), "f").open(OpenFlags::WRITE_ONLY).unwrap();
    assert_eq!(from.copy_range(2, &to_other, 1, 3), Ok(3));
    assert_eq!(one.server(|server| server.content("sub/f")), b"content");
    assert_eq!(other.server(|server| server.content("f")), b"\0nte");
    assert_eq!(other.count(opcode::COPY_FILE_RANGE), 0);
    drop((from, to, to_other));
    one.unmount();
    other.unmount();
}

#[test]
fn a_server_that_does_not_announce_submounts_has_one_device() {
    let mounted = mount_with(server(false), &crate::test_utils::uncached());
    let root = mounted.fs.root();
    let sub = walk(root, "sub");
    assert_eq!(sub.device(), root.device());
    assert_eq!(walk(root, "sub/d/nested/d").device(), root.device());
    // The server knows better.
    let (renamed, sent) = mounted.sent_by(|| root.rename("f", &sub, "g", RenameFlags::empty()));
    assert_eq!((renamed, sent), (refused(Errno::EXDEV), vec![opcode::RENAME]));
    drop(sub);
    mounted.unmount();
}
