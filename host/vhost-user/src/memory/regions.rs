//! Shared memory regions (VIRTIO 1.3 §2.10): address space of this process that a daemon has filled with parts of
//! files.
//!
//! Where nothing is mapped, a region is zeros, and what is written there goes nowhere: so whatever a daemon unmaps, and
//! when, no access of the driver faults. What remains, as in any virtual machine: a write to what was mapped for
//! reading only, and an access to what lies behind the end of a file that was cut after it was mapped, end the process.

use super::PAGE_BYTES;
use rustix::fs::FileType;
use rustix::mm::{MapFlags, ProtFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use virtio_fs::PhysAddr;
use virtio_fs::virtio::SharedMemoryRegion;

/// The guest physical address of the first region ever, above all guest memory there can be.
const FIRST_ADDRESS: PhysAddr = 1 << 60;
/// Regions begin at multiples of this, so that pages of any size can be mapped.
const ALIGNMENT: PhysAddr = 1 << 30;

/// The regions of all transports of this process, because `Hal` has no `self`; and where the next one begins.
static ALL: Mutex<(Vec<Weak<Region>>, PhysAddr)> = Mutex::new((Vec::new(), FIRST_ADDRESS));

/// A part of a file that a daemon wants to have in a region, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) file_offset: u64,
    pub(crate) writable: bool,
}

/// One region.
pub(crate) struct Region {
    id: u8,
    address: PhysAddr,
    base: NonNull<u8>,
    length_bytes: usize,
    /// Offset and length of what is mapped.
    mapped: Mutex<BTreeMap<usize, usize>>,
}

// SAFETY: `base` points to a mapping that is valid in all threads for as long as the region lives.
unsafe impl Send for Region {}
// SAFETY: as above; what changes the mapping is guarded by the mutex.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves address space for a region.
    pub(crate) fn new(id: u8, length: u64) -> io::Result<Arc<Self>> {
        let length_bytes = usize::try_from(length).map_err(io::Error::other)?;
        if length_bytes == 0 || !length_bytes.is_multiple_of(PAGE_BYTES) {
            return Err(io::Error::other("the length of a shared memory region is no multiple of the page size"));
        }
        let mut all = all();
        let address = all.1;
        let next = address.checked_add(length).and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        let next = next.ok_or_else(|| io::Error::other("there is no room for a shared memory region"))?;
        // SAFETY: the address is the kernel's choice, so no mapping of this process is replaced.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), length_bytes, READ_WRITE, NOTHING)? };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        let region = Arc::new(Self { id, address, base, length_bytes, mapped: Mutex::default() });
        all.0.push(Arc::downgrade(&region));
        all.1 = next;
        Ok(region)
    }

    pub(crate) fn id(&self) -> u8 {
        self.id
    }

    pub(crate) fn length(&self) -> u64 {
        self.length_bytes as u64
    }

    /// What the driver is told.
    pub(crate) fn place(&self) -> SharedMemoryRegion {
        SharedMemoryRegion { address: self.address, length_bytes: self.length() }
    }

    /// Maps a part of a file where nothing is mapped.
    pub(crate) fn map(&self, part: &Part, file: BorrowedFd<'_>) -> io::Result<()> {
        let (start, length) = self.range(part.offset, part.length)?;
        let status = rustix::fs::fstat(file)?;
        let file_end = u64::try_from(status.st_size).ok().and_then(|size| size.checked_next_multiple_of(PAGE));
        let end = part.file_offset.checked_add(part.length);
        // Behind its end there is nothing to see but SIGBUS, and what is no ordinary file may have other surprises.
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile
            || !part.file_offset.is_multiple_of(PAGE)
            || end.is_none_or(|end| file_end.is_none_or(|file_end| end > file_end))
        {
            return Err(invalid());
        }
        let mut mapped = self.mapped();
        let before = mapped.range(..start + length).next_back();
        if before.is_some_and(|(other, other_length)| other + other_length > start) {
            return Err(invalid());
        }
        let protection = if part.writable { READ_WRITE } else { ProtFlags::READ };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: `range` checked that the addresses are within this region, where no Rust reference ever points.
        let result =
            unsafe { rustix::mm::mmap(self.at(start), length, protection, flags, file.as_fd(), part.file_offset) };
        if let Err(error) = result {
            // What was there may be gone even so.
            self.empty(start, length);
            return Err(error.into());
        }
        mapped.insert(start, length);
        Ok(())
    }

    /// Takes away what one [`map`](Self::map) put there.
    pub(crate) fn unmap(&self, offset: u64, length: u64) -> io::Result<()> {
        let (start, length) = self.range(offset, length)?;
        let mut mapped = self.mapped();
        if mapped.get(&start) != Some(&length) {
            return Err(invalid());
        }
        self.empty(start, length);
        mapped.remove(&start);
        Ok(())
    }

    /// Takes everything away.
    pub(crate) fn clear(&self) {
        let mut mapped = self.mapped();
        for (start, length) in std::mem::take(&mut *mapped) {
            self.empty(start, length);
        }
    }

    /// A range that a daemon speaks of, if it consists of pages of this region.
    fn range(&self, offset: u64, length: u64) -> io::Result<(usize, usize)> {
        let is_inside = offset.checked_add(length).is_some_and(|end| end <= self.length());
        if !is_inside || length == 0 || !offset.is_multiple_of(PAGE) || !length.is_multiple_of(PAGE) {
            return Err(invalid());
        }
        // Below `length_bytes`, which is a `usize`.
        Ok((offset as usize, length as usize))
    }

    /// Maps nothing over a range of the region.
    fn empty(&self, start: usize, length: usize) {
        // SAFETY: the callers checked that the addresses are within this region, where no Rust reference ever points.
        let result =
            unsafe { rustix::mm::mmap_anonymous(self.at(start), length, READ_WRITE, NOTHING | MapFlags::FIXED) };
        if let Err(error) = result {
            // There may be a hole now, in which the kernel would put something else, which the driver believes to be
            // the region.
            super::fatal(&format!("a shared memory region cannot be kept together: {error}"));
        }
    }

    fn at(&self, start: usize) -> *mut std::ffi::c_void {
        assert!(start < self.length_bytes);
        // SAFETY: within the mapping.
        unsafe { self.base.add(start).as_ptr().cast() }
    }

    fn mapped(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        // Nothing under the lock panics half-way through a change.
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let mut all = all();
        all.0.retain(|region| region.strong_count() > 0);
        // SAFETY: the mapping is this region's own, and nobody may use it any more: see `Transport`.
        let result = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length_bytes) };
        if let Err(error) = result {
            log::error!("a shared memory region stays mapped: {error}");
        }
    }
}

/// Where this process finds `length_bytes` bytes of a region's guest physical addresses.
pub(super) fn pointer(address: PhysAddr, length_bytes: usize) -> Option<NonNull<u8>> {
    // The last owner of a region needs the lock: it may become this function, by what `upgrade` gives.
    let regions: Vec<_> = all().0.iter().filter_map(Weak::upgrade).collect();
    regions.iter().find_map(|region| {
        let offset = usize::try_from(address.checked_sub(region.address)?).ok()?;
        let is_inside = offset.checked_add(length_bytes)? <= region.length_bytes;
        // SAFETY: within the mapping, or one past its end.
        is_inside.then(|| unsafe { region.base.add(offset) })
    })
}

const PAGE: u64 = PAGE_BYTES as u64;
const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
const NOTHING: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

fn invalid() -> io::Error {
    rustix::io::Errno::INVAL.into()
}

fn all() -> MutexGuard<'static, (Vec<Weak<Region>>, PhysAddr)> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const PAGES: u64 = 8;

    /// A file whose pages are full of 1, 2, 3 and so on.
    fn file() -> File {
        let file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        for page in 0..PAGES {
            file.write_all_at(&[page as u8 + 1; PAGE_BYTES], page * PAGE).unwrap();
        }
        file
    }

    fn part(page: u64, pages: u64, file_page: u64) -> Part {
        Part { offset: page * PAGE, length: pages * PAGE, file_offset: file_page * PAGE, writable: true }
    }

    /// The first byte of each page.
    fn seen(region: &Region) -> Vec<u8> {
        // SAFETY: within the region.
        (0..PAGES as usize).map(|page| unsafe { region.base.add(page * PAGE_BYTES).read_volatile() }).collect()
    }

    #[test]
    fn what_is_mapped_is_seen_and_what_is_unmapped_is_zeros() {
        let (region, file) = (Region::new(0, PAGES * PAGE).unwrap(), file());
        assert_eq!(seen(&region), [0; 8]);
        region.map(&part(1, 2, 4), file.as_fd()).unwrap();
        region.map(&part(3, 1, 0), file.as_fd()).unwrap();
        region.map(&part(0, 1, 7), file.as_fd()).unwrap();
        assert_eq!(seen(&region), [8, 5, 6, 1, 0, 0, 0, 0]);
        file.write_all_at(&[99], 5 * PAGE).unwrap();
        assert_eq!(seen(&region), [8, 5, 99, 1, 0, 0, 0, 0]);
        // SAFETY: within the region.
        unsafe { region.base.add(PAGE_BYTES).write_volatile(77) };
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4 * PAGE).unwrap();
        assert_eq!(byte, [77], "what is written arrives in the file");

        region.unmap(PAGE, 2 * PAGE).unwrap();
        assert_eq!(seen(&region), [8, 0, 0, 1, 0, 0, 0, 0]);
        // SAFETY: within the region.
        unsafe { region.base.add(PAGE_BYTES).write_volatile(1) };
        region.map(&part(1, 1, 1), file.as_fd()).unwrap();
        region.clear();
        assert_eq!(seen(&region), [0; 8]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let (region, file) = (Region::new(0, PAGES * PAGE).unwrap(), file());
        region.map(&part(2, 2, 0), file.as_fd()).unwrap();
        let fits = part(5, 1, 0);
        for wrong in [
            part(1, 2, 0),
            part(3, 1, 0),
            part(2, 2, 0),
            part(0, 8, 0),
            part(8, 1, 0),
            part(7, 2, 0),
            part(5, 2, 7),
            part(5, 0, 0),
            Part { offset: 5 * PAGE + 1, ..fits },
            Part { length: PAGE - 1, ..fits },
            Part { file_offset: 1, ..fits },
            Part { offset: u64::MAX - PAGE + 1, ..fits },
            Part { file_offset: u64::MAX - PAGE + 1, ..fits },
            Part { length: u64::MAX - PAGE + 1, ..fits },
        ] {
            let error = region.map(&wrong, file.as_fd()).expect_err(&format!("{wrong:?}"));
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{wrong:?}");
        }
        let device = File::open("/dev/zero").unwrap();
        assert!(region.map(&Part { writable: false, ..fits }, device.as_fd()).is_err());
        let read_only = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
        assert!(region.map(&fits, read_only.as_fd()).is_err(), "for writing");
        for (page, pages) in [(2, 1), (3, 1), (1, 3), (2, 3), (5, 1), (9, 1)] {
            assert!(region.unmap(page * PAGE, pages * PAGE).is_err());
        }
        assert_eq!(seen(&region), [0, 0, 1, 2, 0, 0, 0, 0]);
        region.map(&Part { writable: false, ..fits }, read_only.as_fd()).unwrap();
        assert_eq!(seen(&region), [0, 0, 1, 2, 0, 1, 0, 0]);
    }

    #[test]
    fn a_region_is_found_by_its_address_as_long_as_it_lives() {
        assert!(Region::new(0, 0).is_err() && Region::new(0, 100).is_err() && Region::new(0, 1 << 63).is_err());
        let (region, other) = (Region::new(0, 4 * PAGE).unwrap(), Region::new(1, PAGE).unwrap());
        let place = region.place();
        assert_eq!(place.length_bytes, 4 * PAGE);
        assert_eq!(pointer(place.address, 4 * PAGE_BYTES), Some(region.base));
        assert_eq!(pointer(other.place().address, 1), Some(other.base));
        assert_eq!(pointer(place.address + 1, 4 * PAGE_BYTES), None);
        assert_eq!(pointer(place.address - 1, 1), None);
        drop(region);
        assert_eq!(pointer(place.address, 1), None);
    }
}
