//! Memory that the driver and the device share.

use crate::Error;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use zerocopy::{FromBytes, IntoBytes};

/// Zeroed, physically contiguous pages that the device may read and write at any time.
///
/// The driver reaches them by offset, with volatile or atomic accesses of values for which every bit pattern is valid:
/// what the device does meanwhile can change what is read, and nothing else. Offsets are computed from the driver's own
/// state alone; one that leaves the region is a bug of the driver and panics.
pub(super) struct DmaRegion<H: Hal> {
    paddr: PhysAddr,
    vaddr: NonNull<u8>,
    pages: usize,
    /// A device that did not stop may still write here.
    abandoned: AtomicBool,
    hal: PhantomData<H>,
}

// SAFETY: the region owns its pages, and all accesses are volatile or atomic; callers of `write` and `copy_in`
// serialize writers by the lock of the queue that owns the region.
unsafe impl<H: Hal> Send for DmaRegion<H> {}
// SAFETY: as above.
unsafe impl<H: Hal> Sync for DmaRegion<H> {}

impl<H: Hal> DmaRegion<H> {
    /// Takes at least `bytes` bytes from the kernel.
    pub(super) fn new(bytes: usize) -> Result<Self, Error> {
        let pages = bytes.div_ceil(PAGE_SIZE).max(1);
        match H::dma_alloc(pages, BufferDirection::Both) {
            (0, _) => Err(Error::NoMemory),
            (paddr, vaddr) => Ok(Self { paddr, vaddr, pages, abandoned: AtomicBool::new(false), hal: PhantomData }),
        }
    }

    /// Never gives the pages back: the device was not seen to stop.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// The address of byte `offset`, as the device has it.
    pub(super) fn paddr(&self, offset: usize) -> PhysAddr {
        self.paddr + offset as PhysAddr
    }

    /// A pointer to `bytes` bytes from `offset` on, aligned to `align`.
    fn pointer(&self, offset: usize, bytes: usize, align: usize) -> *mut u8 {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.pages * PAGE_SIZE) && offset.is_multiple_of(align));
        // SAFETY: the range was just checked to lie within the allocation, which `Hal` promises to be valid and aligned
        // to a page.
        unsafe { self.vaddr.as_ptr().add(offset) }
    }

    pub(super) fn read<T: FromBytes>(&self, offset: usize) -> T {
        let pointer = self.pointer(offset, size_of::<T>(), align_of::<T>());
        // SAFETY: valid and aligned by `pointer`; every bit pattern is a `T`.
        unsafe { pointer.cast::<T>().read_volatile() }
    }

    pub(super) fn write<T: IntoBytes>(&self, offset: usize, value: T) {
        let pointer = self.pointer(offset, size_of::<T>(), align_of::<T>());
        // SAFETY: valid and aligned by `pointer`.
        unsafe { pointer.cast::<T>().write_volatile(value) }
    }

    pub(super) fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: valid and aligned by `pointer`, for as long as `self` lives; the driver's other accesses to ring
        // indices go through this function.
        unsafe { AtomicU16::from_ptr(self.pointer(offset, 2, 2).cast()) }
    }

    /// Writes `bytes` from `offset` on.
    pub(super) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let pointer = self.pointer(offset, bytes.len(), 1);
        // SAFETY: valid by `pointer`, and no Rust reference into the region exists, so the ranges do not overlap. The
        // device reads these bytes only after they were published in the available ring.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len()) }
    }

    /// Reads `out.len()` bytes from `offset` on.
    pub(super) fn copy_out(&self, offset: usize, out: &mut [u8]) {
        let pointer = self.pointer(offset, out.len(), 1);
        // Volatile, because a device that breaks the rules may write at the same time. In words, as the device's last
        // write and this read are on the way of every reply.
        let (words, rest) = out.as_chunks_mut::<8>();
        let rest_at = 8 * words.len();
        for (at, word) in words.iter_mut().enumerate() {
            // SAFETY: below the length that `pointer` checked. Bytes need no alignment, and every bit pattern is some.
            *word = unsafe { pointer.add(8 * at).cast::<[u8; 8]>().read_volatile() };
        }
        for (at, byte) in rest.iter_mut().enumerate() {
            // SAFETY: as above.
            *byte = unsafe { pointer.add(rest_at + at).read_volatile() };
        }
    }
}

impl<H: Hal> Drop for DmaRegion<H> {
    fn drop(&mut self) {
        if *self.abandoned.get_mut() {
            return;
        }
        // SAFETY: these are the values that `dma_alloc` gave. The owner drops the region only after a reset took it
        // back from the device.
        let status = unsafe { H::dma_dealloc(self.paddr, self.vaddr, self.pages) };
        if status != 0 {
            log::error!("the kernel did not take {} DMA pages back: {status}", self.pages);
        }
    }
}
