//! The serial port as console.
//!
//! Lines end with `\n` alone: what the kernel prints can be compared byte for byte, and QEMU's `-serial stdio` leaves
//! the carriage return to the terminal.

use core::fmt;
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};

/// COM1, where QEMU's first `-serial` is.
const PORT: u16 = 0x3f8;

const fn com1() -> Uart16550<PioBackend> {
    // SAFETY: the eight ports from 0x3f8 on are the first serial port on every PC or not there at all, and nothing else
    // in this program uses them. The value is only used under the lock of `CONSOLE`, or by `emergency` when no other
    // code will run any more.
    match unsafe { Uart16550::new_port(PORT) } {
        Ok(uart) => uart,
        Err(_) => panic!("0x3f8 is a port"),
    }
}

static CONSOLE: Mutex<Console> = Mutex::new(Console { uart: com1(), present: false });

struct Console {
    uart: Uart16550<PioBackend>,
    /// Without a serial port, nothing is written: a missing port would never become ready to send.
    present: bool,
}

impl Console {
    fn init(&mut self) {
        let config = Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT };
        self.present = self.uart.init(config).is_ok();
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.present {
            self.uart.send_bytes_exact(bytes);
        }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// Sets the port up. Before this, nothing is written.
pub(crate) fn init() {
    CONSOLE.lock().init();
}

/// Writes bytes as they are, in one piece.
///
/// # Locking
///
/// Spins until the serial port is free.
pub fn write_bytes(bytes: &[u8]) {
    CONSOLE.lock().write(bytes);
}

#[doc(hidden)]
pub fn _print(arguments: fmt::Arguments<'_>) {
    // `Console::write_str` does not fail; an error would come from a `Display` of the caller's, and is its own affair.
    let _ = fmt::Write::write_fmt(&mut *CONSOLE.lock(), arguments);
}

/// Prints from a panic or an exception handler: the console may be locked by the very code that failed.
pub(crate) fn emergency(arguments: fmt::Arguments<'_>) {
    let mut console = Console { uart: com1(), present: false };
    console.init();
    let _ = fmt::Write::write_fmt(&mut console, arguments);
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::_print(::core::format_args!($($arguments)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::_print(::core::format_args!("\n")) };
    ($($arguments:tt)*) => { $crate::_print(::core::format_args!("{}\n", ::core::format_args!($($arguments)*))) };
}
