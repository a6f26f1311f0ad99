//! The API with the names of `std::fs`: paths from the root of the mounted directory.

mod file;
mod metadata;
mod mount;
mod path;
mod read_dir;

pub use file::{File, SeekFrom};
pub use metadata::Metadata;
pub use mount::{MountOptions, VirtioFs};
pub use read_dir::{DirEntry, ReadDir};

#[cfg(test)]
mod tests;
