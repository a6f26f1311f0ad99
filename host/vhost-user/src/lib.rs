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
//! # Mount a folder
//!
//! ```no_run
//! use virtio_fs::{MountOptions, VirtioFs};
//! use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let daemon = Daemon::start("/srv/share", &DaemonOptions::default())?;
//! let (transport, platform) = connect(daemon.socket(), "share")?;
//! let fs = VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions::default())?;
//! println!("{}", fs.read_to_string("hello.txt")?);
//! fs.unmount()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Mount what a running daemon serves
//!
//! Any file system daemon will do that has REPLY_ACK and MQ. This one was started by other means. The device shows as
//! many request queues as are asked for, as far as the daemon has them (virtiofsd 1.13 has one), and the driver gives
//! each processor its queue.
//!
//! ```no_run
//! use virtio_fs::{MountOptions, VirtioFs};
//! use virtio_fs_vhost_user::{ConnectOptions, GuestHal, connect_with};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ConnectOptions { request_queues: 4, ..ConnectOptions::default() };
//! let (transport, platform) = connect_with("/run/virtiofsd.sock", "share", options)?;
//! let fs = VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions::default())?;
//! # drop(fs);
//! # Ok(())
//! # }
//! ```
//!
//! # When the daemon ends
//!
//! All calls that need the daemon fail with `Error::Device`, within a second when the daemon died, and within
//! [`patience`](ConnectOptions::patience) of a time-out when it only stopped answering. That mount stays dead. Call
//! `connect` again, which waits as long as `patience` for somebody to listen, and mount again. The same guest memory
//! serves the next connection; what a daemon may still write is never used again, as [`VhostUserTransport`] says in
//! detail.
//!
//! ```no_run
//! # use virtio_fs::{Error, MountOptions, VirtioFs};
//! # use virtio_fs_vhost_user::{GuestHal, connect};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let socket = "/run/virtiofsd.sock";
//! let mount = || -> Result<VirtioFs, Box<dyn std::error::Error>> {
//!     let (transport, platform) = connect(socket, "share")?;
//!     Ok(VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions::default())?)
//! };
//! let mut fs = mount()?;
//! let text = match fs.read_to_string("hello.txt") {
//!     Err(Error::Device(_)) => {
//!         fs = mount()?;
//!         fs.read_to_string("hello.txt")
//!     }
//!     result => result,
//! }?;
//! # drop(text);
//! # drop(fs);
//! # Ok(())
//! # }
//! ```
//!
//! # Shared memory regions
//!
//! A daemon with the protocol features SHMEM, BACKEND_REQ and BACKEND_SEND_FD has its regions: address space of this
//! process, in which the daemon maps parts of files as it likes (SHMEM_MAP, SHMEM_UNMAP). `Transport::shared_memory`
//! says where a region is and `GuestHal::mmio_phys_to_virt` leads there. Where nothing is mapped, a region is zeros
//! that can be written without effect. As in QEMU, maps may not overlap nor reach beyond their file, are unmapped as
//! they were mapped, and are gone after a reset of the device. A file that is cut after it was mapped means SIGBUS for
//! whoever looks there.
//!
//! # Waiting
//!
//! A thread that waits spins for 200 us at most, unless as many others do as there are processors to spare, and then
//! sleeps on the call eventfd. Doorbells and interrupts are eventfds, as they are under a VMM.
//!
//! # Benchmark
//!
//! `cargo bench -p virtio-fs-vhost-user` prints ratios of two sides that take turns in 21 rounds, over one connection
//! to one virtiofsd; each figure is a median over the rounds, and the ratio is the median of the rounds' ratios.
//!
//! - GETATTR of the root through the driver, against a descriptor chain made by hand with the same features: header
//!   written, doorbell, the same wait, reply copied. *After a pause* of 20 us, in which the daemon falls asleep, is
//!   what one call costs. *Back to back* says little about the driver: just after a reply the daemon still looks at
//!   the queue, and serves a chain that is there by then in 1.5 us, without doorbell or sleep. The bare side sometimes
//!   comes in time for that. A caller who does anything with a reply comes too late, and is served in 4 to 20 us,
//!   depending on the processor where the system has put the daemon.
//! - 64 MiB by one call of the driver, which keeps nothing, in requests of 1 MiB, against `pread` in steps of 1 MiB by
//!   one thread: both into the same buffer, in guest memory, which the daemon writes directly, and on the heap, which
//!   is copied once more.
//! - GETATTRs by several threads on one mount.
//!
//! # Safety
//!
//! `unsafe` is in four places: `memory`, which owns the mappings; the promise that `VhostUserTransport` makes as a
//! `Transport`; and the borrows of descriptors in `event` and `channel`.

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
