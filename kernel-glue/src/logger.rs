//! The backend of `log`: the console, with the time since boot.

use crate::{clock, println};
use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let since_boot = clock::since_boot();
            println!(
                "[{:4}.{:06}] {:5} {}: {}",
                since_boot.as_secs(),
                since_boot.subsec_micros(),
                record.level(),
                record.target(),
                record.args()
            );
        }
    }

    fn flush(&self) {}
}

/// Starts logging at `level` (`off`, `error`, `warn`, `info`, `debug`, `trace`), by default at `warn`.
pub(crate) fn init(level: Option<&str>) {
    let parsed = level.map(str::parse::<LevelFilter>);
    log::set_max_level(match parsed {
        Some(Ok(level)) => level,
        _ => LevelFilter::Warn,
    });
    // Fails only if there is a logger already, and this is called once.
    let _ = log::set_logger(&Logger);
    if let (Some(Err(_)), Some(level)) = (parsed, level) {
        log::warn!("log={level}: no such level, taking log=warn");
    }
}
