//! `Platform` on Linux.

use crate::bell::Bell;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::sync::Arc;
use std::time::Duration;
use virtio_fs::{Instant, Platform, Timestamp};

/// The clock, and the place where threads wait for the daemon of one [`VhostUserTransport`](crate::VhostUserTransport).
///
/// # Locking
///
/// [`wait_until`](Platform::wait_until) may be called by any number of threads at once; it holds no lock while it asks
/// `ready` and while it sleeps.
pub struct NativePlatform {
    bell: Arc<Bell>,
}

impl NativePlatform {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { bell }
    }
}

// SAFETY: `revoke_dma` is left at answering that it did nothing.
#[allow(unsafe_code)]
unsafe impl Platform for NativePlatform {
    /// CLOCK_MONOTONIC.
    fn now(&self) -> Instant {
        Instant(since_origin(clock_gettime(ClockId::Monotonic)))
    }

    /// CLOCK_MONOTONIC_COARSE, which costs no look at the processor's counter.
    fn coarse_now(&self) -> Instant {
        Instant(since_origin(clock_gettime(ClockId::MonotonicCoarse)))
    }

    /// CLOCK_REALTIME.
    fn wall_clock(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec as u32 }
    }

    /// Spins for some 200 us, for most of which it yields to others, by no more threads than leave a processor to the
    /// daemon; and then sleeps. A completion wakes one sleeping thread, [`wake`](Platform::wake) and the daemon's end
    /// wake all.
    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        let patience = deadline - self.now();
        // A deadline beyond what the standard library's clock can hold is as good as the end of the world.
        let end = std::time::Instant::now()
            .checked_add(patience)
            .unwrap_or_else(|| std::time::Instant::now() + Duration::from_secs(1 << 32));
        self.bell.wait_until(end, ready)
    }

    fn wake(&self) {
        self.bell.wake();
    }

    fn cpu(&self) -> usize {
        rustix::thread::sched_getcpu()
    }
}

/// The monotonic clock is never negative.
fn since_origin(time: Timespec) -> Duration {
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_little_behind_the_exact_one() {
        let platform = NativePlatform::new(Arc::new(Bell::new().unwrap()));
        for _ in 0..1000 {
            let (before, coarse, after) = (platform.now(), platform.coarse_now(), platform.now());
            assert!(coarse <= after, "{coarse:?} is ahead of {after:?}");
            assert!(before - coarse < Duration::from_millis(500), "{coarse:?} is far behind {before:?}");
        }
    }
}
