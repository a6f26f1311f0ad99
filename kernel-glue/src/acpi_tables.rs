//! ACPI: where PCI configuration space is mapped.

use acpi::mcfg::Mcfg;
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use core::ptr::{NonNull, with_exposed_provenance_mut};

/// PCI configuration space in memory (PCI Express Enhanced Configuration Access Mechanism).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ecam {
    /// The address of bus 0, even if the first bus is a later one.
    pub(crate) base: u64,
    pub(crate) first_bus: u8,
    pub(crate) last_bus: u8,
}

/// Physical addresses are virtual addresses.
#[derive(Clone)]
struct IdentityMapped;

impl AcpiHandler for IdentityMapped {
    unsafe fn map_physical_region<T>(&self, address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let pointer = NonNull::new(with_exposed_provenance_mut(address)).expect("an ACPI table lies at address 0");
        // SAFETY: the caller gives a physical address where a `T` of `size` bytes is; it is mapped at the same address.
        unsafe { PhysicalMapping::new(address, pointer, size, size, Self) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

/// Reads the table `MCFG`: the configuration space of PCI segment 0, if the firmware says where it is.
///
/// # Safety
///
/// `rsdp` must be the address of the firmware's root pointer, its tables intact, and all of that identity mapped.
pub(crate) unsafe fn ecam(rsdp: u64) -> Option<Ecam> {
    // SAFETY: as the caller promises.
    let tables = unsafe { AcpiTables::from_rsdp(IdentityMapped, rsdp as usize) }
        .inspect_err(|error| log::warn!("ACPI tables: {error:?}"))
        .ok()?;
    let table = tables.find_table::<Mcfg>().ok()?;
    let entry = table.entries().iter().find(|entry| entry.pci_segment_group == 0)?;
    Some(Ecam { base: entry.base_address, first_bus: entry.bus_number_start, last_bus: entry.bus_number_end })
}
