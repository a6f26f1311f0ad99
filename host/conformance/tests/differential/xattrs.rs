//! Extended attributes.

use virtio_fs::FileType;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{MEMBER, OWNER, ROOT, STRANGER, World};

fn kinds(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let made = [
        file("f").on_host(),
        mkdir("d", 0o755).on_host(),
        fifo("p").on_host(),
        mknod("s", FileType::Socket, 0o600, 0).on_host(),
        mknod("c", FileType::CharDevice, 0o600, 0x103).on_host(),
        symlink("f", "l").on_host(),
        symlink("x", "m").on_host(),
    ];
    made.into_iter().chain(steps).collect()
}

const NAMES: [&str; 12] = [
    "user.a",
    "user.",
    "user",
    "",
    "trusted.a",
    "security.a",
    "security.capability",
    "system.a",
    "system.posix_acl_access",
    "other.a",
    "user.a.b.c d",
    "posix.x",
];

#[test]
fn attributes_are_set_and_removed() {
    let mut world = World::new(&["--posix-acl", "--modcaps=+sys_admin"]);
    for path in ["f", "d", "p", "s", "c", "l", "m", "missing", "f/x", "/"] {
        for name in NAMES {
            // Which of two errors it is, POSIX does not say.
            if name.is_empty() && ["m", "missing", "f/x"].contains(&path) {
                continue;
            }
            for flags in [0, XATTR_CREATE, XATTR_REPLACE] {
                let all = [
                    set_xattr(path, name, "value", flags),
                    get_xattr(path, name, 64),
                    list_xattr(path, 4096),
                    remove_xattr(path, name),
                ];
                world.check("an attribute", kinds(all));
            }
            if path != "/" {
                let all = [
                    lset_xattr(path, name, "value", 0),
                    lget_xattr(path, name, 64),
                    llist_xattr(path, 4096),
                    lremove_xattr(path, name),
                ];
                world.check("an attribute of what is there", kinds(all));
            }
        }
    }
    for flags in [0, 1, 2, 3, 4, 8, 1 << 31] {
        world.check("a new attribute", kinds([set_xattr("f", "user.a", "1", flags), get_xattr("f", "user.a", 9)]));
        world.check(
            "an attribute that is there",
            kinds([
                set_xattr("f", "user.a", "1", 0),
                set_xattr("f", "user.a", "22", flags),
                get_xattr("f", "user.a", 9),
            ]),
        );
    }
}

#[test]
fn values_and_names_have_sizes() {
    sizes(World::new(&["--xattr"]));
    sizes(World::on_disk(&["--xattr"]));
}

fn sizes(mut world: World) {
    for bytes in [0, 1, 2, 255, 256, 3000, 5000, 65_536, 65_537, 70_000] {
        let value = vec![b'v'; bytes];
        world.check(
            "a value",
            kinds([
                set_xattr("f", "user.a", value.clone(), 0),
                get_xattr("f", "user.a", 0),
                get_xattr("f", "user.a", 70_000),
            ]),
        );
    }
    let set = [set_xattr("f", "user.a", "12345", 0).on_host(), set_xattr("f", "user.bb", "", 0).on_host()];
    for room in [0, 1, 4, 5, 6, 15, 16, 17, 65_536, 65_537, 1 << 20] {
        let asked = [
            get_xattr("f", "user.a", room),
            get_xattr("f", "user.bb", room),
            get_xattr("f", "user.n", room),
            list_xattr("f", room),
        ];
        for ask in asked {
            world.check("room for a value", kinds(set.iter().cloned().chain([ask])));
        }
    }
    for bytes in [1, 249, 250, 251, 300] {
        let name = "user.".to_owned() + &"n".repeat(bytes);
        let all = [
            set_xattr("f", name.clone(), "v", 0),
            get_xattr("f", name.clone(), 9),
            list_xattr("f", 4096),
            remove_xattr("f", name),
        ];
        world.check("a name", kinds(all));
    }
    let names = |number: usize| (0..number).map(|at| set_xattr("f", format!("user.{at:04}"), "v", 0));
    world.check("many names", kinds(names(50).chain([list_xattr("f", 0), list_xattr("f", 60_000)])));
    // virtiofsd panics on names that are not UTF-8.
    let any = [
        set_xattr("f", "user.\u{e9} \n", &b"\0\xff\0"[..], 0),
        get_xattr("f", "user.\u{e9} \n", 9),
        list_xattr("f", 99),
    ];
    world.check("any bytes", kinds(any));
    world.check(
        "what the host sets",
        kinds([set_xattr("f", "user.a", "x", 0).on_host(), get_xattr("f", "user.a", 9), list_xattr("f", 99)]),
    );
}

#[test]
fn attributes_are_for_who_may_use_them() {
    let mut world = World::new(&["--posix-acl", "--modcaps=+sys_admin"]);
    let names = ["user.a", "trusted.a", "security.a"];
    for user in [ROOT, OWNER, MEMBER, STRANGER] {
        for path in ["f", "d", "p", "s", "c", "l"] {
            for permissions in [0o600, 0o640, 0o604, 0o200, 0o020, 0o1777, 0o777] {
                for name in names {
                    let owned = [
                        set_xattr(path, name, "before", 0).on_host(),
                        chown(path, Some(1000), Some(1000)).on_host(),
                        chmod(path, permissions).on_host(),
                    ];
                    // What the host does not do is not done.
                    let owned = if name == "user.a" && !["f", "d", "l"].contains(&path) {
                        owned[1..].to_vec()
                    } else {
                        owned.to_vec()
                    };
                    let attempts = [
                        get_xattr(path, name, 99),
                        set_xattr(path, name, "after", 0),
                        remove_xattr(path, name),
                        list_xattr(path, 999),
                    ];
                    for attempt in attempts {
                        world.check("an attempt", kinds(owned.iter().cloned().chain([attempt.by(user)])));
                    }
                }
            }
        }
    }
}

#[test]
fn a_server_without_attributes_has_none() {
    const EOPNOTSUPP: virtio_fs::Errno = virtio_fs::Errno::EOPNOTSUPP;
    let mut world = World::new(&[]);
    world.check(
        "no attribute",
        kinds([
            set_xattr("f", "user.a", "v", 0).but_fails(EOPNOTSUPP),
            get_xattr("f", "user.a", 9).but_fails(EOPNOTSUPP),
            list_xattr("f", 9).but_fails(EOPNOTSUPP),
            remove_xattr("f", "user.a").but_fails(EOPNOTSUPP),
        ]),
    );
}
