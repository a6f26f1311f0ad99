//! `Hal` over guest memory: DMA pages, and bounce copies of ordinary memory.

use super::{GuestMemory, PAGE_BYTES, fatal, regions};
use std::ptr::NonNull;
use std::time::Duration;
use virtio_fs::{BufferDirection, Hal, PhysAddr};

/// How long [`share`](Hal::share) waits for bounce pages: longer than any request that makes progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// `Hal` for a driver that runs as an ordinary Linux process.
///
/// - DMA memory is pages of the guest memory, which the daemon has mapped. When there is none left, `dma_alloc` answers
///   with physical address 0.
/// - A buffer inside guest memory is shared as it is, without a copy.
/// - Any other buffer, on the heap or the stack, is *bounced*: `share` takes pages of guest memory and copies the
///   buffer in (unless the device only writes it), `unshare` copies it out (unless the device only reads it) and gives
///   the pages back. So bytes of a buffer to be written that the device did not write become whatever those pages held.
/// - The guest physical addresses of a device's shared memory regions are none of guest memory; `mmio_phys_to_virt`
///   tells where they are.
///
/// `share` cannot report that there is no room. It waits for 10 seconds, in which requests in flight give theirs back,
/// and then ends the process with a message: an address that is not memory would only make the daemon end instead. The
/// remedy is [`GuestMemory::initialize`] with a larger size.
///
/// After a daemon could not be stopped, pages in use at that time are not used again and bounced buffers of that time
/// are not copied out: their requests have failed.
pub struct GuestHal;

impl GuestHal {
    fn memory() -> &'static GuestMemory {
        GuestMemory::global().unwrap_or_else(|error| fatal(&error.to_string()))
    }
}

// SAFETY: method by method:
// - `dma_alloc`: the pages lie in a mapping that is never unmapped, are page aligned as the mapping is, and are marked
//   as used until `dma_dealloc`, so no other call hands them out; no references into the mapping exist. They are
//   zeroed.
// - `mmio_phys_to_virt` gives memory of a shared memory region, which is mapped as long as its transport lives.
// - `share` and `unshare` touch the caller's buffer, which the caller vouches for, and pages that this buffer alone
//   owns.
unsafe impl Hal for GuestHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some((memory, page)) = GuestMemory::global().ok().and_then(|memory| Some((memory, memory.take(pages)?)))
        else {
            return (0, NonNull::dangling());
        };
        let pointer = memory.page_pointer(page);
        // SAFETY: these pages were just taken, so they are inside the mapping and this call owns them.
        unsafe { pointer.write_bytes(0, pages * PAGE_BYTES) };
        (memory.page_address(page), pointer)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        let memory = Self::memory();
        match memory.page_at(paddr) {
            Some(page) if memory.page_pointer(page) == vaddr => {
                memory.give_back(page, pages);
                0
            }
            _ => -1,
        }
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        regions::pointer(paddr, size)
            .unwrap_or_else(|| panic!("no shared memory region has {size} bytes at {paddr:#x}"))
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let memory = Self::memory();
        let length = buffer.len();
        if let Some(address) = memory.address(buffer.cast(), length) {
            return address;
        }
        let count = length.div_ceil(PAGE_BYTES);
        let page = memory.take_waiting(count, PATIENCE).unwrap_or_else(|| {
            fatal(&format!(
                "no room in guest memory ({} bytes) to share a buffer of {length} bytes; set a larger size with \
                 GuestMemory::initialize, or keep fewer requests in flight",
                memory.length_bytes()
            ))
        });
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller vouches for `length` bytes at `buffer`; the `count` pages hold at least as many and
            // were just taken for this buffer, which lies outside guest memory. Bytes may be uninitialised: this copies
            // them as they are.
            unsafe { memory.page_pointer(page).copy_from_nonoverlapping(buffer.cast(), length) };
        }
        memory.page_address(page)
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        let memory = Self::memory();
        let length = buffer.len();
        if let Some(address) = memory.address(buffer.cast(), length) {
            assert_eq!(address, paddr, "unshare with an address that share did not return");
            return;
        }
        let count = length.div_ceil(PAGE_BYTES);
        let page = memory
            .page_at(paddr)
            .filter(|_| memory.pointer(paddr, length).is_some())
            .unwrap_or_else(|| panic!("unshare with an address that share did not return: {paddr:#x}"));
        if direction != BufferDirection::DriverToDevice && !memory.is_abandoned(page) {
            // SAFETY: the caller vouches for `length` bytes at `buffer`, and that `share` returned this address for
            // it: so the pages are this buffer's own until they are given back below. Every bit pattern is a byte.
            unsafe { buffer.cast::<u8>().copy_from_nonoverlapping(memory.page_pointer(page), length) };
        }
        memory.give_back(page, count);
    }
}
