//! A virtio-fs device in the same process, for tests: registers, the device's side of the rings, memory with addresses
//! of its own, and faults on demand.

pub(crate) mod allocations;
mod device;
mod hal;
pub(crate) mod pci;

pub(crate) use device::{Build, FakeDevice, FakeTransport, Fault};
pub(crate) use hal::{DeviceMemory, PagedHal, PlainHal};
