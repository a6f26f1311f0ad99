//! Ranges of files.

use virtio_fs_conformance::World;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;

/// The file `f` of 64 KiB, open for reading and writing; data, but for a hole from 16 KiB to 32 KiB.
fn with_hole(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let page = |at: u64| "0123456789abcdef".repeat(1024)[at as usize % 16..].to_owned();
    let made = [
        create(1, "f", O_RDWR, 0o644),
        write(1, 0, page(1)),
        write(1, 32 << 10, page(2)),
        write(1, 48 << 10, page(3)),
        ftruncate(1, 64 << 10),
    ];
    made.into_iter().chain(steps).collect()
}

const KIB: u64 = 1 << 10;
const LAST: u64 = i64::MAX as u64;

#[test]
fn space_is_allocated_and_freed() {
    let mut world = World::on_disk(&[]);
    let ranges = [
        (0, 4 * KIB),
        (4 * KIB, 4 * KIB),
        (100, 5000),
        (60 * KIB, 8 * KIB),
        (64 * KIB, 4 * KIB),
        (128 * KIB, 4 * KIB),
        (0, 64 * KIB),
        (0, 128 * KIB),
        (0, 0),
        (4 * KIB, 0),
        (LAST, 1),
        (LAST - 1, 1),
        (1, LAST),
        (LAST + 1, 1),
        (0, LAST + 1),
        (u64::MAX, 1),
        (0, u64::MAX),
    ];
    for mode in 0..64 {
        for (offset, length) in ranges {
            // Which of two errors it is, POSIX does not say.
            if offset.max(length) >= LAST - 1 && ![0, 1, 3, 8, 16, 17, 32].contains(&mode) {
                continue;
            }
            let uses = [
                allocate(1, offset, length, mode),
                fstat(1),
                read(1, 0, 200 << 10),
                seek_hole(1, 0),
                seek_data(1, 16 << 10),
            ];
            world.check_at(Layer::Vnode, "a range", with_hole(uses));
        }
    }
    for mode in [0, FALLOC_KEEP_SIZE, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE] {
        world.check(
            "a range by path",
            with_hole([allocate(1, 4 * KIB, 9 * KIB, mode), read(1, 0, 64 << 10), seek_hole(1, 0)]),
        );
        world.check("a range not open for writing", with_hole([open(2, "f", O_RDONLY), allocate(2, 0, 4 * KIB, mode)]));
        world.check(
            "a range open for appending",
            with_hole([open(2, "f", O_WRONLY | O_APPEND), allocate(2, 0, 4 * KIB, mode)]),
        );
        world.check("a range of an unlinked file", with_hole([unlink("f"), allocate(1, 0, 80 * KIB, mode), fstat(1)]));
    }
    world.check("a flag that means nothing", with_hole([allocate(1, 0, 4 * KIB, 1 << 30), allocate(1, 0, 4 * KIB, 4)]));
}

#[test]
fn holes_are_found() {
    let mut world = World::on_disk(&[]);
    for offset in [
        0,
        1,
        16 * KIB - 1,
        16 * KIB,
        20 * KIB,
        32 * KIB,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 1,
        LAST,
        LAST + 1,
        u64::MAX,
    ] {
        world.check("in a file with a hole", with_hole([seek_data(1, offset), seek_hole(1, offset)]));
        world
            .check("in an empty file", vec![create(1, "f", O_RDWR, 0o644), seek_data(1, offset), seek_hole(1, offset)]);
        let all_hole =
            [create(1, "f", O_RDWR, 0o644), ftruncate(1, 64 * KIB), seek_data(1, offset), seek_hole(1, offset)];
        world.check("in a file that is a hole", all_hole.into());
        world.check(
            "in what is not open for reading",
            with_hole([open(2, "f", O_WRONLY), seek_data(2, offset), seek_hole(2, offset)]),
        );
    }
}

#[test]
fn ranges_are_copied() {
    let mut world = World::on_disk(&[]);
    let both = |steps: Vec<Step>| {
        with_hole([create(2, "g", O_RDWR, 0o644), write(2, 0, "here before")].into_iter().chain(steps))
    };
    let places = [0, 5, 4 * KIB, 60 * KIB, 64 * KIB, 70 * KIB, LAST - 1, LAST, LAST + 1];
    for from in places {
        for to in places {
            for length in [0, 1, 10 * KIB, 1 << 30, LAST] {
                // Which of two errors it is, and whether copying nothing is one, POSIX does not say.
                if to >= LAST - 1 && (length == 0 || from >= LAST) {
                    continue;
                }
                let copy = [copy_range(1, from, 2, to, length), fstat(2), read(2, 0, 100 << 10)];
                world.check_at(Layer::Vnode, "a copy", both(copy.into()));
            }
        }
    }
    for (from, to, length) in
        [(0, 4096, 4096), (0, 4096, 4097), (4096, 0, 4096), (4096, 0, 4097), (0, 0, 1), (0, 0, 0), (5, 5, 9)]
    {
        let one_handle = [copy_range(1, from, 1, to, length), read(1, 0, 70 << 10)];
        world.check("a copy within a file", with_hole(one_handle));
        let two_handles = [open(2, "f", O_RDWR), copy_range(1, from, 2, to, length), read(2, 0, 70 << 10)];
        world.check("a copy within a file, by two handles", with_hole(two_handles));
    }
    world.check("a copy by path", both(vec![copy_range(1, 0, 2, 100, 20 * KIB), read(2, 0, 30 << 10)]));
    for flags in [O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_APPEND] {
        world.check(
            "a copy to what is not for it",
            both(vec![open(3, "g", flags), copy_range(1, 0, 3, 0, 10), read(2, 0, 30)]),
        );
        world.check(
            "a copy from what is not for it",
            both(vec![open(3, "f", flags), copy_range(3, 0, 2, 0, 10), read(2, 0, 30)]),
        );
    }
    world.check(
        "a copy of unlinked files",
        both(vec![unlink("f"), unlink("g"), copy_range(1, 0, 2, 0, 99), read(2, 0, 200)]),
    );
}
