//! What cached things cost, against the host's own caches, as ratios of sides that run in turns.

#[path = "../tests/common/mod.rs"]
mod common;

use common::Folder;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::time::Instant;
use virtio_fs::{CacheMode, CacheOptions, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const ROUNDS: usize = 15;
const TURNS: u32 = 100_000;
const THREADS: usize = 2;
/// Paths of eight components, as many as there are threads.
const PATHS: [&str; THREADS] = ["one/b/c/d/e/f/g/leaf", "two/b/c/d/e/f/g/leaf"];
const PIECE_BYTES: usize = 4096;
const FILE_BYTES: usize = 1 << 20;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The mean time of a turn in nanoseconds.
fn turn_ns(mut turn: impl FnMut(u32)) -> f64 {
    let start = Instant::now();
    (0..TURNS).for_each(&mut turn);
    start.elapsed().as_secs_f64() * 1e9 / f64::from(TURNS)
}

/// Turns of both threads together, each with its own number, in a second.
fn rate(turn: impl Fn(usize, u32) + Sync) -> f64 {
    let barrier = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let worker = |thread| {
            let (barrier, turn) = (&barrier, &turn);
            scope.spawn(move || {
                barrier.wait();
                (0..TURNS).for_each(|at| turn(thread, at));
            })
        };
        let workers: Vec<_> = (0..THREADS).map(worker).collect();
        barrier.wait();
        let start = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        f64::from(TURNS) * THREADS as f64 / start.elapsed().as_secs_f64()
    })
}

fn compare(name: &str, mut driver: impl FnMut(u32), mut host: impl FnMut(u32), aim: &str) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(turn_ns(&mut driver));
        theirs.push(turn_ns(&mut host));
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    println!("{name}: driver {:.0} ns, host {:.0} ns, ratio {ratio:.2} ({aim})", median(ours), median(theirs));
}

/// How much of what two threads do in a mount each, which share nothing, they do on disjoint paths of one mount. `turn` has
/// the numbers of the mount and of the thread.
fn scaling(name: &str, turn: impl Fn(usize, usize, u32) + Sync) {
    let round = |_| rate(|thread, at| turn(0, thread, at)) / rate(|thread, at| turn(thread, thread, at));
    let ratio = 2.0 * median((0..ROUNDS).map(round).collect());
    println!("{name} by 2 threads: {ratio:.2} where 2 is what they reach in a mount each (aim: at least 1.7)");
}

fn main() {
    let folder = Folder::new();
    for path in PATHS {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![7; FILE_BYTES]).unwrap();
    }
    let options = DaemonOptions { log_requests: false, ..DaemonOptions::default() };
    for mode in [CacheMode::Always, CacheMode::Auto] {
        println!("{mode:?}");
        let daemons =
            [(); THREADS].map(|()| Daemon::start(folder.path(), &options).unwrap_or_else(|error| panic!("{error}")));
        let mounts = daemons.each_ref().map(|daemon| mount(daemon, mode));
        stats(&mounts, &folder);
        reads(&mounts, &folder);
        mounts.into_iter().for_each(|vfs| vfs.unmount().unwrap());
    }
}

fn mount(daemon: &Daemon, mode: CacheMode) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "bench").unwrap_or_else(|error| panic!("{error}"));
    let long = Some(std::time::Duration::from_secs(3600));
    let cache = CacheOptions { mode, entry_timeout: long, attr_timeout: long, ..CacheOptions::default() };
    VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions { cache, ..MountOptions::default() }).unwrap()
}

fn stats(mounts: &[VirtioFs; THREADS], folder: &Folder) {
    let directory = File::open(folder.path()).unwrap();
    let name = "stat of a path of 8 components";
    let aim = "aim: at most 2, and less than 1000 ns";
    compare(
        name,
        |_| _ = black_box(mounts[0].metadata(PATHS[0]).unwrap()),
        |_| _ = black_box(rustix::fs::statat(&directory, PATHS[0], rustix::fs::AtFlags::empty()).unwrap()),
        aim,
    );
    scaling(name, |mount, thread, _| _ = black_box(mounts[mount].metadata(PATHS[thread]).unwrap()));
}

fn reads(mounts: &[VirtioFs; THREADS], folder: &Folder) {
    let place = |at: u32| u64::from(at) * PIECE_BYTES as u64 % FILE_BYTES as u64;
    let guest = mounts.each_ref().map(|vfs| PATHS.map(|path| vfs.open(path).unwrap()));
    let host = File::open(folder.path().join(PATHS[0])).unwrap();
    guest.iter().flatten().for_each(|file| _ = file.read_at(0, &mut vec![0; FILE_BYTES]).unwrap());
    let (mut one, mut other) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
    let name = "read_at of 4 KiB";
    compare(
        name,
        |at| assert_eq!(guest[0][0].read_at(place(at), black_box(&mut one)).unwrap(), PIECE_BYTES),
        |at| host.read_exact_at(black_box(&mut other), place(at)).unwrap(),
        "aim: at most 1",
    );
    scaling(name, |mount, thread, at| {
        let mut buffer = [0; PIECE_BYTES];
        assert_eq!(guest[mount][thread].read_at(place(at), black_box(&mut buffer)).unwrap(), PIECE_BYTES);
    });
}
