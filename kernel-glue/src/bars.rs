//! Base address registers (BARs), for machines whose firmware leaves them at 0: QEMU's `microvm,pcie=on`.

use crate::paging;
use crate::pci::PciConfiguration;
use core::ops::Range;
use virtio_drivers::transport::pci::bus::{BarInfo, Command, DeviceFunction, HeaderType, MemoryBarType, PciRoot};

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

#[cfg(test)]
mod tests {
    use super::*;

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
