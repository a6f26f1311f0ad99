//! The PCI capabilities of a virtio device (VIRTIO 1.3 §4.1.4).

use super::access::Access;
use crate::Error;
use alloc::vec::Vec;
use virtio_drivers::transport::pci::bus::{
    BarInfo, CapabilityInfo, ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot,
};

/// A range of a memory BAR, checked to lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// Its physical address.
    pub(super) address: u64,
    pub(super) length: u64,
}

/// The interrupt capability (MSI-X) of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    /// How many vectors the device has, 1 to 2048.
    pub vectors: u16,
    /// The physical address of the vector table, 16 bytes for each vector.
    pub table_address: u64,
}

/// What the capabilities of a device tell.
#[derive(Debug)]
pub(super) struct Capabilities {
    pub(super) common: Region,
    pub(super) notify: Region,
    /// What a queue's `queue_notify_off` is multiplied with, in bytes.
    pub(super) notify_multiplier: u32,
    pub(super) device: Region,
    /// Shared memory regions by id.
    pub(super) shared_memory: Vec<(u8, Region)>,
    pub(super) msix: Option<MsixCapability>,
}

/// `PCI_CAP_ID_MSIX`.
const CAP_ID_MSIX: u8 = 0x11;
/// The length of a vector of the MSI-X table, in bytes.
const MSIX_ENTRY_BYTES: u64 = 16;

/// `cfg_type` of `virtio_pci_cap`.
mod cfg_type {
    pub(super) const COMMON: u8 = 1;
    pub(super) const NOTIFY: u8 = 2;
    pub(super) const DEVICE: u8 = 4;
    pub(super) const SHARED_MEMORY: u8 = 8;
}

/// Offsets within `virtio_pci_cap`, `virtio_pci_notify_cap` and `virtio_pci_cap64`.
mod offset {
    pub(super) const BAR_AND_ID: u8 = 4;
    pub(super) const OFFSET: u8 = 8;
    pub(super) const LENGTH: u8 = 12;
    pub(super) const NOTIFY_MULTIPLIER: u8 = 16;
    pub(super) const OFFSET_HI: u8 = 16;
    pub(super) const LENGTH_HI: u8 = 20;
}

/// The most capabilities that fit into 256 bytes of configuration space; a list with more runs in a circle.
const CAPABILITIES_MAX: usize = 48;

/// The capabilities found so far; of each kind the first that the driver can use counts (VIRTIO 1.3 §4.1.4.1).
#[derive(Default)]
struct Found {
    common: Option<Region>,
    notify: Option<(Region, u32)>,
    device: Option<Region>,
    shared_memory: Vec<(u8, Region)>,
    msix: Option<MsixCapability>,
}

impl Capabilities {
    /// Reads the capabilities of `function`, and checks that each lies within its BAR.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if one does not, or one that is needed is missing.
    pub(super) fn read<C: ConfigurationAccess>(
        access: &Access<'_, C>,
        function: DeviceFunction,
    ) -> Result<Self, Error> {
        let mut root = PciRoot::new(access.by_ref());
        let bars = root.bars(function).map_err(|_| Error::Protocol("a BAR has an impossible type"))?;
        let mut found = Found::default();
        for capability in root.capabilities(function).take(CAPABILITIES_MAX) {
            let reader = Reader { access, function, capability };
            match capability.id {
                PCI_CAP_ID_VNDR => found.note_virtio(&reader, &bars)?,
                // The driver polls: it does without.
                CAP_ID_MSIX if found.msix.is_none() => {
                    found.msix = reader.msix(&bars).unwrap_or_else(|reason| {
                        log::warn!("{function}: no MSI-X: {reason}");
                        None
                    });
                }
                _ => {}
            }
        }
        let (notify, notify_multiplier) =
            found.notify.ok_or(Error::Protocol("the device has no notification capability"))?;
        Ok(Self {
            common: found.common.ok_or(Error::Protocol("the device has no common configuration"))?,
            notify,
            notify_multiplier,
            device: found.device.ok_or(Error::Protocol("the device has no device configuration"))?,
            shared_memory: found.shared_memory,
            msix: found.msix,
        })
    }
}

impl Found {
    fn note_virtio<C: ConfigurationAccess>(&mut self, reader: &Reader<'_, '_, C>, bars: &Bars) -> Result<(), Error> {
        let [cap_len, kind] = reader.capability.private_header.to_le_bytes();
        match kind {
            cfg_type::COMMON if self.common.is_none() => self.common = reader.region(cap_len, bars)?,
            cfg_type::DEVICE if self.device.is_none() => self.device = reader.region(cap_len, bars)?,
            cfg_type::NOTIFY if self.notify.is_none() => {
                let multiplier = reader.field(cap_len, offset::NOTIFY_MULTIPLIER)?;
                self.notify = reader.region(cap_len, bars)?.map(|region| (region, multiplier));
            }
            cfg_type::SHARED_MEMORY => match reader.shared_memory(cap_len, bars) {
                Ok(Some((id, region))) if self.shared_memory.iter().all(|&(known, _)| known != id) => {
                    self.shared_memory.push((id, region));
                }
                // Gigabytes are what firmware has no room for first, and what the driver can do without.
                Err(Error::Device(reason)) => log::warn!("{}: no shared memory: {reason}", reader.function),
                other => _ = other?,
            },
            _ => {}
        }
        Ok(())
    }
}

type Bars = [Option<BarInfo>; 6];

/// Reads the fields of one capability.
struct Reader<'r, 'a, C: ConfigurationAccess> {
    access: &'r Access<'a, C>,
    function: DeviceFunction,
    capability: CapabilityInfo,
}

impl<C: ConfigurationAccess> Reader<'_, '_, C> {
    /// The 32-bit field at `offset` of a capability that is `cap_len` bytes long.
    fn field(&self, cap_len: u8, offset: u8) -> Result<u32, Error> {
        // Both are multiples of 4: a word that begins within configuration space ends within it.
        match self.capability.offset.checked_add(offset) {
            Some(at) if offset + 4 <= cap_len => Ok(self.access.read_word(self.function, at)),
            _ => Err(Error::Protocol("a capability is cut short")),
        }
    }

    /// The range that a capability with 32-bit offset and length describes.
    fn region(&self, cap_len: u8, bars: &Bars) -> Result<Option<Region>, Error> {
        let [bar, ..] = self.field(cap_len, offset::BAR_AND_ID)?.to_le_bytes();
        let start = self.field(cap_len, offset::OFFSET)?;
        let length = self.field(cap_len, offset::LENGTH)?;
        within_bar(bars, bar, start.into(), length.into())
    }

    /// The id and range of a shared memory region: 64-bit offset and length.
    fn shared_memory(&self, cap_len: u8, bars: &Bars) -> Result<Option<(u8, Region)>, Error> {
        let [bar, id, ..] = self.field(cap_len, offset::BAR_AND_ID)?.to_le_bytes();
        let wide = |low, high| -> Result<u64, Error> {
            Ok(u64::from(self.field(cap_len, low)?) | u64::from(self.field(cap_len, high)?) << 32)
        };
        let start = wide(offset::OFFSET, offset::OFFSET_HI)?;
        let length = wide(offset::LENGTH, offset::LENGTH_HI)?;
        Ok(within_bar(bars, bar, start, length)?.map(|region| (id, region)))
    }

    /// The MSI-X capability (PCI 3.0 §6.8.2): message control in the header, then the place of the vector table.
    fn msix(&self, bars: &Bars) -> Result<Option<MsixCapability>, Error> {
        const MSIX_BYTES: u8 = 12;
        let vectors = (self.capability.private_header & 0x7ff) + 1;
        let table = self.field(MSIX_BYTES, 4)?;
        let (bar, start) = ((table & 7) as u8, table & !7);
        let table = within_bar(bars, bar, start.into(), u64::from(vectors) * MSIX_ENTRY_BYTES)?;
        Ok(table.map(|table| MsixCapability { vectors, table_address: table.address }))
    }
}

/// `length` bytes from `start` on in BAR number `bar`; nothing if the driver cannot use that BAR: its number is
/// reserved, or it is not there, or in I/O space. Such a capability must be passed over (VIRTIO 1.3 §4.1.4.1): QEMU's
/// `modern-pio-notify` puts one before the one in memory.
fn within_bar(bars: &Bars, bar: u8, start: u64, length: u64) -> Result<Option<Region>, Error> {
    let bar = bars.get(usize::from(bar)).and_then(Option::as_ref).and_then(BarInfo::memory_address_size);
    let Some((base, size)) = bar else { return Ok(None) };
    if base == 0 {
        return Err(Error::Device("a BAR of the device has no address: neither firmware nor kernel gave it one"));
    }
    let end = start.checked_add(length).filter(|&end| end <= size && length > 0);
    let address = end.and_then(|end| base.checked_add(end)).map(|_| base + start);
    match address {
        Some(address) => Ok(Some(Region { address, length })),
        None => Err(Error::Protocol("a capability reaches beyond its BAR")),
    }
}
