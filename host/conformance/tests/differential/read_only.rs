//! Mounts that change nothing.

use virtio_fs::{Errno, MountOptions, Permissions};
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{OWNER, ROOT, STRANGER, World, WorldOptions, mount_options};

fn attempts() -> Vec<Step> {
    vec![
        stat("f"),
        list("d"),
        open(1, "f", O_RDONLY),
        open(1, "f", O_WRONLY),
        open(1, "f", O_RDWR),
        open(1, "f", O_RDONLY | O_TRUNC),
        open(1, "f", O_WRONLY | O_TRUNC),
        open(1, "n", O_WRONLY),
        create(1, "f", O_RDONLY, 0o644),
        create(1, "f", O_WRONLY, 0o644),
        create(1, "n", O_WRONLY, 0o644),
        create(1, "n", O_RDONLY, 0o644),
        create(1, "f", O_WRONLY | O_EXCL, 0o644),
        create(1, "d", O_WRONLY, 0o644),
        mkdir("n", 0o755),
        mkdir("d", 0o755),
        mkdir("f", 0o755),
        mkdir("n/n", 0o755),
        mkdir("f/n", 0o755),
        file("n"),
        file("f"),
        fifo("n"),
        symlink("t", "n"),
        symlink("t", "f"),
        link("f", "n"),
        link("f", "d/f"),
        link("n", "m"),
        unlink("f"),
        unlink("n"),
        unlink("d"),
        unlink("f/n"),
        rmdir("d"),
        rmdir("n"),
        rmdir("f"),
        rename("f", "n"),
        rename("n", "m"),
        rename("f", "f"),
        rename_with("f", "d", RENAME_NOREPLACE),
        rename_with("f", "d", RENAME_EXCHANGE),
        chmod("f", 0o600),
        chmod("n", 0o600),
        chmod("l", 0o600),
        chown("f", Some(1), None),
        lchown("l", Some(1), None),
        truncate("f", 0),
        truncate("d", 0),
        truncate("n", 0),
        set_times("f", Time::Now, Time::Now),
        set_times("f", Time::At(1, 1), Time::Omit),
        access("f", R_OK),
        access("f", W_OK),
        access("d", W_OK),
        access("l", W_OK),
        access("p", W_OK),
        access("p", R_OK),
        access("f", X_OK),
        set_xattr("f", "user.a", "x", 0),
        set_xattr("f", "user.b", "x", XATTR_REPLACE),
        remove_xattr("f", "user.a"),
        remove_xattr("f", "user.b"),
        get_xattr("f", "user.b", 9),
        list_xattr("f", 99),
        readlink("l"),
        sync("/"),
    ]
}

fn made() -> impl Iterator<Item = Step> {
    let made = [
        create(0, "f", O_WRONLY, 0o644),
        write(0, 0, "content"),
        close(0),
        mkdir("d", 0o755),
        file("d/f"),
        symlink("f", "l"),
        fifo("p"),
        set_xattr("f", "user.b", "value", 0),
    ];
    made.into_iter().map(Step::on_host)
}

#[test]
fn a_read_only_mount_is_one() {
    let mount = MountOptions { read_only: true, ..mount_options() };
    let mut world = World::with_options(&WorldOptions { arguments: vec!["--xattr"], mount, ..WorldOptions::default() });
    world.make_plain_read_only();
    for user in [ROOT, OWNER, STRANGER] {
        for attempt in attempts() {
            world.check("a read-only mount", made().chain([attempt.by(user)]).collect());
        }
    }
}

/// The driver does not know that it is one: who may do it and whether it can be done is asked first.
#[test]
fn a_read_only_share_is_one() {
    let mut world = World::new(&["--xattr", "--readonly"]);
    let attempts = [
        open(1, "f", O_WRONLY),
        open(1, "f", O_RDWR),
        open(1, "f", O_WRONLY | O_TRUNC),
        open(1, "f", O_WRONLY | O_APPEND),
        create(1, "n", O_WRONLY, 0o644),
        create(1, "n", O_WRONLY | O_EXCL, 0o644),
        mkdir("n", 0o755),
        file("n"),
        fifo("n"),
        symlink("t", "n"),
        link("f", "n"),
        unlink("f"),
        rmdir("d"),
        rename("f", "n"),
        rename("f", "d/f"),
        rename_with("f", "d", RENAME_EXCHANGE),
        chmod("f", 0o600),
        chown("f", Some(1), None),
        lchown("l", Some(1), None),
        truncate("f", 0),
        truncate("f", 99),
        set_times("f", Time::Now, Time::Now),
        set_times("f", Time::At(1, 1), Time::Omit),
        set_xattr("f", "user.a", "x", 0),
        remove_xattr("f", "user.b"),
    ];
    for attempt in attempts {
        world.check("a read-only share", made().chain([attempt.but_fails(Errno::EROFS)]).collect());
    }
    for look in
        [stat("f"), list("d"), open(1, "f", O_RDONLY), readlink("l"), get_xattr("f", "user.b", 9), list_xattr("f", 99)]
    {
        world.check("a read-only share", made().chain([look]).collect());
    }
    // What exists need not be made.
    for look in [create(1, "f", O_RDONLY, 0o644), create(1, "d", O_RDONLY, 0o644), create(1, "f/n", O_RDONLY, 0o644)] {
        world.check("a read-only share", made().chain([look]).collect());
    }
    for attempt in [create(1, "f", O_WRONLY, 0o644), create(1, "f", O_RDWR | O_TRUNC, 0o644)] {
        world.check("a read-only share", made().chain([attempt.but_fails(Errno::EROFS)]).collect());
    }
    // Linux mounts such a share for writing, too, and goes by the mode bits.
    for look in [access("f", W_OK), access("d", W_OK), access("l", W_OK), access("f", W_OK | X_OK)] {
        world.check("a read-only share", made().chain([look.clone(), look.by(STRANGER)]).collect());
    }
}

#[test]
fn a_read_only_share_says_so_if_it_decides() {
    let mount = MountOptions { permissions: Permissions::Server, ..MountOptions::default() };
    let arguments = vec!["--xattr", "--readonly"];
    let mut world = World::with_options(&WorldOptions { arguments, mount, ..WorldOptions::default() });
    for wanted in [W_OK, R_OK | W_OK] {
        world.check("a read-only share", made().chain([access("f", wanted).but_fails(Errno::EROFS)]).collect());
    }
    world.check("a read-only share", made().chain([access("f", R_OK)]).collect());
}
