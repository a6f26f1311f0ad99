//! What a virtio transport does for the driver: VIRTIO 1.3 §4 seen from §3.

use super::shared_memory::SharedMemoryRegion;
use crate::{Error, Platform};
use bitflags::bitflags;
use virtio_drivers::PhysAddr;

bitflags! {
    /// The device status field (VIRTIO 1.3 §2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceStatus: u8 {
        /// The driver has found the device.
        const ACKNOWLEDGE = 1;
        /// The driver knows how to drive the device.
        const DRIVER = 2;
        /// The driver is set up and ready.
        const DRIVER_OK = 4;
        /// Feature negotiation is complete.
        const FEATURES_OK = 8;
        /// The device cannot go on without a reset.
        const DEVICE_NEEDS_RESET = 64;
        /// The driver has given up on the device.
        const FAILED = 128;
    }
}

/// Where a split virtqueue lies in memory, as the device addresses it (VIRTIO 1.3 §2.7).
#[derive(Clone, Copy, Debug)]
pub struct RingAddresses {
    /// The descriptor table.
    pub descriptors: PhysAddr,
    /// The available ring, written by the driver.
    pub available: PhysAddr,
    /// The used ring, written by the device.
    pub used: PhysAddr,
}

/// A virtio transport: the registers of one device.
///
/// The driver calls the methods in the order of VIRTIO 1.3 §3.1.1. Implementations are in [`pci`](super::pci) and,
/// natively over vhost-user, in the crate `virtio-fs-vhost-user`.
///
/// # Safety
///
/// The driver frees and reuses memory on the word of these methods: after [`reset`](Self::reset) returned `Ok`, the
/// device must not access any memory it was given before; and the memory that
/// [`shared_memory`](Self::shared_memory) describes must stay mapped, and be used by nothing else in this program, for
/// as long as the transport lives.
pub unsafe trait Transport: Send + Sync {
    /// Resets the device and waits, within bounds, until it confirms that (VIRTIO 1.3 §2.4). All memory given to the
    /// device is the driver's again when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device did not confirm, and could not be kept from memory in another way.
    fn reset(&self, platform: &dyn Platform) -> Result<(), Error>;

    /// Reads the device status. Unknown bits are kept.
    fn status(&self) -> DeviceStatus;

    /// Writes the device status.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device is gone.
    fn set_status(&self, status: DeviceStatus) -> Result<(), Error>;

    /// The features the device offers.
    fn device_features(&self) -> u64;

    /// Tells the device the features the driver accepts.
    fn set_driver_features(&self, features: u64);

    /// The generation of the device configuration: it changes whenever the device changed a field.
    fn config_generation(&self) -> u32;

    /// Reads device configuration from byte `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the device's configuration ends before `offset + out.len()`.
    fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), Error>;

    /// The largest size the device allows for queue number `queue`, in descriptors; 0 if it has no such queue.
    fn max_queue_size(&self, queue: u16) -> u16;

    /// Gives queue number `queue` its memory and enables it.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the device does not accept the queue.
    fn enable_queue(&self, queue: u16, size: u16, rings: RingAddresses) -> Result<(), Error>;

    /// Rings the doorbell of queue number `queue`, which was enabled before.
    fn notify(&self, queue: u16);

    /// Whether the device can wake the platform's `wait_until` when it used a buffer. If not, the driver asks the
    /// device not to try.
    fn interrupts(&self) -> bool;

    /// The shared memory region with the given id (VIRTIO 1.3 §2.10), if the device has it: 0 is the DAX window, 1 the
    /// metadata version table.
    fn shared_memory(&self, id: u8) -> Option<SharedMemoryRegion>;
}
