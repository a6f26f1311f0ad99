//! How a device is given up, and what becomes of the memory it had.

use super::*;
use crate::wire::Destroy;
use crate::{BufferDirection, Hal, PhysAddr};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

/// What other threads get back does not put off the deadline of a request that is lost.
#[test]
fn a_lost_request_is_noticed_on_a_busy_device() {
    let fake = FakeDevice::<PlainHal<30>>::new(Build::default(), Box::new(answer));
    // Much of the fake clock's time passes between two looks at it.
    let request_timeout = Duration::from_secs(if cfg!(miri) { 10 } else { 3600 });
    let options = DeviceOptions { request_timeout, ..DeviceOptions::default() };
    let device = start(&fake, &options).unwrap();
    fake.inject(Fault::Swallowed);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let outcomes: Vec<_> = core::iter::from_fn(|| (!is_done.load(Ordering::SeqCst)).then(|| getattr(&device)))
                .take_while(Result::is_ok)
                .collect();
            std::println!("{} requests of the other thread were served meanwhile", outcomes.len());
        });
        // Whichever thread it hits.
        let mut result = Ok(());
        for _ in 0..10_000_000 {
            result = getattr(&device);
            if result.is_err() {
                break;
            }
        }
        is_done.store(true, Ordering::SeqCst);
        assert!(result.is_err(), "the lost request went unnoticed");
    });
}

#[test]
fn a_callback_that_panics_costs_the_device_and_no_memory() {
    let before = PagedHal::<31>::alive();
    let (_fake, device) = device::<PagedHal<31>>(Build::default());
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut buffer = std::vec![0; 8 * 500];
        let mut requests = buffer.chunks_mut(500).map(|chunk| {
            let read = Read { fh: FileHandle(1), offset: 0, size_bytes: 500, flags: OpenFlags::empty() };
            Request::new(header::<Read>(2), &read, &[], chunk)
        });
        device.exchange(&mut requests, &mut |_, _| panic!("on purpose"));
    }));
    assert!(unwound.is_err());
    assert!(getattr(&device).is_err(), "the device was given up");
    drop(device);
    assert_eq!(PagedHal::<31>::alive(), before, "all that was shared was unshared");
}

/// A `Hal` without memory for bounce buffers at the second buffer it is asked for.
struct PanickingHal;

static SHARES_LEFT: AtomicIsize = AtomicIsize::new(isize::MAX);

impl DeviceMemory for PanickingHal {
    fn at(paddr: PhysAddr, len: usize) -> NonNull<u8> {
        PlainHal::<32>::at(paddr, len)
    }

    fn alive() -> isize {
        PlainHal::<32>::alive()
    }
}

// SAFETY: all is passed on.
unsafe impl Hal for PanickingHal {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        PlainHal::<32>::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller's promise is passed on.
        unsafe { PlainHal::<32>::dma_dealloc(paddr, vaddr, pages) }
    }

    unsafe fn mmio_phys_to_virt(_paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("the fake device has no registers in memory")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        assert!(SHARES_LEFT.fetch_sub(1, Ordering::SeqCst) > 0, "out of bounce pages");
        // SAFETY: the caller's promise is passed on.
        unsafe { PlainHal::<32>::share(buffer, direction) }
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        // SAFETY: the caller's promise is passed on.
        unsafe { PlainHal::<32>::unshare(paddr, buffer, direction) }
    }
}

#[test]
fn a_hal_that_panics_leaves_no_buffer_in_the_slot() {
    let (fake, device) = device::<PanickingHal>(Build::default());
    let before = PanickingHal::alive();
    SHARES_LEFT.store(1, Ordering::SeqCst);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut buffer = std::vec![0; 3 * 4096];
        read_and_check(&device, 0, &mut buffer, 3 * 4096)
    }));
    assert!(unwound.is_err());
    SHARES_LEFT.store(isize::MAX, Ordering::SeqCst);
    assert_eq!(PanickingHal::alive(), before);
    assert_eq!(getattr(&device), Ok(()));
    assert_eq!(fake.longest_chain(), 2, "the next request in the slot has only its own descriptors");
}

/// Without a caller's buffer in its hands, a device that does not stop costs the driver's own memory and no patience.
#[test]
fn a_device_that_never_stops_is_left_behind_with_its_rings() {
    let before = PagedHal::<33>::alive();
    let (fake, device) = device::<PagedHal<33>>(Build::default());
    assert_eq!(getattr(&device), Ok(()));
    fake.ignore_resets();
    let start = fake.now();
    device.shut_down();
    assert!(matches!(getattr(&device), Err(Error::Device(_))));
    drop(device);
    assert!(fake.now() - start < Duration::from_secs(10));
    assert_eq!(PagedHal::<33>::alive() - before, 4, "two rings, and two queues' slots, are never given back");
}

/// Nothing is ordered between queues: the device here looks at the request queue first.
#[test]
fn destroy_waits_for_the_forgets() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = order.clone();
    let record = move |request: &[u8], room| {
        let (header, _) = InHeader::read_from_prefix(request).unwrap();
        seen.lock().unwrap().push(Opcode(header.opcode));
        if Opcode(header.opcode) == Destroy::OPCODE { Some(Vec::new()) } else { answer(request, room) }
    };
    let build = Build { request_queues_first: true, ..Build::default() };
    let fake = FakeDevice::<PlainHal<34>>::new(build, Box::new(record));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    let session = Session::open(Box::new(device)).unwrap();
    session.forget(NodeId(7), 1);
    session.end().unwrap();
    assert_eq!(*order.lock().unwrap(), [Init::OPCODE, Forget::OPCODE, Destroy::OPCODE]);
}
