//! Shared memory regions: memory of the host that the device shows to the guest (VIRTIO 1.3 §2.10).

use virtio_drivers::PhysAddr;

/// Where a shared memory region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemoryRegion {
    /// The guest physical address of its first byte.
    pub address: PhysAddr,
    /// Its length in bytes.
    pub length_bytes: u64,
}
