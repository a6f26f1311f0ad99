//! The heap: all memory that is left, under one allocator.
//!
//! When it is exhausted, the allocator answers so; what cannot handle that panics (status [`PANIC`](crate::PANIC)).

use crate::boot_info::BootInfo;
use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;
use talc::TalcLock;
use talc::source::Manual;

#[cfg_attr(not(test), global_allocator)]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives the usable memory within `free` to the allocator.
///
/// # Safety
///
/// To be called once; the usable memory within `free` must be identity mapped and used by nothing else.
pub(crate) unsafe fn init(boot_info: &BootInfo, free: Range<u64>) {
    for region in boot_info.usable() {
        let pages = region.pages_within(free.clone());
        let base = with_exposed_provenance_mut(pages.start as usize);
        // SAFETY: the caller promises that nothing else uses this memory, and the memory map's regions do not overlap.
        // `Manual` allows claims. An empty or tiny region is refused, which is no loss.
        let _ = unsafe { HEAP.lock().claim(base, (pages.end - pages.start) as usize) };
    }
}
