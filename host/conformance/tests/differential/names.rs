//! Making, finding and removing names.

use virtio_fs::{Errno, FileType};
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{ROOT, World};

/// The longest name, and one that is too long.
fn longest() -> String {
    "n".repeat(255)
}
fn too_long() -> String {
    "n".repeat(256)
}

#[test]
fn directories_are_made_and_removed() {
    let mut world = World::new(&[]);
    world.check("a directory is made", vec![mkdir("d", 0o755), stat("d"), list("d"), list("")]);
    world.check(
        "directories count their children",
        vec![mkdir("d", 0o755), mkdir("d/a", 0o700), mkdir("d/b", 0), stat("d")],
    );
    for permissions in [0, 0o7777, 0o1777, 0o2755, 0o4755, 0o111, 0o222, 0o444] {
        world.check("mode bits of a directory", vec![mkdir("d", permissions), lstat("d")]);
        world.check("umask of a directory", vec![mkdir("d", permissions).by(ROOT.with_umask(0o027)), lstat("d")]);
    }
    world.check("a directory exists", vec![mkdir("d", 0o755), mkdir("d", 0o755)]);
    world.check("a file is in the way of a directory", vec![file("f"), mkdir("f", 0o755)]);
    world.check("a link is in the way of a directory", vec![symlink("x", "l"), mkdir("l", 0o755), lstat("x")]);
    world.check("a parent is missing", vec![mkdir("p/d", 0o755)]);
    world.check("a parent is a file", vec![file("f"), mkdir("f/d", 0o755)]);
    world.check("a parent is a fifo", vec![fifo("f"), mkdir("f/d", 0o755)]);
    world.check("the longest name", vec![mkdir(longest(), 0o755), list(""), rmdir(longest())]);
    world.check("a name too long", vec![mkdir(too_long(), 0o755), rmdir(too_long())]);
    world.check(
        "bytes that are no text",
        vec![mkdir(&b"\xff\x01 \n*"[..], 0o755), list(""), rmdir(&b"\xff\x01 \n*"[..])],
    );

    world.check("an empty directory is removed", vec![mkdir("d", 0o755), rmdir("d"), lstat("d"), list("")]);
    world.check("a directory with something in it stays", vec![mkdir("d", 0o755), file("d/f"), rmdir("d"), list("d")]);
    world.check("a missing directory", vec![rmdir("d")]);
    world.check("a file is no directory", vec![file("f"), rmdir("f")]);
    world.check("a link is no directory", vec![mkdir("d", 0o755), symlink("d", "l"), rmdir("l")]);
    world.check("a parent of a removed one is missing", vec![rmdir("p/d")]);
    world.check("a parent of a removed one is a file", vec![file("f"), rmdir("f/d")]);
    world.check(
        "a directory that the host removed",
        vec![mkdir("d", 0o755), rmdir("d").on_host(), stat("d"), rmdir("d")],
    );
    world
        .check("a directory that the host made", vec![mkdir("d", 0o755).on_host(), file("d/f"), list("d"), rmdir("d")]);
}

#[test]
fn files_and_special_files_are_made_and_removed() {
    let mut world = World::new(&[]);
    let kinds = [FileType::Regular, FileType::Fifo, FileType::Socket, FileType::CharDevice, FileType::BlockDevice];
    for kind in kinds {
        world.check(
            "an inode is made",
            vec![mknod("n", kind, 0o644, 0x0103), lstat("n"), list(""), unlink("n"), lstat("n")],
        );
        world.check("all mode bits of an inode", vec![mknod("n", kind, 0o7777, 0x0103), lstat("n")]);
        world.check("umask of an inode", vec![mknod("n", kind, 0o666, 0x0103).by(ROOT.with_umask(0o077)), lstat("n")]);
        world.check("an inode exists", vec![file("n"), mknod("n", kind, 0o644, 0)]);
        world
            .check("a link is in the way of an inode", vec![symlink("x", "n"), mknod("n", kind, 0o644, 0), lstat("x")]);
        world.check("an inode's parent is missing", vec![mknod("p/n", kind, 0o644, 0)]);
        world.check("an inode's parent is none", vec![file("f"), mknod("f/n", kind, 0o644, 0)]);
        world.check("an inode with a name too long", vec![mknod(too_long(), kind, 0o644, 0)]);
        world.check("an inode is no directory", vec![mknod("n", kind, 0o644, 0), list("n")]);
        world.check("a file is in the place of a directory", vec![mknod("n", kind, 0o644, 0), stat("n/x")]);
    }
    for rdev in [0, 0x0101, 0xff0f_ffff, 0xfff0_00ff, u32::MAX] {
        world.check("a device's number", vec![mknod("n", FileType::BlockDevice, 0o600, rdev), lstat("n")]);
    }
    // Linux answers EPERM for a directory and EINVAL for the rest.
    world.check(
        "no directory by mknod",
        vec![mknod("n", FileType::Directory, 0o755, 0).but_fails(Errno::EINVAL), list("")],
    );
    world.check("no link by mknod", vec![mknod("n", FileType::Symlink, 0o755, 0), list("")]);

    world.check("a missing file", vec![unlink("f")]);
    world.check("a directory is not unlinked", vec![mkdir("d", 0o755), unlink("d"), lstat("d")]);
    world.check("a link to a directory is unlinked", vec![mkdir("d", 0o755), symlink("d", "l"), unlink("l"), list("")]);
    world.check("no file below a file", vec![file("f"), unlink("f/x")]);
    world.check("no file with a name too long", vec![unlink(too_long())]);
    world.check("a file that the host removed", vec![file("f"), unlink("f").on_host(), lstat("f"), unlink("f")]);
    world.check("a file that the host made", vec![file("f").on_host(), lstat("f"), unlink("f"), list("")]);
}

#[test]
fn symbolic_links_are_made_and_read() {
    let mut world = World::new(&[]);
    world.check("a link is made", vec![symlink("some/where", "l"), lstat("l"), readlink("l"), list("")]);
    world.check("a link has all permissions", vec![symlink("x", "l").by(ROOT.with_umask(0o077)), lstat("l")]);
    world.check("an absolute link", vec![symlink("/d", "l"), mkdir("d", 0o700), readlink("l"), stat("l")]);
    world.check("a link exists", vec![symlink("x", "l"), symlink("y", "l"), readlink("l")]);
    world.check("a link to nothing", vec![symlink("x", "l"), stat("l"), lstat("l")]);
    world.check("a link without target", vec![symlink("", "l"), list("")]);
    world.check("the longest target", vec![symlink("t".repeat(4095), "l"), readlink("l"), lstat("l")]);
    world.check("a target too long", vec![symlink("t".repeat(4096), "l"), list("")]);
    world.check("a target of any bytes", vec![symlink(&b"\xff/\x01//"[..], "l"), readlink("l")]);
    world.check("a link with the longest name", vec![symlink("t", longest()), readlink(longest())]);
    world.check("a link with a name too long", vec![symlink("t", too_long())]);
    world.check("a link's parent is missing", vec![symlink("t", "p/l")]);
    world.check("a link's parent is a file", vec![file("f"), symlink("t", "f/l")]);
    world.check("a file is no link", vec![file("f"), readlink("f")]);
    world.check("a directory is no link", vec![mkdir("d", 0o755), readlink("d")]);
    world.check("a missing link", vec![readlink("l")]);
    world.check("a link to itself", vec![symlink("l", "l"), stat("l"), lstat("l"), readlink("l")]);
    world.check("links in a circle", vec![symlink("b", "a"), symlink("a", "b"), stat("a"), list("a"), unlink("a")]);
    world.check(
        "a link through a link",
        vec![mkdir("d", 0o755), symlink("d", "l"), file("l/f"), stat("d/f"), stat("l/f")],
    );
    world.check("a link up", vec![mkdir("d", 0o755), file("f"), symlink("../f", "d/l"), stat("d/l"), readlink("d/l")]);
    let chain = |links: usize| {
        let mut script = vec![file("0")];
        script.extend((0..links).map(|number| symlink(number.to_string(), (number + 1).to_string())));
        script.push(stat(links.to_string()));
        script
    };
    world.check("40 links are followed", chain(40));
    world.check("41 links are too many", chain(41));
}

#[test]
fn hard_links_are_names() {
    let mut world = World::new(&[]);
    world.check("a second name", vec![file("f"), link("f", "g"), lstat("f"), unlink("f"), lstat("g")]);
    world.check("a second name elsewhere", vec![file("f"), mkdir("d", 0o755), link("f", "d/g"), lstat("d/g")]);
    world.check("a name exists", vec![file("f"), file("g"), link("f", "g")]);
    world.check("a name of the same file exists", vec![file("f"), link("f", "f")]);
    world.check("a missing file gets no name", vec![link("f", "g")]);
    world.check("a directory gets no second name", vec![mkdir("d", 0o755), link("d", "e"), list("")]);
    world.check("a second name's parent is missing", vec![file("f"), link("f", "p/g")]);
    world.check("a second name's parent is a file", vec![file("f"), link("f", "f/g")]);
    world.check("a second name too long", vec![file("f"), link("f", too_long())]);
    world.check("a second name of a link", vec![symlink("x", "l"), link("l", "m"), lstat("l"), readlink("m")]);
    for kind in [FileType::Fifo, FileType::Socket, FileType::CharDevice] {
        world.check("a second name of a special file", vec![mknod("n", kind, 0o600, 0), link("n", "m"), lstat("m")]);
    }
    world.check("what the host removed gets no name", vec![file("f"), unlink("f").on_host(), link("f", "g")]);
}

#[test]
fn paths_lead_where_they_lead_in_linux() {
    let mut world = World::new(&[]);
    let tree = [mkdir("d", 0o755), mkdir("d/e", 0o755), file("d/f"), symlink("d", "l"), symlink("/d/f", "absolute")];
    let paths = [
        "",
        "/",
        "//",
        ".",
        "..",
        "../..",
        "d",
        "d/",
        "d//",
        "d/.",
        "d/./",
        "d/..",
        "d/../d",
        "//d///e/",
        "d/e/..",
        "d/f",
        "d/f/",
        "d/f/.",
        "d/f/..",
        "l",
        "l/",
        "l/.",
        "l/e",
        "l/f",
        "l/..",
        "absolute",
        "absolute/",
        "missing",
        "missing/",
        "missing/..",
        "d/missing/../f",
        "d/f/missing",
        "../d/f",
        "/../d/f",
        "./d/./f",
    ];
    let with = |steps: Vec<Step>| tree.iter().cloned().chain(steps).collect::<Vec<_>>();
    for path in paths {
        for step in [stat(path), lstat(path), list(path), readlink(path), access(path, R_OK)] {
            world.check_at(Layer::Fs, "looking by path", with(vec![step]));
        }
        let flags = [O_CREAT | O_WRONLY, O_CREAT | O_EXCL | O_WRONLY];
        let steps = [
            mkdir(path, 0o755),
            symlink("t", path),
            link("d/f", path),
            unlink(path),
            rmdir(path),
            rename("d/f", path),
            rename("d/e", path),
            rename(path, "n"),
            chmod(path, 0o700),
            truncate(path, 5),
            create(1, path, flags[0], 0o644),
            create(1, path, flags[1], 0o644),
            file(path),
            chown(path, Some(7), None),
            link(path, "n"),
        ];
        for step in steps {
            world.check_at(Layer::Fs, "changing by path", with(vec![step]));
        }
    }
    let long = |dots: usize, name: &str| "./".repeat(dots) + name;
    let longest = vec![stat(long(2047, "d")), mkdir(long(2046, "dx"), 0o755), stat("dx")];
    world.check_at(Layer::Fs, "the longest paths of Linux", with(longest));
    // Linux has no room for them; the driver has.
    for dots in [2048, 50_000] {
        world.check_at(Layer::Fs, "longer paths", with(vec![readlink(long(dots, "d")).but_fails(Errno::EINVAL)]));
    }
}
