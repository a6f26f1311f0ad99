//! Shared memory that is numbers: the version table.

use alloc::sync::Arc;
use core::ptr::NonNull;
use virtio_fs_version_table::AtomicU64;

/// A shared memory region as numbers of 8 bytes, which others change at any time.
///
/// Unlike [`SharedMemory`](super::SharedMemory) it may be looked at whatever becomes of the device: it is there for as long
/// as its owner.
pub(crate) struct SharedWords {
    words: NonNull<[AtomicU64]>,
    _owner: Arc<dyn Send + Sync>,
}

// SAFETY: the memory is there for as long as `_owner`, and accessed by atomic operations only.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// The whole numbers in the memory of a region; `None` if they are not aligned.
    ///
    /// # Safety
    ///
    /// `base` must point to `len` bytes that stay mapped for as long as `owner` lives, and that the program uses in no other
    /// way.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, owner: Arc<dyn Send + Sync>) -> Option<Self> {
        let first = Some(base.cast::<AtomicU64>()).filter(|first| first.is_aligned())?;
        let words = NonNull::slice_from_raw_parts(first, len / size_of::<AtomicU64>());
        Some(Self { words, _owner: owner })
    }

    /// Memory of a test's.
    #[cfg(any(test, feature = "test-utils"))]
    pub(crate) fn owned(words: &Arc<alloc::vec::Vec<AtomicU64>>) -> Self {
        Self { words: NonNull::from(&words[..]), _owner: words.clone() }
    }
}

impl AsRef<[AtomicU64]> for SharedWords {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: the owner lives, so the memory is mapped; it is aligned, any bytes are a number, and whoever else changes it
        // does so as an atomic number allows.
        unsafe { self.words.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_aligned_are_none_and_a_rest_is_left_out() {
        let memory = Arc::new([7, 8, 9].map(AtomicU64::new));
        let base = NonNull::from(&*memory).cast::<u8>();
        let owner = || memory.clone() as Arc<dyn Send + Sync>;
        // SAFETY: in the memory, which its owner keeps; this is only looked at.
        let words = unsafe { SharedWords::new(base, 23, owner()) }.unwrap();
        assert_eq!(words.as_ref().len(), 2);
        // SAFETY: as above; nothing is looked at.
        assert!(unsafe { SharedWords::new(base.add(4), 16, owner()) }.is_none());
    }
}
