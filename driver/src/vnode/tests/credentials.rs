//! On whose behalf requests are sent.

use super::*;
use crate::test_utils::Caller;
use crate::vnode::{Durability, RenameFlags, SetAttr, XattrFlags};
use alloc::sync::Arc;

const MOUNTER: Caller = Caller { uid: 0, gid: 0, pid: 0 };
const USER: Caller = Caller { uid: 1000, gid: 100, pid: 42 };

fn caller(mounted: &Mounted, opcode: u32) -> Caller {
    mounted.server(|server| server.last_caller(opcode).unwrap())
}

fn mount_open() -> Mounted {
    let mounted = mount_with(
        {
            let mut server = FakeServer::new();
            one_of_each(&mut server);
            server
        },
        &MountOptions { permissions: Permissions::Server, ..crate::test_utils::uncached() },
    );
    mounted.server(|server| {
        for path in ["", "d"] {
            server.attr_mut(path).permissions = 0o777;
        }
    });
    mounted
}

#[test]
fn what_is_reached_from_a_node_is_on_its_behalf() {
    let mounted = mount_open();
    let who = Arc::new(user());
    let root = mounted.fs.root().with_credentials(&who);
    assert_eq!((root.nodeid(), &**root.credentials()), (mounted.fs.root().nodeid(), &user()));
    let (d, _) = root.lookup("d").unwrap();
    assert_eq!(caller(&mounted, opcode::LOOKUP), USER);
    let mut dir = d.opendir().unwrap();
    let listed = loop {
        let mut entry = dir.next_entry().unwrap().unwrap();
        if entry.name == b"f" {
            break entry.take_node().unwrap().0;
        }
    };
    dir.fsync(Durability::All).unwrap();
    let file = listed.open(OpenFlags::READ_WRITE).unwrap();
    file.read_at(0, &mut [0; 5]).unwrap();
    file.write_at(0, b"x").unwrap();
    file.fsync(Durability::All).unwrap();
    file.node().getattr().unwrap();
    file.setattr(&SetAttr { permissions: Some(0o666), ..SetAttr::default() }).unwrap();
    file.close().unwrap();
    dir.close().unwrap();
    listed.setxattr("user.x", b"1", XattrFlags::empty()).unwrap();
    listed.getxattr("user.x", &mut []).unwrap();
    drop(d.create("new", OpenFlags::WRITE_ONLY, 0o600).unwrap());
    let (sub, _) = d.mkdir("sub", 0o700).unwrap();
    sub.symlink("l", b"t").unwrap().0.readlink().unwrap();
    d.rename("new", &sub, "moved", RenameFlags::empty()).unwrap();
    sub.unlink("moved").unwrap();
    use opcode::*;
    for opcode in [
        OPENDIR,
        READDIRPLUS,
        FSYNCDIR,
        OPEN,
        READ,
        WRITE,
        FSYNC,
        GETATTR,
        SETATTR,
        FLUSH,
        RELEASE,
        RELEASEDIR,
        SETXATTR,
        GETXATTR,
        CREATE,
        MKDIR,
        SYMLINK,
        READLINK,
        RENAME,
        UNLINK,
    ] {
        assert_eq!(caller(&mounted, opcode), USER, "{}", opcode::name(opcode));
    }
    // The mount's own node is still the mount's.
    mounted.fs.root().getattr().unwrap();
    assert_eq!(caller(&mounted, GETATTR), MOUNTER);
    drop((root, d, listed, sub));
    mounted.unmount();
}

#[test]
fn nodes_of_one_inode_may_be_of_several_users() {
    let mounted = mount_open();
    let (f, _) = mounted.fs.root().lookup("d").unwrap().0.lookup("f").unwrap();
    let theirs = f.with_credentials(&Arc::new(user()));
    theirs.getattr().unwrap();
    assert_eq!(caller(&mounted, opcode::GETATTR), USER);
    f.getattr().unwrap();
    assert_eq!(caller(&mounted, opcode::GETATTR), MOUNTER);
    drop(f);
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.nlookup(theirs.nodeid())), 1, "the inode lives while one of them does");
    drop(theirs);
    mounted.unmount();
}

#[test]
fn a_mount_on_behalf_of_someone_else_is_the_same_mount() {
    let mounted = mount_open();
    let theirs = mounted.fs.with_credentials(user());
    assert_eq!(theirs.read("d/f").unwrap(), b"content");
    assert_eq!((caller(&mounted, opcode::READ), caller(&mounted, opcode::LOOKUP)), (USER, USER));
    theirs.write("mine", "x").unwrap();
    assert_eq!(mounted.server(|server| server.attr("mine").uid), 1000);
    assert_eq!(mounted.fs.read("d/f").unwrap(), b"content");
    assert_eq!(caller(&mounted, opcode::READ), MOUNTER);
    drop(theirs);
    mounted.unmount();
}

#[test]
fn the_drivers_own_requests_are_nobodys() {
    let mounted = mount_as_user(
        {
            let mut server = FakeServer::new();
            server.file("f", "");
            server
        },
        Permissions::Server,
    );
    mounted.fs.metadata("f").unwrap();
    assert_eq!(caller(&mounted, opcode::LOOKUP), USER);
    mounted.fs.maintain();
    assert_eq!(caller(&mounted, opcode::FORGET), MOUNTER);
    mounted.unmount();
}
