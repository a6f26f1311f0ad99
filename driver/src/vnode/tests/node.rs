//! Inodes.

use super::*;
use core::time::Duration;

#[test]
fn a_lookup_gives_the_inode_and_its_attributes() {
    let mounted = mount();
    let (d, attr) = mounted.fs.root().lookup("d").unwrap();
    assert_eq!((d.file_type(), attr.file_type), (FileType::Directory, FileType::Directory));
    assert_eq!(Some(d.nodeid()), mounted.server(|server| server.nodeid("d")));
    let (f, attr) = d.lookup("f").unwrap();
    assert_eq!((f.file_type(), attr.size_bytes), (FileType::Regular, 7));
    assert_eq!(mounted.server(|server| *server.attr_mut("d/f")), attr);
    assert_eq!(f.getattr(), Ok(attr));
    for (name, file_type) in SPECIAL {
        assert_eq!(mounted.fs.root().lookup(name).unwrap().0.file_type(), file_type);
    }
    drop((d, f));
    mounted.unmount();
}

#[test]
fn a_name_that_does_not_exist_is_enoent_with_and_without_a_negative_entry() {
    for negative_ttl in [None, Some(Duration::ZERO), Some(Duration::from_secs(1))] {
        let mounted = mount();
        mounted.server(|server| server.options.negative_ttl = negative_ttl);
        assert_eq!(mounted.fs.root().lookup("none").err(), Some(Error::Refused(Errno::ENOENT)));
        mounted.unmount();
    }
}

#[test]
fn impossible_names_are_refused_without_a_message() {
    let mounted = mount();
    let root = mounted.fs.root();
    let longest = [b'x'; 255];
    let too_long = [b'x'; 256];
    let names: [&[u8]; 9] = [b"", b".", b"..", b"/", b"a/b", b"/a", b"a/", b"\0", b"a\0"];
    let (_, sent) = mounted.sent_by(|| {
        for name in names {
            assert_eq!(root.lookup(name).err(), Some(Error::Invalid(Errno::EINVAL)), "{}", name.escape_ascii());
        }
        assert_eq!(root.lookup(too_long).err(), Some(Error::Invalid(Errno::ENAMETOOLONG)));
    });
    assert_eq!(sent, [0; 0]);
    mounted.server(|server| {
        server.file(longest, "").file("...", "").file(" ", "").file(b"\xff\n", "");
    });
    for name in [&longest[..], b"...", b" ", b"\xff\n"] {
        root.lookup(name).unwrap();
    }
    mounted.unmount();
}

#[test]
fn a_lookup_in_what_is_no_directory_is_enotdir_without_a_message() {
    let mounted = mount();
    for path in ["d/f", "fifo"] {
        let node = mounted.fs.node(path).unwrap();
        let (result, sent) = mounted.sent_by(|| node.lookup("x"));
        assert_eq!(result.err(), Some(Error::Invalid(Errno::ENOTDIR)));
        assert_eq!(node.opendir().err(), Some(Error::Invalid(Errno::ENOTDIR)));
        assert_eq!(sent, [0; 0]);
    }
    let (link, _) = mounted.fs.root().lookup("l").unwrap();
    assert_eq!(link.lookup("x").err(), Some(Error::Invalid(Errno::ENOTDIR)), "links are not followed here");
    drop(link);
    mounted.unmount();
}

#[test]
fn the_target_of_a_symbolic_link_is_read_and_of_nothing_else() {
    let mounted = mount();
    let root = mounted.fs.root();
    assert_eq!(root.lookup("l").unwrap().0.readlink().unwrap(), b"d/f");
    let (_, sent) = mounted.sent_by(|| assert_eq!(root.readlink(), Err(Error::Invalid(Errno::EINVAL))));
    assert_eq!(sent, [0; 0]);
    let longest = vec![b'x'; 4095];
    mounted.server(|server| {
        server.symlink("long", &longest).symlink("odd", b"\xff \n");
    });
    assert!(root.lookup("long").unwrap().0.readlink().unwrap() == longest);
    assert_eq!(root.lookup("odd").unwrap().0.readlink().unwrap(), b"\xff \n");
    mounted.unmount();
}

#[test]
fn an_inode_outlives_its_name() {
    let mounted = mount();
    let node = mounted.fs.node("d/f").unwrap();
    mounted.server(|server| {
        server.remove("d/f");
    });
    assert_eq!(node.getattr().unwrap().nlink, 0);
    assert_eq!(node.open(OpenFlags::READ_ONLY).unwrap().read_at(0, &mut [0; 10]), Ok(7));
    drop(node);
    mounted.unmount();
}

#[test]
fn statx_tells_when_an_inode_was_made() {
    let mounted = Mounted::new(|server| {
        one_of_each(server);
        server.options.minor = 39;
        server.options.statx = true;
        server.set_born("fifo", None);
    });
    let attr = mounted.fs.metadata("d/f").unwrap();
    let (stated, born) = mounted.fs.node("d/f").unwrap().statx().unwrap();
    assert_eq!((&stated, born.unwrap().seconds), (attr.attr(), 1_600_000_000));
    assert_eq!(mounted.fs.node("fifo").unwrap().statx().unwrap().1, None);
    mounted.unmount();
}

#[test]
fn a_server_that_lacks_statx_is_asked_once_and_then_for_getattr() {
    let mounted = Mounted::new(|server| server.options.minor = 39);
    let root = mounted.fs.root();
    let (first, sent) = mounted.sent_by(|| root.statx().unwrap());
    assert_eq!(sent, [opcode::STATX, opcode::GETATTR]);
    let (second, sent) = mounted.sent_by(|| root.statx().unwrap());
    assert_eq!(sent, [opcode::GETATTR]);
    assert_eq!(first, second);
    assert_eq!((first.0, first.1), (root.getattr().unwrap(), None));
    mounted.unmount();
}

#[test]
fn an_error_of_statx_is_not_taken_for_its_absence() {
    let mounted = Mounted::new(|server| {
        server.options.minor = 39;
        server.options.statx = true;
        server.fault(opcode::STATX, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.root().statx().err(), Some(Error::Refused(Errno::EIO)));
    assert!(mounted.fs.root().statx().unwrap().1.is_some());
    mounted.unmount();
}

#[test]
fn statfs_tells_what_the_server_said() {
    let mounted = mount();
    let expected = mounted.server(|server| server.options.statfs);
    assert_eq!(mounted.fs.statvfs("/"), Ok(expected));
    assert_eq!(mounted.fs.node("d/f").unwrap().statfs(), Ok(expected));
    mounted.unmount();
}

#[test]
fn a_lookup_that_leads_to_the_root_is_refused() {
    let mounted = mount();
    mounted.server(|server| {
        server.tamper(|opcode, reply| {
            if opcode == opcode::LOOKUP {
                reply[16..24].copy_from_slice(&1_u64.to_ne_bytes());
            }
        });
    });
    assert!(matches!(mounted.fs.root().lookup("d"), Err(Error::Protocol(_))));
    mounted.fs.maintain();
    assert_eq!(mounted.count(opcode::FORGET), 0);
}

/// The mode in the first `fuse_entry_out` of a reply.
const MODE: core::ops::Range<usize> = 16 + 40 + 60..16 + 40 + 64;

#[test]
fn a_lookup_with_impossible_attributes_is_an_error_and_taken_back() {
    let mounted = mount();
    mounted.server(|server| {
        server.tamper(|opcode, reply| {
            if opcode == opcode::LOOKUP {
                reply[MODE].fill(0);
            }
        });
    });
    assert!(matches!(mounted.fs.root().lookup("d"), Err(Error::Protocol(_))));
    mounted.unmount();
}
