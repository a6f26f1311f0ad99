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

pub use file::{File, FileTimes, SeekFrom};
pub use metadata::Metadata;
pub use mount::{MountOptions, VirtioFs};
pub use open_options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir};

#[cfg(test)]
mod tests;
