//! What the host changes by itself: seen by a mount once the host has told of it. How soon is printed with
//! `-- --nocapture`.

use super::common::PATIENCE;
use super::number;
use super::share::{Share, mount};
use super::world::{Options, World};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, Instant};
use virtio_fs::{CacheMode, CacheOptions, Dax, MountOptions, VirtioFs};

const ROUNDS: u32 = 50;
const SHORT: Duration = Duration::from_millis(20);

/// Does something on the host, and waits until the mount says so. Gives what took how long.
fn delay(what: &'static str, change: impl FnOnce(), is_seen: impl Fn() -> bool) -> (&'static str, Duration) {
    change();
    let begin = Instant::now();
    while !is_seen() {
        assert!(begin.elapsed() < PATIENCE, "not seen: {what}");
    }
    (what, begin.elapsed())
}

/// One round of everything, each thing seen by the mount's own means.
fn round(share: &Share, vfs: &VirtioFs, count: u32) -> [(&'static str, Duration); 8] {
    let opened = fs::File::options().write(true).open(share.at("d/file")).unwrap();
    let held = vfs.open("d/file").unwrap();
    let (text, permissions) = (format!("{count:08}"), 0o600 + count % 64);
    let write = |text: &str| opened.write_all_at(text.as_bytes(), 0).unwrap();
    let chmod = || fs::set_permissions(share.at("d/file"), fs::Permissions::from_mode(permissions)).unwrap();
    let rename = |from: &str| fs::rename(share.at(from), share.at("d/moved")).unwrap();
    let is_there = |path: &str| vfs.exists(path).unwrap();
    let is_listed = |name: &str| vfs.read_dir("d").unwrap().any(|entry| entry.unwrap().file_name() == name.as_bytes());
    let holds = |path: &str, text: &str| vfs.read(path).is_ok_and(|bytes| bytes == text.as_bytes());
    let open_file_holds = |text: &str| {
        let mut bytes = [0; 9];
        let read = held.read_at(0, &mut bytes).unwrap();
        bytes[..read] == *text.as_bytes()
    };
    delay("the last round", || (), || !is_there("d/new") && !is_there("d/moved"));
    fs::write(share.at("other"), "other").unwrap();
    [
        delay("a write", || write(&text), || holds("d/file", &text)),
        delay("a write, by an open file", || write("another!"), || open_file_holds("another!")),
        delay("a chmod", chmod, || u32::from(vfs.metadata("d/file").unwrap().permissions()) == permissions),
        delay("a new file", || fs::write(share.at("d/new"), "new").unwrap(), || is_there("d/new")),
        delay("its content and its name in a listing", || (), || holds("d/new", "new") && is_listed("new")),
        delay("a rename", || rename("d/new"), || !is_there("d/new") && is_there("d/moved")),
        delay("another file in its place", || rename("other"), || holds("d/moved", "other")),
        delay(
            "a removal",
            || fs::remove_file(share.at("d/moved")).unwrap(),
            || !is_there("d/moved") && !is_listed("moved"),
        ),
    ]
}

#[test]
fn a_mount_sees_what_the_host_changes_soon() {
    for way in ["auto", "inotify"] {
        let share = Share::new(&["--host-changes", way, "--cache", "always"]);
        fs::create_dir(share.at("d")).unwrap();
        fs::write(share.at("d/file"), "00000000").unwrap();
        let daemons = [share.serve(), share.serve()];
        let options = MountOptions { dax: Dax::Never, ..MountOptions::default() };
        let mounts = [0, 1].map(|at| mount(&daemons[at], &options));
        let rounds: Vec<_> = (0..ROUNDS).map(|number| round(&share, &mounts[number as usize % 2], number)).collect();
        for at in 0..rounds[0].len() {
            let mut delays: Vec<_> = rounds.iter().map(|round| round[at].1).collect();
            delays.sort();
            println!(
                "{way}: {}: seen after {:?}, at most {:?}",
                rounds[0][at].0,
                delays[delays.len() / 2],
                delays.last().unwrap()
            );
        }
        mounts.into_iter().for_each(|fs| fs.unmount().unwrap());
    }
}

/// Whatever it is. What inotify cannot tell of, as files with several links, is believed for a short time.
#[test]
fn a_mount_comes_to_see_everything_that_the_host_changes() {
    let side = |mode, is_host, holds_files| {
        let (entry_timeout, attr_timeout) = (Some(SHORT), Some(SHORT));
        let cache = CacheOptions { mode, entry_timeout, attr_timeout, ..CacheOptions::default() };
        let mount = MountOptions { cache, dax: Dax::Never, ..MountOptions::default() };
        Options { mount, is_ordinary: false, reads_only: false, is_host, holds_files }
    };
    // Others have inotify with both.
    let is_root = rustix::process::geteuid().is_root();
    for way in ["auto", "inotify"] {
        println!("changes are found by {way}");
        let arguments = ["--host-changes", way, "--cache", "always", "--xattr"];
        // Nor does it tell what becomes of a file that somebody has open by a name that is gone, and that has another one.
        let sides = [side(CacheMode::Auto, false, false), side(CacheMode::None, true, way == "auto" && is_root)];
        let mut world = World::new(number("VIRTIO_FS_TABLE_SEED", 5), &arguments, sides);
        for _ in 0..number("VIRTIO_FS_TABLE_STEPS", 20_000) / 40 {
            world.step_on_host();
        }
    }
}
