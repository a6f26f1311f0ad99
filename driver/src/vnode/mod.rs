//! The inode-level API, for a kernel's own virtual file system: inodes, open files, directory cursors. Names are single
//! components of bytes.

mod acl;
mod attributes;
mod content;
mod dir;
mod dirty_files;
mod file;
mod find;
mod handle;
mod late_files;
mod lock;
mod mapping;
mod names;
mod node;
mod permission;
mod range;
mod removal;
mod superblock;
mod window;
mod xattr;

pub use crate::wire::{
    Access, AllocateFlags, Lock, LockKind, LockOwner, OpenFlags, RenameFlags, SetAttr, SetTime, XattrFlags,
};
pub use dir::{Dir, DirEntry};
pub use file::{Durability, OpenFile};
pub(crate) use find::{Found, Told};
pub use lock::Wait;
pub use mapping::Mapping;
pub use node::Node;
pub use superblock::Permissions;
pub(crate) use superblock::{Superblock, View};

#[cfg(test)]
mod tests;
