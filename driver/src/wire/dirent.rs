//! Directory entries as READDIR and READDIRPLUS carry them.

use super::entry::{Entry, RawEntry};
use super::{FileType, Name, NodeId};
use crate::Error;
use zerocopy::FromBytes;

/// One directory entry, borrowed from the reply that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent<'a> {
    /// The name; unlike [`Name`] it may be `.` or `..`.
    pub(crate) name: &'a [u8],
    pub(crate) ino: u64,
    /// Where to resume the listing behind this entry.
    pub(crate) cookie: u64,
    /// The kind of inode, if the server says.
    pub(crate) file_type: Option<FileType>,
    /// The inode and its attributes (READDIRPLUS only); the server counts one lookup of it.
    pub(crate) entry: Option<Entry>,
}

/// Takes directory entries from a READDIR or READDIRPLUS reply, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirentReader {
    /// Whether each entry is preceded by a `fuse_entry_out`.
    pub(crate) plus: bool,
    /// Where in the reply the next entry starts, in bytes.
    pub(crate) position: usize,
}

/// `fuse_dirent` up to its name.
#[derive(FromBytes)]
#[repr(C)]
struct RawDirent {
    ino: u64,
    off: u64,
    namelen: u32,
    file_type: u32,
}

impl DirentReader {
    /// The next entry of `reply`, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`DirentError`] if the entry breaks the protocol; what follows it cannot be read then.
    pub(crate) fn next<'a>(&mut self, reply: &'a [u8]) -> Option<Result<Dirent<'a>, DirentError>> {
        let rest = reply.get(self.position..).filter(|rest| !rest.is_empty())?;
        let parsed = self.parse(rest);
        self.position = match parsed {
            Ok((_, bytes)) => self.position + bytes,
            Err(_) => reply.len(),
        };
        Some(parsed.map(|(dirent, _)| dirent))
    }

    fn parse<'a>(&self, rest: &'a [u8]) -> Result<(Dirent<'a>, usize), DirentError> {
        const CUT: DirentError =
            DirentError { error: Error::Protocol("a directory entry is cut short"), counted: None };
        let (entry, after_entry) = if self.plus {
            let (raw, after) = RawEntry::read_from_prefix(rest).map_err(|_| CUT)?;
            (Some(raw), after)
        } else {
            (None, rest)
        };
        let counted = entry.map(|raw| NodeId(raw.nodeid)).filter(|&nodeid| nodeid != NodeId(0));
        let fail = |rule| DirentError { error: Error::Protocol(rule), counted };

        let (raw, after_header) =
            RawDirent::read_from_prefix(after_entry).map_err(|_| fail("a directory entry is cut short"))?;
        let name = after_header
            .get(..raw.namelen as usize)
            .ok_or(fail("a directory entry's name is longer than the reply"))?;
        let special = name == b"." || name == b"..";
        if !special && Name::new(name).is_err() {
            return Err(fail("a directory entry has an impossible name"));
        }
        // No lookup is counted of "." and "..", whatever nodeid they carry.
        let entry = match entry {
            Some(raw) if !special => raw.decode().map_err(|error| DirentError { error, counted })?,
            _ => None,
        };
        let unpadded = rest.len() - after_header.len() + name.len();
        // The last entry may come without its padding.
        let bytes = unpadded.next_multiple_of(8).min(rest.len());
        let file_type = FileType::from_dirent(raw.file_type);
        Ok((Dirent { name, ino: raw.ino, cookie: raw.off, file_type, entry }, bytes))
    }
}

/// A bad directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirentError {
    pub(crate) error: Error,
    /// The inode that the server counted a lookup of all the same.
    pub(crate) counted: Option<NodeId>,
}
