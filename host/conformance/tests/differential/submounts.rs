//! File systems within the share.

use rustix::mount::{MountFlags, mount};
use virtio_fs::Errno;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{STRANGER, World, WorldOptions};

/// A world with another file system at `sub`.
fn world(arguments: &[&'static str]) -> World {
    let options = WorldOptions { arguments: arguments.to_vec(), ..WorldOptions::default() };
    World::prepared(&options, |folder| {
        let sub = folder.join("sub");
        std::fs::create_dir(&sub).expect("a folder to mount on");
        mount("tmpfs", &sub, "tmpfs", MountFlags::empty(), c"size=16m,mode=755").expect("a tmpfs");
    })
}

fn check_all(world: &mut World) {
    let made = [
        create(0, "f", O_RDWR, 0o644),
        write(0, 0, "content"),
        file("sub/g"),
        mkdir("d", 0o755),
        mkdir("sub/e", 0o755),
        symlink("../f", "sub/l"),
        symlink("sub/g", "m"),
    ];
    let attempts = vec![
        vec![link("f", "sub/n")],
        vec![link("sub/g", "n")],
        vec![link("sub/g", "sub/n")],
        vec![rename("f", "sub/n")],
        vec![rename("sub/g", "n")],
        vec![rename("d", "sub/d")],
        vec![rename("sub/g", "sub/n")],
        vec![rename("f", "sub/g")],
        vec![rename_with("f", "sub/g", RENAME_EXCHANGE)],
        vec![rename_with("f", "sub/g", RENAME_NOREPLACE)],
        vec![rename_with("f", "sub/n", RENAME_NOREPLACE)],
        vec![rename("missing", "sub/n")],
        vec![rename("sub/missing", "n")],
        vec![link("missing", "sub/n")],
        vec![link("f", "sub/g")],
        vec![stat("sub")],
        vec![stat("sub/.."), list("sub"), list("")],
        vec![stat("sub/l"), stat("m"), lstat("m")],
        vec![sync("/"), sync("/sub")],
        vec![unlink("sub/g"), rmdir("sub/e"), mkdir("sub/o", 0o755), list("sub")],
    ];
    for attempt in attempts {
        world.check("two file systems", made.iter().cloned().chain(attempt).collect());
    }
    world.check("a place where something is mounted", vec![rmdir("sub"), rename("sub", "bus"), unlink("sub")]);
}

#[test]
fn submounts_are_crossed_and_kept_apart() {
    let mut world = world(&["--announce-submounts"]);
    check_all(&mut world);
    // Whether they are on one file system is asked before who may do it.
    for attempt in [rename("f", "sub/n"), link("f", "sub/n"), link("f", "sub/g")] {
        world.check("two file systems", vec![file("f"), file("sub/g"), attempt.by(STRANGER)]);
    }
    let fs = world.fs();
    fs.write("f", "content").unwrap();
    // The driver copies by hand what Linux does not copy.
    assert_eq!(fs.copy("f", "sub/g").unwrap(), 7);
    assert_eq!(fs.read("sub/g").unwrap(), b"content");
    let device = |path: &str| fs.metadata(path).unwrap().device();
    assert_eq!(device("/"), device("f"));
    assert_eq!(device("sub"), device("sub/g"));
    assert_ne!(device("f"), device("sub/g"));
    assert_eq!(fs.rename("f", "sub/f").unwrap_err().errno(), Errno::EXDEV);
}

#[test]
fn submounts_that_are_not_announced_are_one_device() {
    let mut world = world(&["--no-announce-submounts"]);
    check_all(&mut world);
    let fs = world.fs();
    fs.write("sub/g", "").unwrap();
    assert_eq!(fs.metadata("/").unwrap().device(), fs.metadata("sub/g").unwrap().device());
}
