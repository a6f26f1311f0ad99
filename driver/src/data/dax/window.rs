//! The places of the DAX window.

use super::CHUNK_BYTES;
use crate::data::FileData;
use crate::sync::Mutex;
use crate::virtio::SharedMemory;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// A range of the window, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What a place is used for.
enum Use {
    /// For nothing. The server may still have something mapped there, which a new mapping replaces.
    Free { is_mapped: bool },
    /// Somebody waits for the server to map something there, or to remove what is.
    Busy,
    /// For the extent of a file that begins at this byte of it.
    Extent { file: Weak<FileData>, offset: u64 },
    /// For a mapping that a program holds.
    Pinned,
}

/// How a place is found that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// From extents that were not used since they were last looked at (second chance).
    Unused,
    /// From an extent that was used less often than this lately.
    UsedLess(u8),
}

/// The window of a mount: a division of its memory into places, in which extents are mapped.
///
/// # Locking
///
/// A spin lock, under which the lock of a file's content may be taken, but no file be dropped: that takes the lock.
pub(crate) struct Window {
    memory: Arc<SharedMemory>,
    unit_bytes: u64,
    places: Mutex<Places>,
}

struct Places {
    /// All places, by where they begin: there are no gaps.
    places: BTreeMap<u64, (u64, Use)>,
    /// Where the next search for a victim begins.
    hand: u64,
    /// How many extents there are.
    extents: usize,
    /// How often one was refused room since all were last taken to have been used less.
    refused: usize,
}

impl Window {
    /// The window in `memory`, in which places are multiples of `unit_bytes`, a power of two. `None` if there is not room for
    /// one.
    pub(crate) fn new(memory: Arc<SharedMemory>, unit_bytes: u64) -> Option<Self> {
        let length = memory.len() / unit_bytes * unit_bytes;
        let places = BTreeMap::from([(0, (length, Use::Free { is_mapped: false }))]);
        let places = Mutex::new(Places { places, hand: 0, extents: 0, refused: 0 });
        (length > 0).then_some(Self { memory, unit_bytes, places })
    }

    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// What places in files and in the window are multiples of.
    pub(crate) fn unit_bytes(&self) -> u64 {
        self.unit_bytes
    }

    /// Where the last whole unit before byte `end` ends.
    pub(crate) fn whole_units(&self, end: u64) -> u64 {
        // A power of two; to divide would take as long as all else that is looked at before a copy.
        end & !(self.unit_bytes - 1)
    }

    fn length(&self) -> u64 {
        self.memory.len() / self.unit_bytes * self.unit_bytes
    }

    /// What extents begin at multiples of: a multiple of the unit.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        CHUNK_BYTES.next_multiple_of(self.unit_bytes).min(self.length())
    }

    /// The longest extent: others must find room, too.
    pub(crate) fn max_extent_bytes(&self) -> u64 {
        let most = super::MAX_EXTENT_BYTES.min(self.length() / 4);
        (most / self.chunk_bytes() * self.chunk_bytes()).max(self.chunk_bytes())
    }

    /// How many ranges of files are mapped for somebody here, and how many bytes that is.
    pub(crate) fn mapped(&self) -> (u64, u64) {
        let places = self.places.lock();
        let mapped = places.places.values().filter(|(_, what)| matches!(what, Use::Extent { .. } | Use::Pinned));
        mapped.fold((0, 0), |(count, bytes), (length, _)| (count + 1, bytes + length))
    }

    /// Takes a place of so many bytes, a multiple of the unit, for a mapping that is about to be asked for.
    pub(crate) fn take(&self, length: u64, reclaim: Reclaim) -> Option<Place> {
        // Dropped when the lock is not held any more.
        let mut files = Vec::new();
        let mut places = self.places.lock();
        let start = places.find(length, reclaim, &mut files);
        if let Some(start) = start {
            places.set(Place { start, length }, Use::Busy);
        }
        drop(places);
        start.map(|start| Place { start, length })
    }

    /// The mapping is there that a place was taken for: it belongs to `file` from byte `offset` on, if `insert` can tell the
    /// file so, under whose lock nobody can look for it yet. If not, the place is free again.
    pub(crate) fn put(&self, place: Place, file: &Weak<FileData>, offset: u64, insert: impl FnOnce() -> bool) -> bool {
        let mut places = self.places.lock();
        let is_in = insert();
        let then = match is_in {
            true => Use::Extent { file: file.clone(), offset },
            false => Use::Free { is_mapped: true },
        };
        places.extents += usize::from(is_in);
        places.set(place, then);
        is_in
    }

    /// A program holds the mapping that a place was taken for.
    pub(crate) fn pin(&self, place: Place) {
        self.places.lock().set(place, Use::Pinned);
    }

    /// Nobody uses a mapping any more, or it could not be made: whatever is mapped there is replaced by the next one.
    pub(crate) fn release(&self, place: Place) {
        self.places.lock().release(place);
    }

    /// Takes an extent's place back to map something else there, or the same in another way.
    pub(crate) fn reuse(&self, place: Place) {
        let mut places = self.places.lock();
        places.extents -= 1;
        places.set(place, Use::Busy);
    }

    /// Takes up to `limit` free places in which the server may have something mapped, to have it removed.
    pub(crate) fn take_unused(&self, limit: usize) -> Vec<Place> {
        let mut places = self.places.lock();
        let unused = places.places.iter().filter(|(_, (_, what))| matches!(what, Use::Free { is_mapped: true }));
        let unused: Vec<_> = unused.map(|(&start, &(length, _))| Place { start, length }).take(limit).collect();
        unused.iter().for_each(|&place| places.set(place, Use::Busy));
        unused
    }

    /// These places that were taken to be emptied are free; nothing is mapped there any more, if the server has done it.
    pub(crate) fn end_removal(&self, removed: &[Place], is_done: bool) {
        let mut places = self.places.lock();
        removed.iter().for_each(|&place| places.set(place, Use::Free { is_mapped: !is_done }));
    }
}

impl Places {
    /// Where there is room for `length` bytes: free, or in the place of extents, which their files lose then.
    fn find(&mut self, length: u64, reclaim: Reclaim, files: &mut Vec<Arc<FileData>>) -> Option<u64> {
        let is_free = |(_, (have, what)): &(&u64, &(u64, Use))| *have >= length && matches!(what, Use::Free { .. });
        if let Some((&start, _)) = self.places.iter().find(is_free) {
            return Some(start);
        }
        match reclaim {
            Reclaim::Unused => self.make_room(length, files, &mut |uses| core::mem::take(uses) == 0),
            Reclaim::UsedLess(than) => {
                self.refused += 1;
                let is_time = self.refused > 8 * self.extents;
                let found = self.make_room(length, files, &mut |uses| *uses < than);
                if is_time {
                    self.refused = 0;
                    self.age(files);
                }
                found
            }
        }
    }

    /// Makes a run of places free, of `length` bytes together, from the hand on, by taking extents away that `may_go` by
    /// how often they were used lately.
    fn make_room(
        &mut self,
        length: u64,
        files: &mut Vec<Arc<FileData>>,
        may_go: &mut dyn FnMut(&mut u8) -> bool,
    ) -> Option<u64> {
        // Each may get its second chance.
        for _ in 0..2 {
            let from_hand: Vec<u64> = self.places.range(self.hand..).map(|(&start, _)| start).collect();
            let before: Vec<u64> = self.places.range(..self.hand).map(|(&start, _)| start).collect();
            let mut run: Option<Place> = None;
            for start in from_hand.into_iter().chain(before) {
                // Places that became free together are one.
                let Some((own, what)) = self.places.get(&start) else { continue };
                let place = Place { start, length: *own };
                let is_free = match what {
                    Use::Free { .. } => true,
                    Use::Busy | Use::Pinned => false,
                    Use::Extent { file, offset } => match file.upgrade() {
                        Some(file) => {
                            let went = file.lose_extent(*offset, place, may_go);
                            files.push(file);
                            went
                        }
                        // It is being dropped, and will say so.
                        None => false,
                    },
                };
                if !is_free {
                    run = None;
                    continue;
                }
                if matches!(self.places.get(&start), Some((_, Use::Extent { .. }))) {
                    self.release(place);
                }
                let begin = run.filter(|run| run.end() == start).map_or(start, |run| run.start);
                let whole = Place { start: begin, length: place.end() - begin };
                if whole.length >= length {
                    self.hand = whole.start + length;
                    return Some(whole.start);
                }
                run = Some(whole);
            }
            self.hand = 0;
        }
        None
    }

    /// Takes all extents to have been used half as often as they were.
    fn age(&self, dropped_later: &mut Vec<Arc<FileData>>) {
        let mut files = Vec::new();
        for (_, what) in self.places.values() {
            if let Use::Extent { file, .. } = what
                && let Some(file) = file.upgrade()
                && !files.iter().any(|other| Arc::ptr_eq(other, &file))
            {
                file.age_extents();
                files.push(file);
            }
        }
        dropped_later.append(&mut files);
    }

    fn release(&mut self, place: Place) {
        if let Some((_, Use::Extent { .. })) = self.places.get(&place.start) {
            self.extents -= 1;
        }
        self.set(place, Use::Free { is_mapped: true });
    }

    /// Sets what a range is used for, that consists of whole places, or of parts of free ones.
    fn set(&mut self, place: Place, then: Use) {
        self.split(place.start);
        self.split(place.end());
        while let Some((&start, _)) = self.places.range(place.start..place.end()).next() {
            self.places.remove(&start);
        }
        self.places.insert(place.start, (place.length, then));
        self.join_free(place.start);
    }

    /// Makes two of a free place that byte `at` is in.
    fn split(&mut self, at: u64) {
        if let Some((&start, (length, Use::Free { is_mapped }))) = self.places.range_mut(..at).next_back()
            && start + *length > at
        {
            let (rest, is_mapped) = (start + *length - at, *is_mapped);
            *length = at - start;
            self.places.insert(at, (rest, Use::Free { is_mapped }));
        }
    }

    /// Makes one of neighbours that are free.
    fn join_free(&mut self, start: u64) {
        let Some((_, Use::Free { .. })) = self.places.get(&start) else { return };
        let after = self.places.range(start + 1..).next().map(|(&start, _)| start);
        let before = self.places.range(..start).next_back().map(|(&start, _)| start);
        for (first, second) in [(Some(start), after), (before, Some(start))] {
            if let (Some(first), Some(second)) = (first, second)
                && let Some(&(second_length, Use::Free { is_mapped: second_mapped })) = self.places.get(&second)
                && let Some((length, Use::Free { is_mapped })) = self.places.get_mut(&first)
            {
                *length += second_length;
                *is_mapped |= second_mapped;
                self.places.remove(&second);
            }
        }
    }
}
