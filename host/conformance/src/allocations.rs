//! How much memory a test process has allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

/// The system's allocator, which counts the bytes in use. A test makes it its `#[global_allocator]`.
pub struct CountingAllocator {
    in_use: AtomicI64,
}

impl CountingAllocator {
    /// One that has given away nothing.
    #[expect(clippy::new_without_default, reason = "for statics, whose values are constant")]
    pub const fn new() -> Self {
        Self { in_use: AtomicI64::new(0) }
    }

    /// How many bytes are in use.
    pub fn bytes_in_use(&self) -> i64 {
        self.in_use.load(Ordering::Relaxed)
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.in_use.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.in_use.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}
