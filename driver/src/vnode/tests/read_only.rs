//! A mount on which nothing may be changed.

use super::*;
use crate::vnode::{Access, Durability, RenameFlags, SetAttr, SetTime, XattrFlags};

fn mount_read_only(who: Credentials) -> Mounted {
    let mut server = FakeServer::new();
    one_of_each(&mut server);
    server.set_xattr("d/f", "user.x", "1");
    for path in ["", "d", "d/f"] {
        server.attr_mut(path).permissions = 0o777;
    }
    mount_with(server, &MountOptions { read_only: true, credentials: who, ..crate::test_utils::uncached() })
}

const EROFS: Error = Error::Refused(Errno::EROFS);

/// Checks that `action` is EROFS, and gives what was sent for it.
fn refuses<T: core::fmt::Debug>(mounted: &Mounted, action: impl FnOnce() -> Result<T, Error>) -> Vec<u32> {
    let (result, sent) = mounted.sent_by(action);
    assert_eq!(result.err(), Some(EROFS));
    sent
}

#[test]
fn what_exists_is_not_changed_and_the_server_is_not_asked() {
    for who in [Credentials::default(), user()] {
        let mounted = mount_read_only(who);
        let root = mounted.fs.root();
        let d = root.lookup("d").unwrap().0;
        let f = d.lookup("f").unwrap().0;
        let mut sent = vec![];
        let setattr = |change| f.setattr(&change);
        sent.extend(refuses(&mounted, || setattr(SetAttr { permissions: Some(0), ..SetAttr::default() })));
        sent.extend(refuses(&mounted, || setattr(SetAttr { uid: Some(0), ..SetAttr::default() })));
        sent.extend(refuses(&mounted, || setattr(SetAttr { size_bytes: Some(0), ..SetAttr::default() })));
        sent.extend(refuses(&mounted, || setattr(SetAttr { accessed: Some(SetTime::Now), ..SetAttr::default() })));
        sent.extend(refuses(&mounted, || f.open(OpenFlags::WRITE_ONLY)));
        sent.extend(refuses(&mounted, || f.open(OpenFlags::READ_WRITE)));
        sent.extend(refuses(&mounted, || f.open(OpenFlags::TRUNCATE)));
        sent.extend(refuses(&mounted, || d.tmpfile(OpenFlags::WRITE_ONLY, 0o600)));
        sent.extend(refuses(&mounted, || d.unlink("f")));
        sent.extend(refuses(&mounted, || d.unlink("none")));
        sent.extend(refuses(&mounted, || d.rmdir("empty")));
        for flags in [RenameFlags::empty(), RenameFlags::EXCHANGE] {
            sent.extend(refuses(&mounted, || d.rename("f", root, "l", flags)));
        }
        sent.extend(refuses(&mounted, || f.setxattr("user.x", b"1", XattrFlags::empty())));
        sent.extend(refuses(&mounted, || f.removexattr("user.x")));
        sent.extend(refuses(&mounted, || f.access(Access::WRITE)));
        sent.extend(refuses(&mounted, || d.access(Access::WRITE | Access::READ)));
        assert_eq!(sent, [0; 0]);
        drop((d, f));
        mounted.unmount();
    }
}

#[test]
fn that_a_name_exists_is_told_before() {
    for who in [Credentials::default(), user()] {
        let is_privileged = who.uid == 0;
        let mounted = mount_read_only(who);
        let root = mounted.fs.root();
        let d = root.lookup("d").unwrap().0;
        let f = d.lookup("f").unwrap().0;
        type Make = fn(&Node, &Node, &str) -> Result<(), Error>;
        let makers: [Make; 5] = [
            |d, _, name| d.create(name, OpenFlags::WRITE_ONLY | OpenFlags::EXCLUSIVE, 0o600).map(drop),
            |d, _, name| d.mkdir(name, 0o700).map(drop),
            |d, _, name| d.mknod(name, FileType::Fifo, 0o600, 0).map(drop),
            |d, _, name| d.symlink(name, b"target").map(drop),
            |d, f, name| f.link(d, name).map(drop),
        ];
        for make in makers {
            assert_eq!(make(&d, &f, "empty").map_err(Error::errno), Err(Errno::EEXIST));
            let mut sent = refuses(&mounted, || make(&d, &f, "new"));
            sent.retain(|&one| one != opcode::GETATTR || is_privileged);
            assert_eq!(sent, [opcode::LOOKUP]);
        }
        drop((d, f));
        mounted.unmount();
    }
}

#[test]
fn create_opens_what_exists_for_reading() {
    for who in [Credentials::default(), user()] {
        let mounted = mount_read_only(who);
        let d = mounted.fs.root().lookup("d").unwrap().0;
        let (file, attr) = d.create("f", OpenFlags::READ_ONLY, 0o600).unwrap();
        assert_eq!((attr.size_bytes, file.read_at(0, &mut [0; 10])), (7, Ok(7)));
        refuses(&mounted, || d.create("f", OpenFlags::WRITE_ONLY, 0o600));
        refuses(&mounted, || d.create("f", OpenFlags::READ_ONLY | OpenFlags::TRUNCATE, 0o600));
        refuses(&mounted, || d.create("new", OpenFlags::READ_ONLY, 0o600));
        assert_eq!(mounted.count(opcode::CREATE), 0);
        drop((file, d));
        mounted.unmount();
    }
}

#[test]
fn what_changes_nothing_works() {
    let mounted = mount_read_only(user());
    let root = mounted.fs.root();
    let d = root.lookup("d").unwrap().0;
    let f = d.lookup("f").unwrap().0;
    assert_eq!(f.getxattr("user.x", &mut [0; 9]), Ok(1));
    f.access(Access::READ).unwrap();
    f.setattr(&SetAttr::default()).unwrap();
    // Writing to what a device node or a fifo stands for changes nothing here.
    for (name, _) in SPECIAL {
        mounted.server(|server| server.attr_mut(name).permissions = 0o666);
        root.lookup(name).unwrap().0.access(Access::WRITE).unwrap();
    }
    let file = f.open(OpenFlags::READ_ONLY).unwrap();
    file.fsync(Durability::All).unwrap();
    root.syncfs().unwrap();
    let dir = d.opendir().unwrap();
    dir.fsync(Durability::All).unwrap();
    drop((d, f, file, dir));
    mounted.unmount();
}

#[test]
fn a_share_on_which_nothing_is_made_has_its_files_opened_all_the_same() {
    for who in [Credentials::default(), user()] {
        let mut server = FakeServer::new();
        one_of_each(&mut server);
        server.attr_mut("").permissions = 0o777;
        server.file("f", "content").options.refused.insert(opcode::CREATE, Errno::EROFS);
        let mounted = mount_with(server, &MountOptions { credentials: who, ..MountOptions::default() });
        let create = |name, flags| mounted.fs.root().create(name, flags, 0o600);
        let (file, attr) = create("f", OpenFlags::READ_ONLY).unwrap();
        assert_eq!((file.read_at(0, &mut [0; 9]), attr.size_bytes), (Ok(7), 7));
        drop(file);
        assert_eq!(create("d", OpenFlags::READ_ONLY).err(), Some(Error::Invalid(Errno::EISDIR)));
        assert_eq!(create("l", OpenFlags::READ_ONLY).err(), Some(Error::Invalid(Errno::ELOOP)));
        refuses(&mounted, || create("new", OpenFlags::READ_ONLY));
        refuses(&mounted, || create("new", OpenFlags::WRITE_ONLY));
        mounted.unmount();
    }
}
