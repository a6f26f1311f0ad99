//! Attributes.

use virtio_fs::{Errno, FileType};
use virtio_fs_conformance::World;
use virtio_fs_conformance::step::Time::{At, Now, Omit};
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;

/// One of each kind, named by its letter.
fn kinds(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let made = [
        create(0, "f", O_WRONLY, 0o640).on_host(),
        write(0, 0, "0123456789"),
        close(0),
        mkdir("d", 0o750).on_host(),
        fifo("p").on_host(),
        mknod("s", FileType::Socket, 0o600, 0).on_host(),
        mknod("c", FileType::CharDevice, 0o600, 0x103).on_host(),
        mknod("b", FileType::BlockDevice, 0o600, 0x700).on_host(),
        symlink("f", "l").on_host(),
        symlink("x", "m").on_host(),
    ];
    made.into_iter().chain(steps).collect()
}

const UTIME_NOW: u32 = (1 << 30) - 1;
const UTIME_OMIT: u32 = (1 << 30) - 2;

const KINDS: [&str; 8] = ["f", "d", "p", "s", "c", "b", "l", "m"];

#[test]
fn attributes_are_those_of_the_host() {
    let mut world = World::new(&[]);
    for path in KINDS.into_iter().chain(["missing", "f/x", ""]) {
        world.check("attributes", kinds([stat(path), access(path, F_OK), access(path, R_OK), access(path, 7)]));
        if !path.is_empty() {
            world.check("attributes of what is there", kinds([lstat(path)]));
        }
    }
}

#[test]
fn mode_bits_are_set() {
    let mut world = World::new(&[]);
    for path in KINDS.into_iter().chain(["missing", "f/x"]) {
        for permissions in [0, 0o644, 0o777, 0o7777, 0o4711, 0o2755, 0o2644, 0o1755] {
            world.check("mode bits", kinds([chmod(path, permissions), stat(path)]));
            if path == "l" || path == "m" {
                world.check("mode bits of a link itself", kinds([lchmod(path, permissions), lstat(path)]));
            }
        }
    }
    for permissions in [0, 0o7777, 0o2644] {
        world.check("mode bits of an open file", kinds([open(1, "f", O_RDONLY), fchmod(1, permissions), fstat(1)]));
    }
    world.check("the root's mode bits", kinds([chmod("/", 0o711), stat("/")]));
}

#[test]
fn owners_are_set() {
    let mut world = World::new(&[]);
    let owners =
        [(Some(1), Some(2)), (Some(1), None), (None, Some(2)), (None, None), (Some(u32::MAX - 1), Some(70_000))];
    for path in KINDS.into_iter().chain(["missing", "f/x"]) {
        for (uid, gid) in owners {
            world.check("an owner", kinds([chown(path, uid, gid), stat(path), lstat(path)]));
            world.check("an owner of a link itself", kinds([lchown(path, uid, gid), stat(path), lstat(path)]));
        }
        world.check(
            "an owner costs set-id bits",
            kinds([chmod(path, 0o6755), chown(path, Some(1), Some(2)), stat(path)]),
        );
        world.check(
            "an owner costs not all set-id bits",
            kinds([chmod(path, 0o6644), chown(path, Some(1), None), stat(path)]),
        );
    }
    for (uid, gid) in owners {
        world.check("an owner of an open file", kinds([open(1, "f", O_RDONLY), fchown(1, uid, gid), fstat(1)]));
    }
}

#[test]
fn times_are_set() {
    let mut world = World::new(&[]);
    let times = [
        (At(1, 2), At(3, 4)),
        (At(0, 0), At(0, 0)),
        (At(-1, 0), At(-1, 999_999_999)),
        (At(-86_400 * 365, 1), Omit),
        (Omit, At(5, 999_999_999)),
        (At(1_000_000_000, 5), Omit),
        (Omit, Omit),
        (At(1 << 33, 7), At((1 << 33) + 1, 7)),
        (Now, At(8, 8)),
        (At(8, 8), Now),
        (Now, Omit),
        (Omit, Now),
        (Now, Now),
        (At(1, 1_000_000_000), Omit),
        (At(1, u32::MAX), At(1, 1)),
    ];
    let old = [set_times("f", At(11, 0), At(12, 0)).on_host(), set_times("d", At(13, 0), At(14, 0)).on_host()];
    for (accessed, modified) in times {
        for path in KINDS.into_iter().chain(["missing", "f/x"]) {
            // Linux does not look where the path leads when there is nothing to set.
            if (accessed, modified) == (Omit, Omit) && !["f", "d", "l"].contains(&path) {
                continue;
            }
            let set = old.clone().into_iter().chain([set_times(path, accessed, modified), stat(path)]);
            world.check("times", kinds(set));
            world.check("times of a link itself", kinds([set_link_times(path, accessed, modified), lstat(path)]));
        }
        let open_file = [open(1, "f", O_RDONLY), fset_times(1, accessed, modified), fstat(1)];
        world.check("times of an open file", kinds(old.clone().into_iter().chain(open_file)));
    }
    // A date is no word, as these are for `utimensat`: "now", and "as it is".
    for word in [UTIME_NOW, UTIME_OMIT] {
        for (accessed, modified) in
            [(At(1, word), Omit), (Omit, At(1, word)), (At(1, word), Now), (At(1, word), At(1, word))]
        {
            let set = [set_times("f", accessed, modified).but_fails(Errno::EINVAL), stat("f")];
            world.check("a date that is none", kinds(old.iter().cloned().chain(set)));
        }
    }
    let is_old = old.to_vec();
    let after = |steps: Vec<Step>| kinds(is_old.iter().cloned().chain(steps));
    world.check("a write changes a time", after(vec![open(1, "f", O_WRONLY), write(1, 0, "x"), close(1), stat("f")]));
    world.check(
        "an empty write changes none",
        after(vec![open(1, "f", O_WRONLY), write(1, 0, ""), close(1), stat("f")]),
    );
    world.check("truncating changes a time", after(vec![truncate("f", 3), stat("f")]));
    world.check("truncating to what it is", after(vec![truncate("f", 10), stat("f")]));
    world.check("opening with O_TRUNC changes a time", after(vec![open(1, "f", O_WRONLY | O_TRUNC), stat("f")]));
    world.check("a new name changes a directory's time", after(vec![file("d/x"), stat("d")]));
    world.check("modes change no such time", after(vec![chmod("f", 0o600), chown("f", Some(3), Some(3)), stat("f")]));
}
