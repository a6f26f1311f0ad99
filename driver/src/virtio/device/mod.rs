//! A virtio-fs device in operation: the real channel of a session.

mod counters;
mod exchange;
mod set_up;

use self::counters::Counters;
use self::set_up::Agreed;
use super::queue::{Queue, Waiting};
use super::shared_memory::{SharedMemory, SharedMemoryRegion, SharedWords};
use super::transport::{DeviceStatus, Transport};
use crate::{Error, Instant, Platform};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use spin::Once;
use virtio_drivers::Hal;

/// How a device is operated.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOptions {
    /// How many request queues are used at most, of those that the device has.
    pub request_queues: u16,
    /// How many requests may be in flight in one queue; at most 64.
    pub requests_in_flight: u16,
    /// The most bytes of data of one request. Each request that may be in flight takes 48 bytes of memory per
    /// 4 KiB of it.
    pub max_request_bytes: usize,
    /// How long the device may take until one of the requests that a caller waits for comes back, before it is given
    /// up and reset.
    pub request_timeout: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            request_queues: 8,
            requests_in_flight: 32,
            max_request_bytes: 1 << 20,
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// How often the status of a device is looked at while it is waited for: reading it leaves the virtual machine.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Where a device is in its life.
mod life {
    /// Requests are served.
    pub(super) const RUNNING: u8 = 0;
    /// Somebody found a reason to end it, and resets it.
    pub(super) const STOPPING: u8 = 1;
    /// It was reset; no memory is its any more.
    pub(super) const STOPPED: u8 = 2;
}

/// A virtio-fs device in operation.
pub(crate) struct Device<H: Hal> {
    transport: Arc<dyn Transport>,
    platform: Arc<dyn Platform>,
    high_priority: Queue<H>,
    requests: Vec<Queue<H>>,
    request_timeout: Duration,
    life: AtomicU8,
    counters: Counters,
    /// The DAX window, once it was asked for.
    window: Once<Option<Arc<SharedMemory>>>,
}

/// The DAX window is the shared memory region with this id (VIRTIO 1.3 §5.11.4).
const WINDOW_ID: u8 = 0;
/// The metadata version table is the one with this id (`SPEC-version-table.md`, section 1).
const VERSION_TABLE_ID: u8 = 1;

impl<H: Hal> Device<H> {
    /// Initialises the device behind `transport`, by the steps of VIRTIO 1.3 §3.1.1.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] or [`Error::Device`] if the device does not play its part; [`Error::NoMemory`].
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        platform: Arc<dyn Platform>,
        options: &DeviceOptions,
    ) -> Result<Self, Error> {
        // 1. Reset the device.
        transport.reset(&*platform)?;
        let agreed = Agreed::negotiate(&*transport, options).inspect_err(|_| {
            // It was told of no memory: nothing is to be taken back. Should it be gone, this fails too, and says
            // nothing new.
            let _ = transport.set_status(DeviceStatus::FAILED);
        })?;

        // From here on the device may be told of memory: dropping `device` resets it first.
        let Agreed { status, high_priority, requests } = agreed;
        let life = AtomicU8::new(life::RUNNING);
        let request_timeout = options.request_timeout;
        let counters = Counters::default();
        let window = Once::new();
        let transport = Arc::from(transport);
        let device = Self { transport, platform, high_priority, requests, request_timeout, life, counters, window };
        for queue in device.queues() {
            device.transport.enable_queue(queue.number, queue.size(), queue.addresses())?;
        }

        // 8. The device is live.
        device.transport.set_status(status | DeviceStatus::DRIVER_OK)?;
        Ok(device)
    }

    /// All queues in use.
    fn queues(&self) -> impl Iterator<Item = &Queue<H>> {
        core::iter::once(&self.high_priority).chain(&self.requests)
    }

    /// The request queue for the CPU this runs on.
    fn request_queue(&self) -> &Queue<H> {
        match &self.requests[..] {
            [only] => only,
            all => &all[self.platform.cpu() % all.len()],
        }
    }

    /// The DAX window, if the device has one.
    fn find_window(&self) -> Option<Arc<SharedMemory>> {
        let SharedMemoryRegion { address, length_bytes } = self.transport.shared_memory(WINDOW_ID)?;
        let len = usize::try_from(length_bytes).ok().filter(|&len| isize::try_from(len).is_ok())?;
        // SAFETY: the range is a shared memory region of the device.
        let base = unsafe { H::mmio_phys_to_virt(address, len) };
        // SAFETY: `Hal` promises a valid pointer to the range, which the transport keeps mapped and nobody else uses;
        // nobody looks there any more when `stop` has closed it, before the transport goes.
        Some(Arc::new(unsafe { SharedMemory::new(base, len) }))
    }

    /// What may be a version table, if the device has one. The server puts it there before it answers INIT.
    fn find_version_table(&self) -> Option<SharedWords> {
        let SharedMemoryRegion { address, length_bytes } = self.transport.shared_memory(VERSION_TABLE_ID)?;
        let len = usize::try_from(length_bytes).ok().filter(|&len| isize::try_from(len).is_ok())?;
        // SAFETY: the range is a shared memory region of the device.
        let base = unsafe { H::mmio_phys_to_virt(address, len) };
        // SAFETY: `Hal` promises a valid pointer to the range, which the transport keeps mapped for as long as it lives.
        unsafe { SharedWords::new(base, len, self.transport.clone()) }
    }

    fn is_running(&self) -> bool {
        self.life.load(Ordering::Acquire) == life::RUNNING
    }

    /// Tells the device that there is something in `queue`.
    fn notify(&self, queue: &Queue<H>) {
        self.counters.rang();
        self.transport.notify(queue.number);
    }

    /// When a request that is sent now must have come back.
    fn deadline(&self) -> Instant {
        self.platform.now() + self.request_timeout
    }

    /// Waits until `waiting` is over, or the device stops, or there is `another_reason`. Gives the device up if it failed,
    /// or at `deadline`.
    fn wait(&self, waiting: &Waiting<'_, H>, deadline: Instant, another_reason: &dyn Fn() -> bool) {
        let mut ready = || waiting.is_over() || !self.is_running() || another_reason();
        loop {
            let look_again = self.platform.now() + STATUS_INTERVAL;
            if self.platform.wait_until(deadline.min(look_again), &mut ready) {
                // The interrupt that ended the wait may stand for several queues.
                if self.queues().any(|queue| queue.number != waiting.queue() && queue.is_overdue()) {
                    self.platform.wake();
                }
                return;
            }
            let status = self.transport.status();
            if !status.contains(DeviceStatus::DRIVER_OK) || status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
                return self.fail("it failed, or is gone");
            }
            if self.platform.now() >= deadline {
                return self.fail("it did not answer in time");
            }
        }
    }

    /// Gives the device up, for `reason`.
    fn fail(&self, reason: &str) {
        if self.is_running() {
            log::error!("the virtio-fs device is reset: {reason}");
        }
        self.stop();
    }

    /// Resets the device and takes all memory back. Returns when that is done, whoever does it.
    fn stop(&self) {
        let exchange = self.life.compare_exchange(life::RUNNING, life::STOPPING, Ordering::AcqRel, Ordering::Acquire);
        if exchange.is_ok() {
            self.queues().for_each(Queue::close);
            // Those who wait shall wait for the end of this instead.
            self.platform.wake();
            // A reset ends all mappings.
            if let Some(window) = self.window.call_once(|| None) {
                window.close();
            }
            while let Err(error) = self.transport.reset(&*self.platform) {
                log::error!("the virtio-fs device does not stop: {error}");
                if !self.queues().any(Queue::has_borrowed) {
                    // All it can still write is the driver's own memory, which nobody will use again.
                    self.queues().for_each(Queue::abandon);
                    break;
                }
                // The buffers of the requests in flight are not ours to return until it is known to have stopped.
                self.platform.wait_until(self.platform.now() + Duration::from_secs(1), &mut || false);
            }
            self.queues().for_each(|queue| queue.lose_all(&*self.platform));
            self.life.store(life::STOPPED, Ordering::Release);
            self.platform.wake();
        }
        let mut stopped = || self.life.load(Ordering::Acquire) == life::STOPPED;
        while !stopped() {
            self.platform.wait_until(self.platform.now() + Duration::from_secs(1), &mut stopped);
        }
    }
}

impl<H: Hal> Drop for Device<H> {
    fn drop(&mut self) {
        self.stop();
    }
}
