//! Random changes by two mounts in turns, after each of which both find what there is, with nothing in between.

use super::found::ORDINARY;
use super::number;
use super::world::{Options, World};
use std::time::Duration;
use virtio_fs::{CacheMode, CacheOptions, Credentials, Dax, MountOptions};

/// How many worlds there are here: each does its part of the steps.
const TESTS: u64 = 10;
/// How often everything is compared.
const ALL: u64 = 25;
/// After so many steps the directory is a new one.
const STEPS_OF_ONE: u64 = 3000;

/// Does one world's part of the steps. Worlds are made by `make` from a seed.
fn run(make: impl Fn(u64) -> World) {
    let steps = number("VIRTIO_FS_TABLE_STEPS", 20_000) / TESTS;
    let first = number("VIRTIO_FS_TABLE_SEED", 1);
    for seed in 0..steps.div_ceil(STEPS_OF_ONE) {
        let mut world = make((first + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for step in 0..STEPS_OF_ONE.min(steps - seed * STEPS_OF_ONE) {
            world.step();
            if step % ALL == ALL - 1 {
                world.compare_all();
            }
        }
    }
}

fn options(mode: CacheMode) -> MountOptions {
    MountOptions { cache: CacheOptions { mode, ..CacheOptions::default() }, dax: Dax::Never, ..MountOptions::default() }
}

fn side(mount: MountOptions) -> Options {
    Options { mount, is_ordinary: false, reads_only: false, is_host: false, holds_files: true }
}

fn both(mode: CacheMode) -> [Options; 2] {
    [side(options(mode)), side(options(mode))]
}

const ALONE: [&str; 3] = ["--host-changes", "none", "--xattr"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ALONE[..], more].concat()
}

#[test]
fn both_mounts_find_what_there_is() {
    run(|seed| World::new(seed, &with(&[]), both(CacheMode::Auto)));
}

#[test]
fn both_mounts_find_what_there_is_where_everything_would_be_believed_for_ever() {
    let always = with(&["--cache", "always", "--request-queues", "2"]);
    run(|seed| World::new(seed, &always, both(CacheMode::Always)));
}

/// And where reads go to the daemon, which wants that then.
#[test]
fn both_mounts_find_what_there_is_where_the_daemon_lets_nothing_be_believed() {
    run(|seed| {
        let sides = [side(options(CacheMode::Auto)), side(options(CacheMode::Always))];
        let mut world = World::new(seed, &with(&["--cache", "never"]), sides);
        world.is_sent_each_time = &["OPEN", "READ", "RELEASE"];
        world
    });
}

#[test]
fn both_mounts_find_what_there_is_where_nothing_would_be_believed_and_files_are_opened_at_once() {
    let eager = |mode| {
        let mut options = options(mode);
        let cache = &mut options.cache;
        (cache.entry_timeout, cache.attr_timeout) = (Some(Duration::ZERO), Some(Duration::ZERO));
        cache.lazy_open = false;
        side(options)
    };
    run(|seed| {
        let mut world = World::new(seed, &with(&[]), [eager(CacheMode::Auto), eager(CacheMode::Always)]);
        world.is_sent_each_time = &["OPEN", "RELEASE"];
        world
    });
}

#[test]
fn both_mounts_find_what_there_is_where_slots_are_shared() {
    let small = with(&["--cache", "always", "--version-table-size", "8K"]);
    run(|seed| World::new(seed, &small, both(CacheMode::Auto)));
}

/// And so nothing is said of what is asked for again.
#[test]
fn both_mounts_find_what_there_is_where_little_is_kept() {
    let little = || {
        let mut options = options(CacheMode::Auto);
        (options.cache.max_entries, options.cache.max_data_bytes) = (8, 64 << 10);
        side(options)
    };
    run(|seed| {
        let mut world = World::new(seed, &with(&["--cache", "always"]), [little(), little()]);
        world.is_sent_each_time = &[
            "LOOKUP",
            "GETATTR",
            "READLINK",
            "OPEN",
            "READ",
            "RELEASE",
            "OPENDIR",
            "READDIR",
            "READDIRPLUS",
            "RELEASEDIR",
            "BATCH_FORGET",
            "FORGET",
        ];
        world
    });
}

#[test]
fn both_mounts_find_what_was_collected_and_is_sent() {
    let collecting = || {
        let mut options = options(CacheMode::Auto);
        options.cache.writeback = true;
        side(options)
    };
    for sync_each in [1, 7] {
        run(|seed| {
            let mut world = World::new(seed, &with(&["--cache", "always"]), [collecting(), collecting()]);
            world.sync_each = sync_each;
            world
        });
    }
}

/// Only root can look at what an ordinary user may.
#[test]
fn an_ordinary_user_may_do_what_others_allow_at_once() {
    let is_ordinary = rustix::process::geteuid().is_root();
    run(|seed| {
        let groups = rustix::process::getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let credentials = Credentials { uid: ORDINARY, gid: ORDINARY, groups, ..Credentials::default() };
        let credentials = if is_ordinary { credentials } else { Credentials::default() };
        let mount = MountOptions { credentials, ..options(CacheMode::Auto) };
        let ordinary = Options { mount, is_ordinary, reads_only: false, is_host: false, holds_files: true };
        World::new(seed, &with(&["--cache", "always"]), [side(options(CacheMode::Auto)), ordinary])
    });
}

/// Who maps files for writing goes by time: here nobody does.
#[test]
fn a_mount_with_a_window_finds_what_there_is() {
    run(|seed| {
        let mapping = MountOptions { dax: Dax::Always, ..options(CacheMode::Auto) };
        let mapping =
            Options { mount: mapping, is_ordinary: false, reads_only: true, is_host: false, holds_files: true };
        let window = with(&["--cache", "always", "--window", "1M"]);
        let mut world = World::new(seed, &window, [side(options(CacheMode::Auto)), mapping]);
        (world.length, world.counts_blocks, world.passes) = (40_000, false, 3);
        // What is not mapped of a page that is mapped in part is not kept.
        world.is_sent_each_time = &["OPEN", "READ", "RELEASE"];
        world
    });
}
