//! What goes into new inodes: the umask, the user, a security context, a group.

use super::*;
use crate::SecurityContext;

/// A server whose root everybody may write, with and without some flags.
fn server(with: u64, without: u64) -> FakeServer {
    let mut server = FakeServer::new();
    server.options.refused.clear();
    server.options.init_flags |= with;
    server.options.init_flags &= !without;
    server.attr_mut("").permissions = 0o777;
    server
}

/// Everything that makes an inode with a mode, with the permissions 7777, and what it got.
type Maker<R> = (u32, fn(&Node) -> R);

const MAKERS: [Maker<u16>; 4] = [
    (opcode::CREATE, |root| root.create("new", OpenFlags::WRITE_ONLY, 0o7777).unwrap().1.permissions),
    (opcode::TMPFILE, |root| root.tmpfile(OpenFlags::WRITE_ONLY, 0o7777).unwrap().1.permissions),
    (opcode::MKNOD, |root| root.mknod("new", FileType::Fifo, 0o7777, 0).unwrap().1.permissions),
    (opcode::MKDIR, |root| root.mkdir("new", 0o7777).unwrap().1.permissions),
];

/// The mode and the umask of the last request of a kind, whose places are its own.
fn sent_mode(mounted: &Mounted, opcode: u32) -> (u32, u32) {
    let (mode, umask) = match opcode {
        opcode::CREATE | opcode::TMPFILE => (44, 48),
        opcode::MKNOD => (40, 48),
        _ => (40, 44),
    };
    mounted.server(|server| {
        let request = server.last_request(opcode).unwrap();
        let at = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        (at(mode) & 0o7777, at(umask))
    })
}

#[test]
fn the_umask_is_applied_by_the_side_that_was_agreed_on() {
    for umask in [0, 0o022, 0o777] {
        let who = Credentials { umask, ..user() };
        let left = 0o7777 & !umask;
        for (opcode, make) in MAKERS {
            for (server, mode) in [(server(init::DONT_MASK, 0), 0o7777), (server(0, init::DONT_MASK), left)] {
                let mounted =
                    mount_with(server, &MountOptions { credentials: who.clone(), ..crate::test_utils::uncached() });
                assert_eq!(make(mounted.fs.root()), left, "{} {umask:o}", opcode::name(opcode));
                assert_eq!(sent_mode(&mounted, opcode), (mode.into(), umask.into()), "{}", opcode::name(opcode));
                mounted.unmount();
            }
        }
    }
}

#[test]
fn a_umask_has_nine_bits() {
    let who = Credentials { umask: 0o7022, ..user() };
    let mounted = mount_with(server(0, 0), &MountOptions { credentials: who, ..crate::test_utils::uncached() });
    assert_eq!(mounted.fs.root().mkdir("new", 0o1777).unwrap().1.permissions, 0o1755);
    mounted.unmount();
}

#[test]
fn new_inodes_belong_to_the_user_or_to_the_group_of_the_directory() {
    let mounted = mount_as_user(server(0, 0), Permissions::Driver);
    let root = mounted.fs.root();
    let (directory, attr) = root.mkdir("d", 0o2777).unwrap();
    assert_eq!((attr.uid, attr.gid), (1000, 100));
    mounted.server(|server| server.attr_mut("d").gid = 300);
    let attr = directory.symlink("l", b"target").unwrap().1;
    assert_eq!((attr.uid, attr.gid), (1000, 300));
    drop(directory);
    mounted.unmount();
}

/// What makes an inode in a directory.
const ALL_MAKERS: [Maker<()>; 5] = [
    (opcode::CREATE, |root| drop(root.create("new", OpenFlags::WRITE_ONLY, 0o600).unwrap())),
    (opcode::TMPFILE, |root| drop(root.tmpfile(OpenFlags::WRITE_ONLY, 0o600).unwrap())),
    (opcode::MKNOD, |root| drop(root.mknod("new", FileType::Socket, 0o600, 0).unwrap())),
    (opcode::MKDIR, |root| drop(root.mkdir("new", 0o700).unwrap())),
    (opcode::SYMLINK, |root| drop(root.symlink("new", b"target").unwrap())),
];

#[test]
fn a_security_context_goes_to_servers_that_know_it() {
    let context = SecurityContext { name: b"security.selinux".to_vec(), value: b"label\0".to_vec() };
    let sent = Some((context.name.clone(), context.value.clone()));
    let flags = init::INIT_EXT | init::SECURITY_CTX;
    for (with, credentials, expected) in [
        (flags, Credentials { security_context: Some(context.clone()), ..user() }, sent),
        (flags, user(), None),
        (0, Credentials { security_context: Some(context), ..user() }, None),
    ] {
        for (opcode, make) in ALL_MAKERS {
            let options = MountOptions { credentials: credentials.clone(), ..crate::test_utils::uncached() };
            let mounted = mount_with(server(with, flags & !with), &options);
            make(mounted.fs.root());
            let extensions = mounted.server(|server| server.last_extensions(opcode).unwrap().clone());
            assert_eq!(extensions.security_context, expected, "{}", opcode::name(opcode));
            mounted.unmount();
        }
    }
}

#[test]
fn a_security_context_with_an_impossible_name_is_the_callers_mistake() {
    for name in [&b""[..], b"security.\0"] {
        let context = SecurityContext { name: name.to_vec(), value: vec![] };
        let credentials = Credentials { security_context: Some(context), ..Default::default() };
        let server = server(init::INIT_EXT | init::SECURITY_CTX, 0);
        let mounted = mount_with(server, &MountOptions { credentials, ..crate::test_utils::uncached() });
        let (made, sent) = mounted.sent_by(|| mounted.fs.root().mkdir("new", 0o700));
        assert!(matches!(made, Err(Error::Invalid(_))));
        assert_eq!(sent, [0; 0]);
        mounted.unmount();
    }
}

#[test]
fn the_directorys_group_is_sent_if_the_user_is_in_it() {
    let flags = init::INIT_EXT | init::CREATE_SUPP_GROUP;
    for (with, group, expected) in [(flags, 200, Some(200)), (flags, 100, None), (flags, 999, None), (0, 200, None)] {
        for (opcode, make) in ALL_MAKERS {
            let mut server = server(with, flags & !with);
            server.attr_mut("").gid = group;
            // That the user's own group is among the others says nothing new.
            let credentials = Credentials { groups: vec![100, 200, 300], ..user() };
            let options =
                MountOptions { credentials, permissions: Permissions::Server, ..crate::test_utils::uncached() };
            let mounted = mount_with(server, &options);
            make(mounted.fs.root());
            let extensions = mounted.server(|server| server.last_extensions(opcode).unwrap().clone());
            assert_eq!(extensions.supplementary_group, expected, "{} {group}", opcode::name(opcode));
            mounted.unmount();
        }
    }
}

#[test]
fn who_has_no_other_groups_does_not_ask_for_that_of_the_directory() {
    let mounted = mount_with(server(init::INIT_EXT | init::CREATE_SUPP_GROUP, 0), &crate::test_utils::uncached());
    let (_, sent) = mounted.sent_by(|| mounted.fs.root().mkdir("new", 0o700).unwrap());
    assert_eq!(sent, [opcode::MKDIR]);
    mounted.unmount();
}

#[test]
fn a_device_node_has_its_number_and_only_user_0_makes_it() {
    let mounted = mount_with(server(0, 0), &crate::test_utils::uncached());
    let (_, attr) = mounted.fs.root().mknod("null", FileType::CharDevice, 0o666, 0x103).unwrap();
    assert_eq!((attr.file_type, attr.rdev), (FileType::CharDevice, 0x103));
    mounted.unmount();
    let mounted = mount_as_user(server(0, 0), Permissions::Driver);
    for file_type in [FileType::CharDevice, FileType::BlockDevice] {
        assert_eq!(mounted.fs.root().mknod("null", file_type, 0o666, 0x103).err(), Some(Error::Refused(Errno::EPERM)));
    }
    for file_type in [FileType::Directory, FileType::Symlink] {
        let made = mounted.fs.root().mknod("null", file_type, 0o666, 0);
        assert_eq!(made.err(), Some(Error::Invalid(Errno::EINVAL)));
    }
    assert_eq!(mounted.count(opcode::MKNOD), 0);
    mounted.unmount();
}

#[test]
fn a_target_that_cannot_be_is_refused_without_a_message() {
    let mounted = mount_with(server(0, 0), &crate::test_utils::uncached());
    let (_, sent) = mounted.sent_by(|| {
        for (target, errno) in
            [(vec![], Errno::ENOENT), (b"a\0b".to_vec(), Errno::EINVAL), (vec![b'x'; 4096], Errno::ENAMETOOLONG)]
        {
            assert_eq!(mounted.fs.root().symlink("l", &target).err(), Some(Error::Invalid(errno)));
        }
    });
    assert_eq!(sent, [0; 0]);
    let target = vec![b'x'; 4095];
    assert_eq!(mounted.fs.root().symlink("l", &target).unwrap().0.readlink().unwrap(), target);
    mounted.unmount();
}

#[test]
fn a_file_without_a_name_is_for_writing_and_may_get_a_name() {
    let mounted = mount_with(server(0, 0), &crate::test_utils::uncached());
    let root = mounted.fs.root();
    assert_eq!(root.tmpfile(OpenFlags::READ_ONLY, 0o600).err(), Some(Error::Invalid(Errno::EINVAL)));
    let (file, attr) = root.tmpfile(OpenFlags::READ_WRITE, 0o600).unwrap();
    assert_eq!((attr.nlink, file.write_at(0, b"content")), (0, Ok(7)));
    file.close().unwrap();
    let (file, _) = root.tmpfile(OpenFlags::READ_WRITE, 0o600).unwrap();
    file.write_at(0, b"content").unwrap();
    file.node().link(root, "named").unwrap();
    file.close().unwrap();
    assert_eq!(mounted.server(|server| server.content("named")), b"content");
    mounted.unmount();
}
