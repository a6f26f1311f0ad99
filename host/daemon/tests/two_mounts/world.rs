//! Two mounts of one directory, and whether both find what there is.

use super::common::{Daemon, PATIENCE};
use super::found::{as_ordinary, on_host, on_mount};
use super::held::{HeldDirectory, HeldFile};
use super::share::{Share, mount};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use virtio_fs::test_utils::XorShift;
use virtio_fs::{Credentials, MountOptions, VirtioFs};

/// Few, so that changes meet.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
/// How many steps are told of when something is wrong.
const REMEMBERED: usize = 12;

/// All paths of three names at most, the root first.
pub(crate) fn paths() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut level = paths.clone();
    for _ in 0..3 {
        let below =
            |path: &String| NAMES.map(|name| if path.is_empty() { name.into() } else { format!("{path}/{name}") });
        level = level.iter().flat_map(below).collect();
        paths.extend(level.clone());
    }
    paths
}

/// How a mount is made.
pub(crate) struct Options {
    pub(crate) mount: MountOptions,
    /// On behalf of the ordinary user, whom the driver lets do what the user may.
    pub(crate) is_ordinary: bool,
    /// Files are opened for reading only.
    pub(crate) reads_only: bool,
    /// Its daemon has no version table.
    pub(crate) is_host: bool,
    /// Files stay open.
    pub(crate) holds_files: bool,
}

/// A mount, and what it has open.
pub(crate) struct Side {
    pub(crate) files: Vec<HeldFile>,
    pub(crate) directories: Vec<HeldDirectory>,
    pub(crate) fs: VirtioFs,
    pub(crate) is_ordinary: bool,
    pub(crate) reads_only: bool,
    pub(crate) holds_files: bool,
    /// `None` for another view of the same mount.
    daemon: Option<Daemon>,
}

pub(crate) struct World {
    pub(crate) sides: Vec<Side>,
    pub(crate) share: Arc<Share>,
    pub(crate) random: XorShift,
    pub(crate) paths: Vec<String>,
    done: VecDeque<String>,
    steps: usize,
    writes_back: bool,
    /// What was collected is sent after so many steps, and only then it is compared.
    pub(crate) sync_each: usize,
    /// The longest that a file becomes.
    pub(crate) length: usize,
    /// What is read through a window takes room on the host that it did not take before.
    pub(crate) counts_blocks: bool,
    /// No other mount changes anything at the same time.
    pub(crate) is_alone: bool,
    /// After so many looks at everything nothing is asked for any more.
    pub(crate) passes: usize,
    /// But for this.
    pub(crate) is_sent_each_time: &'static [&'static str],
}

impl World {
    pub(crate) fn new(seed: u64, arguments: &[&str], options: [Options; 2]) -> Self {
        let share = Arc::new(Share::new(arguments));
        let writes_back = options.iter().any(|options| options.mount.cache.writeback);
        let sides =
            options.into_iter().map(|Options { mount: options, is_ordinary, reads_only, is_host, holds_files }| {
                let daemon = Some(if is_host { share.serve_without_table() } else { share.serve() });
                let fs = mount(daemon.as_ref().unwrap(), &options);
                Side { files: vec![], directories: vec![], fs, is_ordinary, reads_only, holds_files, daemon }
            });
        let (sides, random) = (sides.collect(), XorShift::new(seed));
        let done = VecDeque::new();
        let (length, counts_blocks, is_alone, passes, is_sent_each_time) = (12_000, true, true, 1, &[][..]);
        Self {
            sides,
            share,
            random,
            paths: paths(),
            done,
            steps: 0,
            writes_back,
            sync_each: 1,
            length,
            counts_blocks,
            is_alone,
            passes,
            is_sent_each_time,
        }
    }

    /// Does one step, and compares what it may concern, and some of the rest.
    pub(crate) fn step(&mut self) {
        let number = self.random.below(2);
        let mut concerned = self.change_and_remember(number);
        if self.writes_back && !self.steps.is_multiple_of(self.sync_each) {
            return;
        }
        self.sync();
        for path in concerned.clone() {
            concerned.extend(path.rsplit_once('/').map(|(parent, _)| parent.into()));
        }
        concerned.push(String::new());
        for _ in 0..5 {
            concerned.push(self.paths[self.random.below(self.paths.len())].clone());
        }
        // Who looks first is not always the same.
        for number in [number, 1 - number] {
            self.compare(number, &concerned);
            self.compare_held(number);
        }
    }

    /// Does one step, and gives what it concerns.
    fn change_and_remember(&mut self, number: usize) -> Vec<String> {
        let (what, concerned) = self.change(number);
        self.steps += 1;
        if self.done.len() == REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back(format!("mount {number}: {what}"));
        concerned
    }

    /// What a mount keeps back is no change yet.
    fn sync(&self) {
        if self.writes_back {
            self.sides.iter().for_each(|side| side.fs.sync().unwrap());
        }
    }

    /// Two threads of each mount do so many steps at the same time, and look around meanwhile.
    pub(crate) fn race(&mut self, steps: usize) {
        self.is_alone = false;
        let racing = std::thread::scope(|scope| {
            let sides: Vec<_> = self.sides.drain(..).collect();
            let second = |side: &Side| Side {
                files: vec![],
                directories: vec![],
                fs: side.fs.with_credentials(Credentials::default()),
                daemon: None,
                ..*side
            };
            let threads = sides.into_iter().flat_map(|side| [second(&side), side]).map(|side| {
                let (share, paths) = (self.share.clone(), self.paths.clone());
                let random = XorShift::new(self.random.next_u64());
                let mut alone = Self { sides: vec![side], share, random, paths, done: VecDeque::new(), ..*self };
                scope.spawn(move || {
                    for _ in 0..steps {
                        let mut looked_at = alone.change_and_remember(0);
                        looked_at.push(alone.paths[alone.random.below(alone.paths.len())].clone());
                        for path in &looked_at {
                            // Whatever is found there at this moment.
                            let _ = on_mount(&alone.sides[0].fs, path, true);
                        }
                    }
                    alone
                })
            });
            threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        self.done.clear();
        for one in racing {
            self.done.extend(one.done);
            self.sides.extend(one.sides.into_iter().filter(|side| side.daemon.is_some()));
        }
        self.is_alone = true;
        self.sync();
    }

    fn compare(&self, number: usize, paths: &[String]) {
        if let Some(difference) = self.difference(number, paths) {
            self.fail(number, &difference);
        }
    }

    /// What is wrong with what a mount finds at these paths.
    fn difference(&self, number: usize, paths: &[String]) -> Option<String> {
        let side = &self.sides[number];
        for path in paths {
            let look = || on_host(&self.share.at(path), self.counts_blocks);
            let should_be = if side.is_ordinary { as_ordinary(look) } else { look() };
            let is = on_mount(&side.fs, if path.is_empty() { "/" } else { path }, self.counts_blocks);
            if is != should_be {
                return Some(format!("/{path} is found\n{is:?}\nwhere there is\n{should_be:?}"));
            }
        }
        None
    }

    fn compare_held(&self, number: usize) {
        if let Some(difference) = self.difference_of_held(number) {
            self.fail(number, &difference);
        }
    }

    fn difference_of_held(&self, number: usize) -> Option<String> {
        let side = &self.sides[number];
        for file in &side.files {
            if let Some(difference) = file.difference(self.counts_blocks) {
                return Some(format!("an open file {difference}"));
            }
        }
        // What an ordinary user may look for in a directory depends on the way there.
        let names = if side.is_ordinary { &[][..] } else { &NAMES };
        for directory in &side.directories {
            if let Some(difference) = directory.difference(names, self.counts_blocks) {
                return Some(format!("a directory {difference}"));
            }
        }
        None
    }

    /// The second mount, whose daemon has no table, changes something, as a program of the host would. Waits until the
    /// first one finds all of it.
    pub(crate) fn step_on_host(&mut self) {
        self.change_and_remember(1);
        let begin = Instant::now();
        while let Some(difference) = self.difference(0, &self.paths).or_else(|| self.difference_of_held(0)) {
            if begin.elapsed() > PATIENCE {
                self.fail(0, &difference);
            }
        }
    }

    /// Compares everything, and checks that nothing is asked for any more.
    pub(crate) fn compare_all(&self) {
        self.sync();
        for number in 0..self.sides.len() {
            for _ in 0..self.passes {
                self.compare(number, &self.paths);
                self.compare_held(number);
            }
            for path in &self.paths {
                self.expect_silence(number, path, || self.compare(number, std::slice::from_ref(path)));
            }
            for file in &self.sides[number].files {
                self.expect_silence(number, &format!("{:?}", file.file), || drop(file.difference(self.counts_blocks)));
            }
            self.expect_silence(number, "what is open", || self.compare_held(number));
        }
    }

    /// Checks that a mount does something without a message.
    fn expect_silence(&self, number: usize, what: &str, work: impl FnOnce()) {
        let before = self.sides[number].fs.statistics();
        work();
        let after = self.sides[number].fs.statistics();
        let sent = after.requests().map(|(name, count)| (name, count - before.requests_of(name)));
        let sent: Vec<_> = sent.filter(|(name, count)| *count > 0 && !self.is_sent_each_time.contains(name)).collect();
        if !sent.is_empty() {
            self.fail(number, &format!("nothing has changed, but it asked {sent:?} for {what}"));
        }
    }

    pub(crate) fn fail(&self, number: usize, what: &str) -> ! {
        let done: Vec<_> = self.done.iter().cloned().collect();
        panic!("after\n{}\nby mount {number}: {what}", done.join("\n"));
    }
}
