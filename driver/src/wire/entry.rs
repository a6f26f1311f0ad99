//! What a name leads to: the reply to LOOKUP, and part of READDIRPLUS.

use super::attr::RawAttr;
use super::{Attr, NodeId};
use crate::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An inode that the server found and counts one lookup of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) nodeid: NodeId,
    pub(crate) attr: Attr,
}

/// `fuse_entry_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawEntry {
    pub(crate) nodeid: u64,
    pub(crate) generation: u64,
    pub(crate) entry_valid: u64,
    pub(crate) attr_valid: u64,
    pub(crate) entry_valid_nsec: u32,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) attr: RawAttr,
}

impl RawEntry {
    /// The inode, or `None` if the name does not exist (nodeid 0).
    pub(crate) fn decode(&self) -> Result<Option<Entry>, Error> {
        match NodeId(self.nodeid) {
            NodeId(0) => Ok(None),
            NodeId::ROOT => Err(Error::Protocol("a name leads to the root's nodeid")),
            nodeid => Ok(Some(Entry { nodeid, attr: self.attr.decode()? })),
        }
    }
}
