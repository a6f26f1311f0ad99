//! Compares the driver, mounted natively on the real virtiofsd, with Linux.
//!
//! A [`World`] is a pair of directories: one is served by a virtiofsd and mounted by the driver, the other one is
//! plain. A script of [`Step`]s runs on both at once, on the one through the driver, on the other by system calls, each
//! step as some [`User`]. What the two answer is compared step by step, errno included, and then what the two
//! directories contain. A case of the test suites is one call:
//!
//! ```no_run
//! use virtio_fs_conformance::step::*;
//! use virtio_fs_conformance::{OWNER, World};
//!
//! let mut world = World::new(&[]);
//! world.check("what is not empty stays", vec![mkdir("d", 0o755), mkdir("d/e", 0o755), rmdir("d").by(OWNER)]);
//! ```
//!
//! The comparison takes root: for system calls as somebody else, for directories that nobody else changes meanwhile,
//! and for mounts. [`expect_root`] says so.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod allocations;
mod cache;
mod descriptors;
mod facts;
mod folder;
mod guest;
mod guest_fs;
#[allow(unsafe_code)]
mod host;
mod seen;
pub mod step;
#[allow(unsafe_code)]
mod thread;
mod tree;
mod world;

pub use allocations::CountingAllocator;
pub use cache::{maps, mount_options};
pub use descriptors::{expect_descriptors, settled_descriptors};
pub use facts::{Facts, Outcome, Value, When};
pub use folder::Folder;
pub use step::{Layer, Op, Side, Step, Text, Time};
pub use thread::{MEMBER, OWNER, ROOT, STRANGER, User, as_user, expect_root, private_mounts};
pub use tree::{Tree, difference, read as read_tree};
pub use world::{FaultyStep, Tally, World, WorldOptions};
