//! A kernel whose clock only moves when somebody looks at it.

use crate::{DeviceFunction, Instant, Platform, Timestamp};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use spin::Mutex;

/// A [`Platform`] for tests.
///
/// Its clock goes on by one step with every [`now`](Platform::now), and with every question of
/// [`wait_until`](Platform::wait_until) that is answered with no: a wait for what never happens is over after
/// `timeout / step` questions, in no time. A test in which another thread is waited for wants a small step.
#[derive(Debug)]
pub struct FakePlatform {
    now_ns: AtomicU64,
    step_ns: AtomicU64,
    wall_clock: Mutex<Timestamp>,
    cpu: AtomicUsize,
    revokes_dma: AtomicBool,
    dma_revocations: AtomicUsize,
}

impl FakePlatform {
    /// The step of the clock until [`set_step`](Self::set_step).
    pub const STEP: Duration = Duration::from_millis(1);

    /// A kernel that was started just now, on 2001-09-09 01:46:40 UTC.
    pub fn new() -> Self {
        Self {
            now_ns: AtomicU64::new(0),
            step_ns: AtomicU64::new(nanoseconds(Self::STEP)),
            wall_clock: Mutex::new(Timestamp { seconds: 1_000_000_000, nanoseconds: 0 }),
            cpu: AtomicUsize::new(0),
            revokes_dma: AtomicBool::new(false),
            dma_revocations: AtomicUsize::new(0),
        }
    }

    /// What [`now`](Platform::now) would answer, without moving the clock.
    pub fn time(&self) -> Instant {
        Instant(Duration::from_nanos(self.now_ns.load(Relaxed)))
    }

    /// Moves the monotonic clock on.
    pub fn advance(&self, by: Duration) {
        self.now_ns.fetch_add(nanoseconds(by), Relaxed);
    }

    /// Sets the step of the clock. With a step of zero a wait for what never happens never ends.
    pub fn set_step(&self, step: Duration) {
        self.step_ns.store(nanoseconds(step), Relaxed);
    }

    /// Sets the date, which does not move by itself.
    pub fn set_wall_clock(&self, date: Timestamp) {
        *self.wall_clock.lock() = date;
    }

    /// Sets the number of the CPU that callers seem to run on.
    pub fn set_cpu(&self, cpu: usize) {
        self.cpu.store(cpu, Relaxed);
    }

    /// Sets whether the right to access memory can be taken away from a device. At first it cannot.
    pub fn set_revokes_dma(&self, revokes: bool) {
        self.revokes_dma.store(revokes, Relaxed);
    }

    /// How often it was asked to take that right away.
    pub fn dma_revocations(&self) -> usize {
        self.dma_revocations.load(Relaxed)
    }

    /// Moves the clock by one step and gives the time before.
    fn tick(&self) -> Instant {
        let before = self.now_ns.fetch_add(self.step_ns.load(Relaxed), Relaxed);
        Instant(Duration::from_nanos(before))
    }
}

impl Default for FakePlatform {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: there is no device that could access memory: what `revoke_dma` answers harms nobody.
#[allow(unsafe_code)]
unsafe impl Platform for FakePlatform {
    fn now(&self) -> Instant {
        self.tick()
    }

    fn wall_clock(&self) -> Timestamp {
        *self.wall_clock.lock()
    }

    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            // The time is taken first: when it is up, `ready` has the last word all the same.
            let late = self.tick() >= deadline;
            if ready() {
                return true;
            }
            if late {
                return false;
            }
            core::hint::spin_loop();
        }
    }

    fn cpu(&self) -> usize {
        self.cpu.load(Relaxed)
    }

    fn revoke_dma(&self, _function: DeviceFunction) -> bool {
        self.dma_revocations.fetch_add(1, Relaxed);
        self.revokes_dma.load(Relaxed)
    }
}

/// All nanoseconds of a duration; the clock of a test does not run for 500 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_for_what_never_happens_ends_at_its_deadline() {
        let platform = FakePlatform::new();
        let deadline = platform.time() + Duration::from_secs(60);
        let mut questions = 0;
        let mut never = || {
            questions += 1;
            false
        };
        assert!(!platform.wait_until(deadline, &mut never));
        assert_eq!(questions, 60_001);
        assert!(platform.time() >= deadline);
    }

    #[test]
    fn a_wait_asks_at_least_once_after_its_deadline() {
        let platform = FakePlatform::new();
        let deadline = platform.time();
        platform.advance(Duration::from_secs(1));
        assert!(platform.wait_until(deadline, &mut || true));
        assert!(!platform.wait_until(deadline, &mut || false));
    }
}
