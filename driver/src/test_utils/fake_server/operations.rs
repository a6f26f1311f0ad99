//! What the fake server does for each request.

use super::request::{Args, Failure, violation};
use super::{FakeServer, Leftovers, replies};
use crate::Errno;
use crate::test_utils::opcode;
use crate::wire::{FileType, InHeader, InitFlags, InitReply};
use alloc::format;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// The body of a reply.
type Answer = Result<Vec<u8>, Failure>;

/// The size of a page, in which `max_pages` counts.
const PAGE_BYTES: u64 = 4096;
/// `max_pages` where it is not negotiated.
const DEFAULT_MAX_PAGES: u64 = 32;
/// `FUSE_GETATTR_FH`.
const GETATTR_FH: u32 = 1;
/// `O_CREAT` and `O_EXCL`, which OPEN never carries.
const O_CREAT_EXCL: u32 = 0o100 | 0o200;
/// The cookie of "."; those of later entries are smaller.
const FIRST_COOKIE: u64 = i64::MAX as u64;

impl FakeServer {
    /// The rules for all requests.
    pub(super) fn check(&mut self, header: &InHeader, request_bytes: usize) -> Result<(), Failure> {
        if header.opcode == opcode::INIT {
            self.session.start();
        }
        self.session.must_be_open()?;
        self.session.note_unique(header.unique)?;
        if header.len as usize != request_bytes {
            return violation(format!("len is {}, but {request_bytes} bytes came", header.len));
        }
        if header.total_extlen != 0 {
            return violation("extensions were not negotiated");
        }
        Ok(())
    }

    /// Serves a request whose header is in order.
    pub(super) fn serve(&mut self, header: &InHeader, mut args: Args<'_>, reply_room_bytes: usize) -> Answer {
        let nodeid = header.nodeid;
        let args = &mut args;
        match header.opcode {
            opcode::INIT => self.init(args),
            opcode::DESTROY => self.destroy(args),
            opcode::LOOKUP => self.lookup(nodeid, args),
            opcode::FORGET => self.forget(nodeid, args),
            opcode::BATCH_FORGET => self.batch_forget(args),
            opcode::GETATTR => self.getattr(nodeid, args),
            opcode::STATX if self.options.statx => self.statx(nodeid, args),
            opcode::READLINK => self.readlink(nodeid, args),
            opcode::OPEN => self.open(nodeid, args),
            opcode::OPENDIR => self.opendir(nodeid, args),
            opcode::READ => self.read(nodeid, args, reply_room_bytes),
            opcode::READDIR => self.readdir(nodeid, args, false, reply_room_bytes),
            opcode::READDIRPLUS if self.options.readdirplus => self.readdir(nodeid, args, true, reply_room_bytes),
            opcode::RELEASE => self.release(nodeid, args, false),
            opcode::RELEASEDIR => self.release(nodeid, args, true),
            opcode::STATFS => {
                args.end()?;
                self.session.node(nodeid)?;
                Ok(replies::statfs(&self.options.statfs))
            }
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    fn init(&mut self, args: &mut Args<'_>) -> Answer {
        let (major, _minor, max_readahead) = (args.u32()?, args.u32()?, args.u32()?);
        let mut asked = u64::from(args.u32()?);
        if major != 7 {
            return violation(format!("major is {major}"));
        }
        if asked & InitFlags::INIT_EXT.bits() != 0 {
            asked |= u64::from(args.u32()?) << 32;
        } else {
            args.zeros::<4>()?;
        }
        args.zeros::<44>()?;
        args.end()?;

        let flags = asked & self.options.init_flags;
        let max_pages = self.options.max_pages;
        let has_max_pages = flags & InitFlags::MAX_PAGES.bits() != 0;
        self.session.flags = flags;
        self.session.max_data_bytes = PAGE_BYTES * if has_max_pages { u64::from(max_pages) } else { DEFAULT_MAX_PAGES };
        let reply = InitReply {
            major: 7,
            minor: self.options.minor,
            max_readahead,
            flags: flags as u32,
            max_background: u16::MAX,
            congestion_threshold: u16::MAX / 4 * 3,
            max_write: self.options.max_write_bytes,
            time_gran: 1,
            max_pages: if has_max_pages { max_pages } else { 0 },
            map_alignment: 0,
            flags2: (flags >> 32) as u32,
            max_stack_depth: 0,
            request_timeout: 0,
            unused: [0; 11],
        };
        Ok(reply.as_bytes().to_vec())
    }

    fn destroy(&mut self, args: &mut Args<'_>) -> Answer {
        args.end()?;
        let left = Leftovers { known_nodes: self.known_nodes(), open_handles: self.open_handles() };
        self.left_at_destroy.push(left);
        self.session.destroy();
        Ok(Vec::new())
    }

    fn lookup(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let name = args.name()?;
        args.end()?;
        let directory = self.session.node(nodeid)?;
        match (self.tree.child(directory, name), self.options.negative_ttl) {
            (Ok(node), _) => {
                let nodeid = self.session.look_up(node);
                Ok(replies::entry(nodeid, &self.tree.node(node).attr, self.options.ttl, self.options.ttl))
            }
            (Err(Errno::ENOENT), Some(ttl)) => Ok(replies::negative_entry(ttl)),
            (Err(errno), _) => Err(errno.into()),
        }
    }

    fn forget(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let nlookup = args.u64()?;
        args.end()?;
        self.session.forget(nodeid, nlookup)?;
        Ok(Vec::new())
    }

    fn batch_forget(&mut self, args: &mut Args<'_>) -> Answer {
        let count = args.u32()?;
        args.zeros::<4>()?;
        if count == 0 {
            return violation("forgets nothing");
        }
        let mut result = Ok(Vec::new());
        for _ in 0..count {
            let (nodeid, nlookup) = (args.u64()?, args.u64()?);
            // The others are forgotten all the same.
            if let Err(failure) = self.session.forget(nodeid, nlookup) {
                result = Err(failure);
            }
        }
        args.end()?;
        result
    }

    /// The node whose attributes are asked for by nodeid and, perhaps, file handle.
    fn attr_of(&self, nodeid: u64, flags: u32, fh: u64) -> Result<usize, Failure> {
        let node = self.session.node(nodeid)?;
        let is_directory = self.tree.node(node).attr.file_type == FileType::Directory;
        match flags {
            0 => Ok(node),
            GETATTR_FH => self.session.opened(fh, nodeid, is_directory),
            _ => violation(format!("getattr_flags are {flags:#x}")),
        }
    }

    fn getattr(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let flags = args.u32()?;
        args.zeros::<4>()?;
        let fh = args.u64()?;
        args.end()?;
        let node = self.attr_of(nodeid, flags, fh)?;
        Ok(replies::attr(&self.tree.node(node).attr, self.options.ttl))
    }

    fn statx(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let flags = args.u32()?;
        args.zeros::<4>()?;
        let (fh, _sx_flags, _sx_mask) = (args.u64()?, args.u32()?, args.u32()?);
        args.end()?;
        if self.options.minor < 39 {
            return violation("the server's minor does not have it");
        }
        let node = self.tree.node(self.attr_of(nodeid, flags, fh)?);
        Ok(replies::statx(&node.attr, node.born, self.options.ttl))
    }

    fn readlink(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        args.end()?;
        let node = self.tree.node(self.session.node(nodeid)?);
        match node.attr.file_type {
            FileType::Symlink => Ok(node.content.clone()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// The arguments of OPEN and OPENDIR; gives the node and its type.
    fn open_args(&self, nodeid: u64, args: &mut Args<'_>) -> Result<(usize, FileType), Failure> {
        let flags = args.u32()?;
        args.zeros::<4>()?;
        args.end()?;
        if flags & O_CREAT_EXCL != 0 {
            return violation(format!("opens with flags {flags:#o}"));
        }
        let node = self.session.node(nodeid)?;
        Ok((node, self.tree.node(node).attr.file_type))
    }

    fn open(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        match self.open_args(nodeid, args)? {
            _ if !self.options.open => Err(Errno::ENOSYS.into()),
            (_, FileType::Directory) => Err(Errno::EISDIR.into()),
            (_, FileType::Symlink) => Err(Errno::ELOOP.into()),
            (node, _) => Ok(replies::open(self.session.open(nodeid, node, false), self.options.open_flags)),
        }
    }

    fn opendir(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        match self.open_args(nodeid, args)? {
            _ if !self.options.opendir => Err(Errno::ENOSYS.into()),
            (node, FileType::Directory) => {
                Ok(replies::open(self.session.open(nodeid, node, true), self.options.open_flags))
            }
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// The arguments of READ, READDIR and READDIRPLUS; gives the node, the offset and the size.
    fn read_args(
        &self,
        nodeid: u64,
        args: &mut Args<'_>,
        is_directory: bool,
        reply_room_bytes: usize,
    ) -> Result<(usize, u64, usize), Failure> {
        let (fh, offset, size, _read_flags) = (args.u64()?, args.u64()?, args.u32()?, args.u32()?);
        let (_lock_owner, _flags) = (args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        if u64::from(size) > self.session.max_data_bytes {
            return violation(format!("{size} bytes are more than max_pages"));
        }
        let size = size as usize;
        if size > reply_room_bytes.saturating_sub(16) {
            return violation(format!("{size} bytes are asked for, with {reply_room_bytes} bytes of room"));
        }
        let is_opened = if is_directory { self.options.opendir } else { self.options.open };
        let node =
            if is_opened { self.session.opened(fh, nodeid, is_directory)? } else { self.session.node(nodeid)? };
        Ok((node, offset, size))
    }

    fn read(&mut self, nodeid: u64, args: &mut Args<'_>, reply_room_bytes: usize) -> Answer {
        let (node, offset, size) = self.read_args(nodeid, args, false, reply_room_bytes)?;
        let content = &self.tree.node(node).content;
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or(&[]);
        Ok(rest[..size.min(rest.len())].to_vec())
    }

    fn readdir(&mut self, nodeid: u64, args: &mut Args<'_>, plus: bool, reply_room_bytes: usize) -> Answer {
        let (directory, cookie, size) = self.read_args(nodeid, args, true, reply_room_bytes)?;
        let node = self.tree.node(directory);
        let after = match FIRST_COOKIE.checked_sub(cookie) {
            _ if cookie == 0 => None,
            Some(place) if place <= node.last_place() => Some(place),
            _ => return violation(format!("cookie {cookie} was never given")),
        };
        let specials = [(0, &b"."[..], directory), (1, b"..", node.parent)];
        let children = node.children.iter().map(|child| (child.place, &child.name[..], child.node));
        let entries =
            specials.into_iter().chain(children).filter(|&(place, ..)| after.is_none_or(|after| place > after));

        let ttl = self.options.ttl;
        let mut listing = Vec::new();
        for (place, name, node) in entries {
            let attr = &self.tree.node(node).attr;
            let dirent = replies::dirent(attr, FIRST_COOKIE - place, name);
            let entry_bytes = if plus { replies::ENTRY_BYTES } else { 0 };
            if listing.len() + entry_bytes + dirent.len() > size {
                if listing.is_empty() {
                    return Err(Errno::EINVAL.into());
                }
                break;
            }
            if plus {
                // A nodeid with ".", and none with "..": the driver may count on neither.
                let nodeid = match place {
                    0 => nodeid,
                    1 => 0,
                    _ => self.session.look_up(node),
                };
                listing.extend(replies::entry(nodeid, attr, ttl, ttl));
            }
            listing.extend(dirent);
        }
        Ok(listing)
    }

    fn release(&mut self, nodeid: u64, args: &mut Args<'_>, is_directory: bool) -> Answer {
        let (fh, _flags, _release_flags, _lock_owner) = (args.u64()?, args.u32()?, args.u32()?, args.u64()?);
        args.end()?;
        self.session.close(fh, nodeid, is_directory)?;
        Ok(Vec::new())
    }
}
