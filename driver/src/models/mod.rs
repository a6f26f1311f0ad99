//! Models of threads that share the caches: each runs thousands of times, with another order of the threads' steps. A
//! step ends at each lock and atomic number of [`crate::sync`], where a request is sent, where the server has done what
//! it asks, and where its reply is given to the driver.
//!
//! Memory is as all processors see it at once: weaker orders are not modelled. `Arc` is the real one; what its drop
//! does takes steps.
//!
//! A run that fails prints its seed or its schedule: `SHUTTLE_RANDOM_SEED` repeats the first, `shuttle::replay` the
//! second. `MODEL_RUNS=20` makes all models run 20 times as often.

mod bytes;
mod files;
mod guard;
mod lookups;
mod pages;
mod versions;
mod wire;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use std::env;

/// How often a switch of threads is forced where it is least expected, in a run of the second kind.
const PCT_DEPTH: usize = 4;

/// Runs a model so many times with threads that take turns at random, and again with one thread that goes on until it
/// waits, or is stopped at a random step.
fn check(runs: usize, model: impl Fn() + Send + Sync + Copy + 'static) {
    let more = env::var("MODEL_RUNS").map_or(1, |more| more.parse().expect("MODEL_RUNS is a number"));
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    // That weaker orders are not modelled is said above.
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new_from_seed(1, runs * more), config.clone()).run(model);
    Runner::new(PctScheduler::new_from_seed(1, PCT_DEPTH, runs * more), config).run(model);
}

/// One of these, at random.
fn one_of<T: Copy>(all: &[T]) -> T {
    all[thread_rng().gen_range(0..all.len())]
}

fn number_below(limit: usize) -> usize {
    thread_rng().gen_range(0..limit)
}
