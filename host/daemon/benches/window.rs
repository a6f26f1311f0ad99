//! What it costs to read through the DAX window, against reading by requests, and against the host's own mapping of the
//! same file, and through a window that is smaller than the file, as ratios of sides that run in turns: medians over the rounds.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "common/mod.rs"]
mod sides;

use common::{Daemon, Folder};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use sides::compare;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::symlink;
use std::time::Instant;
use virtio_fs::{CacheMode, CacheOptions, Dax, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{GuestHal, connect};

const ROUNDS: usize = 21;
const FILE_BYTES: usize = 64 << 20;
const STEP_BYTES: usize = 1 << 20;
const PIECE_BYTES: usize = 4096;
/// Random reads in a round.
const READS: usize = 5_000;
/// Windows that are smaller than the file are compared by so many mounts, each of which reads so many times.
const MOUNTS: usize = 7;
const PASSES: usize = 3;
const PASS_READS: usize = 4096;

fn mount(daemon: &Daemon, dax: Dax) -> VirtioFs {
    let (transport, platform) = connect(daemon.socket(), "share").unwrap_or_else(|error| panic!("{error}"));
    // What is not read through the window is read by requests.
    let mode = if dax == Dax::Never { CacheMode::None } else { CacheMode::Auto };
    let cache = CacheOptions { mode, ..CacheOptions::default() };
    VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions { cache, dax, ..MountOptions::default() }).unwrap()
}

/// The host's own mapping of a file.
struct HostMapping(*const u8);

impl HostMapping {
    fn new(file: &File) -> Self {
        // SAFETY: a new mapping, in a place that the system chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), FILE_BYTES, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        Self(start.unwrap().cast())
    }

    fn read(&self, offset: usize, buffer: &mut [u8]) {
        assert!(offset + buffer.len() <= FILE_BYTES);
        // SAFETY: so much is mapped, for as long as the process lives; nobody writes to the file.
        unsafe { std::ptr::copy_nonoverlapping(self.0.add(offset), buffer.as_mut_ptr(), buffer.len()) };
        black_box(buffer);
    }
}

/// Seconds that `read` takes for all these offsets.
fn timed(offsets: &[usize], mut read: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    offsets.iter().for_each(|&offset| read(offset));
    start.elapsed().as_secs_f64()
}

/// Random places in the file, in whole pieces.
struct Places(u32);

impl Places {
    fn take(&mut self, count: usize) -> Vec<usize> {
        let place = |_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as usize % (FILE_BYTES / PIECE_BYTES) * PIECE_BYTES
        };
        (0..count).map(place).collect()
    }
}

fn content() -> Vec<u8> {
    (0..FILE_BYTES as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// A daemon with a window of this size, over a file in memory.
fn daemon(window: &str) -> Daemon {
    let folder = Folder::in_memory();
    fs::create_dir(folder.path().join("share")).unwrap();
    fs::write(folder.path().join("share/file"), content()).unwrap();
    Daemon::start_in(folder, &["--window", window])
}

fn main() {
    window_as_large_as_the_file();
    ["32M", "16M"].into_iter().for_each(window_smaller_than_the_file);
}

/// Reads at random that go through the window in part, against the same reads without one. Both have a page cache.
fn window_smaller_than_the_file(window: &str) {
    let daemon = daemon(window);
    let mut places = Places(7);
    let mut piece = [0; PIECE_BYTES];
    let mut times = [const { Vec::new() }; 2];
    for round in 0..MOUNTS {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (transport, platform) = connect(daemon.socket(), "share").unwrap();
            let dax = [Dax::Always, Dax::Never][side];
            let options = MountOptions { dax, ..MountOptions::default() };
            let fs = VirtioFs::mount::<GuestHal>(transport, platform, &options).unwrap();
            let file = fs.open("file").unwrap();
            let offsets = places.take(PASSES * PASS_READS);
            times[side].push(timed(&offsets, |at| _ = file.read_at(at as u64, &mut piece).unwrap()));
            assert_eq!(fs.statistics().requests_of("SETUPMAPPING") > 0, side == 0);
            drop(file);
            fs.unmount().unwrap();
        }
    }
    let name = format!("{PASSES} times {PASS_READS} reads of 4 KiB, a window of {window} against none");
    compare(&name, "aim 1.1 at most", &times[0], &times[1], |seconds| format!("{:.1} ms", seconds * 1e3));
}

fn window_as_large_as_the_file() {
    let content = content();
    let with_window = daemon("64M");
    let second = Folder::new();
    symlink(with_window.share(), second.path().join("share")).unwrap();
    let without = Daemon::start_in(second, &[]);
    let (mapped_fs, asked_fs) = (mount(&with_window, Dax::Always), mount(&without, Dax::Never));
    let (mapped, asked) = (mapped_fs.open("file").unwrap(), asked_fs.open("file").unwrap());
    let host = HostMapping::new(&File::open(with_window.file("file")).unwrap());

    let mut buffer = vec![0; STEP_BYTES];
    let steps: Vec<usize> = (0..FILE_BYTES).step_by(STEP_BYTES).collect();
    for &at in &steps {
        assert_eq!(mapped.read_at(at as u64, &mut buffer).unwrap(), STEP_BYTES);
        assert!(buffer == content[at..at + STEP_BYTES]);
        host.read(at, &mut buffer);
    }
    let before = mapped_fs.statistics();
    let mut places = Places(1);
    let (mut random_times, mut sequential_times) = ([const { Vec::new() }; 3], [const { Vec::new() }; 2]);
    for round in 0..ROUNDS {
        // Each side has its own places: who comes second would find the other's in the processor's caches. For the same
        // reason they take turns to be first.
        let sides = if round % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for side in sides {
            let offsets = places.take(READS);
            let piece = &mut buffer[..PIECE_BYTES];
            random_times[side].push(match side {
                0 => timed(&offsets, |at| _ = mapped.read_at(at as u64, piece).unwrap()),
                1 => timed(&offsets, |at| host.read(at, piece)),
                _ => timed(&offsets, |at| _ = asked.read_at(at as u64, piece).unwrap()),
            });
        }
        for side in sides.into_iter().filter(|&side| side < 2) {
            sequential_times[side].push(match side {
                0 => timed(&steps, |at| _ = mapped.read_at(at as u64, &mut buffer).unwrap()),
                _ => timed(&steps, |at| host.read(at, &mut buffer)),
            });
        }
    }
    let sent: u64 = ["READ", "SETUPMAPPING"]
        .map(|name| mapped_fs.statistics().requests_of(name) - before.requests_of(name))
        .iter()
        .sum();
    assert_eq!(sent, 0, "not all was mapped");
    assert!(asked_fs.statistics().requests_of("READ") >= (ROUNDS * READS) as u64);

    let nanoseconds = |seconds: f64| format!("{:.0} ns", seconds * 1e9 / READS as f64);
    let rate = |seconds: f64| format!("{:.2} GB/s", FILE_BYTES as f64 / seconds / 1e9);
    let [window, memory, requests] = &random_times;
    compare("4 KiB at random, READ against the window", "aim 5 at least", requests, window, nanoseconds);
    compare("4 KiB at random, the window against the host's mapping", "aim 1.5 at most", window, memory, nanoseconds);
    let [window, memory] = &sequential_times;
    compare("1 MiB in sequence, the window against the host's mapping", "aim 1.2 at most", window, memory, rate);
}
