//! What the target `x86_64-unknown-linux-gnu` expects from a C library and an unwinder, for kernels that are built for
//! it because `x86_64-unknown-none` cannot be installed. On the latter, `compiler_builtins` has all this.
//!
//! The functions are single instructions, because a loop would be compiled to a call of the function itself.

use core::arch::asm;

/// As in C.
///
/// # Safety
///
/// As in C: both ranges valid, not overlapping.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: copies the ranges that the caller vouches for, upwards (the direction flag is clear in Rust code).
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// As in C: both ranges valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // The destination does not begin within the source: upwards, no byte is overwritten before it was read.
        // SAFETY: the instruction copies byte after byte; for the rest as the caller vouches.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: copies the ranges that the caller vouches for, from the last byte down, and clears the direction flag
    // again. `count` is not 0, else the branch above had been taken.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") to.add(count - 1) => _,
            inout("rsi") from.add(count - 1) => _, options(nostack));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// As in C: the range valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    // SAFETY: fills the range that the caller vouches for.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// As in C.
///
/// # Safety
///
/// As in C: both ranges valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: within the ranges that the caller vouches for. Volatile, so that this loop does not become a memcmp.
        let (left, right) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// As in BSD's C.
///
/// # Safety
///
/// As in C: both ranges valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: as the caller vouches.
    unsafe { memcmp(left, right, count) }
}

/// As in C.
///
/// # Safety
///
/// As in C: a NUL-terminated string.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: no byte before this one was NUL, so it is within the string. Volatile as in `memcmp`.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// Named by the unwinding tables of `core`, which the linker script discards. Never called: panics abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the landing pads of `core`. Never called: panics abort.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("unwinding in a kernel that aborts")
}
