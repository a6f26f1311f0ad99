//! The API with the names of `std::fs`: paths from the root of the mounted directory.

mod attributes;
#[cfg(feature = "embedded-io")]
mod embedded;
mod file;
mod metadata;
mod mount;
mod names;
mod open_options;
mod path;
mod read_dir;
mod remove_tree;

use crate::Error;
use alloc::vec::Vec;
pub use file::{File, FileTimes, SeekFrom};
pub use metadata::Metadata;
pub use mount::{MountOptions, VirtioFs};
pub use open_options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir};

/// A name to keep.
fn copy_of(name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(name.len()).map_err(|_| Error::NoMemory)?;
    copy.extend_from_slice(name);
    Ok(copy)
}

#[cfg(test)]
mod tests;
