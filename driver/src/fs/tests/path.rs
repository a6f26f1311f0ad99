//! Where paths lead.

use super::*;

/// The tree of this module: files hold their own path.
fn tree(server: &mut FakeServer) {
    for path in ["file", "a/file", "a/b/file", "a/b/c/file", "...", "a/b/ ", "a/..b"] {
        server.file(path, path);
    }
    for (link, target) in [
        ("to-file", "file"),
        ("to-a", "a"),
        ("to-a-slash", "a/"),
        ("to-file-slash", "file/"),
        ("absolute", "/a/b/file"),
        ("to-root", "/"),
        ("to-slashes", "//a///b"),
        ("out", "../../../../file"),
        ("dot", "."),
        ("dangling", "nowhere"),
        ("dangling-dir", "nowhere/file"),
        ("self", "self"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("grow", "grow/x"),
        ("a/up", "../file"),
        ("a/b/up", "../../to-a/file"),
        ("a/b/absolute", "/file"),
        ("a/b/to-c", "c"),
        ("to-link-in-b", "a/b/to-c/file"),
        ("to-b", "a/b"),
        ("to-to-b", "to-b"),
    ] {
        server.symlink(link, target);
    }
}

/// Checks where each path leads: to the file with this content, or to an error.
fn check(cases: &[(&str, Result<&str, Errno>)]) {
    let mounted = Mounted::new(tree);
    for (path, expected) in cases {
        let got = mounted.fs.read_to_string(path).map_err(Error::errno);
        assert_eq!(got.as_deref(), expected.as_ref().copied().map_err(|errno| *errno).as_ref().copied(), "{path}");
    }
    mounted.unmount();
}

#[test]
fn dots_and_slashes_lead_where_posix_says() {
    use Errno as E;
    check(&[
        ("file", Ok("file")),
        ("/file", Ok("file")),
        ("//a//b///file", Ok("a/b/file")),
        ("./a/./b/./file", Ok("a/b/file")),
        ("a/../file", Ok("file")),
        ("a/b/../file", Ok("a/file")),
        ("a/b/../../a/b/c/../file", Ok("a/b/file")),
        ("...", Ok("...")),
        ("a/..b", Ok("a/..b")),
        ("a/b/ ", Ok("a/b/ ")),
        ("file/", Err(E::ENOTDIR)),
        ("file/.", Err(E::ENOTDIR)),
        ("file/..", Err(E::ENOTDIR)),
        ("file/file", Err(E::ENOTDIR)),
        ("none", Err(E::ENOENT)),
        ("none/", Err(E::ENOENT)),
        ("none/../file", Err(E::ENOENT)),
        ("a/none/file", Err(E::ENOENT)),
        ("a", Err(E::EISDIR)),
        ("a/", Err(E::EISDIR)),
        ("/", Err(E::EISDIR)),
        (".", Err(E::EISDIR)),
        ("", Err(E::ENOENT)),
    ]);
}

#[test]
fn nothing_leads_out_of_the_mount() {
    check(&[
        ("..", Err(Errno::EISDIR)),
        ("../file", Ok("file")),
        ("../../a/file", Ok("a/file")),
        ("/../../file", Ok("file")),
        ("a/b/../../../../../file", Ok("file")),
        ("out", Ok("file")),
        ("to-root/../../file", Ok("file")),
        ("dot/../file", Ok("file")),
    ]);
}

#[test]
fn symbolic_links_are_followed_from_where_they_are() {
    use Errno as E;
    check(&[
        ("to-file", Ok("file")),
        ("to-a/file", Ok("a/file")),
        ("to-a/", Err(E::EISDIR)),
        ("to-a-slash/file", Ok("a/file")),
        ("to-file-slash", Err(E::ENOTDIR)),
        ("to-file/", Err(E::ENOTDIR)),
        ("to-file/.", Err(E::ENOTDIR)),
        ("absolute", Ok("a/b/file")),
        ("to-root/a/file", Ok("a/file")),
        ("to-slashes/file", Ok("a/b/file")),
        ("a/up", Ok("file")),
        ("a/b/up", Ok("a/file")),
        ("a/b/absolute", Ok("file")),
        ("a/b/to-c/../file", Ok("a/b/file")),
        ("to-link-in-b", Ok("a/b/c/file")),
        ("to-to-b/file", Ok("a/b/file")),
        // Behind a link, ".." is the parent of its target.
        ("to-b/../file", Ok("a/file")),
        ("to-to-b/../../file", Ok("file")),
        ("dangling", Err(E::ENOENT)),
        ("dangling/", Err(E::ENOENT)),
        ("dangling-dir", Err(E::ENOENT)),
        ("self", Err(E::ELOOP)),
        ("self/file", Err(E::ELOOP)),
        ("ping", Err(E::ELOOP)),
        ("grow", Err(E::ELOOP)),
    ]);
}

#[test]
fn forty_links_are_followed_and_one_more_is_a_loop() {
    let mounted = Mounted::new(|server| {
        server.file("0", "end").dir("d");
        for number in 1..=41 {
            server.symlink(number.to_string(), (number - 1).to_string());
        }
        server.symlink("d/l", ".");
    });
    assert_eq!(mounted.fs.read_to_string("40").unwrap(), "end");
    assert_eq!(mounted.fs.metadata("41").err(), Some(Error::Invalid(Errno::ELOOP)));
    // The links of a path count together, and the last one is not followed here.
    let in_a_row = |count| format!("d{}", "/l".repeat(count));
    assert!(mounted.fs.metadata(in_a_row(40)).unwrap().is_dir());
    assert_eq!(mounted.fs.metadata(in_a_row(41)).err(), Some(Error::Invalid(Errno::ELOOP)));
    assert!(mounted.fs.symlink_metadata(in_a_row(41)).unwrap().is_symlink());
    let (_, sent) = mounted.sent_by(|| mounted.fs.node("41").err());
    assert_eq!(sent.iter().filter(|&&one| one == opcode::READLINK).count(), 40);
    mounted.unmount();
}

#[test]
fn symlink_metadata_and_read_link_do_not_follow_the_last_link() {
    let mounted = Mounted::new(tree);
    let fs = &mounted.fs;
    for (path, target) in [
        ("to-file", "file"),
        ("dangling", "nowhere"),
        ("self", "self"),
        ("to-a/up", "../file"),
        ("to-to-b/to-c", "c"),
        ("./absolute", "/a/b/file"),
    ] {
        assert!(fs.symlink_metadata(path).unwrap().is_symlink(), "{path}");
        assert_eq!(fs.read_link(path).unwrap(), target.as_bytes(), "{path}");
    }
    // A slash behind it, or a dot, asks for what it leads to.
    for path in ["to-a/", "to-a/.", "to-to-b/", "to-root", "/", "..", "a"].iter().filter(|&&path| path != "to-root") {
        assert!(fs.symlink_metadata(path).unwrap().is_dir(), "{path}");
        assert_eq!(fs.read_link(path).err(), Some(Error::Invalid(Errno::EINVAL)), "{path}");
    }
    assert_eq!(fs.symlink_metadata("dangling/").err().map(Error::errno), Some(Errno::ENOENT));
    assert_eq!(fs.symlink_metadata("to-file/").err().map(Error::errno), Some(Errno::ENOTDIR));
    assert_eq!(fs.symlink_metadata("").err().map(Error::errno), Some(Errno::ENOENT));
    assert_eq!(fs.read_link("file").err(), Some(Error::Invalid(Errno::EINVAL)));
    assert!(fs.metadata("to-file").unwrap().is_file());
    mounted.unmount();
}

#[test]
fn impossible_names_are_refused_where_they_stand() {
    let mounted = Mounted::new(tree);
    let fs = &mounted.fs;
    let [longest, too_long] = [255, 256].map(|bytes| vec![b'x'; bytes]);
    assert_eq!(fs.metadata("fi\0le").err(), Some(Error::Invalid(Errno::EINVAL)));
    assert_eq!(fs.metadata("a/\0").err(), Some(Error::Invalid(Errno::EINVAL)));
    assert_eq!(fs.metadata(&longest).err(), Some(Error::Refused(Errno::ENOENT)));
    assert_eq!(fs.metadata(&too_long).err(), Some(Error::Invalid(Errno::ENAMETOOLONG)));
    assert_eq!(fs.metadata([b"a/", &too_long[..], b"/.."].concat()).err(), Some(Error::Invalid(Errno::ENAMETOOLONG)));
    mounted.unmount();
}

#[test]
fn names_are_bytes() {
    let longest = [b'\xe9'; 255];
    let names: [&[u8]; 6] = [b"\xff\xfe", b"new\nline", b" ", b"\\", b"\xc3", &longest];
    let mounted = Mounted::new(|server| {
        for name in names {
            server.file([name, b"/", name].concat(), name);
            server.symlink(
                [b"link-".as_slice(), &name[..name.len().min(9)]].concat(),
                [b"./", name, b"/", name].concat(),
            );
        }
    });
    for name in names {
        assert_eq!(mounted.fs.read([name, b"/", name].concat()).unwrap(), name);
        assert_eq!(mounted.fs.read([b"link-".as_slice(), &name[..name.len().min(9)]].concat()).unwrap(), name);
        let listed: Vec<_> = mounted.fs.read_dir(name).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(listed.iter().map(DirEntry::file_name).collect::<Vec<_>>(), [name]);
    }
    mounted.unmount();
}

#[test]
fn a_path_of_a_thousand_directories_is_walked() {
    let deep = "d/".repeat(1000);
    let mounted = Mounted::new(|server| {
        server.file(format!("{deep}file"), "deep");
    });
    assert_eq!(mounted.fs.read_to_string(format!("{deep}file")).unwrap(), "deep");
    assert_eq!(mounted.fs.read_to_string(format!("{deep}{}{deep}file", "../".repeat(2000))).unwrap(), "deep");
    mounted.unmount();
}

#[test]
fn exists_tells_what_the_server_knows_and_errors_are_no_answer() {
    let mounted = Mounted::new(tree);
    let fs = &mounted.fs;
    for (path, expected) in [
        ("file", Ok(true)),
        ("a/b", Ok(true)),
        ("/", Ok(true)),
        ("to-file", Ok(true)),
        ("none", Ok(false)),
        ("none/x", Ok(false)),
        ("file/x", Ok(false)),
        ("dangling", Ok(false)),
        ("", Ok(false)),
        ("self", Err(Error::Invalid(Errno::ELOOP))),
        ("\0", Err(Error::Invalid(Errno::EINVAL))),
    ] {
        assert_eq!(fs.exists(path), expected, "{path}");
    }
    mounted.server(|server| {
        server.fault(opcode::LOOKUP, 0, Fault::Refuse(Errno::EACCES));
    });
    assert_eq!(fs.exists("file"), Err(Error::Refused(Errno::EACCES)));
    mounted.unmount();
}

#[test]
fn the_metadata_of_a_path_costs_one_lookup_of_each_name() {
    let mounted = Mounted::new(tree);
    let (metadata, sent) = mounted.sent_by(|| mounted.fs.metadata("a/b/file").unwrap());
    assert_eq!(sent, [opcode::LOOKUP; 3]);
    let attr = mounted.server(|server| *server.attr_mut("a/b/file"));
    assert_eq!((metadata.attr(), metadata.len(), metadata.permissions()), (&attr, 8, 0o644));
    assert_eq!((metadata.modified(), metadata.accessed()), (attr.modified, attr.accessed));
    let (_, sent) = mounted.sent_by(|| mounted.fs.metadata("/a/..").unwrap());
    assert_eq!(sent, [opcode::LOOKUP, opcode::GETATTR], "only the root's attributes have to be asked for");
    mounted.unmount();
}

#[test]
fn what_is_on_the_way_is_forgotten() {
    let mounted = Mounted::new(tree);
    let node = mounted.fs.node("a/b/c/file").unwrap();
    mounted.fs.metadata("to-to-b/file").unwrap();
    mounted.fs.exists("self").unwrap_err();
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.known_nodes()), 1);
    drop(node);
    mounted.unmount();
}

#[test]
fn a_link_with_an_impossible_target_is_an_error_and_the_mount_goes_on() {
    let mounted = Mounted::new(|server| {
        tree(server);
        server.symlink("empty", "").symlink("nul", "a\0b").symlink("only-nul", "\0");
    });
    for path in ["empty", "nul", "only-nul", "empty/x"] {
        assert!(matches!(mounted.fs.metadata(path), Err(Error::Protocol(_))), "{path}");
        assert!(mounted.fs.symlink_metadata(path.trim_end_matches("/x")).unwrap().is_symlink());
    }
    for target in [vec![b'x'; 4095], b"x/".repeat(2047)] {
        mounted.server(|server| {
            server.symlink("long", &target);
        });
        let expected = if target.len() == 4095 { Errno::ENAMETOOLONG } else { Errno::ENOENT };
        assert_eq!(mounted.fs.metadata("long").map_err(Error::errno), Err(expected));
    }
    assert_eq!(mounted.fs.read("file").unwrap(), b"file");
    mounted.unmount();
}

#[test]
fn a_target_longer_than_its_room_ends_the_session() {
    for bytes in [4096, 5000, 1 << 20] {
        let mounted = Mounted::new(|server| {
            tree(server);
            server.fault(opcode::READLINK, 0, Fault::Body(vec![b'x'; bytes]));
        });
        assert!(matches!(mounted.fs.read_link("to-a"), Err(Error::Device(_))));
        assert!(matches!(mounted.fs.read("file"), Err(Error::Device(_))));
        assert!(mounted.fs.unmount().is_err());
    }
}

#[test]
fn a_link_that_grows_without_end_is_a_loop_in_bounded_memory() {
    // Each step puts 4 KB before what is left.
    let target = [b"l/".repeat(2000), b"x".to_vec()].concat();
    let mounted = Mounted::new(|server| {
        server.symlink("l", &target);
    });
    assert_eq!(mounted.fs.metadata("l").err(), Some(Error::Invalid(Errno::ELOOP)));
    mounted.unmount();
}

type Action = fn(&VirtioFs) -> Result<(), Error>;

/// What is done by path, and the request that may find an inode stale.
const ACTIONS: [(u32, Action); 22] = [
    (opcode::LOOKUP, |fs| fs.node("f").map(drop)),
    (opcode::LOOKUP, |fs| fs.exists("f").map(drop)),
    (opcode::LOOKUP, |fs| fs.metadata("f").map(drop)),
    (opcode::LOOKUP, |fs| fs.symlink_metadata("f").map(drop)),
    (opcode::OPEN, |fs| fs.read("f").map(drop)),
    (opcode::OPEN, |fs| OpenOptions::new().write(true).open(fs, "f").map(drop)),
    (opcode::OPEN, |fs| fs.write("f", "x")),
    (opcode::CREATE, |fs| fs.write("n", "x")),
    (opcode::OPENDIR, |fs| fs.read_dir("d").map(drop)),
    (opcode::READLINK, |fs| fs.read_link("l").map(drop)),
    (opcode::SETATTR, |fs| fs.truncate("f", 1)),
    (opcode::SETATTR, |fs| fs.set_permissions("f", 0o600)),
    (opcode::GETXATTR, |fs| fs.get_xattr("f", "user.a").map(drop)),
    (opcode::STATFS, |fs| fs.statvfs("f").map(drop)),
    (opcode::MKDIR, |fs| fs.create_dir("n")),
    (opcode::MKNOD, |fs| fs.mknod("n", FileType::Fifo, 0o600, 0)),
    (opcode::SYMLINK, |fs| fs.symlink("f", "n")),
    (opcode::LINK, |fs| fs.hard_link("f", "n")),
    (opcode::RENAME, |fs| fs.rename("f", "n")),
    (opcode::UNLINK, |fs| fs.remove_file("f")),
    (opcode::RMDIR, |fs| fs.remove_dir("d")),
    (opcode::RMDIR, |fs| fs.remove_dir_all("d")),
];

#[test]
fn a_path_whose_inode_is_stale_is_followed_once_more() {
    for (at, (opcode, action)) in ACTIONS.into_iter().enumerate() {
        for times in [1, 2] {
            let mounted = Mounted::new(|server| {
                server.file("f", "content").dir("d").symlink("l", "f");
                server.set_xattr("f", "user.a", "x");
            });
            mounted.server(|server| {
                for time in 0..times {
                    server.fault(opcode, time, Fault::Refuse(Errno::ESTALE));
                }
            });
            let expected = if times == 1 { Ok(()) } else { Err(Error::Refused(Errno::ESTALE)) };
            assert_eq!(action(&mounted.fs), expected, "{at}");
            mounted.unmount();
        }
    }
}
