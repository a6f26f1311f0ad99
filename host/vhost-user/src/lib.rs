//! Runs the driver natively on Linux: this crate plays the part of the VMM, and talks to a file system daemon such as
//! `virtiofsd` over its vhost-user socket. No kernel, no emulator; the driver is the same.
//!
//! - [`connect`] gives the two things a driver needs beside its `Hal`: a [`VhostUserTransport`], which is the device,
//!   and a [`NativePlatform`], which is the clock and the place where threads wait.
//! - [`GuestHal`] is that `Hal`. Guest memory is a memfd that the daemon maps too; other buffers are copied in and out.
//!   It is one for the whole process, see [`GuestMemory`].
//! - [`Daemon`] starts a private virtiofsd on a folder, counts the requests it gets, and can stop, continue and kill
//!   it.
//!
//! What happens when a daemon dies or stops answering stands at [`VhostUserTransport`].
//!
//! # Example
//!
//! A device is found, and says its tag; the driver takes it from there.
//!
//! ```no_run
//! use virtio_fs::virtio::Transport;
//! use virtio_fs_vhost_user::{Daemon, DaemonOptions, connect};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let daemon = Daemon::start("/srv/share", &DaemonOptions::default())?;
//! let (transport, platform) = connect(daemon.socket(), "share")?;
//! let mut tag = [0; 36];
//! transport.read_config(0, &mut tag)?;
//! assert!(tag.starts_with(b"share\0"));
//! # drop(platform);
//! # Ok(())
//! # }
//! ```
//!
//! # Safety
//!
//! `unsafe` is in three places: `memory`, which owns the mapping; the promise that `VhostUserTransport` makes as a
//! `Transport`; and the borrow of an eventfd in `event`.

#![deny(unsafe_code)]

mod bell;
#[allow(unsafe_code)]
mod channel;
mod connection;
mod daemon;
mod error;
#[allow(unsafe_code)]
mod event;
mod link;
#[allow(unsafe_code)]
mod memory;
mod parking;
mod platform;
mod processes;
mod requests;
#[allow(unsafe_code)]
mod transport;

pub use daemon::{CachePolicy, Daemon, DaemonError, DaemonOptions, Sandbox};
pub use error::ConnectError;
pub use memory::{GuestHal, GuestMemory, MemoryError, MemoryUse};
pub use platform::NativePlatform;
pub use transport::{ConnectOptions, VhostUserTransport};

use std::path::Path;
use std::sync::Arc;

/// Connects to a daemon's vhost-user socket, with the options' defaults. `tag` is what the device will say its tag is.
///
/// # Errors
///
/// [`ConnectError`]; it takes at most a few seconds to say so.
pub fn connect(socket: impl AsRef<Path>, tag: &str) -> Result<(VhostUserTransport, Arc<NativePlatform>), ConnectError> {
    connect_with(socket, tag, ConnectOptions::default())
}

/// Connects as [`connect`] does, with options.
///
/// # Errors
///
/// As for [`connect`].
pub fn connect_with(
    socket: impl AsRef<Path>,
    tag: &str,
    options: ConnectOptions,
) -> Result<(VhostUserTransport, Arc<NativePlatform>), ConnectError> {
    let bell = Arc::new(bell::Bell::new().map_err(ConnectError::Resources)?);
    let platform = Arc::new(NativePlatform::new(bell.clone()));
    let transport = VhostUserTransport::connect(socket.as_ref().into(), tag, options, bell)?;
    Ok((transport, platform))
}

/// Compiles the example in the README with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
