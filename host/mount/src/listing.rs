//! A directory that the kernel lists.

use virtio_fs::vnode::{Dir, Node};
use virtio_fs::{Attr, Errno, Error, FileType};

/// An open directory, and the entry that did not fit into the last reply.
pub(crate) struct Listing {
    dir: Dir,
    left_over: Option<Entry>,
}

/// One entry.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) ino: u64,
    file_type: Option<FileType>,
    /// Where the listing goes on behind it.
    pub(crate) cookie: u64,
    /// The inode, if it was asked for; never that of `.` and `..`.
    pub(crate) node: Option<(Node, Attr)>,
    /// Behind which entry it stands.
    behind: u64,
}

impl Entry {
    /// What kind of inode it is.
    pub(crate) fn file_type(&self) -> FileType {
        self.file_type.expect("a complete entry has a type")
    }
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
        loop {
            let Some(mut entry) = self.take(with_node)? else { return Ok(None) };
            match self.complete(&mut entry, with_node) {
                // It went away meanwhile.
                Err(error) if error.errno() == Errno::ENOENT => {}
                result => return result.map(|()| Some(entry)),
            }
        }
    }

    fn take(&mut self, with_node: bool) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.left_over.take() {
            return Ok(Some(entry));
        }
        let behind = self.dir.position();
        let Some(mut next) = self.dir.next_entry()? else { return Ok(None) };
        let node = if with_node { next.take_node() } else { None };
        let (name, ino, cookie, file_type) = (next.name.to_vec(), next.ino, next.cookie, next.file_type);
        Ok(Some(Entry { name, ino, file_type, cookie, node, behind }))
    }

    /// Looks up what the server did not send along: the inode, if it is wanted; the type, which the kernel must know.
    fn complete(&self, entry: &mut Entry, with_node: bool) -> Result<(), Error> {
        if matches!(&entry.name[..], b"." | b"..") {
            entry.file_type = Some(FileType::Directory);
        } else if (with_node && entry.node.is_none()) || entry.file_type.is_none() {
            let (node, attr) = self.dir.node().lookup(&entry.name)?;
            entry.file_type = Some(attr.file_type);
            entry.node = Some((node, attr));
        }
        Ok(())
    }

    /// Keeps an entry for the next reply.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.left_over = Some(entry);
    }
}
