//! The guest half of virtio-fs.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
pub mod fs;
mod platform;
mod session;
#[cfg(any(test, feature = "test-utils"))]
pub mod test_utils;
#[allow(unsafe_code)]
pub mod virtio;
pub mod vnode;
mod wire;

pub use error::{Errno, Error};
pub use fs::{MountOptions, VirtioFs};
pub use platform::{BufferDirection, DeviceFunction, Hal, Instant, PhysAddr, Platform, Timestamp};
pub use session::{Credentials, Negotiated};
pub use wire::{Attr, FileType, InitFlags, NodeId, StatFs};
