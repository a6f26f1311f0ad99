//! The driver and the fake server have read `fuse.h` apart from each other: here they meet.

use super::*;
use crate::test_utils::{Mounted, mount};
use crate::vnode::{Durability, Permissions, RenameFlags, SetAttr, SetTime, Wait, XattrFlags};
use crate::{Access, AllocateFlags, Credentials, Lock, LockKind, LockOwner, MountOptions, OpenFlags, SecurityContext};

/// Sends every operation, by the inode-level API; `new_server` has locks and TMPFILE.
fn use_all(server: FakeServer, credentials: Credentials, new_server: bool) -> Mounted {
    let channel = FakeChannel::new(server);
    let options = MountOptions { credentials, permissions: Permissions::Server, ..crate::test_utils::uncached() };
    let fs = mount(channel.clone(), &options).unwrap();
    let root = fs.root();
    let (file, attr) = root.create("file", OpenFlags::READ_WRITE, 0o666).unwrap();
    assert_eq!((attr.uid, attr.gid, attr.permissions), (7, 8, 0o640));
    assert_eq!(file.write_at(0, &[1; 10_000]), Ok(10_000));
    assert_eq!(file.write_at(20_480, b"end"), Ok(3));
    assert_eq!((file.seek_hole(0), file.seek_data(12_288)), (Ok(12_288), Ok(20_480)));
    let (copy, _) = root.create("copy", OpenFlags::READ_WRITE | OpenFlags::EXCLUSIVE, 0o600).unwrap();
    assert_eq!(file.copy_range(5, &copy, 0, 100), Ok(100));
    copy.allocate(0, 4096, AllocateFlags::empty()).unwrap();
    assert_eq!(copy.getattr().unwrap().size_bytes, 4096);
    file.fsync(Durability::All).unwrap();
    file.fsync(Durability::Data).unwrap();
    file.flush(LockOwner(1)).unwrap();
    if new_server {
        let lock = |kind| Lock { kind, start: 5, end: 9, pid: 3 };
        file.setlk(LockOwner(1), &lock(LockKind::Write), Wait::Yes).unwrap();
        assert_eq!(file.getlk(LockOwner(2), &lock(LockKind::Read)), Ok(Some(lock(LockKind::Write))));
        assert_eq!(copy.getlk(LockOwner(2), &lock(LockKind::Read)), Ok(None));
        file.setlk(LockOwner(1), &lock(LockKind::Unlock), Wait::No).unwrap();
        copy.flock(LockKind::Write, Wait::No).unwrap();
        let (tmpfile, _) = root.tmpfile(OpenFlags::READ_WRITE, 0o600).unwrap();
        tmpfile.node().link(root, "named").unwrap();
        tmpfile.close().unwrap();
    }
    copy.close().unwrap();
    file.close().unwrap();

    let file = root.lookup("file").unwrap().0;
    let date = |seconds| Timestamp { seconds, nanoseconds: 9 };
    let set = SetAttr {
        permissions: Some(0o4755),
        uid: Some(9),
        gid: Some(10),
        size_bytes: Some(77),
        accessed: Some(SetTime::Now),
        modified: Some(SetTime::At(date(-5))),
        changed: Some(date(6)),
    };
    let attr = file.setattr(&set).unwrap();
    assert_eq!((attr.uid, attr.gid, attr.size_bytes), (9, 10, 77));
    assert_eq!((attr.modified, attr.changed), (date(-5), date(6)));
    file.access(Access::READ).unwrap();
    let truncated = file.open(OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE | OpenFlags::APPEND).unwrap();
    assert_eq!((truncated.write_at(50, b"a"), truncated.write_at(50, b"b")), (Ok(1), Ok(1)));
    truncated.close().unwrap();
    file.setxattr("user.x", b"value", XattrFlags::CREATE).unwrap();
    let mut buffer = [0; 64];
    assert_eq!((file.getxattr("user.x", &mut []), file.getxattr("user.x", &mut buffer)), (Ok(5), Ok(5)));
    assert!(file.listxattr(&mut buffer).unwrap() >= 7);
    file.removexattr("user.x").unwrap();

    let (dir, attr) = root.mkdir("dir", 0o777).unwrap();
    assert_eq!(attr.permissions, 0o750);
    root.mknod("pipe", FileType::Fifo, 0o666, 0).unwrap();
    root.symlink("link", b"to/there").unwrap();
    assert_eq!(root.statx().unwrap().0.ino, 1000);
    assert_eq!(file.link(&dir, "hard").unwrap().1.nlink, 2);
    root.rename("pipe", &dir, "moved", RenameFlags::empty()).unwrap();
    root.rename("link", root, "file", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(root.lookup("file").unwrap().0.readlink().unwrap(), b"to/there");
    root.unlink("file").unwrap();
    dir.unlink("hard").unwrap();
    dir.unlink("moved").unwrap();
    let listing = dir.opendir().unwrap();
    listing.fsync(Durability::All).unwrap();
    listing.close().unwrap();
    root.rmdir("dir").unwrap();
    root.syncfs().unwrap();
    drop((dir, file));
    Mounted { fs, channel }
}

fn credentials() -> Credentials {
    let context = SecurityContext { name: b"security.selinux".to_vec(), value: b"label".to_vec() };
    Credentials { uid: 7, gid: 8, groups: vec![5, 0], pid: 3, umask: 0o027, security_context: Some(context) }
}

#[test]
fn every_operation_of_the_driver_breaks_no_rule_of_a_server_that_knows_all() {
    let mut server = FakeServer::new();
    server.options.init_flags = u64::MAX;
    server.options.minor = 45;
    server.options.statx = true;
    server.options.refused.clear();
    server.attr_mut("").permissions = 0o777;
    let mounted = use_all(server, credentials(), true);
    let server = mounted.channel.server();
    let server = server.lock();
    for opcode in (1..=53).filter(|&opcode| opcode::name(opcode) != opcode::name(0)) {
        // Those that are for others than the calls above.
        use opcode::*;
        let is_other = matches!(opcode, READDIR | READDIRPLUS | STATFS | FORGET | BATCH_FORGET | INTERRUPT | DESTROY)
            || matches!(opcode, READ | COPY_FILE_RANGE | SETUPMAPPING | REMOVEMAPPING);
        assert!(is_other || server.count(opcode) > 0, "{} was not sent", opcode::name(opcode));
    }
    let extensions = server.last_extensions(opcode::MKDIR).unwrap();
    assert_eq!(extensions.security_context, Some((b"security.selinux".to_vec(), b"label".to_vec())));
    assert_eq!(extensions.supplementary_group, Some(0));
    let caller = server.last_caller(opcode::SYMLINK).unwrap();
    assert_eq!((caller.uid, caller.gid, caller.pid), (7, 8, 3));
    drop(server);
    mounted.unmount();
}

#[test]
fn nor_those_of_servers_that_know_less() {
    for flags in [0, 0x0104_4844_f829, 1 << 28, 1 << 22 | 1 << 30 | 1 << 32] {
        let mut server = FakeServer::new();
        server.options.init_flags = flags;
        use_all(server, credentials(), false).unmount();
    }
}
