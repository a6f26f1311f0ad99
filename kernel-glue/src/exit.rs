//! The end of the machine.

use crate::console;
use x86_64::instructions::{hlt, interrupts, port::Port};

/// Status of a `main` that returned `Ok`. QEMU ends with 33.
pub const SUCCESS: u8 = 0;
/// Status of a `main` that returned `Err`. QEMU ends with 35.
pub const FAILURE: u8 = 1;
/// Status of a panic, out of memory included. QEMU ends with 235.
pub const PANIC: u8 = 101;
/// Status of a CPU exception. QEMU ends with 237.
pub const EXCEPTION: u8 = 102;

/// Ends the machine with `status`: 0 to 100 are the kernel's own, 0 is success; [`PANIC`] and [`EXCEPTION`] are above.
///
/// Needs `-device isa-debug-exit,iobase=0xf4,iosize=1`. That device takes a byte `v` and makes QEMU end with `2v + 1`,
/// which is never 0 and would be 1, QEMU's own failure, for `v = 0`. So status `n` is written as `0x10 + n`, and QEMU
/// ends with `2 * (0x10 + n) + 1`: 33 for success. Without the device the CPU halts for ever.
pub fn exit(status: u8) -> ! {
    interrupts::disable();
    let mut port = Port::<u8>::new(0xf4);
    // SAFETY: port 0xf4 is the debug exit device, which reads as 0, or nothing, which reads as all ones.
    if unsafe { port.read() } == u8::MAX {
        console::emergency(format_args!("kernel ended with status {status}; QEMU lacks -device isa-debug-exit\n"));
    }
    // SAFETY: as above; a write touches no memory of this program.
    unsafe { port.write(0x10 + status.min(EXCEPTION)) };
    // QEMU lets the CPU run on for a moment before it ends.
    loop {
        hlt();
    }
}
