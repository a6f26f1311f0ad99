//! What it costs to go by the version table instead of the time, and nothing at all where there is none: as ratios of mounts
//! that run in turns.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
mod sides;

use common::Daemon;
use sides::{compare, median};
use std::fs;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};
use virtio_fs::{CacheOptions, Coherence, MountOptions, VirtioFs};
use virtio_fs_version_table::{AtomicU64, Flags, Key, Table, words_for};
use virtio_fs_vhost_user::{GuestHal, connect};

const ROUNDS: usize = 25;
const TURNS: u32 = 50_000;
const LEAF: &str = "a/b/c/d/e/f/g/leaf";
const PIECE_BYTES: usize = 4096;
const FILE_BYTES: usize = 1 << 20;

fn tree(share: &Path) {
    let leaf = share.join(LEAF);
    fs::create_dir_all(leaf.parent().unwrap()).unwrap();
    fs::write(leaf, vec![7; FILE_BYTES]).unwrap();
}

/// A mount in which nothing that is cached ends by time while this runs.
fn mount(daemon: &Daemon, coherence: Coherence) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "share").unwrap_or_else(|error| panic!("{error}"));
    let long = Some(Duration::from_secs(3600));
    let cache = CacheOptions { coherence, entry_timeout: long, attr_timeout: long, ..CacheOptions::default() };
    VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions { cache, ..MountOptions::default() }).unwrap()
}

/// The mean time of a turn in nanoseconds.
fn turn_ns(mut turn: impl FnMut(u32)) -> f64 {
    let start = Instant::now();
    (0..TURNS).for_each(&mut turn);
    start.elapsed().as_secs_f64() * 1e9 / f64::from(TURNS)
}

/// Compares two mounts, in each of which `turn` is repeated.
fn rounds(name: &str, aim: &str, mut turn: impl FnMut(usize, u32)) {
    let mut times = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            times[side].push(turn_ns(|at| turn(side, at)));
        }
    }
    compare(name, aim, &times[0], &times[1], |time| format!("{time:.0} ns"));
}

fn compare_mounts(what: &str, aim: &str, mounts: [&VirtioFs; 2]) {
    rounds(&format!("stat of 8 components, {what}"), aim, |side, _| {
        black_box(mounts[side].metadata(LEAF).unwrap());
    });
    let files = mounts.map(|fs| fs.open(LEAF).unwrap());
    files.iter().for_each(|file| _ = file.read_at(0, &mut vec![0; FILE_BYTES]).unwrap());
    let mut buffer = [0; PIECE_BYTES];
    rounds(&format!("read_at of 4 KiB, {what}"), aim, |side, at| {
        let place = u64::from(at) * PIECE_BYTES as u64 % FILE_BYTES as u64;
        assert_eq!(files[side].read_at(place, black_box(&mut buffer)).unwrap(), PIECE_BYTES);
    });
    rounds(&format!("open, read 4 KiB and close, {what}"), aim, |side, _| {
        let file = mounts[side].open(LEAF).unwrap();
        assert_eq!(file.read_at(0, black_box(&mut buffer)).unwrap(), PIECE_BYTES);
    });
}

/// The look alone, each at a slot that the one before decides: nothing is done ahead.
fn look() {
    let memory: Vec<AtomicU64> = (0..words_for(16)).map(|_| AtomicU64::new(0)).collect();
    let epoch = NonZeroU64::new(1).unwrap();
    let table = Table::create(&memory[..], 16, Flags::empty(), epoch).unwrap();
    let slots: Vec<_> = (0..1 << 12).map(|ino| table.slot(Key::attributes(ino))).collect();
    let mut place = 0;
    let mut look = |_| {
        let is_valid = table.is_valid(slots[place % slots.len()], black_box(1));
        place = place.wrapping_add(black_box(usize::from(is_valid)));
    };
    let time = median((0..ROUNDS).map(|_| turn_ns(&mut look)).collect());
    println!("a look: {time:.1} ns (aim: less than 10)");
}

fn main() {
    look();
    let table = ["--version-table", "1M", "--host-changes", "none"];
    let with_table = [(); 2].map(|()| Daemon::start_on(&table, tree));
    let [by_table, by_time] = [mount(&with_table[0], Coherence::VersionTable), mount(&with_table[1], Coherence::Ttl)];
    compare_mounts("the table against time", "information", [&by_table, &by_time]);
    let without = [(); 2].map(|()| Daemon::start_on(&[], tree));
    let [wanted, unwanted] = [mount(&without[0], Coherence::VersionTable), mount(&without[1], Coherence::Ttl)];
    compare_mounts("no table to be found against none wanted", "aim 1", [&wanted, &unwanted]);
    // Each open asks whether the content is still the same, where nothing else tells.
    let requests = by_table.statistics().all_requests();
    assert!(requests < 100, "{requests} requests, where everything is cached");
}
