//! Files in memory, as numbers that several processes change at the same time. With `bridge` the only `unsafe` code.

use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// The beginning of a file, mapped for as long as this lives.
#[derive(Debug)]
pub(crate) struct Memory {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is this value's own, and in it are atomic numbers only, which any thread may use.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first numbers of a file, which must not become shorter: who looks behind its end ends with SIGBUS.
    ///
    /// # Errors
    ///
    /// The file has not that many numbers; those of `mmap`.
    pub(super) fn map(file: &File, words: usize) -> io::Result<Self> {
        let bytes = words.checked_mul(size_of::<u64>()).filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| io::Error::other("no memory is that large"))?;
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::other("the file is too short"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is the kernel's choice, so no mapping of this process is replaced.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0)? };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { base, words })
    }
}

impl AsRef<[AtomicU64]> for Memory {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: `base` is the start of a mapping of `words` numbers, which is there as long as `self`, and at a page's
        // start, so aligned. Every bit pattern is a number. Whoever else has the file mapped, in this process or
        // another, changes it behind the `UnsafeCell` of atomic numbers; nobody here makes other references into it.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference outlives it.
        let result = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.words * size_of::<u64>()) };
        if let Err(error) = result {
            log::error!("a version table stays mapped: {error}");
        }
    }
}
