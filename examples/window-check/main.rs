//! Checks the DAX window from inside a machine: what is mapped is what is seen, at once. Prints `ok`, or panics.
//!
//! No lesson: it speaks FUSE by hand, so that it is the daemon and the emulator that are checked, and not the driver.

#![no_std]
#![no_main]

extern crate alloc;

mod raw_queue;

use alloc::format;
use alloc::vec::Vec;
use core::ptr::NonNull;
use kernel_glue::{Kernel, KernelHal, println};
use raw_queue::RawQueue;
use virtio_fs::virtio::{Transport, pci};
use virtio_fs::{Error, Hal, MountOptions, VirtioFs};

kernel_glue::entry!(main);

const PAGE: u64 = 4096;
const PAGES: u8 = 8;
/// How many mappings there are at a time.
const TOGETHER: u64 = 100;
/// `flags` of SETUPMAPPING.
const WRITE: u64 = 1;
const READ: u64 = 2;

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let find = || pci::find::<KernelHal>(&mut kernel.pci(), tag);
    let fs = VirtioFs::mount::<KernelHal>(find()?, kernel.platform(), &MountOptions::default())?;
    for (name, first) in [("one", 1), ("two", 101)] {
        let content: Vec<u8> = (first..first + PAGES).flat_map(|byte| [byte; PAGE as usize]).collect();
        fs.write(name, content)?;
    }
    fs.unmount()?;

    let device = find()?;
    let region = device.shared_memory(0).ok_or(Error::Device("there is no window"))?;
    println!("window: {} KiB", region.length_bytes >> 10);
    // SAFETY: the region belongs to the device, and nobody else uses it.
    let base = unsafe { KernelHal::mmio_phys_to_virt(region.address, region.length_bytes as usize) };
    let platform = kernel.platform();
    for session in 0..3 {
        // The window is as empty as after switching on; what the last session has mapped is in nobody's way.
        let mut guest = Guest { queue: RawQueue::start(&device, &*platform)?, base };
        guest.init();
        let [one, two] = ["one", "two"].map(|name| guest.lookup(name));
        replace_in_place(&mut guest, one, two);
        change_both_ways(&mut guest, one, two, session);
        maps_are_seen_at_once(&mut guest, one, two);
        many_are_mapped_together(&mut guest, one, two);
        println!("session {session} is right");
    }
    println!("ok");
    Ok(())
}

fn replace_in_place(guest: &mut Guest<'_>, one: u64, two: u64) {
    guest.map(one, WRITE | READ, 0, 4, 0);
    guest.map(two, WRITE | READ, 4, 4, 4);
    assert_eq!(guest.see(), [1, 2, 3, 4, 105, 106, 107, 108]);
    guest.map(two, WRITE | READ, 0, 4, 0);
    assert_eq!(guest.see(), [101, 102, 103, 104, 105, 106, 107, 108], "exactly in place");
    guest.map(one, WRITE | READ, 3, 2, 6);
    assert_eq!(guest.see(), [101, 102, 103, 7, 8, 106, 107, 108], "across two, whose remainders stay");
    assert_eq!(guest.try_map(one, WRITE | READ, 0, 2, 7), 6, "behind the end of the file: ENXIO");
    guest.map(two, READ, 1, 1, 7);
    assert_eq!(guest.see(), [101, 108, 103, 7, 8, 106, 107, 108], "for reading only");
}

/// What is stored arrives at the server, and what the server writes is seen.
fn change_both_ways(guest: &mut Guest<'_>, one: u64, two: u64, session: u8) {
    guest.map(two, WRITE | READ, 0, 8, 0);
    guest.store(5 * PAGE + 9, 200 + session);
    let (error, opened) = guest.queue.ask::<8>(14, two, &2_u64.to_le_bytes());
    assert_eq!(error, 0, "OPEN failed");
    let handle = u64::from_le_bytes(opened);
    // READ, of as much as the reply has room for.
    let (error, content) = guest.queue.ask::<16>(15, two, &transfer(handle, 5 * PAGE, 2032));
    assert_eq!((error, content[9]), (0, 200 + session));
    let mut write = transfer(handle, 6 * PAGE + 9, 1).to_vec();
    write.push(210 + session);
    assert_eq!(guest.queue.ask::<0>(16, two, &write).0, 0, "WRITE failed");
    assert_eq!(guest.byte(6 * PAGE + 9), 210 + session);
    guest.remove(0, 8);
    guest.map(one, WRITE | READ, 0, 8, 0);
}

/// Without a barrier behind the map, one of three looks here sees what was there before.
fn maps_are_seen_at_once(guest: &mut Guest<'_>, one: u64, two: u64) {
    for round in 0..300_u64 {
        let (file, first) = if round % 2 == 0 { (one, 1) } else { (two, 101) };
        let page = round % 8;
        guest.map(file, WRITE | READ, 0, 1, page);
        assert_eq!(guest.byte(0), first + page as u8, "round {round}");
    }
}

/// More than the regions of memory that a vhost-user daemon can know of by default, of which there are 8.
fn many_are_mapped_together(guest: &mut Guest<'_>, one: u64, two: u64) {
    let expected = |page: u64| if page.is_multiple_of(2) { 1 + (page % 8) as u8 } else { 101 + (page % 5) as u8 };
    for page in 0..TOGETHER {
        let (file, file_page) = if page.is_multiple_of(2) { (one, page % 8) } else { (two, page % 5) };
        guest.map(file, WRITE | READ, page, 1, file_page);
    }
    for page in 0..TOGETHER {
        assert_eq!(guest.byte(page * PAGE), expected(page), "page {page}");
    }
}

/// `fuse_read_in` and `fuse_write_in` begin alike.
fn transfer(handle: u64, offset: u64, bytes: u32) -> [u8; 40] {
    let mut arguments = [0; 40];
    arguments[..8].copy_from_slice(&handle.to_le_bytes());
    arguments[8..16].copy_from_slice(&offset.to_le_bytes());
    arguments[16..20].copy_from_slice(&bytes.to_le_bytes());
    arguments
}

struct Guest<'a> {
    queue: RawQueue<'a>,
    base: NonNull<u8>,
}

impl Guest<'_> {
    /// INIT 7.38 with FUSE_MAP_ALIGNMENT.
    fn init(&mut self) {
        let mut arguments = [0; 64];
        arguments[..4].copy_from_slice(&7_u32.to_le_bytes());
        arguments[4..8].copy_from_slice(&38_u32.to_le_bytes());
        arguments[12..16].copy_from_slice(&(1_u32 << 26).to_le_bytes());
        let (error, reply) = self.queue.ask::<64>(26, 0, &arguments);
        assert_eq!((error, reply[30..32] == 12_u16.to_le_bytes()), (0, true), "mappings are aligned to 4096 bytes");
    }

    fn lookup(&mut self, name: &str) -> u64 {
        let (error, reply) = self.queue.ask::<8>(1, 1, format!("{name}\0").as_bytes());
        assert_eq!(error, 0, "no file {name}");
        u64::from_le_bytes(reply)
    }

    /// SETUPMAPPING, in pages: `pages` of the file, from `file_page` on, at `page` of the window.
    fn try_map(&mut self, nodeid: u64, flags: u64, page: u64, pages: u64, file_page: u64) -> i32 {
        let words = [u64::MAX, file_page * PAGE, pages * PAGE, flags, page * PAGE];
        let arguments: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.queue.ask::<0>(48, nodeid, &arguments).0
    }

    fn map(&mut self, nodeid: u64, flags: u64, page: u64, pages: u64, file_page: u64) {
        assert_eq!(self.try_map(nodeid, flags, page, pages, file_page), 0, "SETUPMAPPING failed");
    }

    fn remove(&mut self, page: u64, pages: u64) {
        let mut arguments = 1_u32.to_le_bytes().to_vec();
        arguments.extend([page * PAGE, pages * PAGE].into_iter().flat_map(u64::to_le_bytes));
        assert_eq!(self.queue.ask::<0>(49, 0, &arguments).0, 0, "REMOVEMAPPING failed");
    }

    /// The first bytes of the first pages, which are mapped.
    fn see(&self) -> [u8; PAGES as usize] {
        core::array::from_fn(|page| self.byte(page as u64 * PAGE))
    }

    fn byte(&self, offset: u64) -> u8 {
        assert!(offset < TOGETHER * PAGE);
        // SAFETY: inside the window, where something is mapped.
        unsafe { self.base.add(offset as usize).read_volatile() }
    }

    fn store(&self, offset: u64, byte: u8) {
        assert!(offset < TOGETHER * PAGE);
        // SAFETY: inside the window, where something is mapped for writing.
        unsafe { self.base.add(offset as usize).write_volatile(byte) }
    }
}
