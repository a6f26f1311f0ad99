//! Operations that a server may lack: asked for once, and what is done instead.

use super::*;
use crate::test_utils::{FakeServer, Fault};
use crate::vnode::{Durability, Node, OpenFile, Wait, XattrFlags};
use crate::{Access, AllocateFlags, Errno, FileType, Lock, LockKind, LockOwner, OpenFlags, Permissions, RenameFlags};
use alloc::format;
use alloc::vec;

const CONTENT: &[u8] = b"0123456789";

/// A mount of a server that knows everything but `lacking`, and leaves permissions to it.
fn mount_lacking(lacking: &[u32]) -> Mounted {
    let mut server = FakeServer::new();
    server.options.init_flags = u64::MAX;
    server.options.minor = 45;
    server.options.statx = true;
    server.options.refused = lacking.iter().map(|&opcode| (opcode, Errno::ENOSYS)).collect();
    server.file("f", CONTENT).dir("d");
    let channel = FakeChannel::new(server);
    let options = MountOptions { permissions: Permissions::Server, ..crate::test_utils::uncached() };
    let fs = crate::test_utils::mount(channel.clone(), &options).unwrap();
    Mounted { fs, channel }
}

/// Does the same three times, to a server that lacks one operation; gives what was sent each time.
fn three_times(lacking: u32, action: impl Fn(&Mounted, &Node, &OpenFile)) -> [Vec<u32>; 3] {
    let mounted = mount_lacking(&[lacking]);
    let (f, _) = mounted.fs.root().lookup("f").unwrap();
    let file = f.open(OpenFlags::READ_WRITE).unwrap();
    let sent = [(); 3].map(|()| mounted.sent_by(|| action(&mounted, &f, &file)).1);
    drop((file, f));
    assert_eq!(mounted.count(lacking), 1, "{}", opcode::name(lacking));
    mounted.unmount();
    sent
}

/// As [`three_times`], of what asks for that operation alone, and for nothing instead.
fn asks_once(lacking: u32, action: impl Fn(&Mounted, &Node, &OpenFile)) {
    assert_eq!(three_times(lacking, action), [vec![lacking], vec![], vec![]], "{}", opcode::name(lacking));
}

fn refused<T>(errno: Errno) -> Result<T, Error> {
    Err(Error::Refused(errno))
}

#[test]
fn what_needs_no_server_succeeds() {
    asks_once(opcode::FLUSH, |_, _, file| file.flush(LockOwner(1)).unwrap());
    asks_once(opcode::FSYNC, |_, _, file| file.fsync(Durability::All).unwrap());
    asks_once(opcode::SYNCFS, |_, f, _| f.syncfs().unwrap());
    let sent = three_times(opcode::FSYNCDIR, |mounted, _, _| {
        mounted.fs.root().opendir().unwrap().fsync(Durability::Data).unwrap();
    });
    let [open, close] = [opcode::OPENDIR, opcode::RELEASEDIR];
    assert_eq!(sent, [vec![open, opcode::FSYNCDIR, close], vec![open, close], vec![open, close]]);
}

#[test]
fn what_has_no_substitute_is_not_supported() {
    let errno = Errno::EOPNOTSUPP;
    let lock = Lock { kind: LockKind::Read, start: 0, end: 5, pid: 0 };
    asks_once(opcode::SETXATTR, |_, f, _| {
        assert_eq!(f.setxattr("user.x", b"1", XattrFlags::empty()), refused(errno));
    });
    asks_once(opcode::GETXATTR, |_, f, _| {
        assert_eq!(
            (f.getxattr("user.x", &mut []), f.getxattr("user.x", &mut [0; 9])),
            (refused(errno), refused(errno))
        );
    });
    asks_once(opcode::LISTXATTR, |_, f, _| {
        assert_eq!((f.listxattr(&mut [0; 9]), f.listxattr(&mut [])), (refused(errno), refused(errno)));
    });
    asks_once(opcode::REMOVEXATTR, |_, f, _| assert_eq!(f.removexattr("user.x"), refused(errno)));
    asks_once(opcode::FALLOCATE, |_, _, file| {
        assert_eq!(file.allocate(0, 5, AllocateFlags::empty()), refused(errno));
    });
    asks_once(opcode::TMPFILE, |mounted, _, _| {
        assert_eq!(mounted.fs.root().tmpfile(OpenFlags::WRITE_ONLY, 0o600).err(), Some(Error::Refused(errno)));
    });
    asks_once(opcode::GETLK, |_, _, file| assert_eq!(file.getlk(LockOwner(1), &lock), refused(errno)));
    asks_once(opcode::SETLK, |_, _, file| {
        assert_eq!(file.setlk(LockOwner(1), &lock, Wait::No), refused(errno));
        assert_eq!(file.flock(LockKind::Read, Wait::No), refused(errno));
    });
    asks_once(opcode::SETLKW, |_, _, file| {
        assert_eq!(file.setlk(LockOwner(1), &lock, Wait::Yes), refused(errno));
        assert_eq!(file.flock(LockKind::Write, Wait::Yes), refused(errno));
    });
}

#[test]
fn a_file_system_that_makes_no_such_inodes_does_not_permit_it() {
    asks_once(opcode::LINK, |mounted, f, _| {
        assert_eq!(f.link(mounted.fs.root(), "l").err(), Some(Error::Refused(Errno::EPERM)));
    });
    asks_once(opcode::SYMLINK, |mounted, _, _| {
        assert_eq!(mounted.fs.root().symlink("l", b"f").err(), Some(Error::Refused(Errno::EPERM)));
    });
    asks_once(opcode::MKNOD, |mounted, _, _| {
        let made = mounted.fs.root().mknod("p", FileType::Fifo, 0o600, 0);
        assert_eq!(made.err(), Some(Error::Refused(Errno::EPERM)));
    });
}

#[test]
fn a_rename_with_flags_is_invalid_and_one_without_is_not() {
    asks_once(opcode::RENAME2, |mounted, _, _| {
        let root = mounted.fs.root();
        for flags in [RenameFlags::NOREPLACE, RenameFlags::EXCHANGE, RenameFlags::WHITEOUT] {
            assert_eq!(root.rename("f", root, "g", flags), refused(Errno::EINVAL));
        }
        assert!(mounted.server(|server| server.exists("f")));
    });
    let sent = three_times(opcode::RENAME2, |mounted, _, _| {
        let root = mounted.fs.root();
        root.rename("f", root, "g", RenameFlags::NOREPLACE).unwrap_err();
        root.rename("f", root, "g", RenameFlags::empty()).unwrap();
        root.rename("g", root, "f", RenameFlags::empty()).unwrap();
    });
    assert_eq!(sent[1], [opcode::RENAME; 2]);
}

#[test]
fn access_is_decided_by_the_mode_bits() {
    let sent = three_times(opcode::ACCESS, |mounted, f, _| {
        mounted.server(|server| server.attr_mut("f").permissions = 0o644);
        assert_eq!(f.access(Access::READ | Access::WRITE), Ok(()));
        assert_eq!(f.access(Access::EXECUTE), refused(Errno::EACCES), "nobody may execute it");
    });
    let getattr = opcode::GETATTR;
    assert_eq!(sent, [vec![opcode::ACCESS, getattr, getattr], vec![getattr; 2], vec![getattr; 2]]);
}

#[test]
fn all_of_a_file_is_data() {
    let sent = three_times(opcode::LSEEK, |_, _, file| {
        assert_eq!((file.seek_data(0), file.seek_data(9)), (Ok(0), Ok(9)));
        assert_eq!((file.seek_hole(0), file.seek_hole(9)), (Ok(10), Ok(10)));
        for seek in [OpenFile::seek_data, OpenFile::seek_hole] {
            assert_eq!(seek(file, 10).map_err(Error::errno), Err(Errno::ENXIO));
            assert_eq!(seek(file, u64::MAX).map_err(Error::errno), Err(Errno::ENXIO));
        }
    });
    assert_eq!(sent[2], [opcode::GETATTR; 6]);
}

#[test]
fn statx_is_getattr_without_the_time_of_birth() {
    let sent = three_times(opcode::STATX, |_, f, _| assert_eq!(f.statx().unwrap().1, None));
    assert_eq!(sent, [vec![opcode::STATX, opcode::GETATTR], vec![opcode::GETATTR], vec![opcode::GETATTR]]);
}

#[test]
fn a_copy_falls_back_to_the_short_form_and_then_to_reading_and_writing() {
    let [long, short] = [opcode::COPY_FILE_RANGE_64, opcode::COPY_FILE_RANGE];
    let [read, write] = [opcode::READ, opcode::WRITE];
    for (lacking, first, then) in [
        (vec![], vec![long], vec![long]),
        (vec![long], vec![long, short], vec![short]),
        (vec![long, short], vec![long, short, read, write], vec![read, write]),
    ] {
        let mounted = mount_lacking(&lacking);
        let root = mounted.fs.root();
        let from = root.lookup("f").unwrap().0.open(OpenFlags::READ_ONLY).unwrap();
        let (to, _) = root.create("to", OpenFlags::WRITE_ONLY, 0o600).unwrap();
        for expected in [&first, &then, &then] {
            let (copied, sent) = mounted.sent_by(|| from.copy_range(2, &to, 5, 4));
            assert_eq!((copied, &sent), (Ok(4), expected));
        }
        assert_eq!(mounted.server(|server| server.content("to")), b"\0\0\0\0\x002345");
        assert_eq!(from.copy_range(10, &to, 0, 4), Ok(0), "the end of the file");
        assert_eq!(from.copy_range(8, &to, 0, 1 << 40), Ok(2));
        mounted.server(|server| {
            let length_in = |opcode| server.last_request(opcode).map(|request| u64_at(request, 80));
            let is_asked = |opcode| !lacking.contains(&opcode) && server.count(opcode) > 0;
            assert!(!is_asked(long) || length_in(long) == Some(1 << 40));
            // The reply to the short form has no room for more.
            assert!(!is_asked(short) || length_in(short) == Some(0xffff_f000));
        });
        drop((from, to));
        mounted.unmount();
    }
}

#[test]
fn a_copy_that_the_servers_file_system_cannot_do_is_done_by_hand_each_time() {
    for errno in [Errno::EOPNOTSUPP, Errno::EXDEV] {
        let mounted = mount_lacking(&[]);
        mounted.server(|server| {
            server.fault(opcode::COPY_FILE_RANGE_64, 0, Fault::Refuse(errno));
        });
        let root = mounted.fs.root();
        let from = root.lookup("f").unwrap().0.open(OpenFlags::READ_ONLY).unwrap();
        let (to, _) = root.create("to", OpenFlags::WRITE_ONLY, 0o600).unwrap();
        let (copied, sent) = mounted.sent_by(|| from.copy_range(0, &to, 0, 4));
        assert_eq!((copied, sent), (Ok(4), vec![opcode::COPY_FILE_RANGE_64, opcode::READ, opcode::WRITE]));
        let (copied, sent) = mounted.sent_by(|| from.copy_range(0, &to, 0, 4));
        assert_eq!((copied, sent), (Ok(4), vec![opcode::COPY_FILE_RANGE_64]), "other files may be elsewhere");
        drop((from, to));
        mounted.unmount();
    }
}

#[test]
fn a_server_without_create_gets_mknod_and_open() {
    let mounted = mount_lacking(&[opcode::CREATE]);
    let root = mounted.fs.root();
    let flags = OpenFlags::READ_WRITE;
    let mut expected = vec![opcode::CREATE, opcode::MKNOD, opcode::OPEN];
    for number in 0..3 {
        let (made, sent) = mounted.sent_by(|| root.create(format!("new{number}"), flags, 0o640).unwrap());
        assert_eq!(sent, expected);
        expected = vec![opcode::MKNOD, opcode::OPEN];
        assert_eq!((made.1.permissions, made.0.write_at(0, b"x")), (0o640, Ok(1)));
    }
    // What exists is opened, or that it exists is the error.
    let (found, sent) = mounted.sent_by(|| root.create("f", flags, 0o640).unwrap());
    assert_eq!((found.1.size_bytes, found.1.permissions), (10, 0o644));
    assert_eq!(sent, [opcode::MKNOD, opcode::LOOKUP, opcode::OPEN]);
    let (again, sent) = mounted.sent_by(|| root.create("f", flags | OpenFlags::EXCLUSIVE, 0o640));
    assert_eq!((again.err(), sent), (Some(Error::Refused(Errno::EEXIST)), vec![opcode::MKNOD]));
    let (truncated, attr) = root.create("f", flags | OpenFlags::TRUNCATE, 0o640).unwrap();
    assert_eq!(attr.size_bytes, 0);
    assert_eq!(root.create("d", flags, 0o640).err(), Some(Error::Invalid(Errno::EISDIR)));
    drop((found, truncated));
    mounted.unmount();
}

#[test]
fn a_server_with_neither_create_nor_mknod_makes_no_files() {
    let mounted = mount_lacking(&[opcode::CREATE, opcode::MKNOD]);
    let (made, sent) = mounted.sent_by(|| mounted.fs.root().create("new", OpenFlags::WRITE_ONLY, 0o640));
    assert_eq!((made.err(), sent), (Some(Error::Refused(Errno::EPERM)), vec![opcode::CREATE, opcode::MKNOD]));
    let (made, sent) = mounted.sent_by(|| mounted.fs.root().create("new", OpenFlags::WRITE_ONLY, 0o640));
    assert_eq!((made.err(), sent), (Some(Error::Refused(Errno::EPERM)), vec![]));
    mounted.unmount();
}

#[test]
fn an_operation_that_no_server_may_lack_is_asked_for_again() {
    let mounted = mount_lacking(&[]);
    let root = mounted.fs.root();
    for opcode in [opcode::MKDIR, opcode::UNLINK, opcode::RMDIR, opcode::SETATTR, opcode::STATFS] {
        mounted.server(|server| {
            server.fault(opcode, 0, Fault::Refuse(Errno::ENOSYS));
        });
    }
    assert_eq!(root.mkdir("new", 0o700).err().map(Error::errno), Some(Errno::EPERM));
    root.mkdir("new", 0o700).unwrap();
    assert_eq!(root.rmdir("new"), refused(Errno::ENOSYS));
    root.rmdir("new").unwrap();
    assert_eq!(root.unlink("f"), refused(Errno::ENOSYS));
    root.unlink("f").unwrap();
    assert_eq!(root.statfs().err(), Some(Error::Refused(Errno::ENOSYS)));
    root.statfs().unwrap();
    mounted.unmount();
}

#[test]
fn an_old_server_never_sees_what_it_cannot_know() {
    let mounted = mount_lacking(&[]);
    assert_eq!(mounted.fs.negotiated().minor, 45);
    mounted.unmount();
    for (minor, known) in [(31, 0), (33, 0), (34, 1), (36, 1), (37, 2), (38, 2), (39, 3), (44, 3), (45, 4)] {
        let mut server = FakeServer::new();
        server.options.minor = minor;
        server.options.statx = true;
        server.options.refused.clear();
        server.file("f", CONTENT);
        let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
        let root = mounted.fs.root();
        let file = root.lookup("f").unwrap().0.open(OpenFlags::READ_WRITE).unwrap();
        for _ in 0..2 {
            root.syncfs().unwrap();
            root.statx().unwrap();
            assert_eq!(file.copy_range(0, &file, 5, 5), Ok(5));
            let tmpfile = root.tmpfile(OpenFlags::READ_WRITE, 0o600);
            assert_eq!(tmpfile.is_ok(), minor >= 37, "{minor}");
        }
        let all = [opcode::SYNCFS, opcode::TMPFILE, opcode::STATX, opcode::COPY_FILE_RANGE_64];
        for (place, opcode) in all.into_iter().enumerate() {
            assert_eq!(mounted.count(opcode), if place < known { 2 } else { 0 }, "{minor} {}", opcode::name(opcode));
        }
        drop(file);
        mounted.unmount();
    }
}
