//! The page tables: physical memory, identity mapped.
//!
//! All of it, and not only what is known now, because the firmware puts large BARs (a DAX window of 1 GiB was seen at
//! 0xff00000000) anywhere below the CPU's limit, and because device memory is then where its physical address says.
//!
//! - Above 4 GiB everything is write-back: RAM, and shared memory windows, which are RAM of the host and would be very
//!   slow uncached. Device registers that the firmware put up there are trapped by the hypervisor at every access,
//!   whatever their memory type; this is for virtual machines.
//! - From the end of low RAM to 4 GiB everything is uncached: 32-bit BARs, ECAM, interrupt controllers.
//! - Page 0 is not mapped: a null pointer faults. The page below the stack is not mapped: an overflow faults.
//! - The kernel's code and constants are read-only.

use crate::boot_info::BootInfo;
use core::arch::x86_64::__cpuid;
use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;
use spin::Once;
use x86_64::PhysAddr;
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::{PageTable, PageTableFlags, PhysFrame};

const KIB_4: u64 = 4096;
const MIB_2: u64 = 2 << 20;
const GIB_1: u64 = 1 << 30;
const GIB_4: u64 = 4 << 30;

const WRITE_BACK: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::WRITABLE);
/// Entry 3 of the page attribute table as the CPU starts with it: uncached, whatever the MTRRs say.
const UNCACHED: PageTableFlags = WRITE_BACK.union(PageTableFlags::NO_CACHE).union(PageTableFlags::WRITE_THROUGH);

unsafe extern "C" {
    // Addresses, set by link.ld and by the entry code. They are not variables.
    static __data_start: u8;
    static __kernel_start: u8;
    static __kernel_end: u8;
    static kernel_stack_guard: u8;
}

/// What [`init`] did.
pub(crate) struct Mapped {
    /// Addresses that are mapped and used neither by the kernel image nor by the page tables. There may be no memory.
    pub(crate) free: Range<u64>,
}

static LIMIT: Once<u64> = Once::new();

/// The first address that is not mapped any more.
pub(crate) fn limit() -> u64 {
    LIMIT.get().copied().unwrap_or(GIB_4)
}

/// The number of bits in a physical address, as the CPU says.
pub(crate) fn physical_address_bits() -> u32 {
    match __cpuid(0x8000_0000).eax {
        0x8000_0008.. => __cpuid(0x8000_0008).eax & 0xff,
        _ => 36,
    }
}

/// Whether an address lies in the unmapped page below the stack.
pub(crate) fn is_stack_guard(address: u64) -> bool {
    let guard = (&raw const kernel_stack_guard).expose_provenance() as u64;
    (guard..guard + KIB_4).contains(&address)
}

/// Makes the page tables and uses them.
///
/// # Panics
///
/// If memory is too small for them: one page per 512 GiB of address space, or, on a CPU without 1 GiB pages, per GiB.
///
/// # Safety
///
/// To be called once, while the low 4 GiB are identity mapped and nothing but the kernel image uses memory.
pub(crate) unsafe fn init(boot_info: &BootInfo) -> Mapped {
    let image_start = (&raw const __kernel_start).expose_provenance() as u64;
    let image_end = (&raw const __kernel_end).expose_provenance() as u64;
    let image_writable = (&raw const __data_start).expose_provenance() as u64;
    // SAFETY: as the caller promises.
    let mut frames = unsafe { Frames::behind(image_end, boot_info) };

    // Bit 26 of edx: 1 GiB pages. Identity mapping ends where canonical addresses do, at 47 bits. In 2 MiB pages, 1 TiB
    // costs 4 MiB of tables; a CPU of today with more address bits than that has 1 GiB pages.
    let gib_pages = __cpuid(0x8000_0001).edx & (1 << 26) != 0;
    let bits = physical_address_bits().min(if gib_pages { 47 } else { 40 });
    let limit = 1_u64 << bits;
    let low_ram_end = boot_info
        .usable()
        .map(|region| region.address.saturating_add(region.length_bytes))
        .filter(|end| *end <= GIB_4)
        .max()
        .unwrap_or(0);
    let uncached = low_ram_end.next_multiple_of(MIB_2)..GIB_4;

    let (root_address, root) = frames.table();
    for start_512_gib in (0..limit).step_by((GIB_1 << 9) as usize) {
        let (table_address, pointers) = frames.table();
        root[(start_512_gib >> 39) as usize].set_addr(table_address, WRITE_BACK);
        for (start, entry) in (start_512_gib..limit).step_by(GIB_1 as usize).zip(pointers.iter_mut()) {
            if start >= GIB_4 && gib_pages {
                entry.set_addr(PhysAddr::new(start), WRITE_BACK | PageTableFlags::HUGE_PAGE);
                continue;
            }
            let (table_address, directory) = frames.table();
            entry.set_addr(table_address, WRITE_BACK);
            for (start, entry) in (start..).step_by(MIB_2 as usize).zip(directory.iter_mut()) {
                let flags = if uncached.contains(&start) { UNCACHED } else { WRITE_BACK };
                let split = start == 0 || (start < image_end && start + MIB_2 > image_start);
                if !split {
                    entry.set_addr(PhysAddr::new(start), flags | PageTableFlags::HUGE_PAGE);
                    continue;
                }
                let (table_address, table) = frames.table();
                entry.set_addr(table_address, WRITE_BACK);
                for (start, entry) in (start..).step_by(KIB_4 as usize).zip(table.iter_mut()) {
                    let mut flags = flags;
                    flags.set(PageTableFlags::WRITABLE, !(image_start..image_writable).contains(&start));
                    flags.set(PageTableFlags::PRESENT, start != 0 && !is_stack_guard(start));
                    entry.set_addr(PhysAddr::new(start), flags);
                }
            }
        }
    }

    let (_, cr3_flags) = Cr3::read();
    // SAFETY: the new tables map all memory in use, code, stack and themselves, at the same addresses as the old ones;
    // the exceptions are page 0 and the stack's guard page, which nothing uses.
    unsafe { Cr3::write(PhysFrame::containing_address(root_address), cr3_flags) };
    LIMIT.call_once(|| limit);
    Mapped { free: frames.next..limit }
}

/// Page-sized pieces of the memory right behind the kernel image, one after the other.
struct Frames {
    next: u64,
    end: u64,
}

impl Frames {
    /// # Safety
    ///
    /// The low 4 GiB must be identity mapped, and the memory behind the kernel image used by nothing else.
    unsafe fn behind(image_end: u64, boot_info: &BootInfo) -> Self {
        let region = boot_info
            .usable()
            .find(|region| region.pages_within(0..GIB_4).contains(&(image_end - 1)))
            .expect("the kernel image is not in usable memory");
        let free = region.pages_within(image_end..GIB_4);
        Self { next: free.start, end: free.end }
    }

    /// Takes a frame and makes it an empty page table.
    fn table(&mut self) -> (PhysAddr, &'static mut PageTable) {
        assert!(self.next + KIB_4 <= self.end, "no memory for the page tables");
        let address = self.next;
        self.next += KIB_4;
        let pointer = with_exposed_provenance_mut::<PageTable>(address as usize);
        // SAFETY: the address is page aligned, mapped and unused (as `behind` was promised), and given out once;
        // `write` makes it a valid value before the reference exists.
        let table = unsafe {
            pointer.write(PageTable::new());
            &mut *pointer
        };
        (PhysAddr::new(address), table)
    }
}
