//! What the kernel gives the driver besides DMA memory: a clock, and a way to wait.

use core::ops::{Add, Sub};
use core::time::Duration;

pub use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
pub use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// A point on the kernel's monotonic clock: the time since an origin of the kernel's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Duration);

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A date: seconds and nanoseconds since 1970-01-01 00:00 UTC, as FUSE carries it. Before 1970, `seconds` is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The kernel, as the driver sees it.
///
/// # Locking
///
/// The driver never holds a lock while it calls [`wait_until`](Self::wait_until). It may hold a spin lock while it
/// calls the other methods, those of [`Hal`] and the allocator: none of these may call back into the driver, and the
/// driver may not be called from an interrupt handler.
///
/// # Safety
///
/// [`revoke_dma`](Self::revoke_dma) must keep its promise: the driver reuses memory on its word.
#[allow(unsafe_code)]
pub unsafe trait Platform: Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The monotonic clock, which may be some milliseconds behind [`now`](Self::now): it is looked at by every read through
    /// the DAX window. Where to read the exact clock takes long, or makes the processor wait for all loads before, as x86
    /// does, a clock that ticks is better.
    fn coarse_now(&self) -> Instant {
        self.now()
    }

    /// The date.
    fn wall_clock(&self) -> Timestamp;

    /// Waits until `ready` answers true or `deadline` is past; returns the last answer of `ready`.
    ///
    /// May spin, yield, halt or sleep. A platform that halts must ask `ready` once more with interrupts masked before
    /// it does. Of several threads that sleep, it is enough that an interrupt wakes one, if its `ready` answers true
    /// then: it takes note of what came back for the others, and the driver calls [`wake`](Self::wake) for them. If it
    /// answers false, the others must be woken.
    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool;

    /// Makes every [`wait_until`](Self::wait_until) that has not returned ask `ready` again: what some of them wait for
    /// came true by what this thread did, and the device raises no interrupt for it.
    ///
    /// A `ready` that was asked before this call and is not asked after it is a lost wake-up. Where waiting never
    /// sleeps for long, or only one CPU ever calls the driver, there is nothing to do.
    fn wake(&self) {}

    /// Whether the thread that calls this should give up what it waits for: a signal is pending, say.
    ///
    /// Asked while a call waits for replies, in [`wait_until`](Self::wait_until)'s `ready` too. The server is then told
    /// (FUSE_INTERRUPT), each second anew, and the call goes on to wait for its reply: `EINTR` if the server gave up, else
    /// what it would have been. Servers may take no notice, virtiofsd among them; a lock that is waited for is then waited
    /// for until it is free.
    fn interrupted(&self) -> bool {
        false
    }

    /// The number of the CPU this runs on; picks the request queue.
    fn cpu(&self) -> usize {
        0
    }

    /// Takes the right to access memory away from a PCI function that does not confirm its reset (by clearing Bus
    /// Master Enable, or its IOMMU mappings), and says whether that was done. If so, the function does not access
    /// memory any more.
    ///
    /// Until the device is known to have stopped, calls whose buffers it may still write cannot return: a kernel that
    /// leaves this at its default trusts the device to confirm a reset.
    fn revoke_dma(&self, function: DeviceFunction) -> bool {
        let _ = function;
        false
    }
}
