//! Open directories, and the cursors over their entries.

use super::Node;
use super::node::zeroed;
use crate::session::Optional;
use crate::wire::{Attr, DirentReader, FileHandle, FileType, OpenFlags, Opendir, Readdir, Readdirplus, Releasedir};
use crate::{Errno, Error};
use alloc::vec::Vec;
use core::fmt;

/// An open directory, and a position in it. Closed when dropped.
///
/// # Locking
///
/// Every method waits for the server, dropping included.
pub struct Dir {
    node: Node,
    /// `None` if the server needs no directories to be opened.
    fh: Option<FileHandle>,
    /// The last reply of the server, of which `reader` has yet to read a part.
    reply: Vec<u8>,
    reply_bytes: usize,
    reader: DirentReader,
    /// Behind which entry the next one is.
    cookie: u64,
    at_end: bool,
}

/// One entry of a directory, borrowed from its [`Dir`].
#[derive(Debug)]
pub struct DirEntry<'d> {
    /// The name: any bytes but `/` and NUL, at most 255. `.` and `..` are entries, too.
    pub name: &'d [u8],
    /// The inode number.
    pub ino: u64,
    /// The kind of inode, if the server says.
    pub file_type: Option<FileType>,
    /// Where a listing goes on behind this entry: for [`Dir::seek`].
    pub cookie: u64,
    /// The inode and its attributes, if the server sent them along (FUSE_READDIRPLUS); never for `.` and `..`.
    pub node: Option<(Node, Attr)>,
}

/// `O_RDONLY | O_DIRECTORY`.
const READ_DIRECTORY: OpenFlags = OpenFlags::DIRECTORY;
/// The room for the first reply, in bytes: some 400 entries with attributes. It grows with the directory, up to the
/// largest transfer.
const FIRST_REPLY_ROOM_BYTES: usize = 64 << 10;

impl Dir {
    pub(super) fn open(node: Node) -> Result<Self, Error> {
        let session = node.session();
        let opened = session.call_optional(Optional::Opendir, node.nodeid(), &Opendir { flags: READ_DIRECTORY })?;
        let fh = opened.map(|opened| opened.fh);
        let reader = DirentReader { plus: false, position: 0 };
        Ok(Self { node, fh, reply: Vec::new(), reply_bytes: 0, reader, cookie: 0, at_end: false })
    }

    /// The directory that is open.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The next entry, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The server's; [`Error::Protocol`] for an impossible entry, which can be passed over by going on.
    pub fn next_entry(&mut self) -> Result<Option<DirEntry<'_>>, Error> {
        if self.reader.position >= self.reply_bytes {
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
        let session = self.node.session();
        let Some(next) = self.reader.next(&self.reply[..self.reply_bytes]) else { return Ok(None) };
        match next {
            Ok(dirent) => {
                self.cookie = dirent.cookie;
                let node = dirent.entry.map(|entry| Node::from_entry(session, &entry)).transpose()?;
                // The attributes are newer than the directory's own word.
                let file_type = node.as_ref().map(|(_, attr)| attr.file_type).or(dirent.file_type);
                Ok(Some(DirEntry { name: dirent.name, ino: dirent.ino, file_type, cookie: dirent.cookie, node }))
            }
            Err(bad) => {
                bad.counted.inspect(|&nodeid| session.forget(nodeid, 1));
                match bad.cookie {
                    Some(cookie) => self.cookie = cookie,
                    None => self.at_end = true,
                }
                Err(bad.error)
            }
        }
    }

    /// Where [`Self::next_entry`] goes on: 0 at the start, then the cookie of the last entry it gave.
    pub fn position(&self) -> u64 {
        self.cookie
    }

    /// Goes on behind the entry with this cookie; 0 is the start.
    pub fn seek(&mut self, cookie: u64) {
        self.forget_unread();
        self.cookie = cookie;
        self.at_end = false;
    }

    /// Asks the server for entries behind `cookie`.
    fn fill(&mut self) -> Result<(), Error> {
        self.make_room()?;
        let session = self.node.session();
        let (nodeid, cookie) = (self.node.nodeid(), self.cookie);
        let fh = self.fh.unwrap_or(FileHandle(0));
        let size_bytes = self.reply.len() as u32;
        if !session.lacks(Optional::Readdirplus) {
            let readdirplus = Readdirplus { fh, cookie, size_bytes };
            match session.call_with_data(nodeid, &readdirplus, &mut self.reply) {
                Ok(((), bytes)) => {
                    self.start_reading(true, bytes);
                    return Ok(());
                }
                Err(Error::Refused(Errno::ENOSYS)) => session.note_absent(Optional::Readdirplus),
                Err(error) => return Err(error),
            }
        }
        let readdir = Readdir { fh, cookie, size_bytes };
        let ((), bytes) = session.call_with_data(nodeid, &readdir, &mut self.reply)?;
        self.start_reading(false, bytes);
        Ok(())
    }

    /// Makes room for a reply: four times as much when the last one used most of it.
    fn make_room(&mut self) -> Result<(), Error> {
        let limit = self.node.session().negotiated().max_transfer_bytes;
        if self.reply.is_empty() {
            self.reply = zeroed(FIRST_REPLY_ROOM_BYTES.min(limit))?;
        } else if self.reply_bytes > self.reply.len() / 2 && self.reply.len() < limit {
            // Without memory for more, the room stays as it is.
            if let Ok(larger) = zeroed((4 * self.reply.len()).min(limit)) {
                self.reply = larger;
            }
        }
        self.reply_bytes = 0;
        Ok(())
    }

    fn start_reading(&mut self, plus: bool, bytes: usize) {
        self.reader = DirentReader { plus, position: 0 };
        self.reply_bytes = bytes;
        self.at_end = bytes == 0;
    }

    /// Takes back the lookups that the server counted for entries that nobody will read.
    fn forget_unread(&mut self) {
        while let Some(next) = self.reader.next(&self.reply[..self.reply_bytes]) {
            let counted = match next {
                Ok(dirent) => dirent.entry.map(|entry| entry.nodeid),
                Err(bad) => bad.counted,
            };
            counted.inspect(|&nodeid| self.node.session().forget(nodeid, 1));
        }
        self.reply_bytes = 0;
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.forget_unread();
        let Some(fh) = self.fh else { return };
        let releasedir = Releasedir { fh, flags: READ_DIRECTORY };
        if let Err(error) = self.node.session().call(self.node.nodeid(), &releasedir) {
            log::warn!("{:?} was not closed: {error}", self.node);
        }
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("node", &self.node).field("position", &self.cookie).finish()
    }
}
