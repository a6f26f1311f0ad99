//! The metadata version table of virtio-fs: shared memory in which a server counts changes, so that guests know without
//! asking whether what they cache is still true. `SPEC-version-table.md` describes it; sections below are of that text.
//!
//! - [`Key`]: what is counted, and its hash.
//! - [`Table`]: the memory. A server [creates](Table::create) it or joins one, and [publishes](Table::publish) each change;
//!   a guest [opens](Table::open) it, takes a [sample](Table::sample) before it asks, and [looks](Table::is_valid) whether
//!   what it keeps is valid.
//!
//! Both sides are here, so that they are modelled together. Nothing is allocated, and nobody waits.
//!
//! ```
//! use core::num::NonZeroU64;
//! use core::sync::atomic::AtomicU64;
//! use virtio_fs_version_table::{Flags, Key, Table, words_for};
//!
//! let memory: Vec<AtomicU64> = (0..words_for(9)).map(|_| AtomicU64::new(0)).collect();
//! let epoch = NonZeroU64::new(0x5eed).unwrap();
//! let server = Table::create(&memory[..], 9, Flags::empty(), epoch).unwrap();
//! let guest = Table::open(&memory[..]).unwrap();
//!
//! let slot = guest.slot(Key::attributes(1));
//! let stamp = guest.sample().clock;
//! assert!(guest.is_valid(slot, stamp));
//! server.publish(&[Key::attributes(1)], |again| again());
//! assert!(!guest.is_valid(slot, stamp));
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod guest;
mod key;
mod server;
mod table;

pub use guest::Sample;
pub use key::{Key, Slot};
pub use table::{Flags, LOG2_SLOTS, MARKED, Table, Unfit, words_for};

#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic;

/// A number of the table: that of `core`; where threads are modelled that of `shuttle`.
pub use atomic::AtomicU64;

#[cfg(all(test, shuttle))]
mod model;
#[cfg(all(test, not(shuttle)))]
mod tests;
