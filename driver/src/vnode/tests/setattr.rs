//! Who may change which attributes, and extended attributes.

use super::*;
use crate::vnode::{Access, SetAttr, SetTime, XattrFlags};
use crate::{Attr, Timestamp};

const DATE: Timestamp = Timestamp { seconds: -5, nanoseconds: 9 };

/// "f" of this user and group, with these permissions.
fn mount_f(uid: u32, gid: u32, permissions: u16) -> Mounted {
    let mut server = FakeServer::new();
    server.file("f", "content").dir("sticky").dir("d");
    for path in ["f", "sticky", "d"] {
        let attr = server.attr_mut(path);
        (attr.uid, attr.gid, attr.permissions) = (uid, gid, permissions);
    }
    server.attr_mut("sticky").permissions |= 0o1000;
    mount_as_user(server, Permissions::Driver)
}

fn set(mounted: &Mounted, changes: SetAttr) -> Result<Attr, Error> {
    mounted.fs.root().lookup("f").unwrap().0.setattr(&changes)
}

const NOTHING: SetAttr = SetAttr {
    permissions: None,
    uid: None,
    gid: None,
    size_bytes: None,
    accessed: None,
    modified: None,
    changed: None,
};

#[test]
fn permissions_owner_and_dates_are_the_owners() {
    for (change, owner, others) in [
        (SetAttr { permissions: Some(0o600), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { uid: Some(1000), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { uid: Some(1001), ..NOTHING }, Err(Errno::EPERM), Errno::EPERM),
        (SetAttr { gid: Some(100), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { gid: Some(300), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { gid: Some(7), ..NOTHING }, Err(Errno::EPERM), Errno::EPERM),
        (SetAttr { uid: Some(1000), gid: Some(200), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { uid: Some(1000), gid: Some(7), ..NOTHING }, Err(Errno::EPERM), Errno::EPERM),
        (SetAttr { accessed: Some(SetTime::At(DATE)), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { modified: Some(SetTime::At(DATE)), accessed: Some(SetTime::Now), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { changed: Some(DATE), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { accessed: Some(SetTime::Now), ..NOTHING }, Ok(()), Errno::EPERM),
        (SetAttr { modified: Some(SetTime::Now), ..NOTHING }, Ok(()), Errno::EPERM),
    ] {
        let mounted = mount_f(1000, 100, 0o666);
        assert_eq!(set(&mounted, change).map(drop).map_err(Error::errno), owner, "{change:?}");
        mounted.unmount();
        let mounted = mount_f(9, 100, 0o666);
        assert_eq!(set(&mounted, change).err(), Some(Error::Refused(others)), "{change:?}");
        assert_eq!(mounted.count(opcode::SETATTR), 0);
        mounted.unmount();
    }
}

#[test]
fn who_may_write_may_touch_both_times() {
    let touch = SetAttr { accessed: Some(SetTime::Now), modified: Some(SetTime::Now), ..NOTHING };
    for (uid, permissions, expected) in
        [(9, 0o602, Ok(())), (9, 0o600, Err(Errno::EACCES)), (9, 0o664, Err(Errno::EACCES)), (1000, 0o000, Ok(()))]
    {
        let mounted = mount_f(uid, 9, permissions);
        assert_eq!(set(&mounted, touch).map(drop).map_err(Error::errno), expected, "{uid} {permissions:o}");
        mounted.unmount();
    }
}

#[test]
fn set_group_id_is_for_members_of_the_group() {
    for (gid, new_gid, expected) in [(100, None, 0o2755), (300, None, 0o2755), (9, None, 0o755), (9, Some(200), 0o2755)]
    {
        let mounted = mount_f(1000, gid, 0o644);
        let attr = set(&mounted, SetAttr { permissions: Some(0o2755), gid: new_gid, ..NOTHING }).unwrap();
        assert_eq!(attr.permissions, expected, "{gid} {new_gid:?}");
        mounted.unmount();
    }
}

#[test]
fn user_0_may_change_everything_in_one_request() {
    let mounted = mount();
    let (f, _) = mounted.fs.root().lookup("d").unwrap().0.lookup("f").unwrap();
    let changes = SetAttr {
        permissions: Some(0o7777),
        uid: Some(1),
        gid: Some(2),
        size_bytes: Some(3),
        accessed: Some(SetTime::At(DATE)),
        modified: Some(SetTime::Now),
        changed: Some(DATE),
    };
    let (attr, sent) = mounted.sent_by(|| f.setattr(&changes).unwrap());
    assert_eq!(sent, [opcode::SETATTR]);
    let now = mounted.server(|server| server.options.now);
    assert_eq!((attr.permissions, attr.uid, attr.gid, attr.size_bytes), (0o7777, 1, 2, 3));
    assert_eq!((attr.accessed, attr.modified, attr.changed), (DATE, now, DATE));
    drop(f);
    mounted.unmount();
}

#[test]
fn a_date_has_less_than_a_second_of_nanoseconds() {
    // What these mean to `utimensat`, to which servers hand them on.
    const UTIME_NOW: u32 = (1 << 30) - 1;
    const UTIME_OMIT: u32 = (1 << 30) - 2;
    let mounted = mount();
    let f = mounted.fs.node("d/f").unwrap();
    let each = |nanoseconds| {
        let date = Timestamp { seconds: 5, nanoseconds };
        [
            SetAttr { accessed: Some(SetTime::At(date)), ..NOTHING },
            SetAttr { modified: Some(SetTime::At(date)), accessed: Some(SetTime::Now), ..NOTHING },
            SetAttr { changed: Some(date), permissions: Some(0o600), ..NOTHING },
        ]
    };
    for nanoseconds in [1_000_000_000, UTIME_OMIT - 1, UTIME_OMIT, UTIME_NOW, UTIME_NOW + 1, u32::MAX] {
        for changes in each(nanoseconds) {
            let (set, sent) = mounted.sent_by(|| f.setattr(&changes));
            assert_eq!((set, sent), (Err(Error::Invalid(Errno::EINVAL)), vec![]), "{changes:?}");
        }
    }
    for changes in each(0).into_iter().chain(each(999_999_999)) {
        f.setattr(&changes).unwrap();
    }
    drop(f);
    mounted.unmount();
}

#[test]
fn nothing_to_change_is_a_question() {
    let mounted = mount_f(9, 9, 0o000);
    let (attr, sent) = mounted.sent_by(|| set(&mounted, NOTHING).unwrap());
    assert_eq!((attr.size_bytes, sent.last()), (7, Some(&opcode::GETATTR)));
    assert_eq!(mounted.count(opcode::SETATTR), 0);
    mounted.unmount();
}

#[test]
fn only_regular_files_have_a_size_to_set() {
    let mounted = mount();
    for (name, errno) in [("d", Errno::EISDIR), ("l", Errno::EINVAL), ("fifo", Errno::EINVAL)] {
        let (node, _) = mounted.fs.root().lookup(name).unwrap();
        let set = SetAttr { size_bytes: Some(0), ..NOTHING };
        assert_eq!(node.setattr(&set), Err(Error::Invalid(errno)));
    }
    let f = mounted.fs.node("d/f").unwrap();
    for size_bytes in [1 << 63, u64::MAX] {
        let set = SetAttr { size_bytes: Some(size_bytes), ..NOTHING };
        assert_eq!(f.setattr(&set), Err(Error::Invalid(Errno::EINVAL)));
    }
    assert_eq!(mounted.count(opcode::SETATTR), 0);
    mounted.server(|server| server.options.max_file_bytes = 100);
    assert_eq!(f.setattr(&SetAttr { size_bytes: Some(101), ..NOTHING }), refused(Errno::EFBIG));
    drop(f);
    mounted.unmount();
}

#[test]
fn the_namespaces_of_attributes_have_their_own_rules() {
    let all = Access::READ | Access::WRITE;
    // Which path, the user that owns it, and what reading and writing give.
    for (path, uid, name, reading, writing) in [
        ("f", 1000, "trusted.x", Some(Errno::ENODATA), Some(Errno::EPERM)),
        ("f", 1000, "security.x", None, Some(Errno::EPERM)),
        ("f", 9, "user.x", None, None),
        ("sticky", 9, "user.x", None, Some(Errno::EPERM)),
        ("sticky", 1000, "user.x", None, None),
        ("d", 9, "user.x", None, None),
        ("l", 1000, "user.x", Some(Errno::ENODATA), Some(Errno::EPERM)),
        ("fifo", 1000, "user.x", Some(Errno::ENODATA), Some(Errno::EPERM)),
    ] {
        let mounted = mount_f(uid, 9, 0o777);
        mounted.server(|server| {
            server.symlink("l", "f").special("fifo", FileType::Fifo);
            server.attr_mut("fifo").permissions = 0o777;
            server.set_xattr(path, name, "1");
        });
        let (node, _) = mounted.fs.root().lookup(path).unwrap();
        if path != "l" {
            node.access(all).unwrap();
        }
        let why = alloc::format!("{path} {name}");
        assert_eq!(node.getxattr(name, &mut [0; 9]).err().map(Error::errno), reading, "{why}");
        let set = node.setxattr(name, b"2", XattrFlags::REPLACE);
        assert_eq!(set.err().map(Error::errno), writing, "{why}");
        assert_eq!(node.removexattr(name).err().map(Error::errno), writing, "{why}");
        assert_eq!(mounted.server(|server| server.xattr(path, name).is_none()), writing.is_none(), "{why}");
        drop(node);
        mounted.unmount();
    }
}

#[test]
fn impossible_attributes_are_refused_without_a_message() {
    let mounted = mount();
    let f = mounted.fs.node("d/f").unwrap();
    let none = XattrFlags::empty();
    let long = [b'x'; 256];
    let (_, sent) = mounted.sent_by(|| {
        assert_eq!(f.setxattr("", b"", none), Err(Error::Invalid(Errno::ERANGE)));
        assert_eq!(f.getxattr(long, &mut []), Err(Error::Invalid(Errno::ERANGE)));
        assert_eq!(f.removexattr("user.\0"), Err(Error::Invalid(Errno::EINVAL)));
        assert_eq!(f.setxattr("user.x", b"", XattrFlags::from_bits_retain(4)), Err(Error::Invalid(Errno::EINVAL)));
        assert_eq!(f.setxattr("user.x", &[0; 65_537], none), Err(Error::Invalid(Errno::E2BIG)));
    });
    assert_eq!(sent, [0; 0]);
    assert_eq!(f.setxattr("user.x", &[7; 65_536], none), Ok(()));
    assert_eq!(f.getxattr("user.x", &mut []), Ok(65_536));
    assert_eq!(f.getxattr("user.x", &mut [0; 65_535]), refused(Errno::ERANGE));
    let mut room = vec![0; 70_000];
    assert_eq!(f.getxattr("user.x", &mut room), Ok(65_536));
    assert!(room[..65_536].iter().all(|&byte| byte == 7));
    assert_eq!(f.setxattr("user.y", b"", XattrFlags::REPLACE), refused(Errno::ENODATA));
    assert_eq!(f.getxattr("user.y", &mut [0; 9]), refused(Errno::ENODATA));
    assert_eq!(f.listxattr(&mut [0; 6]), refused(Errno::ERANGE));
    let mut names = [0; 9];
    assert_eq!((f.listxattr(&mut names), &names[..7]), (Ok(7), &b"user.x\0"[..]));
    drop(f);
    mounted.unmount();
}
