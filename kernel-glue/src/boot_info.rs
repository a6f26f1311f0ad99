//! What the boot loader tells the kernel: `struct hvm_start_info` of the PVH boot protocol.

use core::ops::Range;
use core::ptr::with_exposed_provenance;
use spin::Once;

/// Entries of the memory map that are kept. QEMU gives about ten.
const MAX_REGIONS: usize = 32;
/// Bytes of the command line that are kept.
const MAX_COMMAND_LINE_BYTES: usize = 4096;

/// `XEN_HVM_START_MAGIC_VALUE`
const MAGIC: u32 = 0x336e_c578;
/// `XEN_HVM_MEMMAP_TYPE_RAM`
const TYPE_RAM: u32 = 1;

/// `struct hvm_start_info`, version 1.
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    module_list_address: u64,
    command_line_address: u64,
    rsdp_address: u64,
    memory_map_address: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_memmap_table_entry`
#[repr(C)]
struct MemoryMapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A region of physical memory, as the firmware sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// The address of the first byte.
    pub address: u64,
    /// The number of bytes.
    pub length_bytes: u64,
    /// Whether it is memory that the kernel may use. The rest belongs to the firmware or to devices.
    pub usable: bool,
}

impl MemoryRegion {
    /// The part of the region that lies in `limits` and consists of whole 4 KiB pages.
    pub(crate) fn pages_within(&self, limits: Range<u64>) -> Range<u64> {
        let start = self.address.max(limits.start).next_multiple_of(4096);
        let end = self.address.saturating_add(self.length_bytes).min(limits.end) & !4095;
        start..end.max(start)
    }
}

/// The kernel's copy of what the boot loader left in memory. The originals may be overwritten.
pub(crate) struct BootInfo {
    regions: [MemoryRegion; MAX_REGIONS],
    region_count: usize,
    command_line: [u8; MAX_COMMAND_LINE_BYTES],
    command_line_bytes: usize,
    /// Where the root of the ACPI tables is, if there are any.
    pub(crate) rsdp: Option<u64>,
}

impl BootInfo {
    /// All regions of the memory map.
    pub(crate) fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.region_count]
    }

    /// The regions that the kernel may use.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions().iter().filter(|region| region.usable)
    }

    /// The command line, up to its first byte that is not UTF-8.
    pub(crate) fn command_line(&self) -> &str {
        self.command_line[..self.command_line_bytes].utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

/// Copies the boot loader's data.
///
/// # Panics
///
/// If `address` is not that of a start information structure with a memory map: then this is no PVH boot.
///
/// # Safety
///
/// `address` must be what a PVH boot loader passed, nothing of that may have been overwritten, and the low 4 GiB must
/// be identity mapped.
pub(crate) unsafe fn read(address: u64) -> &'static BootInfo {
    static BOOT_INFO: Once<BootInfo> = Once::new();
    let pointer = with_exposed_provenance::<StartInfo>(address as usize);
    // SAFETY: the caller passes the address from the boot loader, which is identity mapped. The structure consists of
    // integers, for which all bytes are valid; the read needs no alignment.
    let info = unsafe { pointer.read_unaligned() };
    assert!(info.magic == MAGIC, "not booted by PVH: no start information at {address:#x}");
    assert!(info.version >= 1 && info.memory_map_address != 0, "the boot loader gave no memory map");

    BOOT_INFO.call_once(|| {
        let nothing = MemoryRegion { address: 0, length_bytes: 0, usable: false };
        let mut boot_info = BootInfo {
            regions: [nothing; MAX_REGIONS],
            region_count: 0,
            command_line: [0; MAX_COMMAND_LINE_BYTES],
            command_line_bytes: 0,
            rsdp: Some(info.rsdp_address).filter(|address| *address != 0),
        };
        let entries = with_exposed_provenance::<MemoryMapEntry>(info.memory_map_address as usize);
        for index in 0..info.memory_map_entries as usize {
            // SAFETY: the boot loader promises `memory_map_entries` entries from here on; see above for the rest.
            let entry = unsafe { entries.add(index).read_unaligned() };
            // qboot leaves an empty entry at the end.
            if entry.size != 0 && boot_info.region_count < MAX_REGIONS {
                boot_info.regions[boot_info.region_count] =
                    MemoryRegion { address: entry.address, length_bytes: entry.size, usable: entry.kind == TYPE_RAM };
                boot_info.region_count += 1;
            }
        }
        if info.command_line_address != 0 {
            let text = with_exposed_provenance::<u8>(info.command_line_address as usize);
            while boot_info.command_line_bytes < MAX_COMMAND_LINE_BYTES {
                // SAFETY: the command line is a NUL-terminated string, and no byte before this one was NUL.
                let byte = unsafe { text.add(boot_info.command_line_bytes).read() };
                if byte == 0 {
                    break;
                }
                boot_info.command_line[boot_info.command_line_bytes] = byte;
                boot_info.command_line_bytes += 1;
            }
        }
        boot_info
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pages_of_a_region_are_used() {
        let region = MemoryRegion { address: 0x1800, length_bytes: 0x3000, usable: true };
        assert_eq!(region.pages_within(0..u64::MAX), 0x2000..0x4000);
        assert_eq!(region.pages_within(0x3000..u64::MAX), 0x3000..0x4000);
        assert_eq!(region.pages_within(0..0x3000), 0x2000..0x3000);
    }

    #[test]
    fn a_region_outside_the_limits_is_empty() {
        let region = MemoryRegion { address: 0x1000, length_bytes: 0x1000, usable: true };
        assert!(region.pages_within(0x10_0000..u64::MAX).is_empty());
        let endless = MemoryRegion { address: u64::MAX - 0x1000, length_bytes: u64::MAX, usable: true };
        assert!(endless.pages_within(0..0x10_0000).is_empty());
    }
}
