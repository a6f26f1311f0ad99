//! A life that changes what it can; and replies to that whose fields are out of range.

use super::*;
use crate::vnode::{
    Access, AllocateFlags, Durability, Lock, LockKind, LockOwner, OpenFlags, RenameFlags, SetTime, Wait, XattrFlags,
};

pub(super) const LIFE: Life = Life {
    opcodes: &[
        opcode::SETATTR,
        opcode::SYMLINK,
        opcode::MKNOD,
        opcode::MKDIR,
        opcode::UNLINK,
        opcode::RMDIR,
        opcode::RENAME,
        opcode::RENAME2,
        opcode::LINK,
        opcode::WRITE,
        opcode::FSYNC,
        opcode::SETXATTR,
        opcode::GETXATTR,
        opcode::LISTXATTR,
        opcode::REMOVEXATTR,
        opcode::FLUSH,
        opcode::FSYNCDIR,
        opcode::GETLK,
        opcode::SETLK,
        opcode::SETLKW,
        opcode::ACCESS,
        opcode::CREATE,
        opcode::FALLOCATE,
        opcode::LSEEK,
        opcode::COPY_FILE_RANGE,
        opcode::COPY_FILE_RANGE_64,
        opcode::SYNCFS,
        opcode::TMPFILE,
        // They are answered to what was made here.
        opcode::LOOKUP,
        opcode::GETATTR,
        opcode::OPEN,
        opcode::RELEASE,
    ],
    tree,
    use_all,
};

fn tree(server: &mut FakeServer) {
    reading::tree(server);
    server.options.init_flags = u64::MAX;
    server.options.refused.clear();
    server.set_xattr("d/f", "user.old", "value");
    server.dir("t/u").file("t/u/f", "").file("t/g", "");
}

/// Works with an open file.
fn use_file(file: &File, other: &File, note: &mut dyn FnMut(bool)) {
    let open = file.as_open_file();
    let lock = |kind| Lock { kind, start: 0, end: 9, pid: 1 };
    note(file.write_all_at(0, &[7; 6000]).is_ok());
    note(file.copy_range(0, other, 0, 5000).is_ok());
    note(file.allocate(8000, 100, AllocateFlags::empty()).is_ok());
    note(file.seek_data(0).is_ok());
    note(file.seek_hole(0).is_ok());
    note(file.sync_all().is_ok());
    note(file.set_len(5).is_ok());
    note(open.setlk(LockOwner(1), &lock(LockKind::Write), Wait::No).is_ok());
    note(open.getlk(LockOwner(2), &lock(LockKind::Read)).is_ok());
    note(open.setlk(LockOwner(1), &lock(LockKind::Unlock), Wait::No).is_ok());
    note(open.setlk(LockOwner(1), &lock(LockKind::Read), Wait::Yes).is_ok());
    note(file.lock().is_ok());
    note(open.flush(LockOwner(1)).is_ok());
    // A server that refuses FLUSH keeps the lock.
    note(open.setlk(LockOwner(1), &lock(LockKind::Unlock), Wait::No).is_ok());
}

/// Uses the mount in every way, and goes on after errors. Gives how many of its steps went well.
fn use_all(fs: &VirtioFs) -> usize {
    let mut good = 0;
    let mut note = |is_good: bool| good += usize::from(is_good);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    if let (Ok(file), Ok(other)) = (options.open(fs, "new"), options.open(fs, "l/m")) {
        use_file(&file, &other, &mut note);
        note(file.close().is_ok());
    }
    note(fs.write("d/f", "new content").is_ok());
    note(fs.copy("d/f", "copy").is_ok());
    note(fs.truncate("copy", 1).is_ok());
    note(fs.set_owner("copy", Some(1), Some(2)).is_ok());
    note(fs.set_times("l", FileTimes { accessed: None, modified: Some(SetTime::Now) }).is_ok());
    note(fs.access("copy", Access::READ).is_ok());
    note(fs.create_dir_all("x/y/z").is_ok());
    note(fs.symlink("target", "x/link").is_ok());
    note(fs.mknod("x/fifo", FileType::Fifo, 0o600, 0).is_ok());
    note(fs.hard_link("copy", "x/hard").is_ok());
    note(fs.rename("x/hard", "x/y/moved").is_ok());
    note(fs.rename_with("x/y", "d", RenameFlags::EXCHANGE).is_ok());
    note(fs.remove_file("x/link").is_ok());
    note(fs.set_xattr("copy", "user.x", "value", XattrFlags::CREATE).is_ok());
    note(fs.get_xattr("copy", "user.x").is_ok());
    note(fs.list_xattr("copy").is_ok());
    note(fs.remove_xattr("copy", "user.x").is_ok());
    note(fs.remove_dir_all("t").is_ok());
    if let Ok((file, _)) = fs.root().tmpfile(OpenFlags::READ_WRITE, 0o600) {
        note(file.write_at(0, b"x").is_ok());
        note(file.node().link(fs.root(), "named").is_ok());
    }
    if let Ok(dir) = fs.root().opendir() {
        note(dir.fsync(Durability::All).is_ok());
    }
    note(fs.sync().is_ok());
    fs.maintain();
    good
}

fn mount() -> Mounted {
    let mut server = FakeServer::new();
    tree(&mut server);
    Mounted::over(FakeChannel::new(server)).unwrap()
}

/// What `action` makes of a body, in the place of the first reply to a kind of request; the session must go on.
fn with_body<T>(opcode: u32, body: &[u8], action: impl FnOnce(&File) -> Result<T, Error>) -> Result<T, Error> {
    let mounted = mount();
    let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "d/f").unwrap();
    mounted.server(|server| {
        server.fault(opcode, 0, Fault::Body(body.to_vec()));
    });
    let result = action(&file);
    assert_eq!(file.read_at(0, &mut [0; 7]), Ok(7));
    drop(file);
    mounted.unmount();
    result
}

fn breaks_protocol<T: core::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Protocol(_))), "{result:?}");
}

#[test]
fn no_more_is_copied_than_was_asked_for() {
    for bytes in [11, u64::MAX] {
        let copy = |file: &File| file.copy_range(0, file, 100, 10);
        breaks_protocol(with_body(opcode::COPY_FILE_RANGE_64, &bytes.to_ne_bytes(), copy));
    }
    let mounted = mount();
    let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "d/f").unwrap();
    mounted.server(|server| {
        server.options.refused.insert(opcode::COPY_FILE_RANGE_64, Errno::ENOSYS);
        server.fault(opcode::COPY_FILE_RANGE, 0, Fault::Body([11_u32.to_ne_bytes(), [0; 4]].concat()));
    });
    breaks_protocol(file.copy_range(0, &file, 100, 10));
    assert_eq!(file.copy_range(0, &file, 100, 10), Ok(10));
    drop(file);
    mounted.unmount();
}

#[test]
fn a_seek_for_data_or_a_hole_does_not_lead_back_or_nowhere() {
    for found in [0, 4, 1 << 63, u64::MAX] {
        for seek in [File::seek_data, File::seek_hole] {
            breaks_protocol(with_body(opcode::LSEEK, &u64::to_ne_bytes(found), |file| seek(file, 5)));
        }
    }
    assert_eq!(with_body(opcode::LSEEK, &5_u64.to_ne_bytes(), |file| file.seek_data(5)), Ok(5));
}

#[test]
fn a_lock_that_is_in_the_way_has_a_possible_range_and_kind() {
    let body = |start: u64, end: u64, kind: u32| {
        [&start.to_ne_bytes()[..], &end.to_ne_bytes(), &kind.to_ne_bytes(), &[0; 4]].concat()
    };
    let lock = Lock { kind: LockKind::Write, start: 0, end: 9, pid: 1 };
    let ask = |file: &File| file.as_open_file().getlk(LockOwner(1), &lock);
    for (start, end, kind) in [(5, 4, 1), (0, 1 << 63, 1), (0, u64::MAX, 0), (0, 9, 3), (0, 9, u32::MAX)] {
        breaks_protocol(with_body(opcode::GETLK, &body(start, end, kind), ask));
    }
    assert_eq!(with_body(opcode::GETLK, &body(5, 4, 2), ask), Ok(None), "no lock has no range");
    assert!(with_body(opcode::GETLK, &body(4, 4, 1), ask).unwrap().is_some());
}

#[test]
fn a_huge_extended_attribute_costs_no_memory() {
    for size in [65_537, 1 << 31, u32::MAX] {
        let body = [size.to_ne_bytes(), [0; 4]].concat();
        for opcode in [opcode::GETXATTR, opcode::LISTXATTR] {
            let mounted = mount();
            mounted.server(|server| {
                server.fault(opcode, 0, Fault::Body(body.clone()));
            });
            // The size is only a hint: what comes with the next reply counts.
            match opcode {
                opcode::GETXATTR => assert_eq!(mounted.fs.get_xattr("d/f", "user.old").unwrap(), b"value"),
                _ => assert_eq!(mounted.fs.list_xattr("d/f").unwrap(), [b"user.old"]),
            }
            let request = mounted.server(|server| server.last_request(opcode).unwrap().to_vec());
            assert_eq!(request[40..44], 65_536_u32.to_ne_bytes());
            mounted.unmount();
        }
    }
}

#[test]
fn a_list_of_names_may_have_any_nul_bytes() {
    for (list, names) in [
        (&b"user.a"[..], vec![&b"user.a"[..]]),
        (b"user.a\0b", vec![b"user.a", b"b"]),
        (b"\0\0\0", vec![]),
        (b"\0a\0\0b\0", vec![b"a", b"b"]),
    ] {
        let mounted = mount();
        mounted.server(|server| {
            server.fault(opcode::LISTXATTR, 0, Fault::Body([9_u32.to_ne_bytes(), [0; 4]].concat()));
            server.fault(opcode::LISTXATTR, 1, Fault::Body(list.to_vec()));
        });
        assert_eq!(mounted.fs.list_xattr("d/f").unwrap(), names);
        mounted.unmount();
    }
}

#[test]
fn a_value_longer_than_its_room_ends_the_session() {
    for opcode in [opcode::GETXATTR, opcode::LISTXATTR] {
        let mounted = mount();
        mounted.server(|server| {
            server.fault(opcode, 0, Fault::Body([8_u32.to_ne_bytes(), [0; 4]].concat()));
            server.fault(opcode, 1, Fault::Body(vec![b'x'; 9]));
        });
        let result = match opcode {
            opcode::GETXATTR => mounted.fs.get_xattr("d/f", "user.old").map(drop),
            _ => mounted.fs.list_xattr("d/f").map(drop),
        };
        assert!(matches!(result, Err(Error::Device(_))), "{result:?}");
        assert!(mounted.fs.unmount().is_err());
    }
}

#[test]
fn what_was_made_is_neither_nowhere_nor_the_root() {
    for opcode in [opcode::MKDIR, opcode::SYMLINK, opcode::MKNOD, opcode::LINK, opcode::CREATE, opcode::TMPFILE] {
        for nodeid in [0_u64, 1] {
            let mut server = FakeServer::new();
            tree(&mut server);
            server.tamper(move |one, reply| {
                if one == opcode && reply.len() > 24 {
                    reply[16..24].copy_from_slice(&nodeid.to_ne_bytes());
                }
            });
            let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
            let root = mounted.fs.root();
            let result = match opcode {
                opcode::MKDIR => root.mkdir("new", 0o700).map(drop),
                opcode::SYMLINK => root.symlink("new", b"t").map(drop),
                opcode::MKNOD => root.mknod("new", FileType::Fifo, 0o600, 0).map(drop),
                opcode::LINK => mounted.fs.hard_link("d/f", "new"),
                opcode::CREATE => root.create("new", OpenFlags::WRITE_ONLY, 0o600).map(drop),
                _ => root.tmpfile(OpenFlags::WRITE_ONLY, 0o600).map(drop),
            };
            breaks_protocol(result);
            root.getattr().unwrap();
        }
    }
}
