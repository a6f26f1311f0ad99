//! A panic is printed, and ends the machine.

use crate::{console, exit};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    // A panic while a panic is printed: what is to be printed is broken, so do not try again.
    if !PANICKED.swap(true, Ordering::Relaxed) {
        console::emergency(format_args!("{info}\n"));
    }
    exit::exit(exit::PANIC)
}
