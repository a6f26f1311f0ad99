//! Checks of `kernel-glue` that need a machine. Prints `ok` and ends with status 0, or panics.
//!
//! With `case=NAME` on the command line, fails in the way named; QEMU's exit status is then 35 for `error`, 235 for
//! `panic` and `heap`, 237 for the others.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::arch::asm;
use core::hint::black_box;
use core::ptr::with_exposed_provenance_mut;
use core::time::Duration;
use kernel_glue::{Kernel, KernelHal, println, write_bytes};
use virtio_drivers::transport::pci::bus::{BarInfo, Command, DeviceFunction, PciRoot};
use virtio_fs::{BufferDirection, Hal, Platform};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), &'static str> {
    match kernel.arg("case") {
        None => {}
        Some("error") => return Err("as asked"),
        Some("panic") => panic!("as asked"),
        Some("heap") => exhaust_heap(),
        // SAFETY: none: these two are to fault, and end the kernel.
        Some("null") => unsafe { with_exposed_provenance_mut::<u8>(16).write_volatile(1) },
        // SAFETY: as above.
        Some("code") => unsafe { with_exposed_provenance_mut::<u8>(main as *const () as usize).write_volatile(1) },
        Some("overflow") => println!("{}", recurse(u64::MAX)),
        // SAFETY: raises exceptions, and ends the kernel.
        Some("invalid") => unsafe { asm!("ud2") },
        // SAFETY: as above: an address that is not canonical.
        Some("protection") => unsafe { with_exposed_provenance_mut::<u8>(1 << 63).write_volatile(1) },
        Some(_) => return Err("no such case"),
    }
    dma_memory_is_aligned_zeroed_and_reused();
    memory_above_4_gib_works(kernel);
    floating_point_works();
    clock_and_waiting(&*kernel.platform());
    bus_master_can_be_revoked(kernel);
    shared_memory_window_works(kernel);
    write_bytes(b"ok\n");
    Ok(())
}

fn exhaust_heap() {
    let mut kept = Vec::new();
    loop {
        kept.push(Vec::<u8>::with_capacity(64 << 20));
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 100]);
    if depth == 0 { 0 } else { recurse(depth - 1) + frame[50] }
}

fn dma_memory_is_aligned_zeroed_and_reused() {
    for pages in [1, 3, 512] {
        for _ in 0..10_000 {
            let (address, pointer) = KernelHal::dma_alloc(pages, BufferDirection::Both);
            assert!(address != 0 && address % 4096 == 0 && address == pointer.as_ptr() as u64);
            let bytes = pages * 4096;
            // SAFETY: this is the memory just allocated, and no one else's.
            unsafe {
                assert!([0, 1, bytes / 2, bytes - 1].iter().all(|offset| pointer.add(*offset).read() == 0));
                pointer.write_bytes(0xa5, if pages == 512 { 8 } else { bytes });
                pointer.add(bytes - 1).write(1);
                KernelHal::dma_dealloc(address, pointer, pages);
            }
            if pages == 512 {
                break;
            }
        }
    }
    assert_eq!(KernelHal::dma_alloc(1 << 40, BufferDirection::Both).0, 0, "out of memory is address 0");
    assert_eq!(KernelHal::dma_alloc(usize::MAX, BufferDirection::Both).0, 0);
    assert_eq!(KernelHal::dma_alloc(0, BufferDirection::Both).0, 0);
}

fn memory_above_4_gib_works(kernel: &Kernel) {
    // Takes everything in 16 MiB pieces, marks each at both ends, and then looks at the marks.
    const PIECE: usize = 16 << 20;
    let mut pieces = Vec::with_capacity(1024);
    loop {
        let mut piece = Vec::<u64>::new();
        if pieces.len() == pieces.capacity() || piece.try_reserve_exact(PIECE / 8).is_err() {
            break;
        }
        let mark = pieces.len() as u64;
        piece.spare_capacity_mut()[0].write(mark);
        piece.spare_capacity_mut()[PIECE / 8 - 1].write(!mark);
        pieces.push(piece);
    }
    for (mark, piece) in pieces.iter_mut().enumerate() {
        // SAFETY: both were written above.
        let (first, last) = unsafe {
            let spare = piece.spare_capacity_mut();
            (spare[0].assume_init_read(), spare[PIECE / 8 - 1].assume_init_read())
        };
        assert_eq!((first, last), (mark as u64, !(mark as u64)));
    }
    let taken = (pieces.len() * PIECE) as u64;
    println!("heap: {} of {} MiB in 16 MiB pieces", taken >> 20, kernel.memory_bytes() >> 20);
    assert!(taken + (96 << 20) > kernel.memory_bytes(), "the heap is not all of memory");
}

fn floating_point_works() {
    let product = black_box(1.5_f64) * black_box(2.0);
    assert!((product - 3.0).abs() < 1e-9);
}

fn clock_and_waiting(platform: &dyn Platform) {
    let start = platform.now();
    let mut previous = start;
    while platform.now() - start < Duration::from_millis(20) {
        let now = platform.now();
        assert!(now >= previous);
        previous = now;
    }
    let date = platform.wall_clock();
    assert!(date.nanoseconds < 1_000_000_000);

    let start = platform.now();
    assert!(!platform.wait_until(start + Duration::from_millis(50), &mut || false));
    assert!(platform.now() - start >= Duration::from_millis(50));
    let mut calls = 0;
    assert!(platform.wait_until(start, &mut || {
        calls += 1;
        true
    }));
    assert_eq!(calls, 1, "an event is seen even when the deadline is past");
}

fn bus_master_can_be_revoked(kernel: &Kernel) {
    let mut root = PciRoot::new(kernel.pci());
    let Some((function, _)) = root.enumerate_bus(0).find(|(_, info)| info.vendor_id == 0x1af4) else {
        println!("no virtio device to try bus mastering with");
        return;
    };
    let (_, command) = root.get_status_command(function);
    root.set_command(function, command | Command::BUS_MASTER);
    assert!(root.get_status_command(function).1.contains(Command::BUS_MASTER));
    assert!(kernel.platform().revoke_dma(function));
    assert_eq!(root.get_status_command(function).1, command - Command::BUS_MASTER);
    let nowhere = DeviceFunction { bus: 255, device: 31, function: 7 };
    assert!(kernel.platform().revoke_dma(nowhere), "a function that is gone accesses nothing");
}

/// `-object memory-backend-ram,id=w,size=1G -device ivshmem-plain,memdev=w` has a window like that of DAX: BAR 2.
fn shared_memory_window_works(kernel: &Kernel) {
    let mut root = PciRoot::new(kernel.pci());
    let Some((function, _)) = root.enumerate_bus(0).find(|(_, info)| info.device_id == 0x1110) else {
        return;
    };
    let Ok(Some(BarInfo::Memory { address, size, .. })) = root.bar_info(function, 2) else { panic!("no BAR 2") };
    println!("window: {} MiB at {address:#x}", size >> 20);
    // SAFETY: this is the memory of a device that no one else uses.
    let window = unsafe { KernelHal::mmio_phys_to_virt(address, size as usize) }.cast::<u64>();
    for offset in [0, size / 16, size / 8 - 1] {
        // SAFETY: within the window.
        unsafe {
            window.add(offset as usize).write_volatile(!offset);
            assert_eq!(window.add(offset as usize).read_volatile(), !offset);
        }
    }
}
