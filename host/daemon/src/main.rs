//! `virtio-fs-daemon`: serves a directory as a virtio-fs device behind a vhost-user socket, with a DAX window.
//!
//! Files are served by `virtiofsd`, as a library. Around it:
//!
//! - [`options`]: the command line; [`serve`]: one front end after the other; [`listener`] and [`sandbox`].
//! - [`device`]: the vhost-user back end, whose queues have a thread each, and [`gate`]s to stop them by.
//! - [`requests`]: each request on its way; [`faults`] that are injected; [`statistics`], and their [`report`].
//! - [`files`]: the tree; [`marked_fs`]: files marked for DAX by a [`dax_rule`]; [`mode`]: kinds of inodes.
//! - [`version_table`]: the metadata version table; [`counted_fs`]: which request changes what; [`host_changes`]: what the
//!   host changes by itself, of what [`watched_fs`] hands out.
//! - [`mapping`]: SETUPMAPPING and REMOVEMAPPING; [`window`]: what is mapped; [`regions`]: where that lies.
//! - [`bridge`]: between the versions of `vm-memory` and `virtio-queue` of both worlds. It and
//!   `version_table::memory` are the only modules with `unsafe`.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod bridge;
mod counted_fs;
mod dax_rule;
mod device;
mod faults;
mod files;
mod gate;
mod glob;
mod host_changes;
mod listener;
mod mapping;
mod marked_fs;
mod mode;
mod opcodes;
mod options;
mod pass_on;
mod regions;
mod report;
mod requests;
mod sandbox;
mod serve;
mod statistics;
mod version_table;
mod watched_fs;
mod window;

use options::{Command, HELP};
use std::process::ExitCode;

/// The exit status for wrong arguments.
const WRONG_USAGE: u8 = 2;
/// The exit status of a daemon in which a thread panicked: without that thread it would be half a daemon.
const PANICKED: i32 = 70;

fn main() -> ExitCode {
    let options = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("virtio-fs-daemon {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("virtio-fs-daemon: {error}\nTry `virtio-fs-daemon --help`.");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let environment = env_logger::Env::default().default_filter_or(options.log_level.to_string());
    env_logger::Builder::from_env(environment).init();
    let report_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report_panic(panic);
        if !files::is_guarded() {
            std::process::exit(PANICKED);
        }
    }));
    match serve::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log::error!("{why}");
            ExitCode::FAILURE
        }
    }
}
