//! Writes that are collected, and fail when they are made: what the host has then, and who is told.

use crate::{STEPS, cases};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use virtio_fs::fs::{File, OpenOptions};
use virtio_fs::test_utils::{FaultInjector, FaultRates, Injected};
use virtio_fs::{CacheMode, Errno, Error, NodeId, VirtioFs};
use virtio_fs_conformance::{World, WorldOptions, mount_options};

/// The files, all of which are there from the beginning.
const NAMES: [&str; 2] = ["a", "b"];
/// The most bytes that are written at once: less than what goes to the server at once with a budget of 16 pages.
const MOST_BYTES: usize = 9000;
const RATES: FaultRates = FaultRates { errors: 0, write_errors: 300, short_writes: 300, delays: 100 };

/// What is done; a handle is an open file.
#[derive(Clone, Debug)]
enum Act {
    Open { handle: u8, name: usize, writes: bool },
    Write { handle: u8, offset: usize, length: usize, value: u8 },
    Read { handle: u8, offset: usize, length: usize },
    Fsync { handle: u8 },
    Close { handle: u8 },
    Sync,
    Maintain,
    DropCaches,
}

fn act() -> impl Strategy<Value = Act> {
    let handle = 0..4_u8;
    let place = prop_oneof![0..100_usize, 0..70_000_usize, (0..17_usize).prop_map(|page| page << 12)];
    let length = prop_oneof![1..20_usize, 1..MOST_BYTES];
    prop_oneof![
        4 => (handle.clone(), select(vec![0, 1]), any::<bool>())
            .prop_map(|(handle, name, writes)| Act::Open { handle, name, writes }),
        12 => (handle.clone(), place.clone(), length, any::<u8>())
            .prop_map(|(handle, offset, length, value)| Act::Write { handle, offset, length, value }),
        4 => (handle.clone(), place, 0..20_000_usize)
            .prop_map(|(handle, offset, length)| Act::Read { handle, offset, length }),
        3 => handle.clone().prop_map(|handle| Act::Fsync { handle }),
        2 => handle.prop_map(|handle| Act::Close { handle }),
        1 => Just(Act::Sync),
        1 => Just(Act::Maintain),
        1 => Just(Act::DropCaches),
    ]
}

/// A byte of a file.
#[derive(Clone, Debug, Default)]
struct Byte {
    newest: u8,
    /// What was written here before.
    older: Vec<u8>,
    /// It was collected, and not synchronised since.
    is_collected: bool,
    /// It was collected when a WRITE failed.
    may_be_lost: bool,
}

impl Byte {
    fn may_be(&self, is: u8) -> bool {
        is == self.newest || self.may_be_lost && (is == 0 || self.older.contains(&is))
    }
}

/// Whether an open file has to be told of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    Nothing,
    /// A WRITE was refused, and perhaps sent again.
    Perhaps,
    Certainly,
}

struct Open {
    file: File,
    name: usize,
    owed: Owed,
}

/// What should be.
struct Model<'w> {
    fs: &'w VirtioFs,
    served: &'w Path,
    faults: &'w FaultInjector,
    files: [Vec<Byte>; NAMES.len()],
    nodes: [Option<NodeId>; NAMES.len()],
    open: BTreeMap<u8, Open>,
}

/// What is wrong, in words.
type Check = Result<(), String>;

impl Model<'_> {
    /// Does `act`, in which WRITEs go wrong by `seed`.
    fn run(&mut self, act: &Act, seed: u64, told: &mut usize) -> Check {
        if matches!(act, Act::Write { handle, .. } | Act::Read { handle, .. } | Act::Fsync { handle }
            | Act::Close { handle } if !self.open.contains_key(handle))
        {
            return Ok(());
        }
        self.faults.start(seed, RATES);
        match *act {
            Act::Open { handle, name, writes } => {
                let opened = OpenOptions::new().read(true).write(writes).open(self.fs, NAMES[name]);
                self.note_failures(false);
                let file = opened.map_err(wrong("to open"))?;
                self.nodes[name] = Some(file.as_open_file().node().nodeid());
                // The one before is closed, and hears nothing.
                self.faults.start(seed, RATES);
                self.open.insert(handle, Open { file, name, owed: Owed::Nothing });
                self.note_failures(false);
                Ok(())
            }
            Act::Write { handle, offset, length, value } => self.write(handle, offset, length, value),
            Act::Read { handle, offset, length } => self.read(handle, offset, length),
            Act::Fsync { handle } => {
                let result = self.open[&handle].file.sync_all();
                let failed = self.note_failures(false);
                let Open { name, owed, .. } = self.open[&handle];
                *told += usize::from(result.is_err());
                self.open.get_mut(&handle).expect("it is open").owed = Owed::Nothing;
                expect_told(owed, result)?;
                if !failed.contains(&name) {
                    self.files[name].iter_mut().for_each(|byte| byte.is_collected = false);
                    self.check_host(name)?;
                }
                Ok(())
            }
            Act::Close { handle } => {
                // Who closes is told of what fails meanwhile.
                let Open { file, name, mut owed } = self.open.remove(&handle).expect("it is open");
                let result = file.close();
                *told += usize::from(result.is_err());
                for (failed, how) in self.failures(false) {
                    owed = if failed == name { owed.max(how) } else { owed };
                    self.note_failure(failed, how);
                }
                expect_told(owed, result)
            }
            Act::Sync | Act::Maintain | Act::DropCaches => {
                let result = match act {
                    Act::Sync => self.fs.sync(),
                    Act::Maintain => {
                        self.fs.maintain();
                        Ok(())
                    }
                    _ => {
                        self.fs.drop_caches();
                        Ok(())
                    }
                };
                self.note_failures(false);
                // Of what was written before, that is told by the files.
                result.map_err(wrong("to synchronise all"))
            }
        }
    }

    fn write(&mut self, handle: u8, offset: usize, length: usize, value: u8) -> Check {
        let data: Vec<u8> = (0..length).map(|at| value.wrapping_add((at ^ at >> 8) as u8)).collect();
        let Open { file, name, .. } = &self.open[&handle];
        let name = *name;
        let result = file.write_at(offset as u64, &data);
        // The error of a write that finds no room in pages is its own.
        let is_direct = matches!(result, Ok(written) if written < length)
            || result.as_ref().is_err_and(|error| error.errno() != Errno::EBADF);
        let written = result.as_ref().copied().unwrap_or(0);
        let bytes = &mut self.files[name];
        if written > 0 && bytes.len() < offset + written {
            // A hole before it is there when it is.
            bytes.resize_with(offset + written, || Byte { is_collected: true, ..Byte::default() });
        }
        for (byte, &value) in bytes.iter_mut().skip(offset).zip(&data[..written]) {
            let before = std::mem::replace(&mut byte.newest, value);
            byte.older.push(before);
            (byte.is_collected, byte.may_be_lost) = (true, false);
        }
        self.note_failures(is_direct);
        match result {
            Err(error) if is_direct && !is_injected(error.errno()) => Err(format!("a write gave {error}")),
            _ => Ok(()),
        }
    }

    fn read(&mut self, handle: u8, offset: usize, length: usize) -> Check {
        let mut buffer = vec![0; length];
        let Open { file, name, .. } = &self.open[&handle];
        let name = *name;
        let result = file.read_at(offset as u64, &mut buffer);
        self.note_failures(false);
        let bytes = result.map_err(wrong("to read"))?;
        self.check(name, offset, &buffer[..bytes], length, "read was")
    }

    /// The files of which WRITEs failed, and whether open files have to be told: only perhaps if a write that was asked
    /// for now may have been told already.
    fn failures(&self, may_be_told: bool) -> Vec<(usize, Owed)> {
        let owed = |errno| if may_be_told || errno == Errno::ENOSPC { Owed::Perhaps } else { Owed::Certainly };
        let name = |nodeid| self.nodes.iter().position(|&node| node == Some(nodeid)).expect("one of the files");
        let failed = self.faults.stop().into_iter().filter_map(|injected| match injected {
            Injected::Error { nodeid, errno, .. } => Some((name(nodeid), owed(errno))),
            _ => None,
        });
        failed.collect()
    }

    /// Notes the WRITEs that failed, and gives their files.
    fn note_failures(&mut self, may_be_told: bool) -> Vec<usize> {
        let failures = self.failures(may_be_told);
        failures.iter().for_each(|&(name, owed)| self.note_failure(name, owed));
        failures.into_iter().map(|(name, _)| name).collect()
    }

    fn note_failure(&mut self, name: usize, owed: Owed) {
        for byte in self.files[name].iter_mut().filter(|byte| byte.is_collected) {
            byte.may_be_lost = true;
        }
        for open in self.open.values_mut().filter(|open| open.name == name) {
            open.owed = open.owed.max(owed);
        }
    }

    /// What the host has of a file of which nothing is to be written any more.
    fn check_host(&self, name: usize) -> Check {
        let content = std::fs::read(self.served.join(NAMES[name])).expect("a file of the host");
        self.check(name, 0, &content, usize::MAX, "the host has")
    }

    /// What was got of a file from `offset` on, where so many bytes were wanted.
    fn check(&self, name: usize, offset: usize, got: &[u8], wanted: usize, what: &str) -> Check {
        let should_be = self.files[name].get(offset..).unwrap_or(&[]);
        let should_be = &should_be[..should_be.len().min(wanted)];
        if got.len() > should_be.len() || should_be[got.len()..].iter().any(|byte| !byte.may_be_lost) {
            return Err(format!(
                "{what} {} bytes of {} from {offset} on, not {}",
                got.len(),
                NAMES[name],
                should_be.len()
            ));
        }
        match got.iter().zip(should_be).position(|(&is, byte)| !byte.may_be(is)) {
            None => Ok(()),
            Some(at) => {
                Err(format!("{what} {} at byte {} of {}, not {:?}", got[at], offset + at, NAMES[name], should_be[at]))
            }
        }
    }
}

fn wrong(what: &str) -> impl Fn(Error) -> String {
    move |error| format!("{what} gave {error}")
}

/// Whether the injector refuses with this.
fn is_injected(errno: Errno) -> bool {
    [Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::ESTALE].contains(&errno)
}

/// Whether what fsync or close says is what it has to tell.
fn expect_told(owed: Owed, result: Result<(), Error>) -> Check {
    match (owed, result) {
        (Owed::Nothing | Owed::Perhaps, Ok(())) => Ok(()),
        (Owed::Perhaps | Owed::Certainly, Err(error)) if is_injected(error.errno()) => Ok(()),
        (owed, result) => Err(format!("it said {result:?}, and had to tell: {owed:?}")),
    }
}

/// Runs a script; gives how often an error was told.
fn run(world: &World, faults: &FaultInjector, script: &[(Act, u64)]) -> Result<usize, String> {
    for name in NAMES {
        std::fs::write(world.served().join(name), "").expect("a file of the host");
    }
    world.fs().drop_caches();
    let mut model = Model {
        fs: world.fs(),
        served: world.served(),
        faults,
        files: Default::default(),
        nodes: [None; NAMES.len()],
        open: BTreeMap::new(),
    };
    let mut told = 0;
    let all =
        [(Act::Open { handle: 0, name: 0, writes: true }, 0), (Act::Open { handle: 1, name: 1, writes: true }, 0)];
    let all: Vec<_> = all.iter().chain(script).cloned().collect();
    for (number, (act, seed)) in all.iter().enumerate() {
        model.run(act, *seed, &mut told).map_err(|why| format!("{:#?}\n{why}", &all[..=number]))?;
    }
    let left: Vec<_> = model.open.keys().map(|&handle| (Act::Close { handle }, 0)).collect();
    for (act, seed) in &left {
        model.run(act, *seed, &mut told).map_err(|why| format!("{all:#?}\n{act:?} at the end: {why}"))?;
    }
    world.fs().drop_caches();
    for (name, path) in NAMES.iter().enumerate() {
        model.check_host(name).map_err(|why| format!("{all:#?}\n{why} at the end"))?;
        let seen = world.fs().read(path).map_err(|error| format!("{all:#?}\n{error} at the end"))?;
        if seen != std::fs::read(world.served().join(path)).expect("a file of the host") {
            return Err(format!("{all:#?}\nthe mount does not say what is served of {path}"));
        }
    }
    Ok(told)
}

#[test]
fn what_is_lost_of_collected_writes_is_told_once_to_each_open_file_and_nothing_else_is_lost() {
    let faults = FaultInjector::new(|| std::thread::sleep(Duration::from_micros(50)));
    let mut mount = mount_options();
    mount.cache.writeback = true;
    mount.cache.dirty_age = Duration::ZERO;
    if mount.cache.mode == CacheMode::None {
        mount.cache.mode = CacheMode::Auto;
    }
    let world = World::with_options(&WorldOptions { mount, faults: Some(faults.clone()), ..WorldOptions::default() });
    let cases = cases();
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let script = proptest::collection::vec((act(), any::<u64>()), 1..STEPS);
    let told = RefCell::new(0);
    let result = TestRunner::new(config).run(&script, |script| {
        *told.borrow_mut() += run(&world, &faults, &script).map_err(TestCaseError::fail)?;
        Ok(())
    });
    match result {
        Ok(()) => println!("{} errors were told in {cases} scripts", told.borrow()),
        Err(TestError::Fail(why, _)) => panic!("the shortest script that fails:\n{why}"),
        Err(other) => panic!("{other}"),
    }
}
