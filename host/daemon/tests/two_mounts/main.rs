//! Mounts of one directory by several daemons, whose caches go by the version table: each sees what another has changed at
//! its next call, with no message where nothing was changed.
//!
//! How many steps `random` does in all is in the environment variable `VIRTIO_FS_TABLE_STEPS`, and how many rounds each
//! test of `threads` does in `VIRTIO_FS_TABLE_ROUNDS`.

#[path = "../common/mod.rs"]
mod common;

#[allow(unsafe_code)]
mod found;
mod held;
mod host;
mod killed;
mod random;
mod requests;
mod share;
mod steps;
mod storm;
mod threads;
mod world;

/// A number from the environment.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}
