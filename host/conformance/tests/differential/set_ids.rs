//! Set-user-id and set-group-id bits, and what costs them.

use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{MEMBER, OWNER, ROOT, STRANGER, World};

const PERMISSIONS: [u16; 8] = [0o6777, 0o4777, 0o2777, 0o6766, 0o2766, 0o6666, 0o7777, 0o2676];

/// The owner's file `f` with these permissions.
fn with(permissions: u16, steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let made = [
        create(0, "f", O_WRONLY, 0o644).on_host(),
        write(0, 0, "content"),
        close(0),
        chown("f", Some(1000), Some(1000)).on_host(),
        chmod("f", permissions).on_host(),
        chmod("", 0o777).on_host(),
    ];
    made.into_iter().chain(steps).collect()
}

fn changes_of_content_cost_set_ids(arguments: &[&'static str]) {
    let mut world = World::new(arguments);
    for permissions in PERMISSIONS {
        for user in [ROOT, OWNER, MEMBER, STRANGER] {
            // virtiofsd with KILLPRIV takes set-group-id from members of the group, too, where it is no set-id bit.
            let executes = permissions & 0o2010 != 0o2000;
            if !executes && !arguments.is_empty() && (user == OWNER || user == MEMBER) {
                continue;
            }
            let by = |step: Step| step.by(user);
            let after = [fstat(1), stat("f")];
            let open_file = |flags: u32, steps: Vec<Step>| {
                with(permissions, [by(open(1, "f", flags))].into_iter().chain(steps).chain(after.clone()))
            };
            world.check("opening costs none", open_file(O_RDWR, vec![]));
            world.check("reading costs none", open_file(O_RDWR, vec![read(1, 0, 3)]));
            world.check("a write", open_file(O_WRONLY, vec![write(1, 0, "x")]));
            world.check("two writes", open_file(O_WRONLY, vec![write(1, 0, "x"), fstat(1), write(1, 1, "y")]));
            world.check("an empty write", open_file(O_WRONLY, vec![write(1, 0, "")]));
            world.check("appending", open_file(O_WRONLY | O_APPEND, vec![write(1, 0, "x")]));
            world.check("truncating", with(permissions, [by(truncate("f", 3)), stat("f")]));
            world.check("truncating to its size", with(permissions, [by(truncate("f", 7)), stat("f")]));
            world.check("truncating an open file", open_file(O_RDWR, vec![ftruncate(1, 3)]));
            world.check("opening with O_TRUNC", open_file(O_WRONLY | O_TRUNC, vec![]));
            world.check("making what exists", with(permissions, [by(create(1, "f", O_WRONLY, 0o600)), stat("f")]));
            world.check(
                "making what exists with O_TRUNC",
                with(permissions, [by(create(1, "f", O_RDWR | O_TRUNC, 0o600)), stat("f")]),
            );
            world.check("allocating", open_file(O_WRONLY, vec![allocate(1, 0, 9000, 0)]));
            let copy = vec![by(create(2, "g", O_RDWR, 0o600)), write(2, 0, "copied"), copy_range(2, 0, 1, 0, 5)];
            world.check("copying", open_file(O_WRONLY, copy));
            world.check(
                "bits that come back",
                open_file(O_WRONLY, vec![write(1, 0, "x"), chmod("f", permissions), write(1, 1, "y")]),
            );
        }
    }
}

#[test]
fn changes_of_content_cost_set_ids_by_default() {
    changes_of_content_cost_set_ids(&[]);
}

#[test]
fn changes_of_content_cost_set_ids_with_killpriv() {
    changes_of_content_cost_set_ids(&["--killpriv-v2"]);
}

fn changes_of_owners_cost_set_ids(arguments: &[&'static str]) {
    let mut world = World::new(arguments);
    for permissions in PERMISSIONS {
        for user in [ROOT, OWNER, MEMBER, STRANGER] {
            for (uid, gid) in [(Some(1000), None), (None, Some(1000)), (Some(1001), None), (None, Some(2000))] {
                let by = |step: Step| step.by(user);
                world.check("an owner", with(permissions, [by(chown("f", uid, gid)), stat("f")]));
                world.check(
                    "an owner of an open file",
                    with(permissions, [by(open(1, "f", O_RDONLY)), fchown(1, uid, gid), fstat(1)]),
                );
                let directory = [
                    mkdir("d", 0o755).on_host(),
                    chown("d", Some(1000), Some(1000)).on_host(),
                    chmod("d", permissions).on_host(),
                ];
                world.check(
                    "an owner of a directory",
                    directory.into_iter().chain([by(chown("d", uid, gid)), stat("d")]).collect(),
                );
            }
        }
    }
}

#[test]
fn changes_of_owners_cost_set_ids_by_default() {
    changes_of_owners_cost_set_ids(&[]);
}

#[test]
fn changes_of_owners_cost_set_ids_with_killpriv() {
    changes_of_owners_cost_set_ids(&["--killpriv-v2"]);
}

#[test]
fn set_ids_are_for_who_may_set_them() {
    let mut world = World::new(&[]);
    for group in [1000, 2000, 5] {
        for user in [ROOT, OWNER, MEMBER, STRANGER] {
            for permissions in PERMISSIONS {
                let owner = [chown("f", Some(user.uid), Some(group)).on_host(), chmod("f", 0o644).on_host()];
                let set = [chmod("f", permissions).by(user), stat("f")];
                world.check("mode bits of a file", with(0o644, owner.into_iter().chain(set)));
                let directory = [mkdir("d", 0o755).on_host(), chown("d", Some(user.uid), Some(group)).on_host()];
                let set = [chmod("d", permissions).by(user), stat("d")];
                world.check("mode bits of a directory", directory.into_iter().chain(set).collect());
            }
        }
    }
}
