//! The serial port as console.
//!
//! Lines end with `\n` alone: what the kernel prints can be compared byte for byte, and QEMU's `-serial stdio` leaves
//! the carriage return to the terminal.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
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

static CONSOLE: Mutex<Console> = Mutex::new(Console(com1()));

/// Without a serial port, nothing is written: a missing port would never become ready to send.
static PRESENT: AtomicBool = AtomicBool::new(false);

struct Console(Uart16550<PioBackend>);

impl Console {
    fn write(&mut self, bytes: &[u8]) {
        if PRESENT.load(Ordering::Relaxed) {
            self.0.send_bytes_exact(bytes);
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
    let config = Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT };
    PRESENT.store(CONSOLE.lock().0.init(config).is_ok(), Ordering::Relaxed);
}

/// Writes bytes as they are, in one piece.
///
/// # Locking
///
/// Spins until the serial port is free.
pub fn write_bytes(bytes: &[u8]) {
    CONSOLE.lock().write(bytes);
}

/// The next byte that was typed, if there is one. Does not wait.
///
/// The port keeps 16 bytes; QEMU holds back what comes after them until they are read. What comes before the port is
/// set up at boot is lost.
pub fn read_byte() -> Option<u8> {
    // A missing port reads as all ones, which would look like a byte.
    PRESENT.load(Ordering::Relaxed).then(|| CONSOLE.lock().0.try_receive_byte().ok())?
}

#[doc(hidden)]
pub fn _print(arguments: fmt::Arguments<'_>) {
    // `Console::write_str` does not fail; an error would come from a `Display` of the caller's, and is its own affair.
    let _ = fmt::Write::write_fmt(&mut *CONSOLE.lock(), arguments);
}

/// Prints from a panic or an exception handler: the console may be locked by the very code that failed.
///
/// The port is set up already; to do that again would lose what waits in it. A driver that did not set it up sends byte
/// by byte, which is good enough here.
pub(crate) fn emergency(arguments: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(&mut Console(com1()), arguments);
}

/// Prints to the console.
///
/// # Locking
///
/// Formats while it holds the console: a `Display` that prints or logs would wait for ever.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::_print(::core::format_args!($($arguments)*)) };
}

/// Prints a line to the console, like [`print!`].
#[macro_export]
macro_rules! println {
    () => { $crate::_print(::core::format_args!("\n")) };
    ($($arguments:tt)*) => { $crate::_print(::core::format_args!("{}\n", ::core::format_args!($($arguments)*))) };
}
