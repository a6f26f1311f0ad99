//! Copying between memory that others may change meanwhile and memory that nobody else has.

use core::ptr::NonNull;

/// Fills `out` from shared memory.
///
/// # Safety
///
/// As many bytes from `from` on must be mapped. They may change meanwhile.
pub(super) unsafe fn from_shared(from: NonNull<u8>, out: &mut [u8]) {
    // SAFETY: as the caller promises, and `out` is as long.
    unsafe { platform::from_shared(from.as_ptr(), out.as_mut_ptr(), out.len()) }
}

/// Puts `data` into shared memory.
///
/// # Safety
///
/// As many bytes from `to` on must be mapped, and not be read-only. Others may change them, too.
pub(super) unsafe fn to_shared(data: &[u8], to: NonNull<u8>) {
    // SAFETY: as the caller promises, and `data` is as long.
    unsafe { platform::to_shared(data.as_ptr(), to.as_ptr(), data.len()) }
}

/// The processor's own copying, about which the compiler knows nothing: so no other access to the same memory is a data
/// race. By eight bytes, which emulators do eight times as fast as single ones, and hardware no slower.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod platform {
    use core::arch::asm;

    pub(super) use copy as from_shared;
    pub(super) use copy as to_shared;

    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
        // SAFETY: both are valid for as many bytes, as the caller promises; the direction flag is clear, as every ABI has
        // it.
        unsafe {
            asm!(
                "rep movsq",
                "mov rcx, {rest}",
                "rep movsb",
                rest = in(reg) bytes % 8,
                inout("rcx") bytes / 8 => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Relaxed atomic accesses, which are as wide as the place in shared memory allows.
#[cfg(any(not(target_arch = "x86_64"), miri))]
mod platform {
    use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    const WORD: usize = size_of::<u64>();

    /// How many bytes there are before the first aligned word, as far as there are so many.
    fn bytes_before_words(shared: *const u8, bytes: usize) -> usize {
        (shared.addr().wrapping_neg() % WORD).min(bytes)
    }

    pub(super) unsafe fn from_shared(from: *const u8, to: *mut u8, bytes: usize) {
        let head = bytes_before_words(from, bytes);
        let words_end = head + (bytes - head) / WORD * WORD;
        for at in (0..head).chain(words_end..bytes) {
            // SAFETY: both are valid for `bytes` bytes, as the caller promises.
            unsafe { *to.add(at) = AtomicU8::from_ptr(from.add(at).cast_mut()).load(Ordering::Relaxed) };
        }
        for at in (head..words_end).step_by(WORD) {
            // SAFETY: as above; `from` is aligned there.
            unsafe {
                let word = AtomicU64::from_ptr(from.add(at).cast_mut().cast()).load(Ordering::Relaxed);
                to.add(at).cast::<u64>().write_unaligned(word);
            }
        }
    }

    pub(super) unsafe fn to_shared(from: *const u8, to: *mut u8, bytes: usize) {
        let head = bytes_before_words(to, bytes);
        let words_end = head + (bytes - head) / WORD * WORD;
        for at in (0..head).chain(words_end..bytes) {
            // SAFETY: both are valid for `bytes` bytes, as the caller promises.
            unsafe { AtomicU8::from_ptr(to.add(at)).store(*from.add(at), Ordering::Relaxed) };
        }
        for at in (head..words_end).step_by(WORD) {
            // SAFETY: as above; `to` is aligned there.
            unsafe {
                let word = from.add(at).cast::<u64>().read_unaligned();
                AtomicU64::from_ptr(to.add(at).cast()).store(word, Ordering::Relaxed);
            }
        }
    }
}
