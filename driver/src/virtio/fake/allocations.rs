//! Counts the heap allocations of a thread, and what it holds of the heap, and lets large ones fail.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

std::thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// What was allocated without what was given back: below zero, modulo 2⁶⁴, for who gives back what others allocated.
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static IS_PAUSED: Cell<bool> = const { Cell::new(false) };
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(usize::MAX) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !IS_PAUSED.get() {
            COUNT.set(COUNT.get() + 1);
        }
        if layout.size() > LARGEST_BYTES.get() {
            return core::ptr::null_mut();
        }
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes on this thread.
pub(crate) fn count(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// How many more bytes this thread holds after `work` than before: what it asked for, without the allocator's own.
pub(crate) fn bytes_kept(work: impl FnOnce()) -> isize {
    let before = BYTES.get();
    work();
    BYTES.get().wrapping_sub(before) as isize
}

/// Does `work` with no memory for what is larger than this.
pub(crate) fn limited<R>(largest_bytes: usize, work: impl FnOnce() -> R) -> R {
    let before = LARGEST_BYTES.replace(largest_bytes);
    let result = work();
    LARGEST_BYTES.set(before);
    result
}

/// Does `work` without counting: what is not the driver's.
pub(crate) fn uncounted<R>(work: impl FnOnce() -> R) -> R {
    let before = IS_PAUSED.replace(true);
    let result = work();
    IS_PAUSED.set(before);
    result
}
