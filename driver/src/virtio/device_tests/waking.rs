//! Threads that sleep until somebody wakes them: the device raises no interrupt for what another thread takes note of.

use super::*;
use crate::{Instant, Timestamp};
use std::cell::Cell;
use std::sync::{Condvar, Mutex};

std::thread_local! {
    /// How often this thread sleeps where it would wait; after that, the device works while it waits.
    static SLEEPS: Cell<u32> = const { Cell::new(0) };
}

/// A platform on which threads sleep until they are woken, and the time stands still.
struct Sleepy<M: DeviceMemory> {
    fake: Arc<FakeDevice<M>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How often `wake` was called.
    wakes: u64,
    asleep: usize,
    /// The next thread that waits lets no device work before another one sleeps.
    meeting: bool,
}

// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl<M: DeviceMemory> Platform for Sleepy<M> {
    fn now(&self) -> Instant {
        Instant(Duration::ZERO)
    }

    fn wall_clock(&self) -> Timestamp {
        Timestamp::default()
    }

    fn wait_until(&self, _: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            let wakes = self.state.lock().unwrap().wakes;
            if ready() {
                return true;
            }
            if SLEEPS.get() > 0 {
                SLEEPS.set(SLEEPS.get() - 1);
                self.sleep(wakes);
            } else {
                if std::mem::take(&mut self.state.lock().unwrap().meeting) {
                    self.changed.notify_all();
                    self.wait_until_one_sleeps();
                }
                self.fake.work();
            }
        }
    }

    fn wake(&self) {
        self.state.lock().unwrap().wakes += 1;
        self.changed.notify_all();
    }
}

impl<M: DeviceMemory> Sleepy<M> {
    fn new(options: &DeviceOptions) -> (Arc<Self>, Device<M>) {
        let fake = FakeDevice::new(Build::default(), Box::new(answer));
        let platform = Arc::new(Self { fake: fake.clone(), state: Mutex::default(), changed: Condvar::new() });
        let device = Device::new(Box::new(FakeTransport(fake)), platform.clone(), options).unwrap();
        (platform, device)
    }

    fn sleep(&self, wakes: u64) {
        let mut state = self.state.lock().unwrap();
        state.asleep += 1;
        self.changed.notify_all();
        let limit = Duration::from_secs(60);
        let asleep = |state: &mut State| state.wakes == wakes;
        let (mut state, result) = self.changed.wait_timeout_while(state, limit, asleep).unwrap();
        state.asleep -= 1;
        assert!(!result.timed_out(), "nobody woke this thread");
    }

    fn wait_until_one_sleeps(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| state.asleep == 0).unwrap());
    }
}

#[test]
fn a_thread_whose_reply_another_one_took_note_of_is_woken() {
    let (platform, device) = Sleepy::<PlainHal<50>>::new(&DeviceOptions::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SLEEPS.set(1);
            assert_eq!(read_and_check(&device, 0, &mut [0; 8], 8), [Ok(8)]);
        });
        platform.wait_until_one_sleeps();
        assert_eq!(read_and_check(&device, 100, &mut [0; 8], 8), [Ok(8)]);
    });
    assert_eq!(platform.state.lock().unwrap().wakes, 1);
}

/// There is one slot, which this thread's request has while the other one begins to wait for it.
#[test]
fn a_thread_that_waits_for_a_slot_is_woken_when_one_is_free() {
    let options = DeviceOptions { requests_in_flight: 1, ..DeviceOptions::default() };
    let (platform, device) = Sleepy::<PlainHal<51>>::new(&options);
    platform.state.lock().unwrap().meeting = true;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(platform.changed.wait_while(platform.state.lock().unwrap(), |state| state.meeting).unwrap());
            SLEEPS.set(1);
            assert_eq!(read_and_check(&device, 0, &mut [0; 8], 8), [Ok(8)]);
        });
        assert_eq!(read_and_check(&device, 100, &mut [0; 8], 8), [Ok(8)]);
    });
}

/// The interrupt for the reply of a thread that sleeps wakes one that waits for that thread's slot.
#[test]
fn a_thread_that_waits_for_a_slot_takes_note_of_the_reply_of_another_one() {
    let options = DeviceOptions { requests_in_flight: 1, ..DeviceOptions::default() };
    let (platform, device) = Sleepy::<PlainHal<53>>::new(&options);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SLEEPS.set(1);
            assert_eq!(read_and_check(&device, 0, &mut [0; 8], 8), [Ok(8)]);
        });
        platform.wait_until_one_sleeps();
        assert_eq!(read_and_check(&device, 100, &mut [0; 8], 8), [Ok(8)]);
    });
}

/// Nobody waits for what has the only slot. Who takes note of it wakes the thread that waits for the slot.
#[test]
fn a_thread_that_waits_for_the_slot_of_a_detached_request_is_woken() {
    let options = DeviceOptions { requests_in_flight: 1, ..DeviceOptions::default() };
    let (platform, device) = Sleepy::<PlainHal<54>>::new(&options);
    release(&device, 100).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SLEEPS.set(1);
            assert_eq!(release(&device, 102), Ok(()));
        });
        platform.wait_until_one_sleeps();
        platform.fake.work();
        device.reap();
    });
}

/// The slot is taken by the next such request in the same moment.
#[test]
fn a_thread_that_waits_for_detached_requests_is_woken_when_another_one_took_note_of_them() {
    let options = DeviceOptions { requests_in_flight: 1, ..DeviceOptions::default() };
    let (platform, device) = Sleepy::<PlainHal<55>>::new(&options);
    release(&device, 100).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SLEEPS.set(1);
            assert_eq!(device.drain_detached(Unique(101)), Ok(()));
        });
        platform.wait_until_one_sleeps();
        platform.fake.work();
        release(&device, 102).unwrap();
    });
    assert!(device.has_detached());
}

/// Who waits when the device is given up waits no longer.
#[test]
fn a_thread_that_sleeps_when_the_device_is_shut_down_is_woken() {
    let (platform, device) = Sleepy::<PlainHal<52>>::new(&DeviceOptions::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            SLEEPS.set(1);
            let results = read_and_check(&device, 0, &mut [0; 8], 8);
            assert!(matches!(results[..], [Err(Error::Device(_))]), "{results:?}");
        });
        platform.wait_until_one_sleeps();
        device.shut_down();
    });
}
