//! The device's registers, and a platform on which it works.

use super::{DeviceMemory, FakeDevice, Queue};
use crate::virtio::SharedMemoryRegion;
use crate::virtio::transport::{DeviceStatus, RingAddresses, Transport};
use crate::{Error, Instant, Platform, Timestamp};
use core::time::Duration;
use std::sync::Arc;

/// The device's registers, for the driver to own.
pub(crate) struct FakeTransport<M: DeviceMemory>(pub(crate) Arc<FakeDevice<M>>);

// SAFETY: after a reset the device has forgotten its rings, and touches memory through them only.
unsafe impl<M: DeviceMemory> Transport for FakeTransport<M> {
    fn reset(&self, _platform: &dyn Platform) -> Result<(), Error> {
        let mut state = self.0.state();
        if state.ignores_resets {
            return Err(Error::Device("it does not confirm its reset"));
        }
        state.status = DeviceStatus::empty();
        state.queues.fill_with(Queue::default);
        Ok(())
    }

    fn status(&self) -> DeviceStatus {
        self.0.state().status
    }

    fn set_status(&self, status: DeviceStatus) -> Result<(), Error> {
        let refused = if self.0.build.accepts_features { DeviceStatus::empty() } else { DeviceStatus::FEATURES_OK };
        self.0.state().status = status - refused;
        Ok(())
    }

    fn device_features(&self) -> u64 {
        self.0.build.features
    }

    fn set_driver_features(&self, features: u64) {
        self.0.state().driver_features = features;
    }

    fn config_generation(&self) -> u32 {
        let mut state = self.0.state();
        state.clock += Duration::from_nanos(1);
        if self.0.build.restless { state.clock.as_nanos() as u32 } else { 0 }
    }

    fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        let field = self.0.build.config.get(offset..offset + out.len());
        out.copy_from_slice(field.ok_or(Error::Protocol("the device configuration is cut short"))?);
        Ok(())
    }

    fn max_queue_size(&self, queue: u16) -> u16 {
        self.0.build.queue_sizes.get(usize::from(queue)).copied().unwrap_or(0)
    }

    fn enable_queue(&self, queue: u16, size: u16, rings: RingAddresses) -> Result<(), Error> {
        let mut state = self.0.state();
        state.queues[usize::from(queue)] = Queue { size, rings: Some(rings), ..Queue::default() };
        Ok(())
    }

    fn notify(&self, queue: u16) {
        let mut state = self.0.state();
        state.queues[usize::from(queue)].rung = true;
        state.doorbells += 1;
    }

    fn interrupts(&self) -> bool {
        self.0.build.interrupts
    }

    fn shared_memory(&self, _id: u8) -> Option<SharedMemoryRegion> {
        None
    }
}

/// A platform on which the device works while the driver waits, and a clock that moves only then.
// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl<M: DeviceMemory> Platform for FakeDevice<M> {
    fn now(&self) -> Instant {
        Instant(self.state().clock)
    }

    fn wall_clock(&self) -> Timestamp {
        Timestamp::default()
    }

    fn interrupted(&self) -> bool {
        let state = self.state();
        state.clock >= state.interrupted_at
    }

    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if ready() {
                return true;
            }
            if self.now() > deadline {
                return false;
            }
            self.work();
            self.state().clock += Duration::from_millis(100);
        }
    }
}
