//! The guest half of virtio-fs: a directory of the host, shared into a virtual machine, as a file system for Rust
//! kernels. `no_std` with `alloc`.
//!
//! # Example
//!
//! The kernel gives DMA memory ([`Hal`]), PCI configuration space ([`ConfigurationAccess`]) and a clock ([`Platform`]);
//! the names are then those of `std::fs`.
//!
//! ```no_run
//! extern crate alloc;
//!
//! use alloc::sync::Arc;
//! use virtio_fs::virtio::pci;
//! use virtio_fs::{ConfigurationAccess, Error, Hal, MountOptions, Platform, VirtioFs};
//!
//! fn show<H: Hal + 'static, C: ConfigurationAccess>(
//!     access: &mut C,
//!     platform: Arc<dyn Platform>,
//! ) -> Result<(), Error> {
//!     // The device that offers the directory named "share"; then its virtqueues and a FUSE session.
//!     let device = pci::find::<H>(access, "share")?;
//!     let fs = VirtioFs::mount::<H>(device, platform, &MountOptions::default())?;
//!
//!     for entry in fs.read_dir("/")? {
//!         let entry = entry?;
//!         log::info!("{:>10} {}", entry.metadata()?.len(), entry.file_name().escape_ascii());
//!     }
//!     log::info!("{}", fs.read_to_string("hello.txt")?);
//!
//!     fs.unmount()
//! }
//! ```
//!
//! # A tour, from the top
//!
//! Each layer uses those below it and knows nothing of those above.
//!
//! 1. [`fs`]: [`VirtioFs`], files and listings with the names of `std::fs`; paths, symbolic links, `..`. For programs.
//! 2. [`vnode`]: inodes ([`vnode::Node`]), open files, directory cursors; names are single components. Whether a user
//!    may do what is asked for ([`Permissions`]), and what is done about operations that a server lacks. For a kernel
//!    that has a virtual file system of its own.
//! 3. `cache` and `data`: what is kept of names, attributes and content, by the rules of [`CacheOptions`]. They send
//!    nothing but FORGETs.
//! 4. `session`: FUSE_INIT and what it settles ([`Negotiated`]), large reads and writes in several requests, FORGETs in
//!    batches, the check of every reply's header and length. It talks to a `Channel`: the device, or the fake of the
//!    tests.
//! 5. `wire`: FUSE messages as typed values, one file for each operation. Bytes in, values out; no I/O, no clock, no
//!    lock.
//! 6. [`virtio`]: finds devices ([`virtio::pci::find`]), initialises them, keeps requests in flight in their
//!    virtqueues. The only layer with `unsafe`.
//! 7. [`Platform`] and [`Hal`]: what the kernel gives.
//!
//! [`Error`] says whose fault a failure is, and has an [`Errno`] for callers that expect POSIX.
//!
//! # What to know
//!
//! - What the server said is kept, by the rules of [`CacheMode`]: by default names and attributes for as long as the
//!   server says, and content until a file is opened whose attributes have changed. [`CacheMode::None`] asks each time.
//! - Content goes through the DAX window where the device has one, by the choice of [`Dax`]; [`fs::File::map`] holds a part
//!   of a file there.
//! - Interrupts do not exist yet: waiting is polling unless the [`Platform`] knows better.
//! - Requests are sent on behalf of a user: the mount's ([`MountOptions::credentials`]), or another for some calls
//!   ([`VirtioFs::with_credentials`], [`vnode::Node::with_credentials`]).
//! - All types may be shared by threads. Calls wait for the server in [`Platform::wait_until`] and hold no lock
//!   meanwhile.
//! - The device and the server are not trusted: what they send wrong ends in an [`Error`].
//! - Buffers go to the device as they are, page by page, those of the caller or the pages of the cache; request and
//!   reply heads have memory of their own. The layers `virtio` and `session` allocate nothing for a request once the
//!   device is set up.
//! - A device that does not answer within [`DeviceOptions::request_timeout`](virtio::DeviceOptions::request_timeout) is
//!   reset. All calls fail from then on; mount again.
//! - What is written is the server's when the call returns, or with [`CacheOptions::writeback`] when the file is closed
//!   or synchronised. Dropping an open file closes it and can only log an error; [`fs::File::close`] gives it.
//! - FORGETs are collected, and writes, if that is asked for. A kernel that keeps a mount for long calls
//!   [`VirtioFs::maintain`] when it is idle, and again when it says.
//!
//! # Features
//!
//! - `embedded-io`: [`fs::File`] has the `Read`, `Write` and `Seek` of `embedded-io` 0.7.
//! - `test-utils`: the module `test_utils`, a FUSE server in memory, a kernel without a machine, and
//!   requests that go wrong on their way to any server, for tests.
#![no_std]
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("virtio-fs is for little-endian targets: rings and registers are not swapped");

extern crate alloc;
#[cfg(any(test, fuzzing))]
extern crate std;

mod cache;
mod data;
mod error;
pub mod fs;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(all(test, shuttle))]
mod models;
mod platform;
mod session;
mod spread_counter;
mod sync;
#[cfg(any(test, feature = "test-utils"))]
pub mod test_utils;
#[allow(unsafe_code)]
pub mod virtio;
pub mod vnode;
mod wire;

pub use cache::{CacheMode, CacheOptions, Coherence, Dax};
pub use error::{Errno, Error};
pub use fs::{MountOptions, VirtioFs};
pub use platform::{BufferDirection, ConfigurationAccess, DeviceFunction, Hal, Instant, PhysAddr, Platform, Timestamp};
pub use session::{Credentials, Negotiated, SecurityContext, Statistics};
pub use vnode::Permissions;
pub use wire::{Access, AllocateFlags, Attr, FileType, InitFlags, Lock, LockKind, LockOwner, NodeId, OpenFlags};
pub use wire::{RenameFlags, SetAttr, SetTime, StatFs, XattrFlags};
