//! The inode-level API, for a kernel's own virtual file system: inodes, open files, directory cursors. Names are single
//! components of bytes.

mod dir;
mod file;
mod node;

pub use dir::{Dir, DirEntry};
pub use file::OpenFile;
pub use node::Node;

#[cfg(test)]
mod tests;
