//! Attributes on the fake server, extended ones too.

use super::raw::*;
use super::*;
use crate::test_utils::Caller;
use Errno as E;

const KILLPRIV: u64 = 1 << 19;
const KILLPRIV_V2: u64 = 1 << 28;
const SETXATTR_EXT: u64 = 1 << 29;

#[test]
fn setattr_sets_what_it_names_and_nothing_else() {
    let mut raw = Raw::new(server(), 0);
    let f = raw.lookup("d/f");
    let before = raw.server.attr("d/f");
    let now = Timestamp { seconds: 40, nanoseconds: 4 };
    raw.server.options.now = now;
    // Every field has a value; `valid` says which one counts.
    let fields = [(16, 3), (32, 50), (40, 60), (48, 70), (56, 5), (60, 6), (64, 7), (68, 0o4711), (76, 8), (80, 9)];
    let mut step = |valid: u32| {
        raw.ok(opcode::SETATTR, f, setattr(valid, &fields));
        raw.server.attr("d/f")
    };
    let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    let mut expected = before;
    expected.changed = now;
    expected.permissions = 0o4711;
    assert_eq!(step(1 << 0), expected);
    expected.uid = 8;
    assert_eq!(step(1 << 1), expected);
    expected.gid = 9;
    assert_eq!(step(1 << 2), expected);
    (expected.size_bytes, expected.modified) = (3, now);
    assert_eq!(step(1 << 3), expected);
    expected.accessed = time(50, 5);
    assert_eq!(step(1 << 4), expected);
    expected.modified = time(60, 6);
    assert_eq!(step(1 << 5), expected);
    expected.accessed = now;
    assert_eq!(step(1 << 4 | 1 << 7), expected);
    expected.modified = now;
    assert_eq!(step(1 << 5 | 1 << 8), expected);
    expected.changed = time(70, 7);
    assert_eq!(step(1 << 10), expected);
    raw.no_violations();
}

#[test]
fn setattr_refuses_what_has_no_meaning() {
    let mut raw = Raw::new(server(), 0);
    let (d, f, reader) = (raw.lookup("d"), raw.lookup("d/f"), raw.open("d/f", 0).1);
    let pipe = raw.lookup("pipe");
    assert_eq!(raw.err(opcode::SETATTR, d, setattr(8, &[])), E::EISDIR);
    assert_eq!(raw.err(opcode::SETATTR, pipe, setattr(8, &[])), E::EINVAL);
    assert_eq!(raw.err(opcode::SETATTR, f, setattr(8, &[(20, 1 << 31)])), E::EINVAL);
    assert_eq!(raw.err(opcode::SETATTR, f, setattr(8 | 1 << 6, &[(8, reader as u32)])), E::EINVAL);
    raw.ok(opcode::SETATTR, f, setattr(1 | 1 << 6, &[(8, reader as u32), (68, 0o100_600)]));
    for (valid, fields, why) in [
        (1 << 12, &[][..], "valid"),
        (1 << 7, &[], "set to now"),
        (1 << 8, &[], "set to now"),
        (1 << 4, &[(56, 1_000_000_000)], "nanoseconds"),
        (1, &[(68, 0o040_600)], "changes the type"),
        (1 << 6, &[(8, 99)], "not open"),
        (1 << 11, &[], "without HANDLE_KILLPRIV_V2"),
        (1, &[(4, 1)], "reserved"),
        (1, &[(72, 1)], "reserved"),
        (1, &[(84, 1)], "reserved"),
    ] {
        raw.violates(opcode::SETATTR, f, setattr(valid, fields), why);
    }
    assert_eq!(raw.server.attr("d/f").permissions, 0o600);
}

#[test]
fn set_id_bits_go_when_the_driver_says_so() {
    let mut server = server();
    server.file("plain", "x");
    let mut raw = Raw::new(server, KILLPRIV_V2 | 1 << 3);
    let file = raw.open("d/f", 2);
    let mut after = |opcode: u32, args: Put, permissions: u16| {
        raw.server.attr_mut("d/f").permissions = permissions;
        raw.server.set_xattr("d/f", "security.capability", "c");
        raw.ok(opcode, file.0, args);
        assert_eq!(raw.server.xattr("d/f", "security.capability"), None);
        raw.server.attr("d/f").permissions
    };
    assert_eq!(after(opcode::WRITE, write(file.1, 0, b"x", 0), 0o6755), 0o6755);
    assert_eq!(after(opcode::WRITE, write(file.1, 0, b"x", 4), 0o6755), 0o755);
    assert_eq!(after(opcode::WRITE, write(file.1, 0, b"x", 4), 0o6745), 0o2745, "no group executes it");
    assert_eq!(after(opcode::SETATTR, setattr(8, &[]), 0o6755), 0o6755);
    assert_eq!(after(opcode::SETATTR, setattr(8 | 1 << 11, &[]), 0o6755), 0o755);
    assert_eq!(after(opcode::SETATTR, setattr(2, &[]), 0o6755), 0o755, "a new owner");
    assert_eq!(after(opcode::OPEN, put().u32(0o1002).u32(0), 0o6755), 0o6755);
    assert_eq!(after(opcode::OPEN, put().u32(0o1002).u32(1), 0o6755), 0o755);
    let create = |kill: u32| put().u32(0o1102).u32(0o644).u32(0).u32(kill).name("f");
    let d = raw.lookup("d");
    for (kill, left) in [(0, 0o6755), (1, 0o755)] {
        raw.server.attr_mut("d/f").permissions = 0o6755;
        raw.ok(opcode::CREATE, d, create(kill));
        assert_eq!(raw.server.attr("d/f").permissions, left);
    }
    let kills = [opcode::WRITE, opcode::SETATTR, opcode::OPEN, opcode::CREATE].map(|one| raw.server.kill_requests(one));
    assert_eq!(kills, [2, 1, 1, 1]);
    raw.no_violations();

    let mut raw = Raw::new(raw.server, KILLPRIV);
    let file = raw.open("d/f", 2);
    raw.server.attr_mut("d/f").permissions = 0o6755;
    raw.write(file, 0, b"x").unwrap();
    assert_eq!(raw.server.attr("d/f").permissions, 0o755, "the server does it by itself");
    raw.violates(opcode::OPEN, file.0, put().u32(2).u32(1), "without HANDLE_KILLPRIV_V2");
}

#[test]
fn access_looks_at_the_bits_that_count_for_the_caller() {
    let mut server = server();
    server.attr_mut("d/f").permissions = 0o640;
    (server.attr_mut("d/f").uid, server.attr_mut("d/f").gid) = (5, 6);
    let mut raw = Raw::new(server, 0);
    let f = raw.lookup("d/f");
    for (uid, gid, granted) in [(5, 9, 6), (9, 6, 4), (9, 9, 0), (0, 0, 6)] {
        raw.caller = Caller { uid, gid, pid: 0 };
        for mask in 0..8 {
            let result = raw.send(opcode::ACCESS, f, put().u32(mask).u32(0));
            assert_eq!(result.is_ok(), mask & !granted == 0, "{uid} {gid} {mask}");
        }
    }
    raw.violates(opcode::ACCESS, f, put().u32(8).u32(0), "mask");
}

/// The arguments of SETXATTR, in its longer form if there are more flags.
fn setxattr(flags: u32, more_flags: Option<u32>, name: &str, value: &str) -> Put {
    let args = put().u32(value.len() as u32).u32(flags);
    let args = if let Some(more) = more_flags { args.u32(more).u32(0) } else { args };
    args.name(name).bytes(value.as_bytes())
}

#[test]
fn extended_attributes_are_set_read_listed_and_removed() {
    let mut raw = Raw::new(server(), 0);
    let (f, l) = (raw.lookup("d/f"), raw.lookup("l"));
    let get = |size: u32, name: &str| put().u32(size).u32(0).name(name);
    raw.ok(opcode::SETXATTR, f, setxattr(1, None, "user.a", "value"));
    raw.ok(opcode::SETXATTR, f, setxattr(0, None, "user.b", ""));
    assert_eq!(raw.err(opcode::SETXATTR, f, setxattr(1, None, "user.a", "")), E::EEXIST);
    assert_eq!(raw.err(opcode::SETXATTR, f, setxattr(2, None, "user.c", "")), E::ENODATA);
    assert_eq!(raw.err(opcode::SETXATTR, f, setxattr(3, None, "user.a", "")), E::EINVAL);
    assert_eq!(raw.err(opcode::SETXATTR, f, setxattr(0, None, "other.a", "")), E::EOPNOTSUPP);
    assert_eq!(raw.err(opcode::SETXATTR, l, setxattr(0, None, "user.a", "")), E::EPERM);
    assert_eq!(raw.ok(opcode::GETXATTR, f, get(0, "user.a")), [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw.ok(opcode::GETXATTR, f, get(5, "user.a")), b"value");
    assert_eq!(raw.err(opcode::GETXATTR, f, get(4, "user.a")), E::ERANGE);
    assert_eq!(raw.ok(opcode::GETXATTR, f, get(1, "user.b")), b"");
    assert_eq!(raw.err(opcode::GETXATTR, f, get(9, "user.c")), E::ENODATA);
    assert_eq!(raw.ok(opcode::LISTXATTR, f, put().u32(0).u32(0))[0], 14);
    assert_eq!(raw.ok(opcode::LISTXATTR, f, put().u32(14).u32(0)), b"user.a\0user.b\0");
    assert_eq!(raw.err(opcode::LISTXATTR, f, put().u32(13).u32(0)), E::ERANGE);
    raw.ok(opcode::REMOVEXATTR, f, put().name("user.b"));
    assert_eq!(raw.err(opcode::REMOVEXATTR, f, put().name("user.b")), E::ENODATA);
    assert_eq!(raw.server.xattr("d/f", "user.a").unwrap(), b"value");
    raw.violates(opcode::SETXATTR, f, setxattr(4, None, "user.a", ""), "flags");
    raw.violates(opcode::SETXATTR, f, setxattr(0, None, "user.a", "v").u32(0), "follow");
    raw.violates(opcode::GETXATTR, f, get(1 << 20, "user.a"), "room");
    raw.violates(opcode::GETXATTR, f, get(0, ""), "empty");
}

#[test]
fn the_longer_setxattr_is_the_negotiated_one() {
    let mut raw = Raw::new(server(), SETXATTR_EXT);
    let f = raw.lookup("d/f");
    raw.ok(opcode::SETXATTR, f, setxattr(0, Some(0), "user.a", "value"));
    raw.server.attr_mut("d/f").permissions = 0o2755;
    raw.ok(opcode::SETXATTR, f, setxattr(0, Some(1), "system.posix_acl_access", "acl"));
    assert_eq!(raw.server.attr("d/f").permissions, 0o755);
    raw.violates(opcode::SETXATTR, f, setxattr(0, Some(2), "user.a", "v"), "setxattr_flags");
    raw.violates(opcode::SETXATTR, f, setxattr(0, Some(1), "user.a", "v"), "ACL_KILL_SGID");
    let before = raw.server.violations().len();
    assert!(raw.send(opcode::SETXATTR, f, setxattr(0, None, "user.long.name", "v")).is_err());
    assert_eq!(raw.server.violations().len(), before + 1, "the shorter form");
}
