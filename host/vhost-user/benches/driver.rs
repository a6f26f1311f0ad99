//! What the driver costs, as ratios of two sides that run in turns: see "Benchmark" in the crate's documentation.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/raw_queue/mod.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod raw_queue;

use common::Folder;
use raw_queue::RawQueue;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use virtio_fs::virtio::{DeviceStatus, RingAddresses, SharedMemoryRegion, Transport};
use virtio_fs::{BufferDirection, Error, Hal, Platform, VirtioFs};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, NativePlatform, VhostUserTransport, connect};

const ROUNDS: usize = 21;
const ROUND_TRIPS: u32 = 2_000;
/// Long enough for the daemon to fall asleep.
const PAUSE: Duration = Duration::from_micros(20);
const FILE_BYTES: usize = 64 << 20;
const STEP_BYTES: usize = 1 << 20;
const READS: u32 = 3;

/// The two sides use one connection in turns.
#[derive(Clone)]
struct Shared(Arc<VhostUserTransport>);

// SAFETY: as `VhostUserTransport` promises.
unsafe impl Transport for Shared {
    fn reset(&self, platform: &dyn Platform) -> Result<(), Error> {
        self.0.reset(platform)
    }

    fn status(&self) -> DeviceStatus {
        self.0.status()
    }

    fn set_status(&self, status: DeviceStatus) -> Result<(), Error> {
        self.0.set_status(status)
    }

    fn device_features(&self) -> u64 {
        self.0.device_features()
    }

    fn set_driver_features(&self, features: u64) {
        self.0.set_driver_features(features);
    }

    fn config_generation(&self) -> u32 {
        self.0.config_generation()
    }

    fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        self.0.read_config(offset, out)
    }

    fn max_queue_size(&self, queue: u16) -> u16 {
        self.0.max_queue_size(queue)
    }

    fn enable_queue(&self, queue: u16, size: u16, rings: RingAddresses) -> Result<(), Error> {
        self.0.enable_queue(queue, size, rings)
    }

    fn notify(&self, queue: u16) {
        self.0.notify(queue);
    }

    fn interrupts(&self) -> bool {
        self.0.interrupts()
    }

    fn shared_memory(&self, id: u8) -> Option<SharedMemoryRegion> {
        self.0.shared_memory(id)
    }
}

/// A daemon that serves a folder with one large file, and a connection to it.
struct Setting {
    folder: Folder,
    _daemon: Daemon,
    transport: Shared,
    platform: Arc<NativePlatform>,
}

impl Setting {
    fn new() -> Self {
        let folder = Folder::new();
        fs::write(folder.path().join("file"), content()).unwrap();
        let options = DaemonOptions { log_requests: false, ..DaemonOptions::default() };
        let daemon = Daemon::start(folder.path(), &options).unwrap_or_else(|error| panic!("{error}"));
        let (transport, platform) = connect(daemon.socket(), "bench").unwrap_or_else(|error| panic!("{error}"));
        Self { folder, _daemon: daemon, transport: Shared(Arc::new(transport)), platform }
    }

    fn mount(&self) -> VirtioFs {
        // What is measured is the way to the server.
        let options = common::uncached();
        VirtioFs::mount::<GuestHal>(self.transport.clone(), self.platform.clone(), &options).unwrap()
    }
}

fn content() -> Vec<u8> {
    (0..FILE_BYTES as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

fn timed(times: u32, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        run();
    }
    start.elapsed() / times
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The mean time of a round trip in microseconds, without the pause before each.
fn round_trip_us(pause: Duration, mut run: impl FnMut()) -> f64 {
    let mut total = Duration::ZERO;
    for _ in 0..ROUND_TRIPS {
        let paused = Instant::now();
        while paused.elapsed() < pause {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        run();
        total += start.elapsed();
    }
    total.as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS)
}

/// One GETATTR through the driver, against one by a descriptor chain made by hand.
fn round_trips(setting: &Setting, name: &str, pause: Duration, aim: &str) {
    let (mut bare, mut driver) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut queue = RawQueue::start_with_event_index(&setting.transport, &*setting.platform);
        queue.init();
        bare.push(round_trip_us(pause, || _ = black_box(queue.round_trip())));
        setting.transport.reset(&*setting.platform).unwrap();
        queue.free();

        let fs = setting.mount();
        let root = fs.root();
        driver.push(round_trip_us(pause, || _ = black_box(root.getattr().unwrap())));
        fs.unmount().unwrap();
    }
    let ratio = median(driver.iter().zip(&bare).map(|(driver, bare)| driver / bare).collect());
    let (bare, driver) = (median(bare), median(driver));
    println!("GETATTR {name}: bare chain {bare:.2} us, driver {driver:.2} us, ratio {ratio:.2} ({aim})");
}

/// The whole file by one call of the driver, against `pread` in steps, both into `buffer`.
fn reads(setting: &Setting, name: &str, buffer: &mut [u8], aim: &str) {
    let (mut preads, mut driver) = (Vec::new(), Vec::new());
    let fs = setting.mount();
    assert_eq!(fs.negotiated().max_transfer_bytes, STEP_BYTES);
    let guest = fs.open("file").unwrap();
    let host = File::open(setting.folder.path().join("file")).unwrap();
    let rate = |time: Duration| FILE_BYTES as f64 / time.as_secs_f64() / 1e9;
    for _ in 0..ROUNDS {
        preads.push(rate(timed(READS, || {
            for (step, piece) in buffer.chunks_mut(STEP_BYTES).enumerate() {
                host.read_exact_at(piece, (step * STEP_BYTES) as u64).unwrap();
            }
        })));
        driver.push(rate(timed(READS, || assert_eq!(guest.read_at(0, buffer).unwrap(), FILE_BYTES))));
    }
    assert!(buffer == content(), "the bytes differ");
    drop(guest);
    fs.unmount().unwrap();
    let ratio = median(driver.iter().zip(&preads).map(|(driver, pread)| driver / pread).collect());
    let (preads, driver) = (median(preads), median(driver));
    println!("64 MiB {name}: pread {preads:.2} GB/s, driver {driver:.2} GB/s, ratio {ratio:.2} ({aim})");
}

/// GETATTRs by several threads at once.
fn threads(setting: &Setting) {
    let fs = setting.mount();
    for threads in [1, 2, 4, 8] {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let root = fs.root();
                scope.spawn(move || (0..ROUND_TRIPS).for_each(|_| _ = black_box(root.getattr().unwrap())));
            }
        });
        let rate = f64::from(threads * ROUND_TRIPS) / start.elapsed().as_secs_f64();
        println!("GETATTR by {threads} threads: {rate:.0} a second");
    }
    fs.unmount().unwrap();
}

fn main() {
    let setting = Setting::new();
    round_trips(&setting, "after a pause", PAUSE, "aim: at most 1.3");
    round_trips(&setting, "back to back", Duration::ZERO, "no aim: see the documentation");
    let (address, pages) = GuestHal::dma_alloc(FILE_BYTES / 4096, BufferDirection::Both);
    assert_ne!(address, 0);
    // SAFETY: allocated just now, zeroed, and never freed. The daemon writes there only while the driver has it.
    let guest = unsafe { std::slice::from_raw_parts_mut(pages.as_ptr(), FILE_BYTES) };
    reads(&setting, "into guest memory", guest, "aim: at least 0.8");
    reads(&setting, "into the heap", &mut vec![0; FILE_BYTES], "bounced");
    threads(&setting);
}
