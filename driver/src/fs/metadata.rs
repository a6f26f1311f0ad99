//! What is known of a file without reading it.

use crate::Timestamp;
use crate::wire::{Attr, FileType, NodeId};

/// Metadata of a file, as `std::fs::Metadata` has it. All that FUSE tells is in [`Metadata::attr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    attr: Attr,
    device: NodeId,
}

impl Metadata {
    pub(super) fn new(attr: Attr, device: NodeId) -> Self {
        Self { attr, device }
    }

    /// Which of the mount's file systems the file is in: see [`Node::device`](crate::vnode::Node::device).
    pub fn device(&self) -> NodeId {
        self.device
    }

    /// The attributes as the server gave them.
    pub fn attr(&self) -> &Attr {
        &self.attr
    }

    /// The kind of file.
    pub fn file_type(&self) -> FileType {
        self.attr.file_type
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::Regular
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == FileType::Symlink
    }

    /// The size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "the name is that of std")]
    pub fn len(&self) -> u64 {
        self.attr.size_bytes
    }

    /// Permission bits with set-user-id, set-group-id and sticky: `0o0000` to `0o7777`.
    pub fn permissions(&self) -> u16 {
        self.attr.permissions
    }

    /// When the content was changed last.
    pub fn modified(&self) -> Timestamp {
        self.attr.modified
    }

    /// When the content was read last, as far as the host keeps track.
    pub fn accessed(&self) -> Timestamp {
        self.attr.accessed
    }
}
