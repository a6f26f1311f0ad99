//! The shared memory regions that the device shows (VIRTIO 1.3 §2.10, vhost-user GET_SHMEM_CONFIG).
//!
//! Region 0 is the DAX window, region 1 the metadata version table; either may be missing. QEMU 11.1 lays all regions into
//! one BAR and wants their sizes to add up to a power of two, so that a further region, 2, fills up what is missing; nobody
//! uses it.

use vhost::vhost_user::message::VhostUserShMemConfig;

/// The DAX window's id (VIRTIO 1.3 §5.11.6.4).
pub(crate) const WINDOW: u8 = 0;
/// The version table's id (`SPEC-version-table.md`, section 1).
pub(crate) const TABLE: u8 = 1;
/// The id of the region that only fills up.
const FILLER: u8 = 2;

/// Pages of the host that QEMU maps by. Ours on all machines that this daemon is built for.
pub(crate) const PAGE_BYTES: u64 = 4096;
const MOST_ALIGNMENT_BYTES: u64 = 2 << 20;

/// What mappings are aligned to: `map_alignment` of the INIT reply is its logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MapAlignment(u64);

impl MapAlignment {
    pub(crate) const PAGE: Self = Self(PAGE_BYTES);

    /// A power of two from the page size to 2 MiB, which is what Linux maps at a time.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        (bytes.is_power_of_two() && (PAGE_BYTES..=MOST_ALIGNMENT_BYTES).contains(&bytes)).then_some(Self(bytes))
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// The logarithm to base 2.
    pub(crate) fn log2(self) -> u16 {
        // At most 63.
        self.0.ilog2() as u16
    }
}

/// Sizes in bytes. 0 is a region that is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Regions {
    window: u64,
    table: u64,
    filler: u64,
}

impl Regions {
    /// The regions of a window of at least `window` bytes, of which no more than a TiB are allowed, and of a version table
    /// of `table` bytes, which are whole pages. `None` if there is neither.
    pub(crate) fn new(window: Option<u64>, alignment: MapAlignment, table: Option<u64>) -> Option<Self> {
        let window = window.unwrap_or(0).next_multiple_of(alignment.bytes());
        let table = table.unwrap_or(0);
        let used = window + table;
        (used > 0).then(|| Self { window, table, filler: used.next_power_of_two() - used })
    }

    /// How long the window is, in bytes, if there is one.
    pub(crate) fn window(&self) -> Option<u64> {
        (self.window > 0).then_some(self.window)
    }

    /// What a front end is told.
    pub(crate) fn config(&self) -> VhostUserShMemConfig {
        let mut sizes = [0; FILLER as usize + 1];
        sizes[usize::from(WINDOW)] = self.window;
        sizes[usize::from(TABLE)] = self.table;
        sizes[usize::from(FILLER)] = self.filler;
        let number = sizes.iter().filter(|size| **size > 0).count();
        // At most 3.
        VhostUserShMemConfig::new(number as u32, &sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_has_whole_units_and_all_regions_add_up_to_a_power_of_two() {
        let mega = MapAlignment::new(1 << 20).unwrap();
        for (size, alignment, window) in [
            (1, MapAlignment::PAGE, 4096),
            (4096, MapAlignment::PAGE, 4096),
            (4097, MapAlignment::PAGE, 8192),
            (1022 << 20, MapAlignment::PAGE, 1022 << 20),
            ((3 << 20) + 1, mega, 4 << 20),
            (1 << 40, mega, 1 << 40),
            ((1 << 40) - 1, MapAlignment::PAGE, 1 << 40),
        ] {
            for table in [None, Some(8192), Some(516 << 10)] {
                let regions = Regions::new(Some(size), alignment, table).unwrap();
                assert_eq!(regions.window(), Some(window));
                check(&regions, window, table.unwrap_or(0));
            }
        }
        check(&Regions::new(None, mega, Some(8192)).unwrap(), 0, 8192);
        check(&Regions::new(None, mega, Some((1 << 30) + 4096)).unwrap(), 0, (1 << 30) + 4096);
        assert_eq!(Regions::new(None, mega, None), None);
    }

    fn check(regions: &Regions, window: u64, table: u64) {
        let config = regions.config();
        assert_eq!(config.memory_sizes[..2], [window, table]);
        assert!(config.memory_sizes.iter().sum::<u64>().is_power_of_two());
        assert_eq!(config.nregions as usize, config.memory_sizes.iter().filter(|size| **size > 0).count());
    }

    #[test]
    fn alignments_are_powers_of_two_within_limits() {
        assert_eq!(MapAlignment::new(4096).map(MapAlignment::log2), Some(12));
        assert_eq!(MapAlignment::new(2 << 20).map(MapAlignment::log2), Some(21));
        assert_eq!([0, 1, 2048, 5000, 4 << 20, u64::MAX].map(MapAlignment::new), [None; 6]);
    }
}
