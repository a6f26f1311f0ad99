//! The virtio device: discovery on PCI, configuration, virtqueues. The only layer with `unsafe`.

mod config;
mod device;
#[cfg(test)]
mod device_tests;
mod dma;
#[cfg(any(test, fuzzing))]
// The fuzz targets use a part of it.
#[cfg_attr(fuzzing, allow(dead_code, unused_imports))]
pub(crate) mod fake;
pub mod pci;
mod queue;
mod shared_memory;
mod transport;

pub use config::{Config, Tag};
pub(crate) use device::Device;
pub use device::DeviceOptions;
pub(crate) use queue::POST_MAX_BYTES;
pub use shared_memory::SharedMemoryRegion;
pub(crate) use shared_memory::{SharedMemory, SharedWords};
pub use transport::{DeviceStatus, RingAddresses, Transport};
