//! The driver's `Platform`.

use crate::pci;
use crate::{clock, rtc};
use core::hint::spin_loop;
use core::time::Duration;
use virtio_fs::{DeviceFunction, Instant, Platform, Timestamp};

/// Clock and waiting, for kernels of this crate: one CPU, and waiting is polling.
#[derive(Debug)]
pub struct KernelPlatform {
    /// The date when the clock was at 0, since 1970.
    boot_date: Duration,
}

impl KernelPlatform {
    pub(crate) fn new() -> Self {
        // The clock is read last: what it counted until now is part of the date that was read.
        let date = rtc::read().unwrap_or_else(|| {
            log::warn!("no real-time clock (on microvm: -M microvm,rtc=on): dates count from 1970");
            Duration::ZERO
        });
        Self { boot_date: date.saturating_sub(clock::since_boot()) }
    }
}

// SAFETY: `revoke_dma` answers true only when Bus Master Enable was read back as cleared, or the function is gone.
unsafe impl Platform for KernelPlatform {
    fn now(&self) -> Instant {
        Instant(clock::since_boot())
    }

    /// The date of the real-time clock at boot, which counts whole seconds, and the time since: up to a second late.
    fn wall_clock(&self) -> Timestamp {
        let now = self.boot_date + clock::since_boot();
        Timestamp { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
    }

    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            // The deadline is looked at first: an event that came before it is then always seen.
            let last = self.now() >= deadline;
            if ready() {
                return true;
            }
            if last {
                return false;
            }
            spin_loop();
        }
    }

    fn revoke_dma(&self, function: DeviceFunction) -> bool {
        pci::disable_bus_master(function)
    }
}
