//! Open directories, and the cursors over their entries.

use super::node::{Asked, unless_lacking, zeroed};
use super::{Durability, Node};
use crate::Error;
use crate::cache::{CacheMode, Dentry, Stamp};
use crate::wire::{
    Attr, DirentReader, Entry, FileHandle, FileType, FopenFlags, Fsyncdir, InitFlags, OpenFlags, Opendir, Readdir,
    Readdirplus, Releasedir,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// An open directory, and a position in it. Closed when dropped, or by [`Self::close`].
///
/// The server sends inodes and attributes along (FUSE_READDIRPLUS) if it can; a server that leaves the choice to the
/// driver is asked for them at first, and then for as long as somebody takes them, or finds them by their names if they
/// are cached.
///
/// # Locking
///
/// Every method that asks the server waits for it. Dropping waits at most for room in the queues, and for
/// files that are being closed.
pub struct Dir {
    node: Node,
    /// `None` if the server needs no directories to be opened.
    fh: Option<FileHandle>,
    /// The server was asked to open it.
    is_open: bool,
    listing: Listing,
    /// The last reply of the server, of which `reader` has yet to read a part.
    reply: Vec<u8>,
    reply_bytes: usize,
    reader: DirentReader,
    /// When it was asked for.
    stamp: Stamp,
    /// Behind which entry the next one is.
    cookie: u64,
    at_end: bool,
    /// The user may have more than names.
    is_searchable: bool,
    /// Somebody took an inode that came along with the last reply that brought some.
    taken: Arc<AtomicBool>,
}

/// What becomes of the entries that are read.
enum Listing {
    /// They are a listing that was kept, all of it; the server is not asked.
    Kept,
    /// They are collected to be kept, if they are all there.
    Collected(Asked, Vec<u8>),
    /// They are not kept.
    Passing,
}

/// One entry of a directory, borrowed from its [`Dir`].
pub struct DirEntry<'d> {
    /// The name: any bytes but `/` and NUL, at most 255. `.` and `..` are entries, too.
    pub name: &'d [u8],
    /// The inode number.
    pub ino: u64,
    /// The kind of inode, if the server says.
    pub file_type: Option<FileType>,
    /// Where a listing goes on behind this entry: for [`Dir::seek`].
    pub cookie: u64,
    /// What the server sent along, until it is taken.
    found: Option<(Node, Attr)>,
    taken: &'d Arc<AtomicBool>,
}

impl DirEntry<'_> {
    /// The inode and its attributes, if the server sent them along and nobody took them yet; never for `.` and `..`.
    pub fn take_node(&mut self) -> Option<(Node, Attr)> {
        let (node, taken) = self.take_node_unnoticed()?;
        taken.store(true, Ordering::Relaxed);
        Some(node)
    }

    /// As [`Self::take_node`], but only when the flag is set, the node counts as taken.
    pub(crate) fn take_node_unnoticed(&mut self) -> Option<((Node, Attr), Arc<AtomicBool>)> {
        Some((self.found.take()?, self.taken.clone()))
    }
}

impl fmt::Debug for DirEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_ascii();
        f.debug_struct("DirEntry").field("name", &format_args!("{name}")).field("ino", &self.ino).finish()
    }
}

/// The room for the first reply, in bytes: some 400 entries with attributes. It grows with the directory, up to the
/// largest transfer.
const FIRST_REPLY_ROOM_BYTES: usize = 64 << 10;

impl Dir {
    /// Opens the directory `node`, whose entries the user may use if it `is_searchable`.
    pub(super) fn open(node: Node, is_searchable: bool) -> Result<Self, Error> {
        let told = if node.is_asked_for_listing() { Some(node.ask_attr(None)?) } else { None };
        let kept = node.kept_whole(told.as_ref());
        let mut dir = Self::new(node, is_searchable);
        match kept {
            Some(kept) => dir.read_kept(kept),
            None => dir.open_at_server(told.as_ref())?,
        }
        Ok(dir)
    }

    fn new(node: Node, is_searchable: bool) -> Self {
        Self {
            stamp: node.cache().stamp(),
            node,
            fh: None,
            is_open: false,
            listing: Listing::Passing,
            reply: Vec::new(),
            reply_bytes: 0,
            reader: DirentReader { plus: false, position: 0 },
            cookie: 0,
            at_end: false,
            is_searchable,
            taken: Arc::default(),
        }
    }

    fn read_kept(&mut self, kept: Vec<u8>) {
        self.listing = Listing::Kept;
        self.reply_bytes = kept.len();
        self.reply = kept;
        self.at_end = true;
    }

    /// Opens the directory, which has the attributes that were just `told`, if they were.
    fn open_at_server(&mut self, told: Option<&Attr>) -> Result<(), Error> {
        let mut asked = self.node.begin_to_keep(told);
        let opened = unless_lacking(self.node.call(&Opendir { flags: OpenFlags::DIRECTORY }))?;
        self.fh = opened.map(|opened| opened.fh);
        self.is_open = true;
        let may_keep = opened.is_some_and(|opened| opened.flags.contains(FopenFlags::CACHE_DIR));
        let keeps = self.node.keeps_whatever_it_is();
        if self.cookie == 0 && (may_keep || keeps) {
            if !keeps && self.node.cache().options().mode == CacheMode::Auto {
                asked.learn_version(&self.node);
            }
            self.listing = Listing::Collected(asked, Vec::new());
        }
        Ok(())
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
        let node = &self.node;
        let Some(next) = self.reader.next(&self.reply[..self.reply_bytes]) else { return Ok(None) };
        match next {
            Ok(dirent) => {
                self.cookie = dirent.cookie;
                if let Listing::Collected(_, listing) = &mut self.listing
                    && !dirent.push_to(listing)
                {
                    self.listing = Listing::Passing;
                }
                let found = dirent.entry.map(|entry| node.listed(dirent.name, &entry, &self.stamp)).transpose()?;
                // The attributes are newer than the directory's own word.
                let file_type = found.as_ref().map(|(_, attr)| attr.file_type).or(dirent.file_type);
                Ok(Some(DirEntry {
                    name: dirent.name,
                    ino: dirent.ino,
                    file_type,
                    cookie: dirent.cookie,
                    found,
                    taken: &self.taken,
                }))
            }
            Err(bad) => {
                self.listing = Listing::Passing;
                bad.counted.inspect(|&nodeid| node.session().forget(nodeid, 1));
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
        if matches!(self.listing, Listing::Kept) && self.seek_kept(cookie) {
            return;
        }
        self.forget_unread();
        self.listing = Listing::Passing;
        self.cookie = cookie;
        self.at_end = false;
    }

    /// Looks for the entry with this cookie in a listing that was kept; whether it is there.
    fn seek_kept(&mut self, cookie: u64) -> bool {
        self.reader.position = 0;
        self.cookie = 0;
        while self.cookie != cookie {
            match self.reader.next(&self.reply[..self.reply_bytes]) {
                Some(Ok(dirent)) => self.cookie = dirent.cookie,
                _ => return false,
            }
        }
        true
    }

    /// Gives the memory for replies back until the next entry is asked for.
    pub(crate) fn shrink(&mut self) {
        self.forget_unread();
        self.reply = Vec::new();
        if matches!(self.listing, Listing::Kept) {
            self.listing = Listing::Passing;
            self.at_end = false;
        }
    }

    /// Asks the server for entries behind `cookie`.
    fn fill(&mut self) -> Result<(), Error> {
        if !self.is_open {
            self.open_at_server(None)?;
        }
        self.make_room()?;
        self.stamp = self.node.cache().stamp();
        let node = &self.node;
        let (session, who, nodeid) = (node.session(), node.credentials(), node.nodeid());
        let (fh, cookie, size_bytes) = (self.fh(), self.cookie, self.reply.len() as u32);
        let is_wanted = cookie == 0
            || !node.has(InitFlags::READDIRPLUS_AUTO)
            || self.taken.load(Ordering::Relaxed)
            || self.is_searched();
        if is_wanted && self.is_searchable && node.has(InitFlags::DO_READDIRPLUS) {
            let readdirplus = Readdirplus { fh, cookie, size_bytes };
            let reply = session.call_with_data(who, nodeid, &readdirplus, &mut self.reply);
            if let Some(((), bytes)) = unless_lacking(reply)? {
                self.taken.store(false, Ordering::Relaxed);
                self.start_reading(true, bytes);
                return Ok(());
            }
        }
        let readdir = Readdir { fh, cookie, size_bytes };
        let ((), bytes) = session.call_with_data(who, nodeid, &readdir, &mut self.reply)?;
        self.start_reading(false, bytes);
        Ok(())
    }

    /// Whether entries were found by their names since this was last asked, where that would have been cheaper with what
    /// comes along with a listing.
    fn is_searched(&self) -> bool {
        self.node.cache().options().mode != CacheMode::None && self.node.inode().take_searched()
    }

    fn fh(&self) -> FileHandle {
        self.fh.unwrap_or(FileHandle(0))
    }

    /// Waits until the names in this directory are durable.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn fsync(&self, durability: Durability) -> Result<(), Error> {
        if !self.is_open {
            let mut open = Self::new(self.node.clone(), self.is_searchable);
            open.open_at_server(None)?;
            return open.fsync(durability);
        }
        let fsyncdir = Fsyncdir { fh: self.fh(), data_only: durability == Durability::Data };
        unless_lacking(self.node.call(&fsyncdir)).map(drop)
    }

    /// Closes the directory. The server is told so (RELEASEDIR), and not waited for.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device failed. The directory is closed all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.forget_unread();
        match self.fh.take() {
            Some(fh) => self.node.call_detached(&Releasedir { fh, flags: OpenFlags::DIRECTORY }),
            None => Ok(()),
        }
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
        if self.at_end
            && let Listing::Collected(asked, listing) = core::mem::replace(&mut self.listing, Listing::Passing)
        {
            self.node.keep_whole(&asked, &listing);
        }
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

impl Node {
    /// Whether opening this directory asks for its attributes, to find out whether its listing is still the one that is
    /// kept.
    fn is_asked_for_listing(&self) -> bool {
        let has_pages = || self.inode().used_data().is_some_and(|listing| listing.has_pages());
        self.cache().options().mode == CacheMode::Auto && !self.keeps_whatever_it_is() && has_pages()
    }

    /// What came along with a listing of this directory for `name`.
    fn listed(&self, name: &[u8], entry: &Entry, stamp: &Stamp) -> Result<(Self, Attr), Error> {
        let (node, attr) = self.child(entry, stamp)?;
        let target = Dentry::Inode(node.inode().clone());
        self.cache().learn_name(self.inode(), name, target, entry.entry_ttl, stamp);
        Ok((node, attr))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            log::warn!("{:?} was not closed: {error}", self.node);
        }
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("node", &self.node).field("position", &self.cookie).finish()
    }
}
