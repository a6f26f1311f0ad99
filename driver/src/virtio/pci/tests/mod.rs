//! Discovery, capabilities and registers on a fake PCI bus.

mod capabilities;
mod corruption;
mod discovery;
mod transport;

use super::super::fake::pci::{FakePci, Function};
use crate::{DeviceFunction, Error};

/// Where the only device of most tests is.
const HERE: DeviceFunction = at(0, 3, 0);

const fn at(bus: u8, device: u8, function: u8) -> DeviceFunction {
    DeviceFunction { bus, device, function }
}

/// A bus with one virtio-fs device, as QEMU builds it, but for `change`.
fn bus_with(change: impl FnOnce(&mut Function)) -> FakePci {
    let pci = FakePci::new();
    pci.add_virtio_fs(HERE, b"tag");
    pci.with(HERE, change);
    pci
}

/// The text of an error that must be the device's fault.
fn broken_rule<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Protocol(rule)) => rule,
        Err(other) => panic!("the device is at fault, not: {other}"),
        Ok(_) => panic!("a broken rule went unnoticed"),
    }
}
