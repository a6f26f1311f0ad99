//! The guest half of virtio-fs.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod error;
mod platform;
#[allow(unsafe_code)]
pub mod virtio;

pub use error::{Errno, Error};
pub use platform::{BufferDirection, DeviceFunction, Hal, Instant, PhysAddr, Platform, Timestamp};
