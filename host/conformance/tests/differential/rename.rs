//! Moving names.

use virtio_fs_conformance::World;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;

/// A tree with one of each kind: `d` is empty, `e` is not.
fn tree() -> Vec<Step> {
    vec![
        mkdir("d", 0o755).on_host(),
        mkdir("e", 0o755).on_host(),
        file("e/x").on_host(),
        file("f").on_host(),
        create(0, "g", O_WRONLY, 0o600).on_host(),
        write(0, 0, "content"),
        close(0),
        symlink("f", "l").on_host(),
        link("f", "h").on_host(),
        fifo("p").on_host(),
    ]
}

const NAMES: [&str; 10] = ["d", "e", "f", "g", "h", "l", "p", "n", "d/n", "e/x"];

#[test]
fn every_kind_is_moved_onto_every_kind() {
    let mut world = World::new(&[]);
    for flags in [0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT, RENAME_NOREPLACE | RENAME_WHITEOUT] {
        for from in NAMES {
            for to in NAMES {
                let mut script = tree();
                script.extend([rename_with(from, to, flags), list(""), lstat(from), lstat(to)]);
                world.check("a name is moved", script);
            }
        }
    }
}

#[test]
fn impossible_moves_are_refused() {
    let mut world = World::new(&[]);
    let with = |steps: &[Step]| tree().into_iter().chain(steps.iter().cloned()).collect::<Vec<_>>();
    for flags in [0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT] {
        world.check("a directory into itself", with(&[rename_with("d", "d/n", flags)]));
        world.check("a directory into itself, deeper", with(&[mkdir("e/s", 0o755), rename_with("e", "e/s/n", flags)]));
        world.check("a directory onto its ancestor", with(&[mkdir("e/s", 0o755), rename_with("e/s", "e", flags)]));
        world.check("a missing name", with(&[rename_with("n", "m", flags)]));
        world.check("a missing parent", with(&[rename_with("f", "q/n", flags), rename_with("q/n", "f", flags)]));
        world.check("a parent that is a file", with(&[rename_with("f", "g/n", flags), rename_with("g/n", "f", flags)]));
        let long = "n".repeat(256);
        world.check("names too long", with(&[rename_with("f", &long[..], flags), rename_with(&long[..], "f", flags)]));
        world.check(
            "the longest name",
            with(&[rename_with("f", &long[1..], flags), rename_with(&long[1..], "f", flags)]),
        );
        world.check("what the host removed", with(&[unlink("f").on_host(), rename_with("f", "n", flags)]));
        world.check("onto what the host made", with(&[file("n").on_host(), rename_with("f", "n", flags)]));
    }
    for flags in [3, 6, 7, 8, 16, 1 << 31, u32::MAX] {
        world.check("flags that exclude each other or mean nothing", with(&[rename_with("f", "n", flags), list("")]));
    }
}

#[test]
fn what_is_moved_stays_what_it_is() {
    let mut world = World::new(&[]);
    world.check(
        "an open file is moved",
        vec![
            create(1, "f", O_RDWR, 0o644),
            write(1, 0, "one"),
            rename("f", "g"),
            write(1, 3, "two"),
            read(1, 0, 9),
            fstat(1),
        ],
    );
    world.check(
        "an open file is moved over",
        vec![
            create(1, "f", O_RDWR, 0o644),
            file("g"),
            rename("g", "f"),
            write(1, 0, "lost"),
            read(1, 0, 9),
            fstat(1),
            stat("f"),
        ],
    );
    world.check(
        "a directory is moved with what is in it",
        vec![mkdir("d", 0o755), file("d/f"), mkdir("e", 0o755), rename("d", "e/d"), stat("e/d/f"), stat("e"), stat("")],
    );
    world.check(
        "directories change places",
        vec![
            mkdir("d", 0o755),
            file("d/f"),
            mkdir("e", 0o711),
            rename_with("d", "e", RENAME_EXCHANGE),
            stat("e/f"),
            stat("d"),
        ],
    );
}
