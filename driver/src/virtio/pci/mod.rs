//! Virtio-fs devices on the PCI bus.

mod access;
mod capability;
mod registers;
#[cfg(test)]
mod tests;
mod transport;

pub use capability::MsixCapability;
pub use transport::PciTransport;

use self::access::Access;
use super::config::Config;
use crate::Error;
use alloc::vec::Vec;
use virtio_drivers::Hal;
use virtio_drivers::transport::pci::VIRTIO_VENDOR_ID;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, HeaderType, PciRoot};

/// The PCI device id of a virtio-fs device: 0x1040 + 26 (VIRTIO 1.3 §4.1.2.1, §5.11.1).
const DEVICE_ID: u16 = 0x105a;
/// Where a bridge keeps the number of the bus behind it.
const BUS_NUMBERS_OFFSET: u8 = 0x18;

/// All virtio-fs devices, on bus 0 and behind its bridges.
pub fn enumerate(access: &mut impl ConfigurationAccess) -> Vec<DeviceFunction> {
    let access = Access::new(access);
    let root = PciRoot::new(access.by_ref());
    let mut found = Vec::new();
    let mut buses = alloc::vec![0];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for (function, info) in root.enumerate_bus(bus) {
            if info.vendor_id == VIRTIO_VENDOR_ID && info.device_id == DEVICE_ID {
                found.push(function);
            } else if info.header_type == HeaderType::PciPciBridge {
                let [_, secondary, ..] = access.read_word(function, BUS_NUMBERS_OFFSET).to_le_bytes();
                // A bridge that was not set up leads to bus 0; a bus is looked at once.
                if !buses.contains(&secondary) {
                    buses.push(secondary);
                }
            }
        }
    }
    found
}

/// The first device that offers the directory named `tag`.
///
/// Opens one device after the other, as [`PciTransport::new`] does: none of them may be in operation meanwhile.
///
/// # Errors
///
/// [`Error::Device`] if there is none; if a device could not be looked at, its error.
pub fn find<H: Hal>(access: &mut impl ConfigurationAccess, tag: impl AsRef<[u8]>) -> Result<PciTransport, Error> {
    let functions = enumerate(access);
    let mut error = match functions.as_slice() {
        [] => Error::Device("there is no virtio-fs device on the PCI bus"),
        _ => Error::Device("no virtio-fs device has this tag"),
    };
    for function in functions {
        let opened = PciTransport::new::<H>(access, function).and_then(|device| Ok((Config::read(&device)?, device)));
        match opened {
            Ok((config, device)) if config.tag.as_bytes() == tag.as_ref() => return Ok(device),
            Ok(_) => {}
            Err(broken) => {
                log::error!("virtio-fs device {function}: {broken}");
                error = broken;
            }
        }
    }
    Err(error)
}
