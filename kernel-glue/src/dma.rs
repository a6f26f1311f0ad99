//! DMA memory: the heap. There is no IOMMU and everything is identity mapped, so devices use the kernel's addresses.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// The driver's DMA memory, for kernels of this crate.
#[derive(Debug)]
pub struct KernelHal;

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok().filter(|layout| layout.size() != 0)
}

fn physical(address: *mut u8) -> PhysAddr {
    address.expose_provenance() as PhysAddr
}

// SAFETY: `dma_alloc` gives zeroed, page aligned memory of the global allocator, which nothing else has until
// `dma_dealloc`. Memory is identity mapped, so that its address is what the device uses, and what `mmio_phys_to_virt`
// returns is where the device's memory is mapped; `bars::check` saw to it that this is no RAM.
unsafe impl Hal for KernelHal {
    /// Out of memory is address 0, as the driver expects.
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = layout(pages).and_then(|layout| {
            // SAFETY: the layout's size is not 0.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        });
        match memory {
            Some(memory) => (physical(memory.as_ptr()), memory),
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        let Some(layout) = layout(pages) else {
            return -1;
        };
        // SAFETY: the caller promises that `vaddr` is from `dma_alloc(pages)`, which allocated with this layout.
        unsafe { dealloc(vaddr.as_ptr(), layout) };
        0
    }

    /// # Panics
    ///
    /// If the range reaches outside of the identity mapping, or starts in the unmapped page 0. No BAR does: they were
    /// checked, at boot.
    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        let end = paddr.checked_add(size as u64);
        assert!(
            paddr >= PAGE_SIZE as u64 && end.is_some_and(|end| end <= crate::paging::limit()),
            "device memory at {paddr:#x}, {size:#x} bytes, is not mapped"
        );
        NonNull::new(with_exposed_provenance_mut(paddr as usize)).expect("not 0, as just checked")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        physical(buffer.as_ptr().cast())
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
