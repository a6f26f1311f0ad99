//! Directory listings.

use super::{Metadata, copy_of};
use crate::Error;
use crate::vnode::{Dir, Node};
use crate::wire::{Attr, FileType};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

/// The entries of a directory without `.` and `..`, in the server's order. Ends after the first error.
#[derive(Debug)]
pub struct ReadDir {
    dir: Dir,
    failed: bool,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct DirEntry {
    name: Vec<u8>,
    parent: Node,
    file_type: Option<FileType>,
    /// The inode as it came with the listing, and where to note that it was asked for.
    found: Option<((Node, Attr), Arc<AtomicBool>)>,
}

impl From<Dir> for ReadDir {
    /// The entries from the directory's position on.
    fn from(dir: Dir) -> Self {
        Self { dir, failed: false }
    }
}

impl ReadDir {
    fn next_entry(&mut self) -> Result<Option<DirEntry>, Error> {
        let parent = self.dir.node().clone();
        // A directory has one of each.
        let mut specials = 0;
        while let Some(mut entry) = self.dir.next_entry()? {
            if entry.name == b"." || entry.name == b".." {
                specials += 1;
                if specials > 2 {
                    return Err(Error::Protocol("a directory lists `.` and `..` again and again"));
                }
            } else {
                let name = copy_of(entry.name)?;
                let file_type = entry.file_type;
                return Ok(Some(DirEntry { name, parent, file_type, found: entry.take_node_unnoticed() }));
            }
        }
        Ok(None)
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_entry();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl DirEntry {
    /// The name: bytes of any encoding.
    pub fn file_name(&self) -> &[u8] {
        &self.name
    }

    /// The kind of file; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// Those of [`Self::metadata`], if the server did not say with the listing.
    pub fn file_type(&self) -> Result<FileType, Error> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => Ok(self.find()?.1.file_type),
        }
    }

    /// The metadata, as it came with the listing if it did; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// The server's; `ENOENT` if the entry is gone meanwhile.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        let (node, attr) = self.find()?;
        Ok(Metadata::new(attr, node.device()))
    }

    /// The inode.
    ///
    /// # Errors
    ///
    /// Those of [`Self::metadata`].
    pub fn node(&self) -> Result<Node, Error> {
        Ok(self.find()?.0)
    }

    fn find(&self) -> Result<(Node, Attr), Error> {
        match &self.found {
            Some((found, noted)) => {
                noted.store(true, Ordering::Relaxed);
                Ok(found.clone())
            }
            None => self.parent.lookup(&self.name),
        }
    }
}
