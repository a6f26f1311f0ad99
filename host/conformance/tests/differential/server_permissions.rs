//! Mounts that leave it to the server who may do what. virtiofsd changes to the user of a request where it makes
//! inodes, and does everything else as root: there, everybody may do what root may.

use virtio_fs::{MountOptions, Permissions};
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{MEMBER, OWNER, ROOT, STRANGER, World, WorldOptions, mount_options};

fn world() -> World {
    let mount = MountOptions { permissions: Permissions::Server, ..mount_options() };
    let arguments = vec!["--posix-acl", "--modcaps=+sys_admin"];
    World::with_options(&WorldOptions { arguments, mount, ..WorldOptions::default() })
}

#[test]
fn virtiofsd_decides() {
    let mut world = world();
    let made = [
        mkdir("d", 0o700),
        create(0, "d/f", O_WRONLY, 0o600),
        write(0, 0, "content"),
        close(0),
        mkdir("d/e", 0o700),
        mkdir("open", 0o777),
        mkdir("sticky", 0o1777),
        file("sticky/f"),
    ];
    for user in [OWNER, MEMBER, STRANGER] {
        let as_root = [
            stat("d/f"),
            list("d"),
            open(1, "d/f", O_RDONLY),
            open(1, "d/f", O_RDWR),
            open(1, "d/f", O_WRONLY | O_TRUNC),
            chmod("d/f", 0o644),
            chown("d/f", Some(5), Some(6)),
            truncate("d/f", 2),
            set_times("d/f", Time::At(1, 2), Time::At(3, 4)),
            unlink("d/f"),
            rmdir("d/e"),
            unlink("sticky/f"),
            rename("d/f", "open/f"),
            rename("sticky/f", "d/g"),
            link("d/f", "d/g"),
            set_xattr("d/f", "user.a", "v", 0),
            set_xattr("d/f", "trusted.a", "v", 0),
            list_xattr("d/f", 99),
            sync_dir("d"),
            unlink("missing"),
            rmdir("d"),
            mkdir("open", 0o755),
        ];
        for attempt in as_root {
            let made = made.iter().cloned().map(Step::on_host);
            world.check("what root may", made.chain([attempt.by(user).as_if_by(ROOT)]).collect());
        }
        let as_user = [
            mkdir("d/n", 0o755),
            mkdir("open/n", 0o755),
            file("d/n"),
            file("open/n"),
            symlink("t", "d/n"),
            symlink("t", "open/n"),
            fifo("d/n"),
            fifo("open/n"),
            create(1, "d/n", O_WRONLY, 0o644),
            create(1, "open/n", O_WRONLY, 0o644),
            mkdir("sticky/n", 0o755),
            access("open", 7),
            access("sticky/f", W_OK),
            access("sticky/f", R_OK),
        ];
        for attempt in as_user {
            let made = made.iter().cloned().map(Step::on_host);
            world.check("what the user may", made.chain([attempt.by(user)]).collect());
        }
    }
}

/// virtiofsd does so only if it is told to (`--killpriv-v2`).
#[test]
fn changes_of_content_cost_set_ids_all_the_same() {
    let mut world = world();
    for permissions in [0o6777, 0o4777, 0o2777, 0o2766] {
        let made = [
            create(0, "f", O_WRONLY, 0o644),
            write(0, 0, "content"),
            close(0),
            chown("f", Some(OWNER.uid), Some(OWNER.gid)),
            chmod("f", permissions),
        ];
        for user in [ROOT, OWNER, MEMBER, STRANGER] {
            let attempts = [
                vec![truncate("f", 3).by(user)],
                vec![truncate("f", 7).by(user)],
                vec![open(1, "f", O_WRONLY).by(user), ftruncate(1, 9)],
                vec![open(1, "f", O_WRONLY | O_TRUNC).by(user)],
                vec![open(1, "f", O_WRONLY).by(user), write(1, 0, "x")],
            ];
            for attempt in attempts {
                let made = made.iter().cloned().map(Step::on_host);
                world.check("a change of the content", made.chain(attempt).chain([stat("f")]).collect());
            }
        }
    }
}
