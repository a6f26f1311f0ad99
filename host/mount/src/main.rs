//! `virtio-fs-mount`: runs the driver natively against a file system daemon, and re-exports its tree through FUSE, so
//! that any program of the host can be tried on it.
//!
//! A request of the host's kernel becomes one call of the driver's inode-level API, `virtio_fs::vnode`, on behalf of
//! the process that asked. The kernel caches nothing and checks no permissions unless it is told to: what programs see
//! is the driver's work.
//!
//! - [`options`]: the command line; [`background`]: the way to the background.
//! - [`mount`]: from daemon to [`mountpoint`], and the end.
//! - [`export`]: FUSE's operations; beside it the tables of [`inodes`] and [`handles`], and the numbers of both sides
//!   in [`convert`].
#![forbid(unsafe_code)]

mod background;
mod caller;
mod convert;
mod export;
mod handles;
mod inodes;
mod listing;
mod mount;
mod mountpoint;
mod options;

use options::{Command, HELP, Options};
use std::process::ExitCode;

/// The exit status for wrong arguments.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Mount(options)) => options,
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("virtio-fs-mount {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("virtio-fs-mount: {error}\nTry `virtio-fs-mount --help`.");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    if !options.foreground && !background::is_here() {
        return background::start();
    }
    start_log(&options);
    match mount::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Errors and warnings, or what RUST_LOG says, go to standard error.
fn start_log(options: &Options) {
    // At the end `fuser` complains of replies that nobody waits for, and of what others unmounted.
    let level = match options.log_requests {
        true => "info,fuser=debug,virtio_fs=trace",
        false => "warn,fuser::reply=off,fuser::session=error",
    };
    let environment = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(environment).format_target(options.log_requests).init();
}
