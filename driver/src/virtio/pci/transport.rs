//! The PCI transport (VIRTIO 1.3 §4.1).

use super::super::shared_memory::SharedMemoryRegion;
use super::super::transport::{DeviceStatus, RingAddresses, Transport};
use super::access::Access;
use super::capability::{Capabilities, MsixCapability, Region};
use super::registers::Registers;
use crate::{Error, Platform};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use spin::Mutex;
use virtio_drivers::Hal;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};

/// Offsets of `virtio_pci_common_cfg` (VIRTIO 1.3 §4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: usize = 0;
    pub(super) const DEVICE_FEATURE: usize = 4;
    pub(super) const DRIVER_FEATURE_SELECT: usize = 8;
    pub(super) const DRIVER_FEATURE: usize = 12;
    pub(super) const NUM_QUEUES: usize = 18;
    pub(super) const DEVICE_STATUS: usize = 20;
    pub(super) const CONFIG_GENERATION: usize = 21;
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_SIZE: usize = 24;
    pub(super) const QUEUE_MSIX_VECTOR: usize = 26;
    pub(super) const QUEUE_ENABLE: usize = 28;
    pub(super) const QUEUE_NOTIFY_OFF: usize = 30;
    pub(super) const QUEUE_DESC: usize = 32;
    pub(super) const QUEUE_DRIVER: usize = 40;
    pub(super) const QUEUE_DEVICE: usize = 48;
}

/// `VIRTIO_MSI_NO_VECTOR`.
const NO_VECTOR: u16 = 0xffff;
/// The most queues of a device that doorbells are kept for: many more than a guest has CPUs.
const QUEUES_MAX: u16 = 1024;
/// How often the status is read until a device without a right to reach memory must have confirmed a reset: there is no
/// clock yet, and each read leaves the virtual machine.
const RESET_POLLS: u32 = 100_000;
/// How long a device may take to confirm a reset.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);
/// The doorbell of a queue that was not enabled.
const NO_DOORBELL: u32 = u32::MAX;

/// A virtio-fs device on the PCI bus.
pub struct PciTransport {
    function: DeviceFunction,
    common: Registers,
    notify: Registers,
    notify_multiplier: u32,
    device: Registers,
    /// By queue: where its doorbell is in `notify`, in bytes.
    doorbells: Box<[AtomicU32]>,
    shared_memory: Vec<(u8, Region)>,
    msix: Option<MsixCapability>,
    /// Held over a selection and the accesses that it is for.
    selecting: Mutex<()>,
}

impl PciTransport {
    /// Finds the registers of the device at `function`, and lets it answer to memory accesses and reach memory.
    ///
    /// A device whose right to reach memory was taken away gets it back only when it confirms a reset: until then it
    /// may still have the rings of an earlier driver.
    ///
    /// The device does not answer while its BARs are sized: it must not be in operation, by another transport,
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if its capabilities or its configuration break the rules; [`Error::Device`] if its BARs were
    /// given no addresses; [`Error::NoMemory`].
    pub fn new<H: Hal>(access: &mut impl ConfigurationAccess, function: DeviceFunction) -> Result<Self, Error> {
        let access = Access::new(access);
        let capabilities = Capabilities::read(&access, function)?;
        let mut root = PciRoot::new(access.by_ref());
        let (_, command) = root.get_status_command(function);
        // The driver polls: a device that raised INTx would find nobody who lowers it.
        let command_without_dma = command | Command::MEMORY_SPACE | Command::INTERRUPT_DISABLE;
        root.set_command(function, command_without_dma);

        let map = |region: Region| {
            let len = usize::try_from(region.length).map_err(|_| Error::Protocol("a capability is too long"))?;
            // SAFETY: the range lies within a memory BAR of the device, which was just enabled.
            let base = unsafe { H::mmio_phys_to_virt(region.address, len) };
            // SAFETY: `Hal` promises a valid pointer to the range, for good.
            Ok::<_, Error>(unsafe { Registers::new(base, len) })
        };
        let common = map(capabilities.common)?;
        // The first and the last field: all between them is there then, and aligned.
        if !common.has::<u32>(common::DEVICE_FEATURE_SELECT) || !common.has::<u32>(common::QUEUE_DEVICE + 4) {
            return Err(Error::Protocol("the common configuration is too short, or not aligned"));
        }
        if !command.contains(Command::BUS_MASTER) {
            Self::quiesce(&common)?;
            root.set_command(function, command_without_dma | Command::BUS_MASTER);
        }
        let num_queues = common.read::<u16>(common::NUM_QUEUES).min(QUEUES_MAX).into();
        let mut doorbells = Vec::new();
        doorbells.try_reserve_exact(num_queues).map_err(|_| Error::NoMemory)?;
        doorbells.resize_with(num_queues, || AtomicU32::new(NO_DOORBELL));
        Ok(Self {
            function,
            common,
            notify: map(capabilities.notify)?,
            notify_multiplier: capabilities.notify_multiplier,
            device: map(capabilities.device)?,
            doorbells: doorbells.into_boxed_slice(),
            shared_memory: capabilities.shared_memory,
            msix: capabilities.msix,
            selecting: Mutex::new(()),
        })
    }

    /// Makes sure that the device has no rings, by a reset if need be.
    fn quiesce(common: &Registers) -> Result<(), Error> {
        let is_reset = || common.read::<u8>(common::DEVICE_STATUS) == 0;
        if is_reset() {
            return Ok(());
        }
        common.write(common::DEVICE_STATUS, 0_u8);
        match (0..RESET_POLLS).any(|_| is_reset()) {
            true => Ok(()),
            false => Err(Error::Device("it does not confirm its reset")),
        }
    }

    /// Where the device is on the bus.
    pub fn function(&self) -> DeviceFunction {
        self.function
    }

    /// The device's interrupt vectors, if it has MSI-X.
    pub fn msix(&self) -> Option<MsixCapability> {
        self.msix
    }

    /// The ids of the device's shared memory regions.
    pub fn shared_memory_ids(&self) -> impl Iterator<Item = u8> {
        self.shared_memory.iter().map(|&(id, _)| id)
    }

    /// Writes a 64-bit register as two of 32 bits, as the specification wants it.
    fn write_address(&self, offset: usize, address: u64) {
        self.common.write(offset, address as u32);
        self.common.write(offset + 4, (address >> 32) as u32);
    }
}

// SAFETY: `reset` answers `Ok` only when the device showed a status of 0, after which it has no virtqueue, or when the
// kernel took its access to memory away. Shared memory lies within BARs of the device, which nobody else uses.
unsafe impl Transport for PciTransport {
    fn reset(&self, platform: &dyn Platform) -> Result<(), Error> {
        self.common.write(common::DEVICE_STATUS, 0_u8);
        let deadline = platform.now() + RESET_TIMEOUT;
        let mut is_reset = || self.common.read::<u8>(common::DEVICE_STATUS) == 0;
        platform.wait_until(deadline, &mut is_reset);
        // The register says it, not the platform.
        if is_reset() || platform.revoke_dma(self.function) {
            Ok(())
        } else {
            Err(Error::Device("it does not confirm its reset"))
        }
    }

    fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.read(common::DEVICE_STATUS))
    }

    fn set_status(&self, status: DeviceStatus) -> Result<(), Error> {
        self.common.write(common::DEVICE_STATUS, status.bits());
        Ok(())
    }

    fn device_features(&self) -> u64 {
        let _selecting = self.selecting.lock();
        let half = |select: u32| {
            self.common.write(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read::<u32>(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn set_driver_features(&self, features: u64) {
        let _selecting = self.selecting.lock();
        for (select, half) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(common::DRIVER_FEATURE_SELECT, select);
            self.common.write(common::DRIVER_FEATURE, half);
        }
    }

    fn config_generation(&self) -> u32 {
        self.common.read::<u8>(common::CONFIG_GENERATION).into()
    }

    fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        // A 32-bit field is read as one (VIRTIO 1.3 §4.1.3.1), anything else byte by byte.
        if let Ok(word) = <&mut [u8; 4]>::try_from(&mut *out)
            && self.device.has::<u32>(offset)
        {
            *word = self.device.read::<u32>(offset).to_ne_bytes();
            return Ok(());
        }
        for (at, byte) in (offset..).zip(out) {
            if !self.device.has::<u8>(at) {
                return Err(Error::Protocol("the device configuration is cut short"));
            }
            *byte = self.device.read(at);
        }
        Ok(())
    }

    fn max_queue_size(&self, queue: u16) -> u16 {
        if usize::from(queue) >= self.doorbells.len() {
            return 0;
        }
        let _selecting = self.selecting.lock();
        self.common.write(common::QUEUE_SELECT, queue);
        self.common.read(common::QUEUE_SIZE)
    }

    fn enable_queue(&self, queue: u16, size: u16, rings: RingAddresses) -> Result<(), Error> {
        const BAD_DOORBELL: Error = Error::Protocol("a queue's doorbell lies outside its capability");
        let doorbell = self.doorbells.get(usize::from(queue)).ok_or(Error::Protocol("the queue does not exist"))?;
        let _selecting = self.selecting.lock();
        self.common.write(common::QUEUE_SELECT, queue);
        let notify_off = u32::from(self.common.read::<u16>(common::QUEUE_NOTIFY_OFF));
        let offset = notify_off.checked_mul(self.notify_multiplier).ok_or(BAD_DOORBELL)?;
        if !self.notify.has::<u16>(offset as usize) {
            return Err(BAD_DOORBELL);
        }
        self.common.write(common::QUEUE_SIZE, size);
        self.common.write(common::QUEUE_MSIX_VECTOR, NO_VECTOR);
        self.write_address(common::QUEUE_DESC, rings.descriptors);
        self.write_address(common::QUEUE_DRIVER, rings.available);
        self.write_address(common::QUEUE_DEVICE, rings.used);
        self.common.write(common::QUEUE_ENABLE, 1_u16);
        doorbell.store(offset, Ordering::Release);
        Ok(())
    }

    fn notify(&self, queue: u16) {
        // One write; without NOTIFICATION_DATA its value is the number of the queue (VIRTIO 1.3 §4.1.5.2).
        match self.doorbells.get(usize::from(queue)).map(|doorbell| doorbell.load(Ordering::Acquire)) {
            None | Some(NO_DOORBELL) => log::error!("notification of queue {queue}, which is not enabled"),
            Some(offset) => self.notify.write(offset as usize, queue),
        }
    }

    fn interrupts(&self) -> bool {
        false
    }

    fn shared_memory(&self, id: u8) -> Option<SharedMemoryRegion> {
        let (_, region) = self.shared_memory.iter().find(|&&(known, _)| known == id)?;
        Some(SharedMemoryRegion { address: region.address, length_bytes: region.length })
    }
}
