//! Open files.

use super::Node;
use crate::Error;
use crate::session::Optional;
use crate::wire::{Attr, FileHandle, Getattr, Open, OpenFlags, Release};
use core::fmt;

/// An open regular file. Closed when dropped.
///
/// # Locking
///
/// Every method waits for the server, dropping included.
pub struct OpenFile {
    node: Node,
    /// `None` if the server needs no files to be opened.
    fh: Option<FileHandle>,
    flags: OpenFlags,
}

impl OpenFile {
    pub(super) fn open(node: Node) -> Result<Self, Error> {
        let flags = OpenFlags::empty();
        let opened =
            node.session().call_optional(Optional::Open, node.nodeid(), &Open { flags, kill_suidgid: false })?;
        Ok(Self { node, fh: opened.map(|opened| opened.fh), flags })
    }

    /// The inode that is open.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Reads into `buffer` from byte `offset` on. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// A large read becomes several requests that are in flight together.
    ///
    /// # Errors
    ///
    /// The server's; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let fh = self.fh.unwrap_or(FileHandle(0));
        self.node.session().read(self.node.nodeid(), fh, self.flags, offset, buffer)
    }

    /// The attributes of the inode.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn getattr(&self) -> Result<Attr, Error> {
        self.node.session().call(self.node.nodeid(), &Getattr { fh: self.fh })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let Some(fh) = self.fh else { return };
        let release = Release { fh, flags: self.flags, flock_owner: None };
        if let Err(error) = self.node.session().call(self.node.nodeid(), &release) {
            log::warn!("{:?} was not closed: {error}", self.node);
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("node", &self.node).field("fh", &self.fh).finish()
    }
}
