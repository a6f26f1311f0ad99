//! Who may do what, where the driver checks it.

use super::*;
use crate::vnode::{Access, RenameFlags, SetAttr, XattrFlags};
use alloc::sync::Arc;

/// A user, as seen from a file of user 1000 and group 100: the owner, two members of the group, and anybody else; and
/// how far to the left the bits are that count for each.
fn users() -> [(Credentials, u16); 4] {
    let user = |uid, gid, groups: &[u32]| Credentials { uid, gid, groups: groups.to_vec(), ..Credentials::default() };
    // Who owns a file has no right by its group.
    [(user(1000, 100, &[]), 6), (user(2, 100, &[]), 3), (user(3, 7, &[8, 100]), 3), (user(4, 7, &[8]), 0)]
}

/// Makes a tree of user 1000 and group 100, in which everybody may do everything.
fn open_to_all(server: &mut FakeServer, paths: &[&str]) {
    for path in paths {
        let attr = server.attr_mut(path);
        (attr.uid, attr.gid, attr.permissions) = (1000, 100, 0o777);
    }
}

const PATHS: [&str; 6] = ["", "d", "d/f", "d/e", "other", "other/g"];

fn server() -> FakeServer {
    let mut server = FakeServer::new();
    server.file("d/f", "content").dir("d/e").file("other/g", "");
    open_to_all(&mut server, &PATHS);
    server
}

/// Checks for every user and every set of permissions of `path` that `action` is allowed if, and only if, all of
/// `wanted` are there; else it is EACCES, and `action` is not sent to the server.
fn needs(path: &str, wanted: u16, sends: &[u32], action: impl Fn(&Node) -> Result<(), Error>) {
    for (who, shift) in users() {
        for bits in 0..8 {
            let mut server = server();
            // Those of others say the opposite.
            server.attr_mut(path).permissions = (0o777 & !(7 << shift)) | bits << shift;
            let mounted = mount_with(server, &crate::test_utils::uncached());
            let root = mounted.fs.root().with_credentials(&Arc::new(who.clone()));
            let (result, sent) = mounted.sent_by(|| action(&root));
            let allowed = bits & wanted == wanted;
            let why = alloc::format!("{path} {bits} {who:?}");
            assert_eq!(result, if allowed { Ok(()) } else { refused(Errno::EACCES) }, "{why}");
            assert_eq!(sends.iter().any(|one| sent.contains(one)), allowed && !sends.is_empty(), "{why}: {sent:?}");
            drop(root);
            mounted.unmount();
        }
    }
}

const READ: u16 = 4;
const WRITE: u16 = 2;
const SEARCH: u16 = 1;

fn at(root: &Node, path: &str) -> Result<Node, Error> {
    path.split('/').try_fold(root.clone(), |node, name| Ok(node.lookup(name)?.0))
}

#[test]
fn a_name_is_looked_up_by_who_may_search() {
    needs("d", SEARCH, &[], |root| at(root, "d/f").map(drop));
}

#[test]
fn a_file_is_opened_by_who_may_read_or_write_it() {
    let open = |flags| move |root: &Node| at(root, "d/f")?.open(flags).map(drop);
    needs("d/f", READ, &[opcode::OPEN], open(OpenFlags::READ_ONLY));
    needs("d/f", WRITE, &[opcode::OPEN], open(OpenFlags::WRITE_ONLY));
    needs("d/f", WRITE, &[opcode::OPEN], open(OpenFlags::WRITE_ONLY | OpenFlags::APPEND));
    needs("d/f", READ | WRITE, &[opcode::OPEN], open(OpenFlags::READ_WRITE));
    needs("d/f", READ | WRITE, &[opcode::OPEN], open(OpenFlags::TRUNCATE));
    needs("d/f", READ | WRITE, &[opcode::OPEN], |root| {
        at(root, "d")?.create("f", OpenFlags::READ_WRITE, 0o600).map(drop)
    });
}

#[test]
fn a_directory_is_listed_by_who_may_read_it() {
    needs("d", READ, &[opcode::OPENDIR], |root| at(root, "d")?.opendir().map(drop));
}

#[test]
fn names_are_made_and_taken_away_by_who_may_write_and_search() {
    let both = WRITE | SEARCH;
    needs("d", both, &[opcode::CREATE], |root| {
        at(root, "d")?.create("new", OpenFlags::WRITE_ONLY | OpenFlags::EXCLUSIVE, 0o600).map(drop)
    });
    needs("d", both, &[opcode::CREATE], |root| at(root, "d")?.create("new", OpenFlags::WRITE_ONLY, 0o600).map(drop));
    needs("d", both, &[opcode::MKDIR], |root| at(root, "d")?.mkdir("new", 0o700).map(drop));
    needs("d", both, &[opcode::MKNOD], |root| at(root, "d")?.mknod("new", FileType::Fifo, 0o600, 0).map(drop));
    needs("d", both, &[opcode::SYMLINK], |root| at(root, "d")?.symlink("new", b"t").map(drop));
    needs("d", both, &[opcode::LINK], |root| at(root, "other/g")?.link(&at(root, "d")?, "new").map(drop));
    needs("d", both, &[opcode::UNLINK], |root| at(root, "d")?.unlink("f"));
    needs("d", both, &[opcode::RMDIR], |root| at(root, "d")?.rmdir("e"));
    for (flags, opcode) in [(RenameFlags::empty(), opcode::RENAME), (RenameFlags::NOREPLACE, opcode::RENAME2)] {
        needs("d", both, &[opcode], |root| {
            let d = at(root, "d")?;
            d.rename("f", &d, "new", flags)
        });
        needs("d", both, &[opcode], |root| at(root, "d")?.rename("f", &at(root, "other")?, "new", flags));
        needs("other", both, &[opcode], |root| at(root, "d")?.rename("f", &at(root, "other")?, "new", flags));
    }
    needs("other", both, &[opcode::RENAME2], |root| {
        at(root, "d")?.rename("f", &at(root, "other")?, "g", RenameFlags::EXCHANGE)
    });
}

#[test]
fn a_directory_that_gets_another_parent_must_be_writable() {
    needs("d/e", WRITE, &[opcode::RENAME], |root| {
        at(root, "d")?.rename("e", &at(root, "other")?, "e", RenameFlags::empty())
    });
    needs("d/e", WRITE, &[opcode::RENAME2], |root| {
        at(root, "other")?.rename("g", &at(root, "d")?, "e", RenameFlags::EXCHANGE)
    });
    // With the same parent, and for files, it does not matter.
    needs("d/e", 0, &[opcode::RENAME], |root| {
        let d = at(root, "d")?;
        d.rename("e", &d, "new", RenameFlags::empty())
    });
    needs("d/f", 0, &[opcode::RENAME], |root| {
        at(root, "d")?.rename("f", &at(root, "other")?, "f", RenameFlags::empty())
    });
}

#[test]
fn a_size_is_set_by_who_may_write_or_has_the_file_open_for_writing() {
    let size = SetAttr { size_bytes: Some(3), ..SetAttr::default() };
    needs("d/f", WRITE, &[opcode::SETATTR], |root| at(root, "d/f")?.setattr(&size).map(drop));
    let mounted = mount_with(server(), &crate::test_utils::uncached());
    let root = mounted.fs.root().with_credentials(&Arc::new(user()));
    let file = at(&root, "d/f").unwrap().open(OpenFlags::WRITE_ONLY).unwrap();
    mounted.server(|server| server.attr_mut("d/f").permissions = 0);
    assert_eq!(file.setattr(&size).unwrap().size_bytes, 3);
    assert_eq!(file.write_at(0, b"x"), Ok(1));
    drop((file, root));
    mounted.unmount();
}

#[test]
fn access_tells_what_would_be_allowed() {
    for wanted in 0..8 {
        let access = Access::from_bits_truncate(wanted);
        needs("d/f", wanted as u16, &[], |root| at(root, "d/f")?.access(access));
        needs("d", wanted as u16 | SEARCH, &[], |root| {
            // Found by its parent, which everybody may search.
            let d = at(root, "d")?;
            at(root, "d/f").and(d.access(access))
        });
    }
}

#[test]
fn user_attributes_are_read_and_written_like_content() {
    for path in ["d/f", "d/e"] {
        needs(path, READ, &[opcode::LISTXATTR], |root| {
            let node = at(root, path)?;
            match node.getxattr("user.x", &mut []).map_err(Error::errno) {
                Err(Errno::ENODATA) => node.listxattr(&mut []).map(drop),
                result => result.map(drop).map_err(Error::Refused),
            }
        });
        needs(path, WRITE, &[opcode::SETXATTR], |root| at(root, path)?.setxattr("user.x", b"1", XattrFlags::empty()));
    }
}

#[test]
fn in_a_sticky_directory_names_are_taken_by_the_owner_of_either() {
    type Take = fn(&Node, &Node) -> Result<(), Error>;
    let takes: [Take; 5] = [
        |d, _| d.unlink("f"),
        |d, _| d.rmdir("e"),
        |d, other| d.rename("f", other, "new", RenameFlags::empty()),
        |d, other| other.rename("g", d, "f", RenameFlags::empty()),
        |d, other| other.rename("g", d, "f", RenameFlags::EXCHANGE),
    ];
    for take in takes {
        for (directory, victim, allowed) in [(9, 9, false), (1000, 9, true), (9, 1000, true), (0, 0, false)] {
            let mut server = server();
            server.attr_mut("d").uid = directory;
            server.attr_mut("d").permissions = 0o1777;
            server.attr_mut("d/f").uid = victim;
            server.attr_mut("d/e").uid = victim;
            let mounted = mount_as_user(server, Permissions::Driver);
            let [d, other] = ["d", "other"].map(|path| at(mounted.fs.root(), path).unwrap());
            let expected = if allowed { Ok(()) } else { refused(Errno::EPERM) };
            assert_eq!(take(&d, &other), expected, "{directory} {victim}");
            // New names are free to all.
            d.mkdir("new-directory", 0o700).unwrap();
            d.rename("new-directory", &d, "renamed", RenameFlags::empty()).unwrap();
            drop((d, other));
            mounted.unmount();
        }
    }
}

#[test]
fn that_a_name_exists_or_not_comes_before_permission_but_only_for_who_may_search() {
    for (permissions, existing, missing) in
        [(0o555, Errno::EEXIST, Errno::ENOENT), (0o444, Errno::EACCES, Errno::EACCES)]
    {
        let mut server = server();
        server.attr_mut("d").permissions = permissions;
        let mounted = mount_as_user(server, Permissions::Driver);
        let root = mounted.fs.root();
        let d = at(root, "d").unwrap();
        let g = at(root, "other/g").unwrap();
        let flags = OpenFlags::WRITE_ONLY | OpenFlags::EXCLUSIVE;
        assert_eq!(d.create("f", flags, 0o600).err().map(Error::errno), Some(existing));
        assert_eq!(d.mkdir("f", 0o700).err().map(Error::errno), Some(existing));
        assert_eq!(d.symlink("f", b"t").err().map(Error::errno), Some(existing));
        assert_eq!(g.link(&d, "f").err().map(Error::errno), Some(existing));
        assert_eq!(d.unlink("none").map_err(Error::errno), Err(missing));
        assert_eq!(d.rmdir("none").map_err(Error::errno), Err(missing));
        assert_eq!(d.rename("none", root, "new", RenameFlags::empty()).map_err(Error::errno), Err(missing));
        drop((d, g));
        mounted.unmount();
    }
}

#[test]
fn a_file_that_is_made_is_open_whatever_its_permissions_are() {
    for lacking in [None, Some(opcode::CREATE)] {
        let mut server = server();
        server.options.refused.extend(lacking.map(|opcode| (opcode, Errno::ENOSYS)));
        let mounted = mount_as_user(server, Permissions::Driver);
        for (number, flags) in [OpenFlags::empty(), OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE].into_iter().enumerate() {
            let name = number.to_string();
            let (file, attr) = mounted.fs.root().create(&name, OpenFlags::READ_WRITE | flags, 0o444).unwrap();
            assert_eq!((attr.permissions, file.write_at(0, b"x")), (0o444, Ok(1)));
            let again = mounted.fs.root().create(&name, OpenFlags::READ_WRITE, 0o444);
            assert_eq!(again.err(), Some(Error::Refused(Errno::EACCES)));
        }
        mounted.unmount();
    }
}

#[test]
fn only_the_owner_leaves_the_time_of_access_alone() {
    for (uid, expected) in [(1000, None), (9, Some(Error::Refused(Errno::EPERM)))] {
        let mut server = server();
        server.attr_mut("d/f").uid = uid;
        let mounted = mount_as_user(server, Permissions::Driver);
        let f = at(mounted.fs.root(), "d/f").unwrap();
        assert_eq!(f.open(OpenFlags::NOATIME).err(), expected);
        drop(f);
        mounted.unmount();
    }
}

/// Uses a mount in every way that may be checked; gives what was sent.
fn use_all(mounted: &Mounted) -> Vec<u32> {
    let root = mounted.fs.root();
    let (_, sent) = mounted.sent_by(|| {
        let (d, other) = (at(root, "d").unwrap(), at(root, "other").unwrap());
        let file = d.create("f", OpenFlags::READ_WRITE, 0o600).unwrap().0;
        file.write_at(0, b"x").unwrap();
        d.opendir().unwrap();
        d.mkdir("new", 0o700).unwrap();
        d.rename("new", &other, "moved", RenameFlags::empty()).unwrap();
        other.rmdir("moved").unwrap();
        file.node().link(&d, "link").unwrap();
        d.unlink("link").unwrap();
        file.node().setattr(&SetAttr { size_bytes: Some(3), ..SetAttr::default() }).unwrap();
        file.node().setxattr("user.x", b"1", XattrFlags::empty()).unwrap();
        file.node().getxattr("user.x", &mut []).unwrap();
    });
    sent
}

#[test]
fn neither_user_0_nor_a_server_that_checks_costs_a_request() {
    use opcode::*;
    let expected = [
        LOOKUP, LOOKUP, CREATE, LOOKUP, OPEN, WRITE, OPENDIR, RELEASEDIR, MKDIR, RENAME, RMDIR, LINK, UNLINK, SETATTR,
        SETXATTR, GETXATTR, FLUSH, RELEASE,
    ];
    let mut root_only = server();
    for path in PATHS {
        root_only.attr_mut(path).permissions = 0;
    }
    let mounted = mount_with(root_only, &crate::test_utils::uncached());
    assert_eq!(use_all(&mounted), expected);
    mounted.unmount();
    let mut killing = server();
    killing.options.init_flags |= init::HANDLE_KILLPRIV_V2;
    for path in PATHS {
        killing.attr_mut(path).permissions = 0;
    }
    // Other groups cost one: whether one of them is that of the directory.
    let credentials = Credentials { groups: vec![], ..user() };
    let options = MountOptions { credentials, permissions: Permissions::Server, ..crate::test_utils::uncached() };
    let mounted = mount_with(killing, &options);
    assert_eq!(use_all(&mounted), expected);
    mounted.unmount();
}

#[test]
fn a_server_that_checks_is_asked_by_access() {
    let mut server = server();
    server.attr_mut("d/f").permissions = 0o640;
    let mounted = mount_as_user(server, Permissions::Server);
    let f = at(mounted.fs.root(), "d/f").unwrap();
    let (_, sent) = mounted.sent_by(|| {
        assert_eq!(f.access(Access::READ | Access::WRITE), Ok(()));
        assert_eq!(f.access(Access::EXECUTE), refused(Errno::EACCES));
        assert_eq!(f.access(Access::empty()), Ok(()));
    });
    assert_eq!(sent, [opcode::ACCESS; 3]);
    drop(f);
    mounted.unmount();
}

#[test]
fn user_0_executes_only_what_somebody_may_execute() {
    let mounted = mount_with(server(), &crate::test_utils::uncached());
    let f = at(mounted.fs.root(), "d/f").unwrap();
    for (permissions, expected) in [(0, refused(Errno::EACCES)), (0o666, refused(Errno::EACCES)), (0o001, Ok(()))] {
        mounted.server(|server| server.attr_mut("d/f").permissions = permissions);
        assert_eq!(f.access(Access::EXECUTE), expected);
        assert_eq!(f.access(Access::READ | Access::WRITE), Ok(()));
    }
    mounted.server(|server| server.attr_mut("d").permissions = 0);
    assert_eq!(at(mounted.fs.root(), "d").unwrap().access(Access::EXECUTE), Ok(()));
    drop(f);
    mounted.unmount();
}

#[test]
fn dots_at_the_end_of_a_path_are_searched_for_like_names() {
    for path in ["d/.", "d/..", "d/e/../.", "d/../other"] {
        for (who, shift) in users() {
            for search in [0, SEARCH] {
                let mut server = server();
                server.attr_mut("d").permissions = READ << shift | WRITE << shift | search << shift;
                let mounted = mount_with(server, &crate::test_utils::uncached());
                let fs = mounted.fs.with_credentials(who.clone());
                let expected = if search == 0 { refused(Errno::EACCES) } else { Ok(()) };
                assert_eq!(fs.metadata(path).map(drop), expected, "{path} {who:?}");
                drop(fs);
                mounted.unmount();
            }
        }
    }
}

#[test]
fn who_may_list_a_directory_and_not_search_it_gets_names_alone() {
    let mut server = server();
    server.attr_mut("d").permissions = 0o744;
    let mounted = mount_with(server, &crate::test_utils::uncached());
    let stranger = Credentials { uid: 4, gid: 7, ..Credentials::default() };
    let root = mounted.fs.root().with_credentials(&Arc::new(stranger.clone()));
    let d = root.lookup("d").unwrap().0;
    assert_eq!(d.lookup("f").map(drop), refused(Errno::EACCES));
    let mut dir = d.opendir().unwrap();
    let mut names = 0;
    while let Some(mut entry) = dir.next_entry().unwrap() {
        assert!(entry.take_node().is_none(), "{entry:?}");
        names += 1;
    }
    assert_eq!(names, 4);
    let fs = mounted.fs.with_credentials(stranger);
    for entry in fs.read_dir("d").unwrap() {
        assert_eq!(entry.unwrap().metadata().map(drop), refused(Errno::EACCES));
    }
    drop((fs, dir, d, root));
    mounted.unmount();
}

#[test]
fn attributes_of_unknown_namespaces_are_for_who_may_use_the_file() {
    let mut server = server();
    server.attr_mut("d/f").permissions = 0o604;
    let mounted = mount_with(server, &crate::test_utils::uncached());
    for (who, shift) in users() {
        let root = mounted.fs.root().with_credentials(&Arc::new(who));
        let f = at(&root, "d/f").unwrap();
        for (name, errno) in [("system.nfs4_acl", Errno::EPERM), ("btrfs.compression", Errno::EACCES)] {
            let (result, sent) = mounted.sent_by(|| f.setxattr(name, b"x", XattrFlags::empty()));
            let owns = shift == 6;
            assert_eq!(sent.contains(&opcode::SETXATTR), owns, "{name}");
            assert!(owns || result == refused(errno), "{name}: {result:?}");
        }
        let (result, sent) = mounted.sent_by(|| f.getxattr("btrfs.compression", &mut [0; 9]));
        assert_eq!(sent.contains(&opcode::GETXATTR), shift != 3);
        assert!(shift != 3 || result.map(drop) == refused(Errno::EACCES));
        drop((f, root));
    }
    mounted.unmount();
}
