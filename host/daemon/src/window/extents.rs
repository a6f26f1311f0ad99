//! What is mapped where: the truth about the window, without any message.

use std::collections::BTreeMap;

/// A part of a file in the window, in bytes. `F` stands for the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extent<F> {
    pub(crate) length: u64,
    pub(crate) file: F,
    pub(crate) file_offset: u64,
    pub(crate) writable: bool,
}

impl<F: Clone> Extent<F> {
    /// A part of it: `length` bytes, from `skip` on. The caller knows that it has that many.
    fn part(&self, skip: u64, length: u64) -> Self {
        Self { length, file: self.file.clone(), file_offset: self.file_offset + skip, writable: self.writable }
    }
}

/// Extents by their offset in the window. They do not overlap, and none reaches beyond the largest offset.
#[derive(Debug)]
pub(crate) struct Extents<F>(BTreeMap<u64, Extent<F>>);

impl<F> Default for Extents<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// What has to be done so that nothing is mapped in a range.
#[derive(Debug, PartialEq)]
pub(crate) struct Clearance<F> {
    /// Offset and length of the extents in the way. A front end unmaps only what was mapped, as it was mapped.
    pub(crate) unmap: Vec<(u64, u64)>,
    /// What of them lies outside the range, and has to be mapped again.
    pub(crate) remap: Vec<(u64, Extent<F>)>,
}

impl<F: Clone> Extents<F> {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|extent| extent.length).sum()
    }

    pub(crate) fn insert(&mut self, offset: u64, extent: Extent<F>) {
        self.0.insert(offset, extent);
    }

    /// The files of all extents.
    pub(crate) fn files(&self) -> impl Iterator<Item = &F> {
        self.0.values().map(|extent| &extent.file)
    }

    pub(crate) fn remove(&mut self, offset: u64) {
        self.0.remove(&offset);
    }

    /// Offset and length of all extents.
    pub(crate) fn all(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|(offset, extent)| (*offset, extent.length)).collect()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How to clear a range that lies in the window.
    pub(crate) fn clearance(&self, start: u64, length: u64) -> Clearance<F> {
        let end = start + length;
        let mut clearance = Clearance { unmap: Vec::new(), remap: Vec::new() };
        for (&offset, extent) in self.0.range(..end).rev() {
            let extent_end = offset + extent.length;
            if extent_end <= start {
                // They do not overlap: those before end even earlier.
                break;
            }
            clearance.unmap.push((offset, extent.length));
            if offset < start {
                clearance.remap.push((offset, extent.part(0, start - offset)));
            }
            if extent_end > end {
                clearance.remap.push((end, extent.part(end - offset, extent_end - end)));
            }
        }
        clearance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(file: u8, length: u64, file_offset: u64) -> Extent<u8> {
        Extent { length, file, file_offset, writable: true }
    }

    #[test]
    fn what_is_in_the_way_is_unmapped_whole_and_what_lies_outside_is_mapped_again() {
        let mut extents = Extents::default();
        extents.insert(0, extent(1, 10, 100));
        extents.insert(10, extent(2, 10, 0));
        extents.insert(20, extent(3, 10, 50));
        assert_eq!((extents.count(), extents.bytes()), (3, 30));
        let none = Clearance { unmap: vec![], remap: vec![] };
        assert_eq!(extents.clearance(30, 5), none);
        let exact = Clearance { unmap: vec![(10, 10)], remap: vec![] };
        assert_eq!(extents.clearance(10, 10), exact);
        let inside = Clearance { unmap: vec![(10, 10)], remap: vec![(10, extent(2, 3, 0)), (17, extent(2, 3, 7))] };
        assert_eq!(extents.clearance(13, 4), inside);
        let across = Clearance {
            unmap: vec![(20, 10), (10, 10), (0, 10)],
            remap: vec![(25, extent(3, 5, 55)), (0, extent(1, 4, 100))],
        };
        assert_eq!(extents.clearance(4, 21), across);
        extents.clear();
        assert_eq!((extents.count(), extents.clearance(0, 100)), (0, none));
    }

    const WINDOW: usize = 24;

    proptest! {
        /// Each unit of the window is as if every mapping had been made and taken away by itself, later ones last.
        #[test]
        fn later_mappings_win_unit_by_unit(
            steps in prop::collection::vec((any::<bool>(), 0..WINDOW as u64, 1..9_u64, 0..100_u64), 1..40),
        ) {
            let mut extents = Extents::default();
            // What a front end has: it refuses overlaps, and to unmap what it has not.
            let mut front_end = BTreeMap::new();
            let mut model = [None; WINDOW];
            for (number, (is_map, start, length, file_offset)) in (0..).zip(steps) {
                let length = length.min(WINDOW as u64 - start);
                let Clearance { unmap, remap } = extents.clearance(start, length);
                for (offset, length) in unmap {
                    prop_assert_eq!(front_end.remove(&offset), Some(length));
                    extents.remove(offset);
                }
                let new = is_map.then(|| (start, extent(number, length, file_offset)));
                for (offset, extent) in remap.into_iter().chain(new) {
                    let before = front_end.range(..offset + extent.length).next_back();
                    prop_assert!(before.is_none_or(|(other, length)| other + length <= offset));
                    front_end.insert(offset, extent.length);
                    extents.insert(offset, extent);
                }
                for unit in 0..length {
                    model[(start + unit) as usize] = is_map.then_some((number, file_offset + unit));
                }
                let mut seen = [None; WINDOW];
                for (offset, extent) in &extents.0 {
                    for unit in 0..extent.length {
                        seen[(offset + unit) as usize] = Some((extent.file, extent.file_offset + unit));
                    }
                }
                prop_assert_eq!(seen, model);
            }
        }
    }
}
