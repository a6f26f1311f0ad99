//! Access control lists.

use super::*;
use crate::vnode::{Access, XattrFlags};

const NAME: &str = "system.posix_acl_access";

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NOBODY: u32 = u32::MAX;

fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry =
        |&(tag, bits, id): &(u16, u16, u32)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
}

/// A file of user 9 and group 9 with a list, and what its bits say; used by [`user`].
fn mount_list(value: &[u8], permissions: u16, flags: u64) -> Mounted {
    let mut server = FakeServer::new();
    server.options.init_flags &= !init::POSIX_ACL;
    server.options.init_flags |= flags;
    server.file("f", "").set_xattr("f", NAME, value);
    // The root's bits for the group are none, so that nobody asks for its list.
    server.attr_mut("").permissions = 0o707;
    let attr = server.attr_mut("f");
    (attr.uid, attr.gid, attr.permissions) = (9, 9, permissions);
    mount_as_user(server, Permissions::Driver)
}

/// What [`user`], who is in the groups 100, 200 and 300, may do by a list.
fn allowed(entries: &[(u16, u16, u32)]) -> u32 {
    let mounted = mount_list(&list(entries), 0o070, init::POSIX_ACL);
    let (f, _) = mounted.fs.root().lookup("f").unwrap();
    let each = [1, 2, 4].map(|bit| f.access(Access::from_bits_truncate(bit)).map_or(0, |()| bit));
    let all = each.iter().sum();
    // All together are allowed only if one entry allows all; here none is split.
    drop(f);
    mounted.unmount();
    all
}

#[test]
fn the_entry_of_a_user_counts_alone_and_within_the_mask() {
    let rest = [(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 7, NOBODY), (OTHER, 7, NOBODY)];
    let with = |more: &[(u16, u16, u32)]| allowed(&[more, &rest].concat());
    assert_eq!(with(&[(USER, 5, 1000), (MASK, 7, NOBODY)]), 5);
    assert_eq!(with(&[(USER, 5, 1000), (MASK, 6, NOBODY)]), 4);
    assert_eq!(with(&[(USER, 0, 1000), (GROUP, 7, 100), (MASK, 7, NOBODY)]), 0, "the group does not help");
    assert_eq!(with(&[(USER, 0, 1001), (MASK, 0, NOBODY)]), 7, "the user is one of the others, who have no mask");
}

#[test]
fn of_several_groups_one_that_allows_it_is_enough() {
    let rest = [(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 0, NOBODY), (OTHER, 7, NOBODY)];
    let with = |more: &[(u16, u16, u32)]| allowed(&[more, &rest].concat());
    assert_eq!(with(&[(GROUP, 4, 100), (MASK, 7, NOBODY)]), 4);
    assert_eq!(with(&[(GROUP, 4, 100), (GROUP, 2, 300), (MASK, 7, NOBODY)]), 6);
    assert_eq!(with(&[(GROUP, 4, 100), (GROUP, 2, 300), (MASK, 4, NOBODY)]), 4);
    assert_eq!(with(&[(GROUP, 0, 200), (MASK, 7, NOBODY)]), 0, "who is in a group is none of the others");
    assert_eq!(with(&[(GROUP, 0, 400), (MASK, 0, NOBODY)]), 7);
}

#[test]
fn rights_of_several_groups_do_not_add_up() {
    let entries = [(GROUP, 4, 100), (GROUP, 2, 200), (GROUP_OBJ, 0, NOBODY), (MASK, 7, NOBODY), (OTHER, 7, NOBODY)];
    let mounted = mount_list(&list(&entries), 0o070, init::POSIX_ACL);
    let (f, _) = mounted.fs.root().lookup("f").unwrap();
    assert_eq!(f.access(Access::READ), Ok(()));
    assert_eq!(f.access(Access::WRITE), Ok(()));
    assert_eq!(f.access(Access::READ | Access::WRITE), refused(Errno::EACCES));
    drop(f);
    mounted.unmount();
}

#[test]
fn the_files_own_group_has_an_entry_within_the_mask() {
    let entries = |mask| [(GROUP_OBJ, 6, NOBODY), (GROUP, 1, 200), (MASK, mask, NOBODY), (OTHER, 0, NOBODY)];
    for (gid, mask, expected) in [(100, 7, 7), (300, 4, 4), (9, 7, 1)] {
        let mounted = mount_list(&list(&entries(mask)), 0o070, init::POSIX_ACL);
        mounted.server(|server| server.attr_mut("f").gid = gid);
        let (f, _) = mounted.fs.root().lookup("f").unwrap();
        let each = [1, 2, 4].map(|bit| f.access(Access::from_bits_truncate(bit)).map_or(0, |()| bit));
        assert_eq!(each.iter().sum::<u32>(), expected, "{gid}");
        drop(f);
        mounted.unmount();
    }
}

#[test]
fn a_list_decides_what_may_be_opened_and_searched() {
    let entries = [(USER, 1, 1000), (GROUP_OBJ, 7, NOBODY), (MASK, 7, NOBODY), (OTHER, 7, NOBODY)];
    let mut server = FakeServer::new();
    server.options.init_flags |= init::POSIX_ACL;
    server.file("d/f", "").set_xattr("d", NAME, list(&entries)).set_xattr("d/f", NAME, list(&entries));
    for path in ["d", "d/f"] {
        server.attr_mut(path).permissions = 0o777;
    }
    let mounted = mount_as_user(server, Permissions::Driver);
    let (d, _) = mounted.fs.root().lookup("d").unwrap();
    let (f, _) = d.lookup("f").unwrap();
    assert_eq!(d.opendir().err(), Some(Error::Refused(Errno::EACCES)));
    assert_eq!(f.open(OpenFlags::READ_ONLY).err(), Some(Error::Refused(Errno::EACCES)));
    assert_eq!(d.mkdir("new", 0o700).err(), Some(Error::Refused(Errno::EACCES)));
    drop((d, f));
    mounted.unmount();
}

#[test]
fn a_list_is_asked_for_only_where_it_can_matter() {
    let open = |mounted: &Mounted| {
        let (f, _) = mounted.fs.root().lookup("f").unwrap();
        f.access(Access::READ).map_err(Error::errno)
    };
    let all = list(&[(USER, 7, 1000), (GROUP_OBJ, 7, NOBODY), (MASK, 7, NOBODY), (OTHER, 0, NOBODY)]);
    for (permissions, flags, uid, expected, asks) in [
        (0o070, init::POSIX_ACL, 9, Ok(()), true),
        // Without the flag nobody keeps lists.
        (0o070, 0, 9, Err(Errno::EACCES), false),
        // Bits for the group are the list's mask: without any it allows nothing.
        (0o704, init::POSIX_ACL, 9, Ok(()), false),
        // The owner's are the bits.
        (0o070, init::POSIX_ACL, 1000, Err(Errno::EACCES), false),
    ] {
        let mounted = mount_list(&all, permissions, flags);
        mounted.server(|server| server.attr_mut("f").uid = uid);
        let result = open(&mounted);
        assert_eq!((result, mounted.count(opcode::GETXATTR) > 0), (expected, asks), "{permissions:o} {uid}");
        mounted.unmount();
    }
}

#[test]
fn a_file_without_a_list_or_a_server_without_attributes_has_the_mode_bits() {
    for errno in [Errno::ENODATA, Errno::EOPNOTSUPP, Errno::ENOSYS] {
        let mounted = mount_list(&[], 0o070, init::POSIX_ACL);
        mounted.server(|server| {
            server.options.refused.insert(opcode::GETXATTR, errno);
            server.attr_mut("f").gid = 300;
        });
        let (f, _) = mounted.fs.root().lookup("f").unwrap();
        assert_eq!(f.access(Access::READ), Ok(()), "{errno}");
        drop(f);
        mounted.unmount();
    }
    let mounted = mount_list(&[], 0o077, init::POSIX_ACL);
    mounted.server(|server| {
        server.options.refused.insert(opcode::GETXATTR, Errno::EIO);
    });
    let (f, _) = mounted.fs.root().lookup("f").unwrap();
    assert_eq!(f.access(Access::READ), refused(Errno::EIO), "another error is no answer");
    drop(f);
    mounted.unmount();
}

#[test]
fn a_list_of_another_format_breaks_the_protocol() {
    let good = list(&[(GROUP_OBJ, 7, NOBODY), (OTHER, 7, NOBODY)]);
    for bad in [&b"x"[..], &good[..good.len() - 1], &[1, 0, 0, 0], &[&good[..], &[0]].concat(), &[0; 12]] {
        let mounted = mount_list(bad, 0o077, init::POSIX_ACL);
        let (f, _) = mounted.fs.root().lookup("f").unwrap();
        assert!(matches!(f.access(Access::READ), Err(Error::Protocol(_))), "{bad:?}");
        assert!(matches!(f.open(OpenFlags::READ_ONLY), Err(Error::Protocol(_))));
        mounted.fs.root().getattr().unwrap();
        drop(f);
        mounted.unmount();
    }
}

#[test]
fn lists_are_set_by_the_owner_and_read_by_all() {
    let value = list(&[(GROUP_OBJ, 7, NOBODY), (OTHER, 7, NOBODY)]);
    let mounted = mount_list(&value, 0o000, init::POSIX_ACL);
    let (f, _) = mounted.fs.root().lookup("f").unwrap();
    assert_eq!(f.getxattr(NAME, &mut []), Ok(value.len()));
    assert_eq!(f.setxattr(NAME, &value, XattrFlags::empty()), refused(Errno::EPERM));
    assert_eq!(f.removexattr(NAME), refused(Errno::EPERM));
    mounted.server(|server| server.attr_mut("f").uid = 1000);
    assert_eq!(f.setxattr(NAME, &value, XattrFlags::empty()), Ok(()));
    assert_eq!(f.removexattr(NAME), Ok(()));
    drop(f);
    mounted.unmount();
}

#[test]
fn a_list_of_who_is_not_in_the_group_takes_set_group_id_away_where_that_can_be_said() {
    let value = list(&[(GROUP_OBJ, 7, NOBODY), (OTHER, 7, NOBODY)]);
    for (flags, gid, name, expected) in [
        (init::SETXATTR_EXT, 9, NAME, 0o0777),
        (init::SETXATTR_EXT, 200, NAME, 0o2777),
        (init::SETXATTR_EXT, 9, "user.x", 0o2777),
        (0, 9, NAME, 0o2777),
    ] {
        let mut server = FakeServer::new();
        server.options.init_flags &= !init::SETXATTR_EXT;
        server.options.init_flags |= flags;
        server.file("f", "");
        let attr = server.attr_mut("f");
        (attr.uid, attr.gid, attr.permissions) = (1000, gid, 0o2777);
        let mounted = mount_as_user(server, Permissions::Driver);
        let (f, _) = mounted.fs.root().lookup("f").unwrap();
        f.setxattr(name, &value, XattrFlags::CREATE).unwrap();
        assert_eq!(f.setxattr(name, &value, XattrFlags::CREATE), refused(Errno::EEXIST));
        mounted.server(|server| {
            assert_eq!(server.attr("f").permissions, expected, "{gid} {name}");
            assert_eq!(server.xattr("f", name).unwrap(), value);
            // The header is longer by the flags where they were agreed on.
            let longer = if flags == 0 { 0 } else { 8 };
            let bytes = 40 + 8 + longer + name.len() + 1 + value.len();
            assert_eq!(server.last_request(opcode::SETXATTR).unwrap().len(), bytes);
        });
        drop(f);
        mounted.unmount();
    }
}
