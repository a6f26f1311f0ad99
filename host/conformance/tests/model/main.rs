//! Random sequences of operations in the mount, compared with the same on a plain directory, while the host changes
//! both behind the driver's back. A failure is cut down to the shortest script that still fails, and printed.
//!
//! The same, with requests that go wrong, is in `faulty`.
//!
//! For root. The number of sequences is in the environment variable `VIRTIO_FS_MODEL_CASES`, 200 for each test if there
//! is none; each moves less than a mebibyte. Sequences are others in each run.

mod faulty;
mod strategy;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use virtio_fs_conformance::{Layer, ROOT, STRANGER, Step, World};

const STEPS: usize = 40;

/// How many sequences a test runs.
fn cases() -> u32 {
    match std::env::var("VIRTIO_FS_MODEL_CASES") {
        Ok(cases) => cases.parse().expect("VIRTIO_FS_MODEL_CASES is a number"),
        Err(_) => 200,
    }
}

/// Runs sequences of steps in `world`.
fn compare(world: World, layer: Layer, step: impl Strategy<Value = Step>) {
    compare_after(&[], cases(), world, layer, step);
}

/// As [`compare`], so many sequences after these steps.
fn compare_after(first: &[Step], cases: u32, world: World, layer: Layer, step: impl Strategy<Value = Step>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let world = RefCell::new(world);
    let script = proptest::collection::vec(step, 1..STEPS);
    let result = TestRunner::new(config).run(&script, |script| {
        let script = strategy::setting().iter().chain(first).cloned().chain(script).collect::<Vec<_>>();
        world.borrow_mut().run(layer, &script).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(difference, _)) => panic!("the shortest script that fails ({layer:?}):\n{difference}"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn contents_are_those_of_a_plain_directory() {
    compare(World::new(&["--xattr"]), Layer::Vnode, strategy::content());
}

#[test]
fn contents_are_those_of_a_plain_directory_on_disk() {
    compare(World::on_disk(&["--xattr"]), Layer::Fs, strategy::content());
}

#[test]
fn contents_of_open_files_are_those_of_a_plain_directory() {
    let first = strategy::mapped_files();
    compare_after(&first, cases(), World::new(&["--xattr"]), Layer::Vnode, strategy::open_content());
    compare_after(&first, cases(), World::new(&["--xattr"]), Layer::Fs, strategy::open_content());
}

/// Larger than small caches and windows, and smaller than large ones.
#[test]
fn contents_of_large_open_files_are_those_of_a_plain_directory() {
    const SHARE: u32 = 4;
    let first: Vec<_> = strategy::mapped_files().into_iter().map(strategy::enlarge).collect();
    let step = || strategy::open_content().prop_map(strategy::enlarge);
    for layer in [Layer::Vnode, Layer::Fs] {
        compare_after(&first, (cases() / SHARE).max(1), World::new(&["--xattr"]), layer, step());
    }
}

#[test]
fn trees_are_those_of_a_plain_directory() {
    compare(World::new(&["--xattr"]), Layer::Vnode, strategy::names(&[ROOT]));
}

#[test]
fn trees_are_those_of_a_plain_directory_by_path() {
    compare(World::new(&["--xattr"]), Layer::Fs, strategy::names(&[ROOT]));
}

#[test]
fn users_may_do_what_they_may_in_a_plain_directory() {
    let users = &[ROOT, strategy::OWNER, strategy::MEMBER, STRANGER];
    compare(World::new(&["--xattr"]), Layer::Fs, strategy::everything(users));
}

#[test]
fn everything_is_as_in_a_plain_directory() {
    compare(World::new(&["--xattr"]), Layer::Vnode, strategy::everything(&[ROOT]));
}

#[test]
fn everything_is_as_in_a_plain_directory_with_a_thread_pool_and_killpriv() {
    let world = World::new(&["--xattr", "--killpriv-v2", "--thread-pool-size=4"]);
    compare(world, Layer::Fs, strategy::everything(&[ROOT]));
}
