//! Open files.

use virtio_fs::Errno;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{OWNER, ROOT, STRANGER, Value, World};

/// The file `f` of ten bytes.
fn ten_bytes() -> Vec<Step> {
    vec![create(0, "f", O_WRONLY, 0o644).on_host(), write(0, 0, "0123456789"), close(0)]
}

fn with(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    ten_bytes().into_iter().chain(steps).collect()
}

#[test]
fn files_open_as_their_flags_say() {
    let mut world = World::new(&[]);
    for access in [O_RDONLY, O_WRONLY, O_RDWR] {
        for extra in [0, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_NOFOLLOW, O_DIRECTORY, O_NOATIME, O_APPEND | O_TRUNC] {
            let flags = access | extra;
            let uses = [read(1, 2, 4), write(1, 3, "abc"), read(1, 0, 20), ftruncate(1, 12), fstat(1), fsync(1, false)];
            world.check("an existing file is used", with([open(1, "f", flags)].into_iter().chain(uses.clone())));
            // Linux makes the file before it finds out that it is no directory, or refuses both at once, by version.
            if extra & O_DIRECTORY == 0 {
                let uses = [create(1, "n", flags, 0o640)].into_iter().chain(uses.clone());
                world.check("a new file is used", uses.collect());
                world.check(
                    "a file is used that exists",
                    with([create(1, "f", flags, 0o640)].into_iter().chain(uses_of(1))),
                );
                world.check("a file may not exist", with([create(1, "f", flags | O_EXCL, 0o640), stat("f")]));
                world.check("a new file may not exist", vec![create(1, "f", flags | O_EXCL, 0o640), stat("f")]);
            }
        }
    }
    world.check("a missing file", vec![open(1, "f", O_RDWR), open(1, "p/f", O_RDWR), create(1, "p/f", O_RDWR, 0o644)]);
    world.check("a file below a file", with([open(1, "f/x", O_RDONLY), create(1, "f/x", O_WRONLY, 0o644)]));
    let long = "n".repeat(256);
    world.check("a name too long", vec![open(1, &long[..], O_RDONLY), create(1, &long[..], O_WRONLY, 0o644)]);
    world.check("the longest name", vec![create(1, &long[1..], O_WRONLY, 0o644), write(1, 0, "x"), list("")]);
    world.check("a directory is not written", vec![mkdir("d", 0o755), open(1, "d", O_WRONLY), open(1, "d", O_RDWR)]);
    world.check("a directory is not made as a file", vec![mkdir("d", 0o755), create(1, "d", O_WRONLY, 0o644)]);
    world.check("a directory exists", vec![mkdir("d", 0o755), create(1, "d", O_WRONLY | O_EXCL, 0o644)]);
    // A directory is open by `opendir` only.
    world.check("a directory is no file", vec![mkdir("d", 0o755), open(1, "d", O_RDONLY).but_fails(Errno::EISDIR)]);
    world.check("what a link names is opened", with([symlink("f", "l"), open(1, "l", O_RDONLY), read(1, 0, 20)]));
    world.check("a link is not followed", with([symlink("f", "l"), open(1, "l", O_RDONLY | O_NOFOLLOW)]));
    world.check("a link to nothing", vec![symlink("x", "l"), open(1, "l", O_RDONLY), open(1, "l", O_NOFOLLOW)]);
    world.check("a link is in the way", vec![symlink("x", "l"), create(1, "l", O_WRONLY | O_EXCL, 0o644), list("")]);
    world.check("a file at a link's end", vec![symlink("x", "l"), create(1, "l", O_WRONLY, 0o644), list("")]);
    world.check("a file at a link's end exists", with([symlink("f", "l"), create(1, "l", O_WRONLY | O_TRUNC, 0o644)]));
    world.check("a link to itself", vec![symlink("l", "l"), open(1, "l", O_RDONLY), create(1, "l", O_WRONLY, 0o644)]);
    // A fifo of the host means nothing to others than its processes.
    let opened =
        [open(1, "p", O_RDWR).but_fails(Errno::EOPNOTSUPP), create(1, "p", O_RDWR, 0o644).but_fails(Errno::EOPNOTSUPP)];
    world.check("a fifo is no file", [fifo("p")].into_iter().chain(opened).collect());
    for permissions in [0, 0o7777, 0o4755, 0o2755, 0o2644, 0o1644] {
        world.check("mode bits of a file", vec![create(1, "f", O_WRONLY, permissions), fstat(1)]);
        let umask = ROOT.with_umask(0o137);
        world.check("umask of a file", vec![create(1, "f", O_WRONLY, permissions).by(umask), fstat(1)]);
        world.check(
            "mode bits of a file that is open",
            vec![create(1, "f", O_RDWR | O_EXCL, permissions), write(1, 0, "x")],
        );
    }
    world.check(
        "a file without permissions is open",
        vec![
            chmod("", 0o777),
            create(1, "f", O_RDWR, 0).by(OWNER),
            write(1, 0, "x"),
            read(1, 0, 1),
            open(2, "f", O_RDONLY).by(OWNER),
        ],
    );
}

fn uses_of(slot: Slot) -> [Step; 4] {
    [read(slot, 2, 4), write(slot, 3, "abc"), fstat(slot), read(slot, 0, 20)]
}

#[test]
fn reads_and_writes_reach_where_they_should() {
    let mut world = World::new(&[]);
    let last = i64::MAX as u64;
    for offset in [0, 1, 9, 10, 11, 4096, 1 << 20, 1 << 40, last + 1, u64::MAX] {
        for length in [0, 1, 5, 10, 4097] {
            world.check("a read", with([open(1, "f", O_RDONLY), read(1, offset, length), stat("f")]));
        }
    }
    for offset in [0, 1, 9, 10, 11, 4095, 4096, 1 << 20, (1 << 20) - 1, last + 1, u64::MAX] {
        for data in ["", "a", "abcde", "abcdefghijkl"] {
            world.check("a write", with([open(1, "f", O_RDWR), write(1, offset, data), fstat(1), read(1, 0, 30)]));
        }
    }
    // Where the largest offset is in the way, POSIX cuts reads off and refuses writes with EFBIG; Linux says EINVAL.
    for offset in [last - 1, last] {
        let nothing = Ok(Value::Bytes("".into()));
        world.check("a read up to the largest offset", with([open(1, "f", O_RDONLY), read(1, offset, 9).but(nothing)]));
    }
    let too_far = write(1, last, "abc").but_fails(Errno::EFBIG);
    world.check("a write at the largest offset", with([open(1, "f", O_RDWR), too_far, fstat(1)]));
    // Beyond the largest file of the host's file system.
    world.check("a write too far", with([open(1, "f", O_RDWR), write(1, 1 << 50, "x"), fstat(1)]));
    for megabytes in [1, 2, 3] {
        for more in [-1_i64, 0, 1] {
            let length = ((megabytes << 20) + more) as usize;
            let data: Vec<_> = (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
            world.check(
                "a large transfer",
                vec![
                    create(1, "f", O_RDWR, 0o644),
                    write(1, 7, data),
                    read(1, 0, length + 20),
                    read(1, 9, length),
                    fstat(1),
                ],
            );
        }
    }
    world.check(
        "two handles see the same",
        with([
            open(1, "f", O_RDWR),
            open(2, "f", O_RDWR),
            write(1, 0, "one"),
            read(2, 0, 10),
            write(2, 5, "two"),
            read(1, 0, 10),
        ]),
    );
    world.check(
        "two handles append",
        with([
            open(1, "f", O_RDWR | O_APPEND),
            open(2, "f", O_RDWR | O_APPEND),
            write(1, 0, "one"),
            write(2, 0, "two"),
            write(1, 3, "three"),
            write(2, 99, "four"),
            read(1, 0, 99),
        ]),
    );
    world.check(
        "the host writes meanwhile",
        with([
            open(1, "f", O_RDWR),
            open(2, "f", O_RDWR | O_APPEND).on_host(),
            write(2, 0, "host"),
            read(1, 0, 99),
            write(1, 12, "guest"),
            write(2, 0, "again"),
            read(1, 0, 99),
            fstat(1),
        ]),
    );
    world.check(
        "the host appends meanwhile",
        with([
            open(1, "f", O_RDWR | O_APPEND),
            open(2, "f", O_RDWR).on_host(),
            write(2, 10, "host"),
            write(1, 0, "guest"),
            read(1, 0, 99),
        ]),
    );
    world.check(
        "the host truncates meanwhile",
        with([
            open(1, "f", O_RDWR),
            truncate("f", 3).on_host(),
            read(1, 0, 99),
            fstat(1),
            write(1, 6, "x"),
            read(1, 0, 99),
        ]),
    );
}

#[test]
fn sizes_are_set() {
    let mut world = World::new(&[]);
    let last = i64::MAX as u64;
    for size in [0, 5, 10, 11, 4096, 1 << 30, 1 << 50, last, last + 1, u64::MAX] {
        world.check("a file's size", with([truncate("f", size), stat("f")]));
        world.check("an open file's size", with([open(1, "f", O_RDWR), ftruncate(1, size), fstat(1), read(1, 0, 20)]));
        world.check("the size of what is not written", with([open(1, "f", O_RDONLY), ftruncate(1, size), fstat(1)]));
    }
    world.check("a missing file's size", vec![truncate("f", 0), truncate("p/f", 0)]);
    world.check("a directory's size", vec![mkdir("d", 0o755), truncate("d", 0), truncate("d", 5)]);
    world.check("a fifo's size", vec![fifo("p"), truncate("p", 0), truncate("p", 5)]);
    world.check("a size through a link", with([symlink("f", "l"), truncate("l", 3), stat("f")]));
    world.check("a size through a link to nothing", vec![symlink("x", "l"), truncate("l", 3)]);
    world.check(
        "what is cut off does not come back",
        with([truncate("f", 3), truncate("f", 20), open(1, "f", O_RDONLY), read(1, 0, 30)]),
    );
}

#[test]
fn files_outlive_their_names() {
    let mut world = World::new(&[]);
    let uses = [
        fstat(1),
        write(1, 4, "after"),
        read(1, 0, 30),
        ftruncate(1, 6),
        fchmod(1, 0o600),
        fchown(1, Some(7), Some(8)),
        fset_times(1, Time::At(7, 8), Time::At(9, 10)),
        fsync(1, false),
        fsync(1, true),
        fstat(1),
        read(1, 0, 30),
    ];
    world.check("an unlinked file", with([open(1, "f", O_RDWR), unlink("f")].into_iter().chain(uses.clone())));
    world.check(
        "a file that the host unlinked",
        with([open(1, "f", O_RDWR), unlink("f").on_host()].into_iter().chain(uses.clone())),
    );
    world.check(
        "a file that another replaced",
        with([open(1, "f", O_RDWR), file("g"), rename("g", "f")].into_iter().chain(uses.clone())),
    );
    world.check(
        "a file that is made anew",
        with([
            open(1, "f", O_RDWR),
            unlink("f"),
            create(2, "f", O_RDWR, 0o644),
            write(2, 0, "new"),
            read(1, 0, 20),
            read(2, 0, 20),
        ]),
    );
    world.check(
        "a file with another name",
        with([open(1, "f", O_RDWR), link("f", "g"), unlink("f"), fstat(1), write(1, 0, "x")]),
    );
    world.check(
        "modes count at opening only",
        with([
            open(1, "f", O_RDWR),
            chmod("f", 0),
            write(1, 0, "x"),
            read(1, 0, 10),
            open(2, "f", O_RDONLY).by(STRANGER),
        ]),
    );
}

#[test]
fn what_is_synchronised_stays() {
    let mut world = World::new(&[]);
    for access in [O_RDONLY, O_WRONLY, O_RDWR] {
        world.check("a file", with([open(1, "f", access), fsync(1, false), fsync(1, true), close(1)]));
    }
    world.check("a directory", vec![mkdir("d", 0o755), file("d/f"), sync_dir("d"), sync_dir("")]);
    world.check("no directory", with([sync_dir("f"), sync_dir("missing")]));
    world.check("the file system", with([sync("/"), sync(".")]));
}
