//! Shared memory regions: memory of the host that the device shows to the guest (VIRTIO 1.3 §2.10).

mod copy;
mod words;

pub(crate) use words::SharedWords;

use crate::Error;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use virtio_drivers::PhysAddr;

/// Where a shared memory region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemoryRegion {
    /// The guest physical address of its first byte.
    pub address: PhysAddr,
    /// Its length in bytes.
    pub length_bytes: u64,
}

/// Shared memory that the driver may look at: whatever the host or other guests do to it meanwhile. It is never lent as a
/// slice; bytes are copied in and out here, and only here.
///
/// What is not mapped by a server must not be touched: who uses this knows what is.
///
/// # Locking
///
/// [`Self::close`] waits for the accesses under way; they wait for nobody.
pub(crate) struct SharedMemory {
    base: NonNull<u8>,
    len: usize,
    is_closed: AtomicBool,
    /// How many accesses are under way, counted in several places.
    accesses: [Place; PLACES],
    /// It is memory of a test's.
    #[cfg(any(test, feature = "test-utils"))]
    is_owned: bool,
}

/// A power of two.
const PLACES: usize = 8;
/// What is closer together is counted in one place.
const PLACE_SHIFT: u32 = 21;

/// On a cache line of its own: accesses elsewhere do not slow each other down.
#[repr(align(128))]
struct Place(AtomicUsize);

/// An access under way.
struct Access<'m>(&'m AtomicUsize);

impl Drop for Access<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

// SAFETY: the memory stays mapped for as long as it is accessed, by atomic operations, or by instructions that the compiler
// knows nothing about: it may change at any time.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// The memory of a region.
    ///
    /// # Safety
    ///
    /// `base` must point to `len` bytes that stay mapped until this is [closed](Self::close) or dropped, and that the program
    /// uses in no other way.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        let accesses = [const { Place(AtomicUsize::new(0)) }; PLACES];
        Self {
            base,
            len,
            is_closed: AtomicBool::new(false),
            accesses,
            #[cfg(any(test, feature = "test-utils"))]
            is_owned: false,
        }
    }

    /// Memory of its own, of so many bytes, a multiple of 8: for tests.
    #[cfg(any(test, feature = "test-utils"))]
    pub(crate) fn owned(len: usize) -> Self {
        let memory = alloc::vec![0_u64; len / 8].leak();
        // SAFETY: valid until this is dropped, and used by nobody else.
        let mut own = unsafe { Self::new(NonNull::from(memory).cast(), len) };
        own.is_owned = true;
        own
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Copies from byte `offset` on into `out`.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if that is outside of the region, or the region is closed.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let (_access, at) = self.access(offset, out.len())?;
        // SAFETY: as many bytes from `at` on are in the region.
        unsafe { copy::from_shared(at, out) };
        Ok(())
    }

    /// Copies `data` to byte `offset` and the next.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let (_access, at) = self.access(offset, data.len())?;
        // SAFETY: as many bytes from `at` on are in the region.
        unsafe { copy::to_shared(data, at) };
        Ok(())
    }

    /// What `operation` gives for the number at byte `offset`, a multiple of 4.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; also if `offset` is no multiple of 4.
    pub(crate) fn with_u32<T>(&self, offset: u64, operation: impl FnOnce(&AtomicU32) -> T) -> Result<T, Error> {
        let (_access, at) = self.access(offset, size_of::<u32>())?;
        let at = aligned::<u32>(at)?;
        // SAFETY: in the region and aligned; the reference ends before the access does.
        Ok(operation(unsafe { AtomicU32::from_ptr(at) }))
    }

    /// As [`Self::with_u32`], of 8 bytes.
    pub(crate) fn with_u64<T>(&self, offset: u64, operation: impl FnOnce(&AtomicU64) -> T) -> Result<T, Error> {
        let (_access, at) = self.access(offset, size_of::<u64>())?;
        let at = aligned::<u64>(at)?;
        // SAFETY: in the region and aligned; the reference ends before the access does.
        Ok(operation(unsafe { AtomicU64::from_ptr(at) }))
    }

    /// Where byte `offset` is in memory.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(crate) fn pointer(&self, offset: u64) -> Result<NonNull<u8>, Error> {
        Ok(self.access(offset, 0)?.1)
    }

    /// Ends all use: returns when nobody looks at the memory any more, and nobody will.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        while self.accesses.iter().any(|place| place.0.load(Ordering::SeqCst) > 0) {
            core::hint::spin_loop();
        }
    }

    /// Begins an access to `bytes` bytes from `offset` on.
    fn access(&self, offset: u64, bytes: usize) -> Result<(Access<'_>, NonNull<u8>), Error> {
        let start = usize::try_from(offset).ok();
        let start = start.filter(|start| start.checked_add(bytes).is_some_and(|end| end <= self.len));
        let start = start.ok_or(Error::Device("an access outside of its shared memory"))?;
        let place = &self.accesses[(offset >> PLACE_SHIFT) as usize % PLACES].0;
        // First this: who closes the region either sees it, or is seen.
        place.fetch_add(1, Ordering::SeqCst);
        let access = Access(place);
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Device("its shared memory is gone"));
        }
        // SAFETY: the offset is in the region.
        Ok((access, unsafe { self.base.add(start) }))
    }
}

#[cfg(any(test, feature = "test-utils"))]
impl Drop for SharedMemory {
    fn drop(&mut self) {
        if self.is_owned {
            let words = self.len / 8;
            // SAFETY: this is what `owned` has leaked, and nobody else has it.
            drop(unsafe { alloc::vec::Vec::from_raw_parts(self.base.cast::<u64>().as_ptr(), words, words) });
        }
    }
}

fn aligned<T>(at: NonNull<u8>) -> Result<*mut T, Error> {
    match at.cast::<T>() {
        at if at.is_aligned() => Ok(at.as_ptr()),
        _ => Err(Error::Device("a number in shared memory that is not aligned")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn region(words: usize) -> SharedMemory {
        SharedMemory::owned(8 * words)
    }

    #[test]
    fn bytes_are_copied_in_and_out_whatever_their_place_and_number() {
        let memory = region(40);
        for length in if cfg!(miri) { 7..10 } else { 0..200 } {
            for offset in [0, 1, 7, 63] {
                let data: Vec<u8> = (1..=length as u8).collect();
                memory.write(0, &[0xee; 320]).unwrap();
                memory.write(offset, &data).unwrap();
                let mut all = [0; 320];
                memory.read(0, &mut all).unwrap();
                let (start, end) = (offset as usize, offset as usize + length);
                assert_eq!(all[start..end], data);
                assert!(all[..start].iter().chain(&all[end..]).all(|&byte| byte == 0xee), "{offset}, {length}");
                let mut back = vec![0; length];
                memory.read(offset, &mut back).unwrap();
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn nothing_outside_of_the_region_is_touched() {
        let memory = region(2);
        for (offset, bytes) in [(0, 17), (16, 1), (17, 0), (u64::MAX, 1), (u64::MAX, 0), (15, 2)] {
            assert!(memory.read(offset, &mut vec![0; bytes]).is_err());
            assert!(memory.write(offset, &vec![0; bytes]).is_err());
        }
        assert!(memory.read(16, &mut []).is_ok());
        assert!(memory.with_u32(16, |_| ()).is_err());
        assert!(memory.with_u32(14, |_| ()).is_err());
        assert!(memory.with_u64(4, |_| ()).is_err());
        assert!(memory.pointer(17).is_err());
    }

    #[test]
    fn numbers_are_changed_as_a_whole() {
        let memory = region(2);
        assert_eq!(memory.with_u64(8, |number| number.fetch_add(1 << 40, Ordering::Relaxed)), Ok(0));
        assert_eq!(memory.with_u32(12, |number| number.load(Ordering::Relaxed)), Ok(256_u32.to_le()));
    }

    #[test]
    fn what_is_closed_is_left_alone() {
        let memory = region(2);
        memory.close();
        assert!(memory.read(0, &mut [0]).is_err());
        assert!(memory.write(0, &[0]).is_err());
        assert!(memory.with_u64(0, |_| ()).is_err());
    }

    #[test]
    fn who_closes_waits_for_accesses_under_way() {
        let memory = region(1 << 10);
        let rounds = if cfg!(miri) { 3 } else { 300 };
        for _ in 0..rounds {
            memory.is_closed.store(false, Ordering::SeqCst);
            let inside = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let reader = || {
                    while memory.with_u64(8, |_| {
                        inside.store(true, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                    }) == Ok(())
                    {}
                };
                scope.spawn(reader);
                std::thread::yield_now();
                memory.close();
                assert!(!inside.load(Ordering::SeqCst));
            });
        }
    }
}
