//! Scripts in which requests go wrong on their way to the daemon.

use super::{World, are_alike, create_flags, is_possible};
use crate::cache::writes_back;
use crate::descriptors::{opened as opened_by, settled_descriptors, settles_at};
use crate::facts::{Outcome, Value, When};
use crate::seen;
use crate::step::flag::O_TRUNC;
use crate::step::{Layer, Op, Side, Slot, Step};
use crate::tree::{self, difference};
use std::collections::BTreeMap;
use std::fmt::Write;
use virtio_fs::Errno;
use virtio_fs::test_utils::{FaultInjector, FaultRates, Injected};

/// A step and, if requests go wrong during it, which: the seed of [`FaultInjector::start`].
pub type FaultyStep = (Step, Option<u64>);

/// What came of a script, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scripts.
    pub scripts: usize,
    /// Requests that were refused without being sent.
    pub errors: usize,
    /// WRITEs of which a part was sent.
    pub short_writes: usize,
    /// Requests that were late.
    pub delays: usize,
    /// Steps that were told an error of a request and had changed nothing.
    pub undone: usize,
    /// Steps that were told an error of a request and had done what they should.
    pub done: usize,
    /// Steps that went on after an error of a request as if there had been none.
    pub coped: usize,
    /// Scripts that ended early, at a step of which nobody can say what it has done: see [`World::run_faulty`].
    pub unclear: usize,
}

/// What a step in the mount came to.
enum Verdict {
    /// What it should, in both directories.
    Right,
    /// Nobody can say what it has done: the plain directory is no longer to be compared with.
    Unclear,
    /// It is wrong, because of this.
    Wrong(String),
}

impl World {
    /// Runs a script in emptied directories, in which requests go wrong at `rates`, and counts in `tally` what came of it.
    ///
    /// What a step answers must be what it would without faults, unless a request of it was refused: then it may answer
    /// so, too, and has done nothing, or all that it should. A read may end early then, and a write may whenever one of
    /// its requests was refused or cut short; it has written what it says. Whether something was done cannot be seen of a
    /// file without a name, and a write of several requests may have been done in part: that ends the script.
    ///
    /// After a step that changes what files contain, and in which something went wrong, all open files are read. At the
    /// end the mount must say what is in the directory that is served, and the daemon must have forgotten all inodes and
    /// closed all files.
    ///
    /// # Errors
    ///
    /// The script up to the first difference with what went wrong, and the difference.
    ///
    /// # Panics
    ///
    /// If the world was not made with [faults](super::WorldOptions::faults).
    pub fn run_faulty(
        &mut self,
        layer: Layer,
        script: &[FaultyStep],
        rates: FaultRates,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let faults = self.faults.clone().expect("a world with faults");
        self.empty();
        let idle = *self.idle_descriptors.get_or_insert_with(|| settled_descriptors(&self.daemon));
        let mut opened = BTreeMap::new();
        let mut done = String::new();
        let mut is_comparable = true;
        tally.scripts += 1;
        for (step, seed) in script {
            if !is_possible(&step.op, &opened) {
                continue;
            }
            let (verdict, injected) = match (seed, step.side) {
                (Some(seed), Side::Mount) => self.faulty_step(layer, step, &mut opened, tally, (&faults, *seed, rates)),
                _ => {
                    let (is, should_be) = self.step(layer, step, &mut opened);
                    (self.compare(&step.op, &is, &should_be), Vec::new())
                }
            };
            let injected: Vec<_> = injected.iter().map(Injected::to_string).collect();
            writeln!(done, "    {step}    [{}]", injected.join(", ")).expect("a string");
            match verdict {
                Verdict::Right if !injected.is_empty() && changes_content(&step.op) => {
                    self.expect_content_of(layer, &mut opened).map_err(|why| format!("{done}    {why}"))?;
                }
                Verdict::Right => {}
                Verdict::Unclear => {
                    tally.unclear += 1;
                    is_comparable = false;
                    break;
                }
                Verdict::Wrong(why) => return Err(format!("{done}    {why}")),
            }
        }
        self.close_all();
        let wrong = self.wrong_at_the_end(is_comparable).or_else(|| self.left_behind(idle));
        wrong.map_or(Ok(()), |why| Err(format!("{done}    {why}")))
    }

    /// Does a step, of which requests go wrong; gives what did.
    fn faulty_step(
        &mut self,
        layer: Layer,
        step: &Step,
        opened: &mut BTreeMap<Slot, Side>,
        tally: &mut Tally,
        (faults, seed, rates): (&FaultInjector, u64, FaultRates),
    ) -> (Verdict, Vec<Injected>) {
        faults.start(seed, rates);
        let is = self.guest.run(layer, &step.user, &step.op);
        let injected = faults.stop();
        let errors: Vec<Errno> = injected
            .iter()
            .filter_map(|one| match one {
                Injected::Error { errno, .. } => Some(*errno),
                _ => None,
            })
            .collect();
        let is_short = |one: &&Injected| matches!(one, Injected::ShortWrite { .. });
        let short_writes = injected.iter().filter(is_short).count();
        tally.errors += errors.len();
        tally.short_writes += short_writes;
        tally.delays += injected.len() - errors.len() - short_writes;
        let verdict = match &is {
            Err(errno) if errors.contains(errno) => self.judge_failure(layer, step, tally),
            _ => {
                tally.coped += usize::from(!errors.is_empty());
                self.judge_answer(layer, step, &is, !errors.is_empty(), errors.len() + short_writes > 0)
            }
        };
        match step.op {
            Op::Open { slot, .. } if is.is_ok() => drop(opened.insert(slot, Side::Mount)),
            Op::Close { slot } => drop(opened.remove(&slot)),
            _ => {}
        }
        (verdict, injected)
    }

    /// Judges a step that did not give the error of a request, of which there may have been some: `is_refused`, or others
    /// than were to be sent: `is_changed`.
    fn judge_answer(&mut self, layer: Layer, step: &Step, is: &Outcome, is_refused: bool, is_changed: bool) -> Verdict {
        let flags = create_flags(layer, Side::Mount);
        match (&step.op, is) {
            (Op::Write { slot, offset, data }, Ok(Value::Number(written)))
                if is_changed && (1..data.0.len() as u64).contains(written) =>
            {
                let first = data.0[..*written as usize].into();
                let first = Op::Write { slot: *slot, offset: *offset, data: first };
                let should_be = self.plain_host.run(&step.user, &first, flags);
                match self.compare(&step.op, is, &should_be) {
                    // What lies behind may have been written, too, by other requests.
                    Verdict::Right if self.is_several(&step.op) && self.plain_host.changes_nameless(&step.op) => {
                        Verdict::Unclear
                    }
                    Verdict::Right if self.trees_differ().is_some() => self.in_part(step),
                    verdict => verdict,
                }
            }
            (Op::Read { .. }, Ok(Value::Bytes(bytes))) if is_refused => {
                let should_be = self.plain_host.run(&step.user, &step.op, flags);
                match &should_be {
                    Ok(Value::Bytes(all)) if all.0.starts_with(&bytes.0) && !bytes.0.is_empty() => Verdict::Right,
                    _ => self.compare(&step.op, is, &should_be),
                }
            }
            _ => {
                let should_be = self.plain_host.run(&step.user, &step.op, flags);
                self.compare(&step.op, is, &should_be)
            }
        }
    }

    /// Judges a step that gave the error of a request.
    fn judge_failure(&mut self, layer: Layer, step: &Step, tally: &mut Tally) -> Verdict {
        if self.plain_host.changes_nameless(&step.op) {
            return Verdict::Unclear;
        }
        // Whatever it says, it is closed.
        let is_close = matches!(step.op, Op::Close { .. });
        if !is_close && self.trees_differ().is_none() {
            tally.undone += 1;
            return Verdict::Right;
        }
        // Should it fail, nothing is done, and the difference stays.
        let _ = self.plain_host.run_in_vain(&step.user, &step.op, create_flags(layer, Side::Mount));
        if self.trees_differ().is_none() {
            tally.done += 1;
            return Verdict::Right;
        }
        self.in_part(step)
    }

    /// Judges a step after which the directories differ, whether it is done in the plain one or not.
    fn in_part(&self, step: &Step) -> Verdict {
        if self.is_several(&step.op) {
            return Verdict::Unclear;
        }
        let difference = self.trees_differ();
        Verdict::Wrong(format!("was neither done nor not done: {}", difference.as_deref().unwrap_or("now it is done")))
    }

    /// Whether it takes several requests that change something.
    fn is_several(&self, op: &Op) -> bool {
        matches!(op, Op::Write { data, .. } if data.0.len() > self.guest.fs.negotiated().max_write_bytes)
    }

    /// Looks at all open files by way of what is kept of them.
    fn expect_content_of(&mut self, layer: Layer, opened: &mut BTreeMap<Slot, Side>) -> Result<(), String> {
        const ALL: usize = 1 << 18;
        for slot in opened.keys().copied().collect::<Vec<_>>() {
            for op in [Op::Fstat { slot }, Op::Read { slot, offset: 0, length: ALL }] {
                let (is, should_be) = self.step(layer, &op.clone().into(), opened);
                if let Verdict::Wrong(why) = self.compare(&op, &is, &should_be) {
                    return Err(format!("and then {op:?}\n    {why}"));
                }
            }
        }
        Ok(())
    }

    fn compare(&self, op: &Op, is: &Outcome, should_be: &Outcome) -> Verdict {
        match are_alike(op, is, should_be, self.reading_tells) {
            true => Verdict::Right,
            false => Verdict::Wrong(format!("is        {is:?}\n    should be {should_be:?}")),
        }
    }

    /// How the two directories differ, when what was collected is written: but for times of access, since to look is to
    /// change them.
    fn trees_differ(&self) -> Option<String> {
        if writes_back() {
            self.guest.fs.sync().expect("nothing goes wrong now");
        }
        let [served, plain] = [&self.served, &self.plain].map(|root| {
            let mut tree = tree::read(root);
            tree.values_mut().for_each(|entry| entry.facts.accessed = When::Recently);
            tree
        });
        difference(&served, &plain)
    }

    /// What is wrong with the directories when all files are closed.
    fn wrong_at_the_end(&self, is_comparable: bool) -> Option<String> {
        if is_comparable && let Some(difference) = self.trees_differ() {
            return Some(format!("the trees differ: {difference}"));
        }
        match seen::read(&self.guest.fs) {
            Err(error) => Some(format!("the mount cannot be looked at: {error}")),
            Ok(seen) => difference(&seen, &tree::read(&self.served))
                .map(|difference| format!("the mount does not say what is served: {difference}")),
        }
    }

    /// What the daemon has open that nobody uses.
    fn left_behind(&mut self, idle: usize) -> Option<String> {
        self.guest.fs.drop_caches();
        self.guest.fs.maintain();
        if settles_at(&self.daemon, idle) {
            return None;
        }
        let left = opened_by(&self.daemon);
        self.idle_descriptors = Some(left.len());
        Some(format!("instead of {idle} descriptors the daemon has {}: {left:#?}", left.len()))
    }
}

/// Whether something changes what a file contains.
fn changes_content(op: &Op) -> bool {
    match op {
        Op::Open { flags, .. } => flags & O_TRUNC != 0,
        Op::Truncate { .. } | Op::Write { .. } | Op::Ftruncate { .. } => true,
        Op::Allocate { .. } | Op::CopyRange { .. } => true,
        _ => false,
    }
}
