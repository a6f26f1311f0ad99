//! The guest half of virtio-fs.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod error;
mod platform;
#[allow(dead_code)]
mod session;
#[allow(unsafe_code)]
pub mod virtio;
#[allow(dead_code)]
mod wire;

pub use error::{Errno, Error};
pub use platform::{BufferDirection, DeviceFunction, Hal, Instant, PhysAddr, Platform, Timestamp};
