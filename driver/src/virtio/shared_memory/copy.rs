//! Copying between memory that others may change meanwhile and memory that nobody else has.

#[cfg(any(not(target_arch = "x86_64"), miri))]
use atomics as platform;
use core::ptr::NonNull;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use string_instructions as platform;

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
mod string_instructions {
    use core::arch::asm;

    pub(super) use copy as from_shared;
    pub(super) use copy as to_shared;

    pub(super) unsafe fn copy(mut from: *const u8, mut to: *mut u8, bytes: usize) {
        // SAFETY: both are valid for as many bytes, as the caller promises; the direction flag is clear, as every ABI has
        // it.
        unsafe {
            asm!(
                "rep movsq",
                inout("rcx") bytes / 8 => _,
                inout("rsi") from,
                inout("rdi") to,
                options(nostack, preserves_flags)
            );
        }
        // To begin such an instruction takes as long as to copy a hundred bytes.
        let rest = bytes % 8;
        if rest > 0 {
            // SAFETY: as above, for what is left.
            unsafe {
                asm!(
                    "rep movsb",
                    inout("rcx") rest => _,
                    inout("rsi") from => _,
                    inout("rdi") to => _,
                    options(nostack, preserves_flags)
                );
            }
        }
    }
}

/// Relaxed atomic accesses, which are as wide as the place in shared memory allows.
#[cfg(any(test, not(target_arch = "x86_64"), miri))]
mod atomics {
    use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    const WORD: usize = size_of::<u64>();
    /// Miri cannot tell what accesses of different widths to one place do.
    const BYTES_ONLY: bool = cfg!(miri);

    /// How many bytes there are before the first aligned word, as far as there are so many.
    fn bytes_before_words(shared: *const u8, bytes: usize) -> usize {
        if BYTES_ONLY { bytes } else { (shared.addr().wrapping_neg() % WORD).min(bytes) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::UnsafeCell;

    type Copy = unsafe fn(*const u8, *mut u8, usize);

    /// Whether bytes are copied from and to every place, as many as there shall be, and no others.
    fn check(from_shared: Copy, to_shared: Copy) {
        #[repr(align(8))]
        struct Shared(UnsafeCell<[u8; 64]>);

        let most = if cfg!(miri) { (3, 11) } else { (16, 48) };
        for (start, bytes) in (0..most.0).flat_map(|start| (0..most.1).map(move |bytes| (start, bytes))) {
            let shared = Shared(UnsafeCell::new([0xee; 64]));
            let data: [u8; 48] = core::array::from_fn(|at| at as u8 + 1);
            let mut back = [0; 48];
            // SAFETY: all is within the arrays.
            unsafe {
                let place = shared.0.get().cast::<u8>().add(start);
                to_shared(data.as_ptr(), place, bytes);
                from_shared(place, back.as_mut_ptr(), bytes);
            }
            let all = shared.0.into_inner();
            assert_eq!(all[start..start + bytes], data[..bytes]);
            assert_eq!(back[..bytes], data[..bytes]);
            assert!(all[..start].iter().chain(&all[start + bytes..]).all(|&byte| byte == 0xee), "{start}, {bytes}");
            assert!(back[bytes..].iter().all(|&byte| byte == 0), "{start}, {bytes}");
        }
    }

    #[test]
    fn the_processors_copying_is_right_at_every_place() {
        check(platform::from_shared, platform::to_shared);
    }

    #[test]
    fn copying_by_atomic_accesses_is_right_at_every_place() {
        check(atomics::from_shared, atomics::to_shared);
    }
}
