//! What users may do, by mode bits, groups and owners.

use virtio_fs::FileType;
use virtio_fs_conformance::step::Time::{At, Now, Omit};
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{MEMBER, OWNER, ROOT, STRANGER, User, World};

const USERS: [User; 4] = [ROOT, OWNER, MEMBER, STRANGER];

/// A file and a directory of the owner's with these permissions, in a directory that everybody may search.
fn owned(permissions: u16) -> Vec<Step> {
    let owned =
        |path: &str, permissions| [chown(path, Some(1000), Some(1000)).on_host(), chmod(path, permissions).on_host()];
    let mut script = vec![create(0, "f", O_WRONLY, 0o644).on_host(), write(0, 0, "content"), close(0)];
    script.extend([mkdir("d", 0o755).on_host(), file("d/f").on_host(), mkdir("d/e", 0o777).on_host()]);
    script.extend(owned("f", permissions));
    script.extend(owned("d", permissions));
    script
}

/// Everything that one can try with them.
fn attempts() -> Vec<Step> {
    vec![
        stat("f"),
        access("f", R_OK),
        access("f", W_OK),
        access("f", X_OK),
        access("f", 7),
        access("f", F_OK),
        open(1, "f", O_RDONLY),
        open(1, "f", O_WRONLY),
        open(1, "f", O_RDWR),
        open(1, "f", O_RDONLY | O_NOATIME),
        open(1, "f", O_WRONLY | O_APPEND),
        create(1, "f", O_RDONLY, 0o600),
        create(1, "f", O_WRONLY, 0o600),
        open(1, "f", O_WRONLY | O_TRUNC),
        open(1, "f", O_TRUNC),
        truncate("f", 3),
        chmod("f", 0o640),
        chmod("f", 0o6755),
        chown("f", Some(1001), None),
        chown("f", Some(1000), None),
        chown("f", None, Some(1000)),
        chown("f", None, Some(2000)),
        chown("f", None, Some(1001)),
        chown("f", Some(1000), Some(1000)),
        chown("f", None, None),
        set_times("f", Now, Now),
        set_times("f", Now, Omit),
        set_times("f", Omit, Now),
        set_times("f", At(1, 2), At(3, 4)),
        set_times("f", At(1, 2), Now),
        set_times("f", Omit, Omit),
        link("f", "g"),
        unlink("f"),
        rename("f", "g"),
        stat("d"),
        access("d", R_OK),
        access("d", W_OK),
        access("d", X_OK),
        list("d"),
        stat("d/f"),
        stat("d/n"),
        lstat("d/e"),
        file("d/n"),
        mkdir("d/n", 0o755),
        mkdir("d/e", 0o755),
        mkdir("d/f", 0o755),
        symlink("t", "d/n"),
        symlink("t", "d/f"),
        create(1, "d/n", O_WRONLY, 0o644),
        create(1, "d/n", O_WRONLY | O_EXCL, 0o644),
        create(1, "d/f", O_WRONLY | O_EXCL, 0o644),
        create(1, "d/f", O_RDONLY, 0o644),
        fifo("d/n"),
        link("d/f", "d/n"),
        link("f", "d/n"),
        link("f", "d/f"),
        unlink("d/f"),
        unlink("d/n"),
        unlink("d/e"),
        rmdir("d/e"),
        rmdir("d/n"),
        rmdir("d/f"),
        rmdir("d"),
        rename("d/f", "d/n"),
        rename("d/f", "f"),
        rename("f", "d/f"),
        rename("f", "d/n"),
        rename("d/e", "e"),
        rename("d/n", "d/m"),
        rename("d", "e"),
        rename_with("d/f", "f", RENAME_EXCHANGE),
        rename_with("d/e", "f", RENAME_EXCHANGE),
        rename_with("d/f", "d/e", RENAME_NOREPLACE),
        rename_with("d/f", "d/n", RENAME_NOREPLACE),
        chmod("d", 0o700),
        truncate("d", 0),
        set_times("d", Now, Now),
        mknod("d/n", FileType::CharDevice, 0o600, 0x103),
        mknod("d/n", FileType::Socket, 0o600, 0),
        readlink("d/f"),
        stat("d/e/.."),
        sync_dir("d"),
        stat("d/f/x"),
        open(1, "d/f", O_WRONLY),
    ]
}

#[test]
fn mode_bits_decide() {
    let mut world = World::new(&[]);
    for permissions in
        [0o000, 0o700, 0o070, 0o007, 0o400, 0o200, 0o100, 0o300, 0o500, 0o040, 0o020, 0o010, 0o030, 0o770, 0o755, 0o777]
    {
        for user in USERS {
            for attempt in attempts() {
                let script = owned(permissions).into_iter().chain([chmod("", 0o777).on_host(), attempt.by(user)]);
                world.check_at(Layer::Vnode, "an attempt", script.collect());
            }
        }
    }
}

#[test]
fn mode_bits_decide_by_path() {
    let mut world = World::new(&[]);
    for permissions in [0o700, 0o050, 0o007, 0o300] {
        for user in USERS {
            for attempt in attempts() {
                world.check_at(
                    Layer::Fs,
                    "an attempt",
                    owned(permissions).into_iter().chain([attempt.by(user)]).collect(),
                );
            }
        }
    }
}

#[test]
fn sticky_directories_keep_what_belongs_to_others() {
    let mut world = World::new(&[]);
    for owner_of_directory in [0, 1000, 1001] {
        for owner_of_file in [0, 1000, 1001] {
            for user in USERS {
                let made = [
                    mkdir("t", 0o755).on_host(),
                    file("t/f").on_host(),
                    mkdir("t/d", 0o777).on_host(),
                    file("f").on_host(),
                    chown("t/f", Some(owner_of_file), Some(1)).on_host(),
                    chown("t/d", Some(owner_of_file), Some(1)).on_host(),
                    chown("t", Some(owner_of_directory), Some(1)).on_host(),
                    chmod("t", 0o1777).on_host(),
                    chmod("", 0o777).on_host(),
                    chown("f", Some(user.uid), Some(user.gid)).on_host(),
                ];
                let attempts = [
                    unlink("t/f"),
                    rmdir("t/d"),
                    rename("t/f", "t/g"),
                    rename("t/f", "g"),
                    rename("t/d", "d"),
                    rename("f", "t/f"),
                    rename("f", "t/g"),
                    file("t/n"),
                    rename_with("f", "t/f", RENAME_EXCHANGE),
                    rename_with("t/f", "t/d", RENAME_EXCHANGE),
                    link("t/f", "g"),
                    chmod("t/f", 0o600),
                    unlink("t/n"),
                ];
                for attempt in attempts {
                    world.check("a sticky directory", made.iter().cloned().chain([attempt.by(user)]).collect());
                }
            }
        }
    }
}

#[test]
fn new_inodes_belong_to_who_makes_them() {
    let mut world = World::new(&[]);
    for user in USERS {
        for permissions in [0o777, 0o1777, 0o2777] {
            let directory = [
                mkdir("t", 0o755).on_host(),
                chown("t", Some(1), Some(2000)).on_host(),
                chmod("t", permissions).on_host(),
            ];
            // A umask that takes execution from the group hides from Linux that set-group-id is not for everybody.
            for umask in [0, 0o022, 0o007] {
                let by = |step: Step| step.by(user.with_umask(umask));
                let made = [
                    by(mkdir("t/d", 0o777)),
                    by(file("t/f")),
                    by(create(1, "t/c", O_WRONLY, 0o666)),
                    by(symlink("x", "t/l")),
                    by(fifo("t/p")),
                    by(mkdir("t/s", 0o2755)),
                    by(create(2, "t/g", O_WRONLY, 0o2755)),
                    by(mkdir("t/d/e", 0o777)),
                    by(mknod("t/k", FileType::Socket, 0o4755, 0)),
                    by(link("t/f", "t/h")),
                    stat("t"),
                ];
                world.check("new inodes", directory.iter().cloned().chain(made).collect());
            }
        }
    }
}

#[test]
fn a_path_is_searched_by_who_asks() {
    let mut world = World::new(&["--xattr"]);
    for user in USERS {
        for permissions in [0o700, 0o710, 0o711, 0o750, 0o744] {
            let made = [
                mkdir("a", 0o755).on_host(),
                mkdir("a/b", 0o755).on_host(),
                file("a/b/f").on_host(),
                symlink("a/b/f", "l").on_host(),
                mkdir("open", 0o777).on_host(),
                chown("a", Some(1000), Some(1000)).on_host(),
                chmod("a", permissions).on_host(),
            ];
            let attempts = [
                stat("a/b/f"),
                lstat("a/b"),
                stat("a/b/.."),
                stat("a/b/n"),
                stat("l"),
                lstat("l"),
                open(1, "a/b/f", O_RDONLY),
                list("a"),
                list("a/b"),
                mkdir("a/b/d", 0o755),
                link("a/b/f", "open/g"),
                rename("a/b/f", "open/g"),
                unlink("a/b/f"),
                access("a/b/f", R_OK),
                chmod("a/b/f", 0o600),
                get_xattr("a/b/f", "user.x", 9),
                stat("a/n/f"),
                open(1, "l", O_RDONLY),
            ];
            for attempt in attempts {
                world.check("a path", made.iter().cloned().chain([attempt.by(user)]).collect());
            }
        }
    }
}
