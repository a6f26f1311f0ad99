//! The virtio device: transport, configuration, virtqueues. The only layer with `unsafe`.

mod shared_memory;
mod transport;

pub use shared_memory::SharedMemoryRegion;
pub use transport::{DeviceStatus, RingAddresses, Transport};
