//! Base address registers (BARs): assigned on machines whose firmware leaves them at 0 (QEMU's `microvm,pcie=on`), and
//! checked on all.

use crate::boot_info::MemoryRegion;
use crate::paging;
use crate::pci::PciConfiguration;
use core::ops::Range;
use virtio_drivers::PAGE_SIZE;
use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, HeaderType, MemoryBarType, PciRoot,
};

/// Where microvm forwards to 32-bit BARs. Mapped uncached.
const WINDOW_32: Range<u64> = 0xc000_0000..0xe000_0000;

/// 64-bit BARs of at least this size are memory, not registers (a DAX window), and go above 4 GiB, where they are
/// mapped write-back.
const LARGE_BYTES: u64 = 64 << 20;

/// microvm forwards the upper quarter of the physical address space to 64-bit BARs.
fn window_64(physical_address_bits: u32, limit: u64) -> Range<u64> {
    let end = 1_u64 << physical_address_bits.min(52);
    let start = end - end / 4;
    start.min(limit)..end.min(limit)
}

/// Gives out addresses, upwards.
struct Addresses {
    small: Range<u64>,
    large: Range<u64>,
}

impl Addresses {
    fn take(&mut self, size_bytes: u64, wide: bool) -> Option<u64> {
        let window = if wide && size_bytes >= LARGE_BYTES { &mut self.large } else { &mut self.small };
        let address = window.start.checked_next_multiple_of(size_bytes)?;
        let end = address.checked_add(size_bytes).filter(|end| *end <= window.end)?;
        window.start = end;
        Some(address)
    }
}

/// Assigns the BARs on bus 0 that are at address 0, and switches their memory on. I/O BARs stay off: virtio needs none.
pub(crate) fn assign(root: &mut PciRoot<PciConfiguration>) {
    let large = window_64(paging::physical_address_bits(), paging::limit());
    let mut addresses = Addresses { small: WINDOW_32, large };
    for (function, info) in root.enumerate_bus(0) {
        if info.header_type == HeaderType::Standard {
            assign_function(root, function, &mut addresses);
        } else {
            log::warn!("PCI {function}: a bridge; what is behind it is not set up");
        }
    }
}

fn assign_function(root: &mut PciRoot<PciConfiguration>, function: DeviceFunction, addresses: &mut Addresses) {
    let bars = match root.bars(function) {
        Ok(bars) => bars,
        Err(error) => return log::warn!("PCI {function}: {error}"),
    };
    let mut assigned = false;
    for (index, bar) in (0..).zip(bars) {
        let Some(BarInfo::Memory { address: 0, size, address_type, .. }) = bar else {
            continue;
        };
        if size == 0 {
            continue;
        }
        let wide = address_type == MemoryBarType::Width64;
        let Some(address) = addresses.take(size, wide) else {
            log::error!("PCI {function}: no room for BAR {index} of {size:#x} bytes");
            return;
        };
        log::debug!("PCI {function}: BAR {index} of {size:#x} bytes at {address:#x}");
        if wide {
            root.set_bar_64(function, index, address);
        } else {
            // Below 4 GiB: `take` puts a BAR that is not wide in the small window.
            root.set_bar_32(function, index, address as u32);
        }
        assigned = true;
    }
    if assigned {
        let (_, command) = root.get_status_command(function);
        root.set_command(function, command | Command::MEMORY_SPACE);
    }
}

/// Takes the address from each memory BAR of `functions` that cannot be device memory: the driver's accesses to it
/// would hit RAM, or what is not mapped. To drivers such a BAR is one that was given no address.
///
/// What remains is trust in the host: that its memory map names all RAM, and that BARs stay as they were found here.
pub(crate) fn check<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    functions: &[DeviceFunction],
    memory_map: &[MemoryRegion],
    mapped_end: u64,
) {
    for &function in functions {
        // What is wrong otherwise is the driver's to report.
        let bars = root.bars(function).unwrap_or_default();
        for (index, bar) in (0..).zip(bars) {
            let Some(BarInfo::Memory { address, size, address_type, .. }) = bar else {
                continue;
            };
            if address == 0 || can_be_device_memory(address, size, memory_map, mapped_end) {
                continue;
            }
            log::error!(
                "PCI {function}: BAR {index} of {size:#x} bytes at {address:#x} is RAM or not mapped: not used"
            );
            let (_, command) = root.get_status_command(function);
            root.set_command(function, command - Command::MEMORY_SPACE);
            match address_type {
                MemoryBarType::Width64 => root.set_bar_64(function, index, 0),
                MemoryBarType::Width32 | MemoryBarType::Below1MiB => root.set_bar_32(function, index, 0),
            }
        }
    }
}

/// Whether all of it is mapped, and nothing of it is RAM that the kernel uses.
fn can_be_device_memory(address: u64, size_bytes: u64, memory_map: &[MemoryRegion], mapped_end: u64) -> bool {
    let Some(end) = address.checked_add(size_bytes).filter(|end| *end <= mapped_end) else {
        return false;
    };
    let is_ram = |region: &MemoryRegion| {
        region.usable && address < region.address.saturating_add(region.length_bytes) && region.address < end
    };
    address >= PAGE_SIZE as u64 && !memory_map.iter().any(is_ram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    const FUNCTION: DeviceFunction = DeviceFunction { bus: 0, device: 1, function: 0 };
    const LIMIT: u64 = 1 << 40;
    const MAP: [MemoryRegion; 3] = [
        MemoryRegion { address: 0, length_bytes: 0x9_fc00, usable: true },
        MemoryRegion { address: 0x10_0000, length_bytes: 0xff0_0000, usable: true },
        MemoryRegion { address: 0xb000_0000, length_bytes: 0x1000_0000, usable: false },
    ];

    /// The configuration space of a function whose BAR 0 is 4 KiB, 32 bits, and whose BAR 2 is 1 MiB, 64 bits.
    #[derive(Clone)]
    struct OneFunction(Rc<RefCell<[u32; 64]>>);

    impl OneFunction {
        fn new(bar_0: u32, bar_2: u64) -> Self {
            let mut words = [0; 64];
            words[1] = Command::MEMORY_SPACE.bits().into();
            words[4] = bar_0;
            words[6] = bar_2 as u32 | 0b1100;
            words[7] = (bar_2 >> 32) as u32;
            Self(Rc::new(RefCell::new(words)))
        }

        /// The addresses of both BARs after a check, and whether the function still answers to memory accesses.
        fn checked(self) -> (u64, u64, bool) {
            check(&mut PciRoot::new(self.clone()), &[FUNCTION], &MAP, LIMIT);
            let words = self.0.borrow();
            let wide = u64::from(words[7]) << 32 | u64::from(words[6] & !0xf);
            (u64::from(words[4]), wide, Command::from_bits_retain(words[1] as u16).contains(Command::MEMORY_SPACE))
        }
    }

    impl ConfigurationAccess for OneFunction {
        fn read_word(&self, _function: DeviceFunction, register: u8) -> u32 {
            self.0.borrow()[usize::from(register) / 4]
        }

        fn write_word(&mut self, _function: DeviceFunction, register: u8, value: u32) {
            let value = match register {
                0x10 => value & !0xfff,
                0x18 => value & !0xf_ffff | 0b1100,
                0x14 | 0x20 | 0x24 => 0,
                _ => value,
            };
            self.0.borrow_mut()[usize::from(register) / 4] = value;
        }

        unsafe fn unsafe_clone(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn bars_of_device_memory_are_left_alone() {
        assert_eq!(OneFunction::new(0xfebf_e000, 0xff_0000_0000).checked(), (0xfebf_e000, 0xff_0000_0000, true));
        assert_eq!(OneFunction::new(0xb000_0000, LIMIT - (1 << 20)).checked(), (0xb000_0000, LIMIT - (1 << 20), true));
    }

    #[test]
    fn a_bar_in_ram_loses_its_address() {
        assert_eq!(OneFunction::new(0x20_0000, 0xff_0000_0000).checked(), (0, 0xff_0000_0000, false));
        assert_eq!(OneFunction::new(0xfebf_e000, 0xff0_0000).checked(), (0xfebf_e000, 0, false));
        assert_eq!(OneFunction::new(0x9_f000, 0x1000_0000).checked(), (0, 0x1000_0000, false));
    }

    #[test]
    fn a_bar_that_is_not_mapped_loses_its_address() {
        assert_eq!(OneFunction::new(0xfebf_e000, LIMIT).checked(), (0xfebf_e000, 0, false));
        assert_eq!(OneFunction::new(0xfebf_e000, 0xffff_ffff_fff0_0000).checked(), (0xfebf_e000, 0, false));
    }

    #[test]
    fn a_bar_without_an_address_is_none_to_take() {
        assert_eq!(OneFunction::new(0, 0).checked(), (0, 0, true));
    }

    fn addresses() -> Addresses {
        Addresses { small: WINDOW_32, large: window_64(40, 1 << 40) }
    }

    #[test]
    fn the_large_window_is_the_upper_quarter_of_what_is_mapped() {
        assert_eq!(window_64(40, 1 << 40), 0xc0_0000_0000..0x100_0000_0000);
        assert!(window_64(52, 1 << 47).is_empty());
    }

    #[test]
    fn addresses_are_aligned_to_their_size() {
        let mut addresses = addresses();
        assert_eq!(addresses.take(0x1000, false), Some(0xc000_0000));
        assert_eq!(addresses.take(0x4000, true), Some(0xc000_4000));
        assert_eq!(addresses.take(0x1000, true), Some(0xc000_8000));
    }

    #[test]
    fn only_large_wide_bars_go_above_4_gib() {
        let mut addresses = addresses();
        assert_eq!(addresses.take(1 << 30, true), Some(0xc0_0000_0000));
        assert_eq!(addresses.take(1 << 28, false), Some(0xc000_0000));
    }

    #[test]
    fn a_full_window_gives_nothing_and_loses_nothing() {
        let mut addresses = addresses();
        assert_eq!(addresses.take(1 << 30, false), None);
        assert_eq!(addresses.take(1 << 63, true), None);
        assert_eq!(addresses.take(1 << 29, false), Some(0xc000_0000));
        assert_eq!(addresses.take(0x1000, false), None);
    }
}
