//! The numbers that FUSE messages carry, each a type of its own.

/// An inode as the server knows it for this session.
///
/// The server hands it out in the reply to LOOKUP, READDIRPLUS or an operation that makes a name, and forgets it when
/// it was told to by FORGET as often as it handed it out. [`NodeId::ROOT`] lives as long as the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root directory (`FUSE_ROOT_ID`).
    pub const ROOT: Self = Self(1);
}

/// An open file or directory as the server knows it: from the reply to OPEN, CREATE, TMPFILE or OPENDIR until RELEASE
/// or RELEASEDIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHandle(pub(crate) u64);

/// The number of a request, repeated in its reply. Never 0 and never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unique(pub(crate) u64);

/// The number of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opcode(pub(crate) u32);
