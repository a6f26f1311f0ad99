//! `GuestHal` without a daemon: the tests play the device by looking at guest memory through DMA addresses.

use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use virtio_fs::{BufferDirection, Hal, PhysAddr};
use virtio_fs_vhost_user::{GuestHal, GuestMemory};

const MEMORY_BYTES: usize = 4 << 20;
const PAGES: usize = MEMORY_BYTES / 4096;

/// Guest memory is one for the process, so tests that count its pages run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    GuestMemory::initialize(MEMORY_BYTES).unwrap();
    guard
}

fn free_pages() -> usize {
    GuestMemory::usage().unwrap().free_pages
}

/// Where the device finds what lies at `address`: known from a DMA page, whose two addresses are known.
fn as_the_device_sees(address: PhysAddr) -> *mut u8 {
    let (page_address, page) = GuestHal::dma_alloc(1, BufferDirection::Both);
    assert_ne!(page_address, 0);
    // SAFETY: the page was allocated just now.
    assert_eq!(unsafe { GuestHal::dma_dealloc(page_address, page, 1) }, 0);
    page.as_ptr().wrapping_offset(address as isize - page_address as isize)
}

fn share(buffer: &mut [u8], direction: BufferDirection) -> PhysAddr {
    // SAFETY: an exclusive reference is valid and nobody else's.
    unsafe { GuestHal::share(NonNull::from(buffer), direction) }
}

fn unshare(address: PhysAddr, buffer: &mut [u8], direction: BufferDirection) {
    // SAFETY: as in `share`; the tests pass what it returned.
    unsafe { GuestHal::unshare(address, NonNull::from(buffer), direction) }
}

#[test]
fn exhaustion_gives_address_zero_and_everything_comes_back() {
    let _alone = alone();
    let before = free_pages();
    assert_eq!(GuestHal::dma_alloc(PAGES + 1, BufferDirection::Both).0, 0, "more than there is");
    assert_eq!(GuestHal::dma_alloc(usize::MAX, BufferDirection::Both).0, 0);
    let mut taken = Vec::new();
    for pages in [1, 3, 16, 64].into_iter().cycle() {
        let (address, pointer) = GuestHal::dma_alloc(pages, BufferDirection::Both);
        if address == 0 {
            break;
        }
        assert!(address.is_multiple_of(4096) && pointer.addr().get().is_multiple_of(4096));
        assert_ne!(address, pointer.addr().get() as PhysAddr, "addresses of the two kinds differ");
        // SAFETY: allocated just now, with this length.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), pages * 4096) };
        assert!(bytes.iter().all(|byte| *byte == 0), "zeroed");
        bytes.fill(0xAA);
        taken.push((address, pointer, pages));
    }
    assert!(free_pages() < 64);
    for (address, pointer, pages) in taken {
        // SAFETY: as `dma_alloc` returned them, and not used any more.
        assert_eq!(unsafe { GuestHal::dma_dealloc(address, pointer, pages) }, 0);
    }
    assert_eq!(free_pages(), before);
    assert_eq!(GuestHal::dma_alloc(0, BufferDirection::Both).0, 0);
}

#[test]
fn mixed_up_addresses_are_refused() {
    let _alone = alone();
    let (address, pointer) = GuestHal::dma_alloc(2, BufferDirection::Both);
    let wrong = pointer.addr().get() as PhysAddr;
    // SAFETY: nothing is freed here, as the addresses do not fit together.
    assert_ne!(unsafe { GuestHal::dma_dealloc(wrong, pointer, 2) }, 0);
    // SAFETY: as above.
    let refused = unsafe { GuestHal::dma_dealloc(address + 4096, pointer, 1) };
    assert_ne!(refused, 0);
    // SAFETY: as `dma_alloc` returned them.
    assert_eq!(unsafe { GuestHal::dma_dealloc(address, pointer, 2) }, 0);
    assert!(GuestMemory::initialize(2 * MEMORY_BYTES).is_err(), "the size is chosen once");
}

#[test]
fn a_heap_buffer_is_copied_in_and_out_as_its_direction_says() {
    let _alone = alone();
    let mut buffer = vec![7; 5000];
    let address = share(&mut buffer, BufferDirection::DriverToDevice);
    let device = as_the_device_sees(address);
    // SAFETY: the bounce pages hold 5000 bytes.
    unsafe {
        assert_eq!((device.read(), device.add(4999).read()), (7, 7));
        device.write(1);
    }
    unshare(address, &mut buffer, BufferDirection::DriverToDevice);
    assert_eq!(buffer[0], 7, "what the device wrote against the direction does not come back");

    for direction in [BufferDirection::DeviceToDriver, BufferDirection::Both] {
        let mut buffer = vec![9; 5000];
        let address = share(&mut buffer, direction);
        // SAFETY: the bounce pages hold 5000 bytes.
        unsafe { as_the_device_sees(address).write_bytes(1, 100) };
        assert_eq!(buffer[0], 9, "not before unshare");
        unshare(address, &mut buffer, direction);
        assert!(buffer[..100].iter().all(|byte| *byte == 1));
        let stays = buffer[100..].iter().all(|byte| *byte == 9);
        assert!(stays || direction == BufferDirection::DeviceToDriver, "what the device saw and did not write");
    }
}

#[test]
fn a_dma_page_is_shared_without_a_copy() {
    let _alone = alone();
    let (address, pointer) = GuestHal::dma_alloc(1, BufferDirection::Both);
    let free = free_pages();
    let part = NonNull::slice_from_raw_parts(pointer, 4096);
    // SAFETY: allocated just now.
    let shared = unsafe { GuestHal::share(part, BufferDirection::Both) };
    assert_eq!(shared, address);
    assert_eq!(free_pages(), free);
    // SAFETY: as above; then the page is given back and not used any more.
    unsafe {
        GuestHal::unshare(address, part, BufferDirection::Both);
        assert_eq!(GuestHal::dma_dealloc(address, pointer, 1), 0);
    }
}

#[test]
fn neighbouring_pieces_of_a_buffer_get_neighbouring_addresses() {
    let _alone = alone();
    let mut buffer = vec![0_u8; 32 * 4096];
    let pieces: Vec<&mut [u8]> = buffer.chunks_mut(4096).collect();
    let mut shared: Vec<_> = pieces.into_iter().map(|piece| (share(piece, BufferDirection::Both), piece)).collect();
    assert!(shared.windows(2).all(|pair| pair[1].0 == pair[0].0 + 4096));
    for (address, piece) in &mut shared {
        unshare(*address, piece, BufferDirection::Both);
    }
}

#[test]
fn ten_thousand_shares_from_several_threads_leak_nothing() {
    let _alone = alone();
    let before = GuestMemory::usage().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..2500 {
                    let mut small = [thread as u8; 40];
                    let mut large = vec![round as u8; 1 + (round * 37) % 20_000];
                    let first = share(&mut small, BufferDirection::DriverToDevice);
                    let second = share(&mut large, BufferDirection::Both);
                    unshare(first, &mut small, BufferDirection::DriverToDevice);
                    unshare(second, &mut large, BufferDirection::Both);
                    assert!(large.iter().all(|byte| *byte == round as u8));
                }
            });
        }
    });
    assert_eq!(GuestMemory::usage().unwrap(), before);
}

#[test]
fn a_share_without_room_waits_until_another_one_ends() {
    let _alone = alone();
    let free = free_pages();
    let mut most = vec![0; (free - 1) * 4096];
    let mut more = vec![0; 2 * 4096];
    let first = share(&mut most, BufferDirection::DriverToDevice);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let address = share(&mut more, BufferDirection::DriverToDevice);
            unshare(address, &mut more, BufferDirection::DriverToDevice);
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished());
        unshare(first, &mut most, BufferDirection::DriverToDevice);
        waiting.join().unwrap();
    });
    assert_eq!(free_pages(), free);
}
