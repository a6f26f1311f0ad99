//! A directory that the kernel lists.

use virtio_fs::vnode::{Dir, Node};
use virtio_fs::{Attr, Error, FileType};

/// An open directory, and the entry that did not fit into the last reply.
pub(crate) struct Listing {
    dir: Dir,
    left_over: Option<Entry>,
}

/// One entry.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) ino: u64,
    pub(crate) file_type: FileType,
    /// Where the listing goes on behind it.
    pub(crate) cookie: u64,
    /// The inode, if it was asked for; never that of `.` and `..`.
    pub(crate) node: Option<(Node, Attr)>,
    /// Behind which entry it stands.
    behind: u64,
}

impl Listing {
    pub(crate) fn new(dir: Dir) -> Self {
        Self { dir, left_over: None }
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Goes to the entry behind `cookie`. In an ordinary listing that is where it is already.
    pub(crate) fn go_to(&mut self, cookie: u64) {
        let here = self.left_over.as_ref().map_or(self.dir.position(), |entry| entry.behind);
        if here != cookie {
            self.left_over = None;
            self.dir.seek(cookie);
        }
    }

    /// The next entry; with its inode if that is wanted.
    pub(crate) fn next(&mut self, with_node: bool) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.left_over.take() {
            return self.complete(entry, with_node).map(Some);
        }
        let behind = self.dir.position();
        let Some(mut next) = self.dir.next_entry()? else { return Ok(None) };
        let node = if with_node { next.node() } else { None };
        let (name, ino, cookie, file_type) = (next.name.to_vec(), next.ino, next.cookie, next.file_type);
        let entry = Entry { name, ino, file_type: file_type.unwrap_or(FileType::Regular), cookie, node, behind };
        // The kernel must be told a type.
        self.complete(entry, with_node || file_type.is_none()).map(Some)
    }

    /// Keeps an entry for the next reply.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.left_over = Some(entry);
    }

    /// Looks the inode up if it is wanted and the server did not send it along.
    fn complete(&self, mut entry: Entry, with_node: bool) -> Result<Entry, Error> {
        if with_node && entry.node.is_none() && !matches!(&entry.name[..], b"." | b"..") {
            let (node, attr) = self.dir.node().lookup(&entry.name)?;
            entry.file_type = attr.file_type;
            entry.node = Some((node, attr));
        }
        Ok(entry)
    }
}
