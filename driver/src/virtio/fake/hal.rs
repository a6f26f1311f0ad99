//! Two kernels' views of memory.

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// How the device reaches memory by the addresses that a [`Hal`] gave out.
pub(crate) trait DeviceMemory: Hal + 'static {
    /// A pointer to `len` bytes at `paddr`.
    fn at(paddr: PhysAddr, len: usize) -> NonNull<u8>;

    /// How many buffers are shared and DMA allocations are alive.
    fn alive() -> isize;
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).unwrap()
}

fn allocate(pages: usize) -> NonNull<u8> {
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout(pages)) }).unwrap()
}

/// What is alive, by the number of the test that uses the memory: tests run side by side.
static ALIVE: [AtomicIsize; 64] = [const { AtomicIsize::new(0) }; 64];

/// Memory as an identity-mapped kernel has it: addresses are moved, and neighbours stay neighbours.
pub(crate) struct PlainHal<const TEST: usize>;

/// How far the device's addresses are from the program's.
const MOVED_BY: PhysAddr = 0x10_0000_0000;

impl<const TEST: usize> DeviceMemory for PlainHal<TEST> {
    fn at(paddr: PhysAddr, _len: usize) -> NonNull<u8> {
        NonNull::new(core::ptr::with_exposed_provenance_mut((paddr - MOVED_BY) as usize)).unwrap()
    }

    fn alive() -> isize {
        ALIVE[TEST].load(Ordering::Relaxed)
    }
}

// SAFETY: memory is the allocator's, page-aligned and zeroed.
unsafe impl<const TEST: usize> Hal for PlainHal<TEST> {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        ALIVE[TEST].fetch_add(1, Ordering::Relaxed);
        let vaddr = allocate(pages);
        (vaddr.as_ptr().expose_provenance() as PhysAddr + MOVED_BY, vaddr)
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        ALIVE[TEST].fetch_sub(1, Ordering::Relaxed);
        // SAFETY: allocated with this layout by `dma_alloc`.
        unsafe { dealloc(vaddr.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("the fake device has no registers in memory")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        ALIVE[TEST].fetch_add(1, Ordering::Relaxed);
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr + MOVED_BY
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, _direction: BufferDirection) {
        ALIVE[TEST].fetch_sub(1, Ordering::Relaxed);
        assert_eq!(paddr - MOVED_BY, buffer.cast::<u8>().as_ptr().addr() as PhysAddr);
    }
}

/// Memory as a kernel behind an IOMMU has it: what is shared is copied to pages of its own, no two of which are
/// neighbours, and copied back when it is unshared. Whoever forgets that never sees what the device wrote.
pub(crate) struct PagedHal<const TEST: usize>;

/// The pages that the device can see: address by address, pointer and length in bytes.
static VISIBLE: Mutex<BTreeMap<PhysAddr, Visible>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy)]
struct Visible {
    vaddr: NonNull<u8>,
    len: usize,
}

// SAFETY: an address; whoever follows it proves that it may.
unsafe impl Send for Visible {}

/// Makes `pages` pages visible, with nothing visible behind them.
fn show(vaddr: NonNull<u8>, pages: usize) -> PhysAddr {
    let mut visible = VISIBLE.lock().unwrap();
    let last = visible.last_key_value().map_or(MOVED_BY, |(paddr, last)| paddr + last.len as PhysAddr);
    let paddr = last + PAGE_SIZE as PhysAddr;
    visible.insert(paddr, Visible { vaddr, len: pages * PAGE_SIZE });
    paddr
}

impl<const TEST: usize> DeviceMemory for PagedHal<TEST> {
    fn at(paddr: PhysAddr, len: usize) -> NonNull<u8> {
        let visible = VISIBLE.lock().unwrap();
        let (start, page) = visible.range(..=paddr).next_back().expect("the device reads memory it was not shown");
        let offset = (paddr - start) as usize;
        assert!(offset + len <= page.len, "the device reads memory it was not shown");
        // SAFETY: within the allocation, as just checked.
        unsafe { page.vaddr.add(offset) }
    }

    fn alive() -> isize {
        ALIVE[TEST].load(Ordering::Relaxed)
    }
}

// SAFETY: memory is the allocator's, page-aligned and zeroed.
unsafe impl<const TEST: usize> Hal for PagedHal<TEST> {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        ALIVE[TEST].fetch_add(1, Ordering::Relaxed);
        let vaddr = allocate(pages);
        (show(vaddr, pages), vaddr)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        ALIVE[TEST].fetch_sub(1, Ordering::Relaxed);
        assert!(VISIBLE.lock().unwrap().remove(&paddr).is_some());
        // SAFETY: allocated with this layout by `dma_alloc`.
        unsafe { dealloc(vaddr.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("the fake device has no registers in memory")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        ALIVE[TEST].fetch_add(1, Ordering::Relaxed);
        let vaddr = buffer.cast::<u8>();
        let in_page = vaddr.as_ptr().addr() % PAGE_SIZE;
        assert!(in_page + buffer.len() <= PAGE_SIZE, "a shared piece crosses a page boundary");
        let bounce = allocate(1);
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller vouches for the buffer; the bounce page has room for it.
            unsafe { bounce.add(in_page).copy_from_nonoverlapping(vaddr, buffer.len()) };
        }
        show(bounce, 1) + in_page as PhysAddr
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        ALIVE[TEST].fetch_sub(1, Ordering::Relaxed);
        let vaddr = buffer.cast::<u8>();
        let in_page = vaddr.as_ptr().addr() % PAGE_SIZE;
        let page =
            VISIBLE.lock().unwrap().remove(&(paddr - in_page as PhysAddr)).expect("unshared what was not shared");
        if direction != BufferDirection::DriverToDevice {
            // SAFETY: the caller vouches for the buffer; the bounce page holds it.
            unsafe { vaddr.copy_from_nonoverlapping(page.vaddr.add(in_page), buffer.len()) };
        }
        // SAFETY: allocated by `share`.
        unsafe { dealloc(page.vaddr.as_ptr(), layout(1)) };
    }
}
