//! Two mounts at the same time: what one has been told is done, the other sees.

use super::number;
use super::share::{Share, mount};
use super::world::{Options, World};
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use virtio_fs::fs::OpenOptions;
use virtio_fs::test_utils::XorShift;
use virtio_fs::{CacheMode, CacheOptions, Dax, Errno, Error, MountOptions, VirtioFs};

fn options(mode: CacheMode) -> MountOptions {
    MountOptions { cache: CacheOptions { mode, ..CacheOptions::default() }, dax: Dax::Never, ..MountOptions::default() }
}

/// Both change what they like, and when both are done there is one truth.
#[test]
fn after_changes_at_the_same_time_both_mounts_find_what_there_is() {
    const STEPS: usize = 50;
    let ways = [("516K", CacheMode::Auto, false), ("8K", CacheMode::Always, false), ("516K", CacheMode::Auto, true)];
    for (slots, mode, writeback) in ways {
        let arguments = [
            "--host-changes",
            "none",
            "--xattr",
            "--cache",
            "always",
            "--version-table-size",
            slots,
            "--request-queues",
            "2",
        ];
        let mut mount = options(mode);
        mount.cache.writeback = writeback;
        let side = || Options {
            mount: mount.clone(),
            is_ordinary: false,
            reads_only: false,
            is_host: false,
            holds_files: true,
        };
        let mut world = World::new(7, &arguments, [side(), side()]);
        for _ in 0..number("VIRTIO_FS_TABLE_RACES", 30) {
            world.race(STEPS);
            world.compare_all();
        }
    }
}

/// What somebody did who was told that it is done.
#[derive(Clone, Debug)]
enum Done {
    Holds(usize, u64),
    Ends(usize, u64),
    Has(usize, u16),
    Moved(usize, usize),
    Made(usize),
    Removed(usize),
}

const FILES: usize = 40;

fn path(number: usize) -> String {
    format!("d{}/f{number}", number % 3)
}

/// Changes something, each time something else.
fn act(vfs: &VirtioFs, round: u64, random: &mut XorShift, is_there: &mut [bool; FILES]) -> Done {
    let number = random.below(FILES);
    let name = path(number);
    if !is_there[number] {
        is_there[number] = true;
        vfs.write(&name, round.to_le_bytes()).unwrap();
        return Done::Made(number);
    }
    match random.below(8) {
        0 => {
            vfs.remove_file(&name).unwrap();
            is_there[number] = false;
            Done::Removed(number)
        }
        1 => {
            let to = random.below(FILES);
            vfs.rename(&name, path(to)).unwrap();
            is_there[number] &= number == to;
            is_there[to] = true;
            Done::Moved(number, to)
        }
        2 => {
            let permissions = 0o600 + (round % 64) as u16;
            vfs.set_permissions(&name, permissions).unwrap();
            Done::Has(number, permissions)
        }
        3 => {
            vfs.truncate(&name, 8 + round % 5000).unwrap();
            Done::Ends(number, 8 + round % 5000)
        }
        _ => {
            let file = OpenOptions::new().write(true).open(vfs, &name).unwrap();
            file.write_all_at(0, &round.to_le_bytes()).unwrap();
            file.close().unwrap();
            Done::Holds(number, round)
        }
    }
}

fn lists(vfs: &VirtioFs, number: usize) -> bool {
    let name = format!("f{number}").into_bytes();
    vfs.read_dir(format!("d{}", number % 3)).unwrap().any(|entry| entry.unwrap().file_name() == name)
}

fn is_missing(vfs: &VirtioFs, number: usize) -> bool {
    let stat = vfs.metadata(path(number));
    let is_missing = stat.as_ref().is_err_and(|error: &Error| error.errno() == Errno::ENOENT);
    is_missing && !lists(vfs, number)
}

/// Whether a mount sees that.
fn sees(vfs: &VirtioFs, done: &Done) -> bool {
    match *done {
        Done::Holds(number, round) => vfs.read(path(number)).unwrap()[..8] == round.to_le_bytes(),
        Done::Ends(number, length) => {
            vfs.metadata(path(number)).unwrap().len() == length
                && vfs.read(path(number)).unwrap().len() as u64 == length
        }
        Done::Has(number, permissions) => vfs.metadata(path(number)).unwrap().permissions() == permissions,
        Done::Moved(from, to) => {
            (from == to || is_missing(vfs, from)) && vfs.exists(path(to)).unwrap() && lists(vfs, to)
        }
        Done::Made(number) => vfs.exists(path(number)).unwrap() && lists(vfs, number),
        Done::Removed(number) => is_missing(vfs, number),
    }
}

/// Two mounts take turns to act: who does is seen by the other, and by itself, as soon as it says so.
#[test]
fn who_is_told_that_something_is_done_sees_it_at_once() {
    let share = Share::new(&["--host-changes", "none", "--cache", "always"]);
    (0..3).for_each(|number| fs::create_dir(share.at(format!("d{number}"))).unwrap());
    let daemons = [share.serve(), share.serve()];
    let [one, two] = [0, 1].map(|at| mount(&daemons[at], &options(CacheMode::Auto)));
    let rounds = number("VIRTIO_FS_TABLE_ROUNDS", 100_000) / 5;
    let side =
        |vfs: VirtioFs, first: bool, hear: Receiver<(Done, [bool; FILES])>, tell: Sender<(Done, [bool; FILES])>| {
            let mut random = XorShift::new(if first { 11 } else { 12 });
            let mut start = first.then_some([false; FILES]);
            for round in (u64::from(!first)..rounds).step_by(2) {
                let mut is_there = start.take().unwrap_or_else(|| {
                    let (done, is_there) = hear.recv().unwrap();
                    assert!(sees(&vfs, &done), "round {round}: {done:?} is not seen");
                    is_there
                });
                let done = act(&vfs, round, &mut random, &mut is_there);
                tell.send((done, is_there)).unwrap();
            }
            drop(tell);
            hear.iter().for_each(|(done, _)| assert!(sees(&vfs, &done), "at last {done:?} is not seen"));
            vfs
        };
    let (to_one, at_one) = channel();
    let (to_two, at_two) = channel();
    let ends = std::thread::scope(|scope| {
        let one = scope.spawn(|| side(one, true, at_one, to_two));
        let two = scope.spawn(|| side(two, false, at_two, to_one));
        [one, two].map(|thread| thread.join().unwrap())
    });
    ends.into_iter().for_each(|vfs| vfs.unmount().unwrap());
}
