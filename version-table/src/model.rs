//! A model of guests and servers that share a table: each run lets the threads take their steps in another order. A step
//! ends at each number of the table, and where a server looks at the files or changes them.
//!
//! Memory is as all processors see it at once: weaker orders are not modelled; section 6 argues about these.
//!
//! A run that fails prints its seed or its schedule. `MODEL_RUNS=20` makes all models run 20 times as often.

extern crate alloc;
extern crate std;

use crate::atomic::{AtomicU64, Ordering};
use crate::{Flags, Key, MARKED, Sample, Slot, Table, words_for};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, Runner, thread};
use std::env;

/// How many files there are. Fewer are fought over more.
const FILES: usize = 2;
/// How often each guest does something.
const STEPS: usize = 5;

/// What a server knows of a file: two parts that are changed one by one, as the mode and the owner are. Each change makes a
/// part's number larger.
type Parts = [u64; 2];

/// How the guests of a model go about it.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// The servers answer before they have raised the slots.
    answers_first: bool,
    /// Guests look whether an entry is valid before they take the sample for a change of it.
    looks_first: bool,
    /// Guests do not look at `settled`.
    trusts_clock: bool,
    /// What finds a marked slot is not repeated under the lock.
    forgets_marks: bool,
}

struct World {
    rules: Rules,
    table: Table<Vec<AtomicU64>>,
    /// The files. To look at one or change it is a step.
    truth: [[AtomicU64; 2]; FILES],
    /// What was acknowledged of each to anybody.
    acknowledged: [[AtomicU64; 2]; FILES],
    /// How many mappings for writing there are of each file; the lock of the marks.
    mapped: Mutex<[usize; FILES]>,
}

impl World {
    fn new(rules: Rules) -> Self {
        let memory = (0..words_for(9)).map(|_| AtomicU64::new(0)).collect();
        let epoch = NonZeroU64::new(1).expect("it is 1");
        Self {
            rules,
            table: Table::create(memory, 9, Flags::empty(), epoch).expect("a table"),
            truth: Default::default(),
            acknowledged: Default::default(),
            mapped: Mutex::default(),
        }
    }

    fn key(file: usize) -> Key {
        Key::attributes(file as u64)
    }

    fn slot(&self, file: usize) -> Slot {
        self.table.slot(Self::key(file))
    }

    /// A server looks at a file.
    fn ask(&self, file: usize) -> Parts {
        [0, 1].map(|part| self.truth[file][part].load(Ordering::SeqCst))
    }

    /// A server changes a part of a file; gives its new number. It is acknowledged with this.
    fn change(&self, file: usize, part: usize) -> u64 {
        let number = self.truth[file][part].fetch_add(1, Ordering::SeqCst) + 1;
        if self.rules.answers_first {
            self.acknowledge(file, part, number);
        }
        self.table.publish(&[Self::key(file)], |again| {
            let _mapped = self.mapped.lock();
            if !self.rules.forgets_marks {
                again();
            }
        });
        self.acknowledge(file, part, number);
        number
    }

    fn acknowledge(&self, file: usize, part: usize, number: u64) {
        self.acknowledged[file][part].fetch_max(number, Ordering::SeqCst);
    }

    /// Somebody changes a file of which nobody can tell which it was.
    fn change_secretly(&self, file: usize) {
        let number = self.truth[file][0].fetch_add(1, Ordering::SeqCst) + 1;
        self.table.raise_floor();
        self.acknowledge(file, 0, number);
    }

    /// Maps a file, stores into it, of which no server knows, and unmaps it.
    fn store(&self, file: usize) {
        {
            let mut mapped = self.mapped.lock().expect("nobody panicked");
            mapped[file] += 1;
            self.table.mark(self.slot(file));
        }
        let number = self.truth[file][1].fetch_add(1, Ordering::SeqCst) + 1;
        {
            let mut mapped = self.mapped.lock().expect("nobody panicked");
            mapped[file] -= 1;
            if mapped[file] == 0 {
                self.table.unmark(self.slot(file));
            }
        }
        self.acknowledge(file, 1, number);
    }
}

/// What a guest keeps of a file.
#[derive(Clone, Copy)]
struct Entry {
    parts: Parts,
    stamp: u64,
}

struct Guest {
    world: Arc<World>,
    entries: [Option<Entry>; FILES],
}

impl Guest {
    fn new(world: &Arc<World>) -> Self {
        Self { world: world.clone(), entries: [None; FILES] }
    }

    /// What the guest keeps of the file, if it is valid.
    fn valid(&self, file: usize) -> Option<Entry> {
        let entry = self.entries[file]?;
        self.world.table.is_valid(self.world.slot(file), entry.stamp).then_some(entry)
    }

    /// Looks at a file, and checks that it is not older than the last change that was acknowledged before.
    fn look(&mut self, file: usize) {
        let acknowledged = [0, 1].map(|part| self.world.acknowledged[file][part].load(Ordering::SeqCst));
        let parts = match self.valid(file) {
            Some(entry) => entry.parts,
            None => {
                let Sample { clock: stamp, .. } = self.world.table.sample();
                let parts = self.world.ask(file);
                // By time alone it would be good for some time; here for none.
                let is_marked = self.world.table.version(self.world.slot(file)) == MARKED;
                self.entries[file] = (!is_marked).then_some(Entry { parts, stamp });
                parts
            }
        };
        let is_new = (0..2).all(|part| parts[part] >= acknowledged[part]);
        assert!(is_new, "{parts:?} is older than {acknowledged:?}");
    }

    /// Changes a part of a file, and keeps the other one.
    fn change(&mut self, file: usize, part: usize) {
        let Rules { looks_first, trusts_clock, .. } = self.world.rules;
        let early = self.valid(file);
        let mut sample = self.world.table.sample();
        let kept = if looks_first { early } else { self.valid(file) };
        let number = self.world.change(file, part);
        sample.is_settled |= trusts_clock;
        self.entries[file] =
            self.world.table.stamp_after_own(sample, 1).zip(kept).map(|(stamp, Entry { mut parts, .. })| {
                parts[part] = number;
                Entry { parts, stamp }
            });
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            let (file, part) = (thread_rng().gen_range(0..FILES), thread_rng().gen_range(0..2));
            match thread_rng().gen_range(0..3) {
                0 => self.change(file, part),
                _ => self.look(file),
            }
        }
        (0..FILES).for_each(|file| self.look(file));
    }
}

/// Two guests, each with a server of its own that is busy with one request of it at a time; a third server, which counts
/// what the host changes; and a guest that maps files.
fn guests_and_servers(rules: Rules) {
    let world = Arc::new(World::new(rules));
    let guests = [(); 2].map(|()| {
        let guest = Guest::new(&world);
        thread::spawn(move || guest.run())
    });
    let others = [0, 1].map(|other| {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                let file = thread_rng().gen_range(0..FILES);
                match (other, thread_rng().gen_range(0..2)) {
                    (0, 0) => world.change_secretly(file),
                    (0, _) => {
                        world.change(file, 0);
                    }
                    _ => world.store(file),
                }
            }
        })
    });
    guests.into_iter().chain(others).for_each(|thread| thread.join().expect("it did not panic"));
}

/// Runs the model with threads that take turns at random, and again with one thread that goes on until it waits, or is
/// stopped at a random step.
fn check(runs: usize, rules: Rules) {
    let more = env::var("MODEL_RUNS").map_or(1, |more| more.parse().expect("MODEL_RUNS is a number"));
    let mut config = Config::new();
    // That weaker orders are not modelled is said above.
    config.silence_warnings = true;
    let model = move || guests_and_servers(rules);
    Runner::new(RandomScheduler::new_from_seed(1, runs * more), config.clone()).run(model);
    Runner::new(PctScheduler::new_from_seed(1, 4, runs * more), config).run(model);
}

#[test]
fn no_order_of_steps_shows_a_state_older_than_the_last_acknowledged_change() {
    check(4000, Rules::default());
}

/// The model is worth nothing if it does not find what is wrong.
#[test]
#[should_panic = "is older than"]
fn servers_that_answer_before_they_raise_slots_are_found() {
    check(4000, Rules { answers_first: true, ..Rules::default() });
}

#[test]
#[should_panic = "is older than"]
fn guests_that_look_before_they_take_the_sample_are_found() {
    check(100_000, Rules { looks_first: true, ..Rules::default() });
}

#[test]
#[should_panic = "is older than"]
fn guests_that_compare_the_clock_alone_are_found() {
    check(100_000, Rules { trusts_clock: true, ..Rules::default() });
}

#[test]
#[should_panic = "is older than"]
fn servers_that_do_not_repeat_what_found_a_mark_are_found() {
    check(100_000, Rules { forgets_marks: true, ..Rules::default() });
}
