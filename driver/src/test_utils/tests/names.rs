//! Names on the fake server: made, linked, renamed and removed.

use super::raw::*;
use super::*;
use crate::test_utils::{Caller, Extensions};
use Errno as E;

const DONT_MASK: u64 = 1 << 6;
const SUBMOUNTS: u64 = 1 << 27;
const SECURITY_CTX: u64 = 1 << 32;
const CREATE_SUPP_GROUP: u64 = 1 << 34;
const CREAT_RDWR: u32 = 0o102;
const EXCL: u32 = 0o200;

fn create(flags: u32, mode: u32, umask: u32, name: &str) -> Put {
    put().u32(flags).u32(mode).u32(umask).u32(0).name(name)
}

fn mknod(mode: u32, rdev: u32, umask: u32, name: &str) -> Put {
    put().u32(mode).u32(rdev).u32(umask).u32(0).name(name)
}

fn mkdir(mode: u32, umask: u32, name: &str) -> Put {
    put().u32(mode).u32(umask).name(name)
}

fn rename2(new_directory: u64, flags: u32, old: &str, new: &str) -> Put {
    put().u64(new_directory).u32(flags).u32(0).name(old).name(new)
}

#[test]
fn what_is_made_belongs_to_the_caller() {
    let mut raw = Raw::new(server(), 0);
    raw.caller = Caller { uid: 1, gid: 2, pid: 3 };
    let now = Timestamp { seconds: 77, nanoseconds: 8 };
    raw.server.options.now = now;
    raw.ok(opcode::CREATE, ROOT, create(CREAT_RDWR, 0o100_640, 0o022, "file"));
    raw.ok(opcode::MKNOD, ROOT, mknod(0o020_600, 0x105, 0o022, "device"));
    raw.ok(opcode::MKDIR, ROOT, mkdir(0o1755, 0o022, "dir"));
    raw.ok(opcode::SYMLINK, ROOT, put().name("link").name("to/there"));
    for (name, kind, permissions, rdev) in [
        ("file", FileType::Regular, 0o640, 0),
        ("device", FileType::CharDevice, 0o600, 0x105),
        ("dir", FileType::Directory, 0o1755, 0),
        ("link", FileType::Symlink, 0o777, 0),
    ] {
        let attr = raw.server.attr(name);
        assert_eq!((attr.file_type, attr.permissions, attr.rdev), (kind, permissions, rdev), "{name}");
        assert_eq!((attr.uid, attr.gid, attr.accessed, attr.modified, attr.changed), (1, 2, now, now, now), "{name}");
        assert_eq!(raw.server.nlookup(raw.server.nodeid(name).unwrap()), 1, "{name}");
    }
    assert_eq!(raw.server.content("link"), b"to/there");
    assert_eq!(raw.server.attr("").modified, now);
    assert_eq!(raw.server.attr("").nlink, 4);
    assert_eq!(raw.server.last_caller(opcode::MKDIR), Some(raw.caller));
    assert_eq!(raw.server.last_caller(opcode::LINK), None);
    assert_eq!(raw.server.last_request(opcode::MKDIR).unwrap()[48..], *b"dir\0");
    raw.no_violations();
}

#[test]
fn create_opens_what_exists_unless_it_must_not_exist() {
    let mut raw = Raw::new(server(), 0);
    let d = raw.lookup("d");
    let body = raw.ok(opcode::CREATE, d, create(CREAT_RDWR | 0o1000, 0o644, 0, "f"));
    assert_eq!(body.len(), 128 + 16);
    let file = (u64_at(&body, 0), u64_at(&body, 128));
    assert_eq!(raw.server.content("d/f"), b"");
    assert_eq!(raw.write(file, 0, b"x"), Ok(1));
    assert_eq!(raw.err(opcode::CREATE, d, create(CREAT_RDWR | EXCL, 0o644, 0, "f")), E::EEXIST);
    assert_eq!(raw.err(opcode::CREATE, d, create(CREAT_RDWR, 0o644, 0, "empty")), E::EISDIR);
    assert_eq!(raw.err(opcode::CREATE, ROOT, create(CREAT_RDWR, 0o644, 0, "l")), E::ELOOP);
    assert_eq!(raw.err(opcode::CREATE, file.0, create(CREAT_RDWR, 0o644, 0, "x")), E::ENOTDIR);
    assert_eq!(raw.err(opcode::MKDIR, ROOT, mkdir(0o755, 0, "l")), E::EEXIST);
    assert_eq!(raw.err(opcode::SYMLINK, ROOT, put().name("new").name("")), E::ENOENT);
    assert_eq!(raw.server.open_handles(), 1);
    raw.violates(opcode::CREATE, d, create(CREAT_RDWR | 0o400, 0o644, 0, "f"), "flags");
    raw.violates(opcode::CREATE, d, create(CREAT_RDWR, 0o040_644, 0, "f"), "mode");
    raw.violates(opcode::MKNOD, d, mknod(0o040_644, 0, 0, "x"), "mode");
    raw.violates(opcode::MKDIR, d, mkdir(0o100_644, 0, "x"), "mode");
    assert_eq!(raw.server.names("d"), [b"empty".to_vec(), b"f".to_vec()]);
}

#[test]
fn the_umask_is_applied_by_the_one_it_was_agreed_on() {
    let mut raw = Raw::new(server(), DONT_MASK);
    raw.ok(opcode::MKDIR, ROOT, mkdir(0o777, 0o027, "dir"));
    raw.ok(opcode::CREATE, ROOT, create(CREAT_RDWR, 0o666, 0o077, "file"));
    raw.ok(opcode::MKNOD, ROOT, mknod(0o010_666, 0, 0o002, "fifo"));
    assert_eq!(["dir", "file", "fifo"].map(|name| raw.server.attr(name).permissions), [0o750, 0o600, 0o664]);
    raw.no_violations();
    let mut raw = Raw::new(server(), 0);
    raw.violates(opcode::MKDIR, ROOT, mkdir(0o777, 0o027, "dir"), "without DONT_MASK");
    raw.violates(opcode::CREATE, ROOT, create(CREAT_RDWR, 0o666, 0o077, "file"), "without DONT_MASK");
    raw.violates(opcode::MKNOD, ROOT, mknod(0o010_666, 0, 0o002, "fifo"), "without DONT_MASK");
    raw.violates(opcode::MKDIR, ROOT, mkdir(0o750, 0o1027, "dir"), "umask is");
    raw.ok(opcode::MKDIR, ROOT, mkdir(0o750, 0o027, "dir"));
}

#[test]
fn a_directory_with_the_set_group_id_bit_gives_its_group() {
    let mut server = server();
    server.attr_mut("d").permissions = 0o2775;
    server.attr_mut("d").gid = 50;
    let mut raw = Raw::new(server, 0);
    raw.caller = Caller { uid: 1, gid: 2, pid: 3 };
    let d = raw.lookup("d");
    raw.ok(opcode::MKDIR, d, mkdir(0o755, 0, "sub"));
    raw.ok(opcode::MKNOD, d, mknod(0o100_644, 0, 0, "file"));
    let [sub, file] = ["d/sub", "d/file"].map(|path| raw.server.attr(path));
    assert_eq!((sub.uid, sub.gid, sub.permissions), (1, 50, 0o2755));
    assert_eq!((file.uid, file.gid, file.permissions), (1, 50, 0o644));
}

/// A security context, and the group 0 of the root directory.
fn extensions() -> (Put, Put) {
    let value = b"system_u:object_r:x\0";
    let context = put().u32(56).u32(1).u32(value.len() as u32).u32(0).name("security.selinux").bytes(value);
    (context.bytes(&[0; 3]), put().u32(16).u32(32).u32(1).u32(0))
}

#[test]
fn extensions_are_read_where_they_were_negotiated() {
    let mut raw = Raw::new(server(), SECURITY_CTX | CREATE_SUPP_GROUP);
    let (context, group) = extensions();
    let both = [context.0.clone(), group.0.clone()].concat();
    raw.send_extended(opcode::CREATE, ROOT, create(CREAT_RDWR, 0o644, 0, "one"), &both);
    raw.send_extended(opcode::SYMLINK, ROOT, put().name("two").name("x"), &context.0);
    raw.send_extended(opcode::MKDIR, ROOT, mkdir(0o755, 0, "three"), &put().u32(8).u32(0).0);
    raw.no_violations();
    let value = b"system_u:object_r:x\0".to_vec();
    assert_eq!(
        ["one", "two", "three"].map(|name| raw.server.xattr(name, "security.selinux").is_some()),
        [true, true, false]
    );
    let expected =
        Extensions { security_context: Some((b"security.selinux".to_vec(), value)), supplementary_group: Some(0) };
    assert_eq!(raw.server.last_extensions(opcode::CREATE), Some(&expected));
    assert_eq!(raw.server.last_extensions(opcode::MKDIR), Some(&Extensions::default()));

    let odd = [&group.0[..], &[0; 4]].concat();
    for (extensions, why) in [
        (odd, "an extension has"),
        ([&group.0[..], &[0; 8]].concat(), "an extension has 0 bytes"),
        (put().u32(12).u32(32).u32(1).u32(0).0, "an extension has 12 bytes"),
        (put().u32(24).u32(32).u32(1).u32(0).0, "cut short"),
        (put().u32(16).u32(32).u32(2).u32(0).0, "2 supplementary groups"),
        (put().u32(16).u32(32).u32(1).u32(5).0, "not that of the directory"),
        (put().u32(16).u32(33).u32(1).u32(0).0, "type 33"),
        (put().u32(24).u32(32).u32(1).u32(0).u64(0).0, "more behind it"),
        ([group.0.clone(), group.0.clone()].concat(), "twice"),
        (put().u32(32).u32(1).u32(50).u32(0).name("security.selin").bytes(b"x").0, "cut short"),
        (put().u32(8).u32(2).0, "2 security contexts"),
    ] {
        raw.violates_extended(opcode::MKDIR, ROOT, mkdir(0o755, 0, "new"), &extensions, why);
    }
    raw.violates_extended(opcode::RMDIR, ROOT, put().name("three"), &group.0, "it has no extensions");
    assert!(!raw.server.exists("new"));
    let mut raw = Raw::new(server(), CREATE_SUPP_GROUP);
    raw.violates_extended(opcode::MKDIR, ROOT, mkdir(0o755, 0, "x"), &context.0, "type 1 were not negotiated");
    let mut raw = Raw::new(server(), 0);
    raw.violates_extended(opcode::MKDIR, ROOT, mkdir(0o755, 0, "x"), &group.0, "extensions were not negotiated");
}

#[test]
fn a_file_without_a_name_can_be_given_one_later() {
    let mut raw = Raw::new(server(), 0);
    let tmpfile = |flags: u32| put().u32(flags).u32(0o100_600).u64(0);
    let body = raw.ok(opcode::TMPFILE, ROOT, tmpfile(0o20_200_002).name("/"));
    let file = (u64_at(&body, 0), u64_at(&body, 128));
    assert_eq!(u32_at(&body, 40 + 64), 0, "nlink");
    raw.write(file, 0, b"data").unwrap();
    raw.ok(opcode::LINK, ROOT, put().u64(file.0).name("named"));
    assert_eq!((raw.server.content("named"), raw.server.attr("named").nlink), (b"data".to_vec(), 1));
    let body = raw.ok(opcode::TMPFILE, ROOT, tmpfile(2 | EXCL));
    assert_eq!(raw.err(opcode::LINK, ROOT, put().u64(u64_at(&body, 0)).name("never")), E::ENOENT);
    assert_eq!(raw.err(opcode::TMPFILE, ROOT, tmpfile(0)), E::EINVAL);
    raw.violates(opcode::TMPFILE, ROOT, tmpfile(2).name("name"), "has one");
    raw.server.options = Default::default();
    assert_eq!(raw.send(opcode::TMPFILE, ROOT, tmpfile(2)), Err(E::ENOSYS));
}

#[test]
fn links_are_counted() {
    let mut raw = Raw::new(server(), 0);
    let (d, f) = (raw.lookup("d"), raw.lookup("d/f"));
    let body = raw.ok(opcode::LINK, ROOT, put().u64(f).name("g"));
    assert_eq!((u64_at(&body, 0), u32_at(&body, 40 + 64)), (f, 2), "the same nodeid, and nlink");
    assert_eq!(raw.server.nlookup(NodeId(f)), 2);
    assert_eq!(raw.err(opcode::LINK, ROOT, put().u64(f).name("g")), E::EEXIST);
    assert_eq!(raw.err(opcode::LINK, ROOT, put().u64(d).name("h")), E::EPERM);
    raw.ok(opcode::UNLINK, d, put().name("f"));
    assert_eq!((raw.server.attr("g").nlink, raw.server.exists("d/f")), (1, false));
    raw.server.hard_link("g", "d/f");
    // Two names of one file: nothing happens.
    raw.ok(opcode::RENAME, ROOT, put().u64(d).name("g").name("f"));
    assert_eq!((raw.server.exists("g"), raw.server.exists("d/f")), (true, true));
    raw.no_violations();
}

#[test]
fn only_what_may_go_is_removed() {
    let mut raw = Raw::new(server(), 0);
    let (d, empty) = (raw.lookup("d"), raw.lookup("d/empty"));
    assert_eq!(raw.err(opcode::UNLINK, ROOT, put().name("d")), E::EISDIR);
    assert_eq!(raw.err(opcode::UNLINK, ROOT, put().name("none")), E::ENOENT);
    assert_eq!(raw.err(opcode::RMDIR, ROOT, put().name("d")), E::ENOTEMPTY);
    assert_eq!(raw.err(opcode::RMDIR, d, put().name("f")), E::ENOTDIR);
    assert_eq!(raw.err(opcode::RMDIR, d, put().name("none")), E::ENOENT);
    raw.ok(opcode::RMDIR, d, put().name("empty"));
    assert_eq!((raw.server.attr("d").nlink, raw.server.exists("d/empty")), (2, false));
    assert_eq!(raw.err(opcode::MKDIR, empty, mkdir(0o755, 0, "x")), E::ENOENT);
    assert_eq!(raw.err(opcode::RENAME, d, put().u64(empty).name("f").name("f")), E::ENOENT);
}

#[test]
fn a_rename_moves_and_replaces() {
    let mut raw = Raw::new(server(), 0);
    raw.server.dir("full/x").file("other", "o");
    let (d, other) = (raw.lookup("d"), raw.lookup("other"));
    raw.ok(opcode::RENAME, ROOT, put().u64(d).name("other").name("f"));
    assert_eq!(raw.server.content("d/f"), b"o");
    assert_eq!(raw.server.nodeid("d/f"), Some(NodeId(other)));
    raw.ok(opcode::RENAME, ROOT, put().u64(d).name("full").name("empty"));
    assert!(raw.server.exists("d/empty/x"));
    assert_eq!((raw.server.attr("").nlink, raw.server.attr("d").nlink), (3, 3));
    for (old, new, errno) in
        [("none", "new", E::ENOENT), ("d", "l", E::ENOTDIR), ("l", "d", E::EISDIR), ("empty", "d", E::ENOTEMPTY)]
    {
        raw.server.dir("empty");
        assert_eq!(raw.err(opcode::RENAME, ROOT, put().u64(ROOT).name(old).name(new)), errno, "{old} {new}");
    }
    let sub = raw.lookup("d/empty/x");
    assert_eq!(raw.err(opcode::RENAME, ROOT, put().u64(sub).name("d").name("loop")), E::EINVAL);
    assert_eq!(raw.err(opcode::RENAME, d, put().u64(ROOT).name("f").name("d")), E::ENOTEMPTY, "onto its directory");
    assert_eq!(raw.err(opcode::RENAME, ROOT, put().u64(other).name("l").name("x")), E::ENOTDIR);
    raw.ok(opcode::RENAME, ROOT, put().u64(ROOT).name("d").name("d"));
    raw.ok(opcode::RENAME2, ROOT, rename2(ROOT, 2, "d", "d"));
    assert_eq!(raw.server.names("").iter().filter(|name| *name == b"d").count(), 1);
    raw.no_violations();
}

#[test]
fn rename_flags_are_honoured() {
    let mut raw = Raw::new(server(), 0);
    let d = raw.lookup("d");
    let sub = raw.lookup("d/empty");
    for (directory, flags, old, new, errno) in [
        (ROOT, 1, "l", "d", E::EEXIST),
        (ROOT, 2, "l", "none", E::ENOENT),
        (ROOT, 3, "l", "d", E::EINVAL),
        (ROOT, 6, "l", "d", E::EINVAL),
        (sub, 2, "d", "x", E::ENOENT),
        (d, 2, "d", "f", E::EINVAL),
    ] {
        assert_eq!(raw.err(opcode::RENAME2, ROOT, rename2(directory, flags, old, new)), errno, "{old} {new} {flags}");
    }
    assert_eq!(raw.err(opcode::RENAME2, d, rename2(ROOT, 2, "f", "d")), E::EINVAL, "d would be in itself");
    raw.ok(opcode::RENAME2, ROOT, rename2(ROOT, 1, "l", "new"));
    raw.ok(opcode::RENAME2, ROOT, rename2(d, 2, "new", "empty"));
    assert_eq!(
        (raw.server.attr("new").file_type, raw.server.content("d/empty")),
        (FileType::Directory, b"d/f".to_vec())
    );
    assert_eq!((raw.server.attr("").nlink, raw.server.attr("d").nlink), (4, 2));
    raw.ok(opcode::RENAME2, ROOT, rename2(d, 4, "pipe", "p"));
    let whiteout = raw.server.attr("pipe");
    assert_eq!((whiteout.file_type, whiteout.rdev), (FileType::CharDevice, 0));
    raw.no_violations();
    raw.violates(opcode::RENAME2, ROOT, rename2(ROOT, 8, "d", "e"), "flags");
}

#[test]
fn a_submount_is_marked_and_not_crossed() {
    let mut server = server();
    server.submount("m").file("m/x", "");
    let mut raw = Raw::new(server, SUBMOUNTS);
    let entry = raw.ok(opcode::LOOKUP, ROOT, put().name("m"));
    assert_eq!(u32_at(&entry, 40 + 84), 1, "FUSE_ATTR_SUBMOUNT");
    let (m, x) = (u64_at(&entry, 0), raw.lookup("m/x"));
    assert_eq!((raw.server.attr("m").ino, raw.server.attr("").ino), (1000, 1000));
    assert_eq!(raw.server.attr("m/x").ino, 1001);
    assert_eq!(raw.err(opcode::RENAME, m, put().u64(ROOT).name("x").name("x")), E::EXDEV);
    assert_eq!(raw.err(opcode::LINK, ROOT, put().u64(x).name("x")), E::EXDEV);
    raw.ok(opcode::UNLINK, m, put().name("x"));
    assert_eq!(raw.err(opcode::RMDIR, ROOT, put().name("m")), E::EBUSY);
    assert_eq!(raw.err(opcode::RENAME, ROOT, put().u64(ROOT).name("m").name("n")), E::EBUSY);
    let server = raw.server;
    let mut raw = Raw::new(server, 0);
    let entry = raw.ok(opcode::LOOKUP, ROOT, put().name("m"));
    assert_eq!(u32_at(&entry, 40 + 84), 0, "nobody asked");
}

#[test]
fn a_read_only_server_changes_nothing() {
    let mut raw = Raw::new(server(), 0);
    let f = raw.lookup("d/f");
    raw.server.options.read_only = true;
    assert_eq!(raw.err(opcode::UNLINK, ROOT, put().name("l")), E::EROFS);
    assert_eq!(raw.err(opcode::SETATTR, f, setattr(1, &[])), E::EROFS);
    assert_eq!(raw.err(opcode::OPEN, f, put().u32(1).u32(0)), E::EROFS);
    raw.ok(opcode::OPEN, f, put().u32(0).u32(0));
}
