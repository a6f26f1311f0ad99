//! Mounts of one directory by several daemons, whose caches go by the version table: each sees what another has changed
//! at its next call, with no message where nothing was changed.
//!
//! Environment variables say how much is done: `VIRTIO_FS_TABLE_STEPS`, how many steps `random` does in all, and forty
//! times as many as `host`; `VIRTIO_FS_TABLE_ROUNDS`, how often `storm` looks, and five times as often as `threads`;
//! `VIRTIO_FS_TABLE_RACES`, how often there is a race; `VIRTIO_FS_TABLE_SEED`, where random numbers begin.

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
