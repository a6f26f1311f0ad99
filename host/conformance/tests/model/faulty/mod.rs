//! Requests that go wrong: refused, cut short, late.

mod write_errors;

use crate::{STEPS, cases, strategy};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use virtio_fs::MountOptions;
use virtio_fs::test_utils::{FaultInjector, FaultRates};
use virtio_fs_conformance::{Layer, ROOT, STRANGER, Side, Step, Tally, World, WorldOptions, mount_options};

/// The share of a test in the number of cases.
const SHARE: u32 = 2;

/// Runs sequences of steps, half of which have requests that go wrong. Few scripts end without having been looked at, and
/// enough goes wrong.
fn compare(mount: MountOptions, layer: Layer, step: impl Strategy<Value = Step>) {
    let faults = FaultInjector::new(|| std::thread::sleep(Duration::from_micros(50)));
    let arguments = vec!["--xattr", "--inode-file-handles=never"];
    let options = WorldOptions { arguments, mount, faults: Some(faults), ..WorldOptions::default() };
    let world = RefCell::new(World::with_options(&options));
    // An error of a write that is made later says nothing of what was written: see `write_errors`.
    let write_errors = if options.mount.cache.writeback { 0 } else { 200 };
    let rates = FaultRates { errors: 200, write_errors, short_writes: 300, delays: 100 };
    let tally = Cell::new(Tally::default());

    let step = step.prop_map(|step| Step { side: Side::Mount, ..step });
    let script = proptest::collection::vec((step, any::<Option<u64>>()), 1..STEPS);
    let config = Config {
        cases: (cases() / SHARE).max(1),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&script, |script| {
        let setting = strategy::setting().into_iter().chain(strategy::open_files()).map(|step| (step, None));
        let script = setting.chain(script).collect::<Vec<_>>();
        let mut so_far = tally.get();
        let result = world.borrow_mut().run_faulty(layer, &script, rates, &mut so_far);
        tally.set(so_far);
        result.map_err(TestCaseError::fail)
    });
    let tally = tally.get();
    println!("{layer:?}: {tally:?}");
    match result {
        Ok(()) => {
            assert!(3 * tally.unclear <= tally.scripts + 9, "too many scripts end early");
            let least = 2 * tally.errors.min(tally.delays).min(tally.undone);
            assert!(tally.scripts < 30 || least >= tally.scripts, "too little goes wrong");
        }
        Err(TestError::Fail(difference, _)) => panic!("the shortest script that fails ({layer:?}):\n{difference}"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn contents_are_those_of_a_plain_directory_whatever_requests_fail() {
    compare(mount_options(), Layer::Vnode, strategy::content());
}

#[test]
fn contents_are_those_of_a_plain_directory_whichever_of_several_requests_fail() {
    let mut options = mount_options();
    options.device.max_request_bytes = 4096;
    compare(options, Layer::Fs, strategy::content());
}

#[test]
fn trees_are_those_of_a_plain_directory_whatever_requests_fail() {
    compare(mount_options(), Layer::Vnode, strategy::names(&[ROOT]));
}

#[test]
fn users_may_do_what_they_may_in_a_plain_directory_whatever_requests_fail() {
    let users = &[ROOT, strategy::OWNER, strategy::MEMBER, STRANGER];
    compare(mount_options(), Layer::Fs, strategy::everything(users));
}
