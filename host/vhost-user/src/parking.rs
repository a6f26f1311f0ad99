//! Where the rings of stopped queues lie: pages that nobody reads and that never become anything else.
//!
//! A daemon's worker thread may have been woken for a queue just before the queue was stopped. It then finds no
//! request, but still writes the event index into the used ring, at a time when the driver may already use that memory
//! for something else. So a stopped queue's addresses are moved here.

use crate::memory::{GuestHal, GuestMemory, PAGE_BYTES};
use std::sync::{Mutex, PoisonError};
use virtio_fs::virtio::RingAddresses;
use virtio_fs::{BufferDirection, Error, Hal, PhysAddr};

/// Places that no transport uses now. They wait for the next one; guest memory never gets them back.
static VACANT: Mutex<Vec<(u16, PhysAddr)>> = Mutex::new(Vec::new());

/// The rings of one stopped queue.
pub(crate) struct ParkingPlace {
    size: u16,
    address: PhysAddr,
}

impl ParkingPlace {
    /// A place for a queue of `size` descriptors, of which the daemon took `taken` buffers.
    pub(crate) fn new(memory: &GuestMemory, size: u16, taken: u16) -> Result<Self, Error> {
        let mut vacant = VACANT.lock().unwrap_or_else(PoisonError::into_inner);
        let address = match vacant.iter().position(|place| place.0 == size) {
            Some(index) => vacant.swap_remove(index).1,
            None => {
                let pages = (16 * usize::from(size)).div_ceil(PAGE_BYTES);
                let (address, _) = GuestHal::dma_alloc(pages, BufferDirection::Both);
                if address == 0 {
                    return Err(Error::NoMemory);
                }
                address
            }
        };
        let place = Self { size, address };
        // Both ring indices, which lie at the same address here, say that there is nothing to do.
        memory.write_u16(address + 2, taken);
        Ok(place)
    }

    /// The three parts. They overlap: the descriptor table, the longest, has room for each, and nobody reads any.
    pub(crate) fn rings(&self) -> RingAddresses {
        RingAddresses { descriptors: self.address, available: self.address, used: self.address }
    }
}

impl Drop for ParkingPlace {
    fn drop(&mut self) {
        VACANT.lock().unwrap_or_else(PoisonError::into_inner).push((self.size, self.address));
    }
}
