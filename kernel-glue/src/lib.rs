//! What a small kernel needs around the driver `virtio-fs`, for x86_64 virtual machines: QEMU's `q35` and `microvm`,
//! booted with `-kernel`.
//!
//! A kernel that uses it is one function:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use kernel_glue::{Kernel, println};
//!
//! kernel_glue::entry!(main);
//!
//! fn main(kernel: &Kernel) -> Result<(), virtio_fs::Error> {
//!     println!("hello, {}", kernel.arg("name").unwrap_or("world"));
//!     Ok(())
//! }
//! ```
//!
//! It is linked with `-Tlink.ld` and `--no-pie`, which its `build.rs` says (see `examples/build.rs`), and started with
//! `qemu-system-x86_64 -kernel KERNEL -append "name=Rust" -device isa-debug-exit,iobase=0xf4,iosize=1 -serial stdio`.
//!
//! # A tour, in the order of the boot
//!
//! 1. `boot`: the entry in 32-bit protected mode, the way to long mode, the order of everything below.
//! 2. `console`: the serial port, [`print!`], [`println!`], and `logger`, the backend of `log`.
//! 3. `boot_info`: what the boot loader says: memory map, command line, ACPI.
//! 4. `exceptions`: a fault is printed, and ends the kernel.
//! 5. `paging`: all physical memory identity mapped, page 0 and a guard page below the stack left out.
//! 6. `heap`: the global allocator, and `dma`: [`KernelHal`], the driver's DMA memory.
//! 7. `clock` and `rtc`: time stamp counter and date; `platform`: [`KernelPlatform`], the driver's `Platform`.
//! 8. `pci`: [`PciConfiguration`], configuration access; `bars`: base addresses, assigned where no firmware did so, and
//!    checked: none may be RAM. That they stay as they were at boot is trusted, and so is the memory map.
//! 9. [`Kernel`]: all of this, given to `main`; [`idle_until`]: waiting, while a mount does what is due; `exit`: how the
//!    machine ends.
//!
//! # What it does not do
//!
//! One CPU, no interrupts yet (external interrupts stay masked, the driver polls), no user mode. Interrupt handlers
//! that come later must not allocate, print or access PCI configuration: those take spin locks.

#![cfg_attr(not(test), no_std)]
// The tests run on the host and see only the parts that touch no machine.
#![cfg_attr(test, allow(dead_code, unreachable_pub))]

extern crate alloc;

mod acpi_tables;
mod args;
mod bars;
#[cfg(not(test))]
mod boot;
mod boot_info;
mod clock;
mod console;
mod dma;
mod exceptions;
mod exit;
mod heap;
#[cfg(all(target_os = "linux", not(test)))]
mod host_target;
mod idle;
mod kernel;
mod logger;
mod paging;
#[cfg(not(test))]
mod panic;
mod pci;
mod platform;
mod rtc;

pub use boot_info::MemoryRegion;
pub use console::{_print, read_byte, write_bytes};
pub use dma::KernelHal;
pub use exit::{EXCEPTION, FAILURE, PANIC, SUCCESS, exit};
pub use idle::idle_until;
pub use kernel::{_finish, Kernel};
pub use pci::PciConfiguration;
pub use platform::KernelPlatform;

/// Names the kernel's main function: `fn(&Kernel) -> Result<(), E>` where `E: Display`.
///
/// When it returns `Ok`, the machine ends with status [`SUCCESS`] and nothing is printed. When it returns `Err(e)`,
/// `error: {e}` is printed and the machine ends with status [`FAILURE`].
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn kernel_glue_main(kernel: &'static $crate::Kernel) -> u8 {
            $crate::_finish($main(kernel))
        }
    };
}
