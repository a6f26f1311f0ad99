//! POSIX access control lists.

use virtio_fs::Errno;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{MEMBER, OWNER, ROOT, STRANGER, User, World};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const USERS: [User; 4] = [ROOT, OWNER, MEMBER, STRANGER];

/// A list as Linux keeps it, from its text: `u::7 u:1001:4 g::5 g:2000:2 m::7 o::0`.
fn list(text: &str) -> Vec<u8> {
    let mut list = vec![2, 0, 0, 0];
    for entry in text.split_whitespace() {
        let fields: Vec<_> = entry.split(':').collect();
        let id: Option<u32> = fields[1].parse().ok();
        let tag: u16 = match (fields[0], id) {
            ("u", None) => 1,
            ("u", _) => 2,
            ("g", None) => 4,
            ("g", _) => 8,
            ("m", _) => 16,
            _ => 32,
        };
        list.extend(tag.to_le_bytes());
        list.extend(fields[2].parse::<u16>().expect("permission bits").to_le_bytes());
        list.extend(id.unwrap_or(u32::MAX).to_le_bytes());
    }
    list
}

/// It lets group 2000 make files.
const BY_GROUP_2000: &str = "u::7 g::5 g:2000:3 m::7 o::1";

const LISTS: [&str; 12] = [
    "u::6 g::4 o::0",
    "u::7 u:1001:7 g::0 m::7 o::0",
    "u::7 u:1001:7 g::0 m::4 o::7",
    "u::7 u:1002:0 g::7 m::7 o::7",
    "u::0 u:1000:7 g::7 m::7 o::0",
    "u::7 g::0 g:1000:4 g:2000:2 m::7 o::7",
    "u::7 g::4 g:1001:2 m::7 o::0",
    "u::7 u:1001:2 g::7 g:2000:7 m::7 o::7",
    "u::7 g::7 g:1002:7 m::0 o::0",
    "u::7 g::7 g:1002:7 m::0 o::7",
    BY_GROUP_2000,
    "u::7 u:1002:5 g::5 m::5 o::7",
];

fn world() -> World {
    World::new(&["--posix-acl", "--modcaps=+sys_admin"])
}

#[test]
fn lists_decide() {
    let mut world = world();
    for text in LISTS {
        for user in USERS {
            let made = [
                create(0, "f", O_WRONLY, 0o644),
                write(0, 0, "x"),
                close(0),
                mkdir("d", 0o755),
                file("d/f"),
                chown("f", Some(1000), Some(1000)),
                chown("d", Some(1000), Some(1000)),
                set_xattr("f", ACCESS, list(text), 0),
                set_xattr("d", ACCESS, list(text), 0),
            ];
            let attempts = [
                access("f", R_OK),
                access("f", W_OK),
                access("f", X_OK),
                access("f", R_OK | W_OK),
                access("f", 7),
                open(1, "f", O_RDONLY),
                open(1, "f", O_WRONLY),
                open(1, "f", O_RDWR),
                open(1, "f", O_TRUNC | O_WRONLY),
                truncate("f", 0),
                stat("d/f"),
                list_of("d"),
                file("d/n"),
                unlink("d/f"),
                rename("d/f", "d/g"),
                set_times("f", Time::Now, Time::Now),
                chmod("f", 0o600),
                set_xattr("f", ACCESS, list("u::7 g::7 o::7"), 0),
                get_xattr("f", ACCESS, 999),
                remove_xattr("f", ACCESS),
                stat("f"),
            ];
            for attempt in attempts {
                // The server learns of one further group of who makes something: the directory's own.
                let by_other_group = text == BY_GROUP_2000 && user == MEMBER && attempt == file("d/n");
                let attempt = if by_other_group { attempt.but_fails(Errno::EACCES) } else { attempt };
                let made = made.iter().cloned().map(Step::on_host);
                world.check("an attempt", made.chain([attempt.by(user)]).collect());
            }
        }
    }
}

fn list_of(path: &str) -> Step {
    virtio_fs_conformance::step::list(path)
}

#[test]
fn lists_and_mode_bits_keep_in_step() {
    let mut world = world();
    for text in LISTS {
        for path in ["f", "d"] {
            let made =
                [file("f").on_host(), mkdir("d", 0o755).on_host(), chown(path, Some(1000), Some(1000)).on_host()];
            let with = |steps: Vec<Step>| made.iter().cloned().chain(steps).collect::<Vec<_>>();
            for user in USERS {
                let set = set_xattr(path, ACCESS, list(text), 0).by(user);
                world.check("a list is set", with(vec![set, stat(path), get_xattr(path, ACCESS, 999)]));
                let bits = [chmod(path, 0o2775).on_host(), set_xattr(path, ACCESS, list(text), 0).by(user), stat(path)];
                world.check("a list and set-group-id", with(bits.into()));
            }
            let set = set_xattr(path, ACCESS, list(text), 0).on_host();
            for permissions in [0o000, 0o700, 0o750, 0o777, 0o2640] {
                let chmod = [set.clone(), chmod(path, permissions), stat(path), get_xattr(path, ACCESS, 999)];
                world.check("mode bits are set", with(chmod.into()));
            }
            world.check(
                "a list is removed",
                with(vec![set, remove_xattr(path, ACCESS), stat(path), get_xattr(path, ACCESS, 9)]),
            );
        }
    }
    for bad in ["u::7", "u::7 g::7", "u::7 g::7 o::9", "u::7 u:5:7 g::7 o::7", "g::7 u::7 o::7", "u::7 u::7 g::7 o::7"]
    {
        world.check("a list that is none", vec![file("f"), set_xattr("f", ACCESS, list(bad), 0), stat("f")]);
    }
    for bad in [&b""[..], b"\x02", b"\x02\0\0\0", b"\x03\0\0\0", b"\x02\0\0\0\x01\0\x07"] {
        world.check("bytes that are no list", vec![file("f"), set_xattr("f", ACCESS, bad, 0), stat("f")]);
    }
    let on_others = [file("f"), symlink("f", "l"), set_xattr("f", DEFAULT, list("u::7 g::7 o::7"), 0), stat("f")];
    world.check("a default list of a file", on_others.into());
}

#[test]
fn new_inodes_inherit_lists() {
    let mut world = world();
    for text in LISTS {
        for umask in [0, 0o027, 0o077] {
            for user in [ROOT, OWNER, STRANGER] {
                let by = |step: Step| step.by(user.with_umask(umask));
                let script = vec![
                    mkdir("d", 0o777).on_host(),
                    set_xattr("d", DEFAULT, list(text), 0).on_host(),
                    by(mkdir("d/d", 0o777)),
                    by(file("d/f")),
                    by(create(1, "d/c", O_RDWR, 0o666)),
                    by(create(2, "d/x", O_WRONLY | O_EXCL, 0o700)),
                    by(symlink("x", "d/l")),
                    by(fifo("d/p")),
                    get_xattr("d/d", ACCESS, 999),
                    get_xattr("d/d", DEFAULT, 999),
                    get_xattr("d/f", ACCESS, 999),
                    stat("d/c"),
                ];
                world.check("new inodes", script);
            }
        }
    }
}
