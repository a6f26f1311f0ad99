//! Directories with all above them, and all in them; and attributes by path.

use super::*;
use crate::virtio::fake::allocations;
use crate::vnode::{Access, SetTime, XattrFlags};
use crate::{Credentials, Timestamp};
use std::thread;

#[test]
fn create_dir_all_makes_what_is_missing() {
    for (path, asked) in [
        ("a", 1),
        ("a/b/c", 3),
        ("/a//b///c//", 3),
        ("old/new/new", 2),
        ("old", 0),
        ("old/", 0),
        ("to-old/new", 1),
        ("old/../a/b", 2),
        ("./a", 1),
        ("/", 0),
        ("", 0),
    ] {
        let mounted = Mounted::new(|server| {
            server.dir("old").symlink("to-old", "old");
        });
        assert_eq!(mounted.fs.create_dir_all(path), Ok(()), "{path}");
        assert_eq!(mounted.count(opcode::MKDIR), asked, "{path}");
        if !path.is_empty() {
            assert!(mounted.fs.metadata(path).unwrap().is_dir());
        }
        assert_eq!(mounted.fs.create_dir_all(path), Ok(()), "{path}");
        assert_eq!(mounted.count(opcode::MKDIR), asked, "that it is there is no error");
        mounted.unmount();
    }
}

#[test]
fn create_dir_all_says_what_is_in_the_way() {
    let mounted = Mounted::new(|server| {
        server.file("f", "").dir("d").symlink("dangling", "nowhere").symlink("loop", "loop");
    });
    for (path, errno) in
        [("f", Errno::EEXIST), ("f/new", Errno::ENOTDIR), ("f/new/newer", Errno::ENOTDIR), ("loop/new", Errno::ELOOP)]
    {
        assert_eq!(mounted.fs.create_dir_all(path).map_err(Error::errno), Err(errno), "{path}");
    }
    assert!(mounted.fs.create_dir_all("dangling/new").is_err());
    mounted.server(|server| {
        server.fault(opcode::MKDIR, 1, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.create_dir_all("a/b/c"), Err(Error::Refused(Errno::EIO)));
    assert!(mounted.server(|server| server.exists("a") && !server.exists("a/b")));
    mounted.unmount();
}

#[test]
fn who_was_faster_to_make_a_directory_does_no_harm() {
    let mounted = Mounted::new(|server| {
        server.dir("a/b");
        // When it is looked for it is not there yet: first for "a/b/c", then for "a/b", then for "a".
        for lookup in 0..3 {
            server.fault(opcode::LOOKUP, lookup, Fault::Refuse(Errno::ENOENT));
        }
    });
    assert_eq!(mounted.fs.create_dir_all("a/b/c"), Ok(()));
    assert_eq!(mounted.count(opcode::MKDIR), 3);
    mounted.unmount();
}

#[test]
fn remove_dir_all_removes_everything_and_follows_no_link() {
    for readdirplus in [true, false] {
        let mounted = Mounted::new(|server| {
            server.options.readdirplus = readdirplus;
            server.dir("t/empty/deeper").file("t/f", "").file("t/a/b/f", "").special("t/a/fifo", FileType::Fifo);
            server.file("kept/f", "").symlink("t/a/link", "/kept").symlink("t/dangling", "nowhere");
            for number in 0..100 {
                server.file(format!("t/many/{number}"), "");
            }
        });
        mounted.fs.remove_dir_all("t").unwrap();
        assert_eq!(mounted.server(|server| server.names("")), [b"kept"]);
        assert!(mounted.server(|server| server.exists("kept/f")));
        mounted.unmount();
    }
}

#[test]
fn remove_dir_all_is_for_directories_and_links() {
    let mounted = Mounted::new(|server| {
        server.file("f", "").file("d/f", "").symlink("link", "d");
    });
    for (path, errno) in [
        ("f", Errno::ENOTDIR),
        ("link/", Errno::ENOTDIR),
        ("none", Errno::ENOENT),
        ("/", Errno::EBUSY),
        ("d/.", Errno::EINVAL),
        ("d/..", Errno::ENOTEMPTY),
        ("", Errno::ENOENT),
    ] {
        assert_eq!(mounted.fs.remove_dir_all(path).map_err(Error::errno), Err(errno), "{path}");
    }
    mounted.fs.remove_dir_all("link").unwrap();
    assert!(mounted.server(|server| server.exists("d/f") && !server.exists("link")));
    mounted.fs.remove_dir_all("d/").unwrap();
    assert_eq!(mounted.server(|server| server.names("")), [b"f"]);
    mounted.unmount();
}

#[test]
fn a_tree_may_be_deeper_than_a_stack() {
    let mounted = Mounted::new(|server| {
        server.file(format!("t{}/f", "/d".repeat(3000)), "");
    });
    thread::scope(|scope| {
        let small = thread::Builder::new().stack_size(128 << 10);
        small.spawn_scoped(scope, || mounted.fs.remove_dir_all("t").unwrap()).unwrap();
    });
    assert_eq!(mounted.server(|server| server.names("")), [b""; 0]);
    mounted.unmount();
}

#[test]
fn a_tree_that_is_too_deep_for_the_memory_is_an_error() {
    let mounted = Mounted::new(|server| {
        server.file(format!("t{}/f", "/d".repeat(3000)), "");
    });
    assert_eq!(allocations::limited(256 << 10, || mounted.fs.remove_dir_all("t")), Err(Error::NoMemory));
    assert_eq!(mounted.fs.remove_dir_all("t"), Ok(()));
    mounted.unmount();
}

#[test]
fn what_appears_while_a_directory_is_emptied_is_removed_too() {
    let mounted = Mounted::new(|server| {
        server.file("t/a", "").file("t/b", "");
        // It seems gone, and is there again when the directory is to be removed.
        server.fault(opcode::UNLINK, 1, Fault::Refuse(Errno::ENOENT));
    });
    mounted.fs.remove_dir_all("t").unwrap();
    assert_eq!((mounted.count(opcode::UNLINK), mounted.count(opcode::RMDIR)), (3, 2));
    mounted.unmount();
}

#[test]
fn a_directory_that_is_filled_again_and_again_is_given_up() {
    let mounted = Mounted::new(|server| {
        server.file("t/a", "").options.refused.insert(opcode::RMDIR, Errno::ENOTEMPTY);
    });
    assert_eq!(mounted.fs.remove_dir_all("t"), Err(Error::Refused(Errno::ENOTEMPTY)));
    assert!(mounted.count(opcode::RMDIR) < 20);
    mounted.unmount();
}

#[test]
fn what_others_remove_meanwhile_is_gone_all_the_same() {
    let mounted = Mounted::new(|server| {
        server.file("t/a", "").file("t/d/b", "");
    });
    // A file, a directory within, the directory itself.
    mounted.server(|server| {
        server.fault(opcode::UNLINK, 0, Fault::Refuse(Errno::ENOENT));
        server.fault(opcode::RMDIR, 0, Fault::Refuse(Errno::ENOENT));
        server.fault(opcode::RMDIR, 1, Fault::Refuse(Errno::ENOENT));
    });
    assert_eq!(mounted.fs.remove_dir_all("t"), Ok(()));
    mounted.unmount();
}

#[test]
fn an_entry_of_unknown_or_changed_kind_is_removed_as_what_it_is() {
    // The listing says of all that they are files, or nothing.
    for kind in [0_u32, 8] {
        let mounted = Mounted::new(|server| {
            server.options.init_flags &= !(1 << 13);
            server.file("t/d/f", "");
            server.tamper(move |opcode, reply| {
                if opcode == opcode::READDIR && reply.len() > 16 {
                    let mut at = 16;
                    while at + 24 <= reply.len() {
                        let name_bytes = u32::from_ne_bytes(reply[at + 16..at + 20].try_into().unwrap());
                        reply[at + 20..at + 24].copy_from_slice(&kind.to_ne_bytes());
                        at += (24 + name_bytes as usize).next_multiple_of(8);
                    }
                }
            });
        });
        mounted.fs.remove_dir_all("t").unwrap();
        assert_eq!(mounted.server(|server| server.names("")), [b""; 0]);
        mounted.unmount();
    }
}

#[test]
fn what_cannot_be_removed_is_the_error_and_nothing_leaks() {
    for (opcode, errno) in
        [(opcode::UNLINK, Errno::EACCES), (opcode::RMDIR, Errno::EBUSY), (opcode::OPENDIR, Errno::EIO)]
    {
        let mounted = Mounted::new(|server| {
            server.file("t/a/b/f", "").fault(opcode, 0, Fault::Refuse(errno));
        });
        assert_eq!(mounted.fs.remove_dir_all("t"), Err(Error::Refused(errno)));
        assert!(mounted.server(|server| server.exists("t")));
        mounted.unmount();
    }
}

fn mount_attributes() -> Mounted {
    Mounted::new(|server| {
        server.file("f", "content").symlink("l", "f");
        server.set_xattr("f", "user.a", "1").set_xattr("f", "user.b", "").set_xattr("f", "trusted.c", vec![0, 1, 0]);
    })
}

#[test]
fn attributes_are_those_of_the_target_or_of_the_link() {
    let mounted = mount_attributes();
    let fs = &mounted.fs;
    let [date, now] = [Timestamp { seconds: -9, nanoseconds: 5 }, mounted.server(|server| server.options.now)];
    let times = FileTimes { accessed: Some(SetTime::At(date)), modified: Some(SetTime::Now) };
    let before = mounted.server(|server| (server.attr("f"), server.attr("l")));
    fs.set_symlink_times("l", times).unwrap();
    fs.set_symlink_owner("l", Some(5), None).unwrap();
    mounted.server(|server| {
        let link = server.attr("l");
        assert_eq!((link.accessed, link.modified, link.uid, link.gid), (date, now, 5, before.1.gid));
        assert_eq!(server.attr("f"), before.0);
    });
    let link = mounted.server(|server| server.attr("l"));
    fs.set_times("l", FileTimes { accessed: None, ..times }).unwrap();
    fs.set_owner("l", None, Some(6)).unwrap();
    fs.set_permissions("l", 0o1751).unwrap();
    fs.truncate("l", 3).unwrap();
    mounted.server(|server| {
        let file = server.attr("f");
        assert_eq!((file.accessed, file.modified, file.gid), (before.0.accessed, now, 6));
        assert_eq!((file.permissions, file.size_bytes, server.attr("l")), (0o1751, 3, link));
    });
    let file = fs.open("f").unwrap();
    file.set_permissions(0o600).unwrap();
    file.set_times(times).unwrap();
    assert_eq!((file.metadata().unwrap().permissions(), file.metadata().unwrap().accessed()), (0o600, date));
    drop(file);
    mounted.unmount();
}

#[test]
fn extended_attributes_are_listed_read_set_and_removed() {
    let mounted = mount_attributes();
    let fs = &mounted.fs;
    assert_eq!(fs.list_xattr("l").unwrap(), [&b"trusted.c"[..], b"user.a", b"user.b"]);
    for (name, value) in [("user.a", &b"1"[..]), ("user.b", b""), ("trusted.c", b"\0\x01\0")] {
        assert_eq!(fs.get_xattr("f", name).unwrap(), value);
    }
    fs.set_xattr("f", "user.a", vec![9; 65_536], XattrFlags::REPLACE).unwrap();
    assert_eq!(fs.get_xattr("f", "user.a").unwrap(), [9; 65_536]);
    fs.remove_xattr("f", "user.a").unwrap();
    assert_eq!(fs.get_xattr("f", "user.a"), Err(Error::Refused(Errno::ENODATA)));
    for name in ["user.b", "trusted.c"] {
        fs.remove_xattr("f", name).unwrap();
    }
    assert_eq!(fs.list_xattr("f").unwrap(), [b""; 0]);
    assert_eq!(fs.list_xattr("none"), Err(Error::Refused(Errno::ENOENT)));
    mounted.unmount();
}

#[test]
fn a_value_that_grew_since_its_size_was_asked_is_read_all_the_same() {
    let mounted = mount_attributes();
    mounted.server(|server| {
        // The first reply says a byte, where there are 500.
        server.set_xattr("f", "user.a", [7; 500]);
        server.fault(opcode::GETXATTR, 0, Fault::Body([1_u32.to_ne_bytes(), [0; 4]].concat()));
        server.fault(opcode::LISTXATTR, 0, Fault::Body([1_u32.to_ne_bytes(), [0; 4]].concat()));
    });
    assert_eq!(mounted.fs.get_xattr("f", "user.a").unwrap(), [7; 500]);
    assert_eq!(mounted.count(opcode::GETXATTR), 3);
    assert_eq!(mounted.fs.list_xattr("f").unwrap().len(), 3);
    mounted.unmount();
}

#[test]
fn access_is_that_of_the_mounts_user() {
    let mounted = mount_attributes();
    mounted.server(|server| server.attr_mut("f").permissions = 0o604);
    assert_eq!(mounted.fs.access("l", Access::READ | Access::WRITE), Ok(()));
    let theirs = mounted.fs.with_credentials(Credentials { uid: 1000, gid: 1000, ..Credentials::default() });
    assert_eq!(theirs.access("l", Access::READ), Ok(()));
    assert_eq!(theirs.access("l", Access::WRITE), Err(Error::Refused(Errno::EACCES)));
    assert_eq!(theirs.access("none", Access::empty()), Err(Error::Refused(Errno::ENOENT)));
    drop(theirs);
    mounted.unmount();
}
