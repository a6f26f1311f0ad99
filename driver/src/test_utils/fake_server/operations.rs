//! What the fake server does for each request: the rules for all, which function serves which, and the session.

use super::fuse::init;
use super::request::{Args, Failure, Header, violation};
use super::tree::NodeIndex;
use super::{FakeServer, Leftovers, extensions, replies};
use crate::Errno;
use crate::test_utils::opcode;
use crate::wire::Attr;
use alloc::format;
use alloc::vec::Vec;

/// The body of a reply.
pub(super) type Answer = Result<Vec<u8>, Failure>;

/// The size of a page, in which `max_pages` counts.
const PAGE_BYTES: u64 = 4096;
/// `max_pages` where it is not negotiated.
const DEFAULT_MAX_PAGES: u64 = 32;

/// The first minor version that has an operation.
fn first_minor(opcode: u32) -> u32 {
    match opcode {
        opcode::SYNCFS => 34,
        opcode::TMPFILE => 37,
        opcode::COPY_FILE_RANGE_64 => 45,
        _ => 0,
    }
}

/// Whether an operation changes something in the tree whatever its arguments are.
pub(super) fn always_changes(opcode: u32) -> bool {
    use opcode::*;
    matches!(opcode, SETATTR | SYMLINK | MKNOD | MKDIR | UNLINK | RMDIR | RENAME | RENAME2 | LINK | WRITE)
        || matches!(opcode, SETXATTR | REMOVEXATTR | CREATE | TMPFILE | FALLOCATE)
        || matches!(opcode, COPY_FILE_RANGE | COPY_FILE_RANGE_64)
}

impl FakeServer {
    /// The rules for all requests.
    pub(super) fn check(&mut self, header: &Header, request_bytes: usize) -> Result<(), Failure> {
        if header.opcode == opcode::INIT {
            self.end_locks();
            self.clear_window();
            self.session.start();
        }
        self.session.must_be_open()?;
        self.session.note_unique(header.unique)?;
        if header.len as usize != request_bytes {
            return violation(format!("len is {}, but {request_bytes} bytes came", header.len));
        }
        if header.padding != 0 {
            return violation("the padding of the header is not zero");
        }
        Ok(())
    }

    /// Serves a request whose header is in order.
    pub(super) fn serve(&mut self, header: &Header, args: Args<'_>, reply_room_bytes: usize) -> Answer {
        let opcode = header.opcode;
        let extensions_bytes = 8 * usize::from(header.total_extlen);
        let Some(args_bytes) = args.0.len().checked_sub(extensions_bytes) else {
            return violation(format!("extensions of {extensions_bytes} bytes are longer than the request"));
        };
        let (args, after) = args.0.split_at(args_bytes);
        let extensions = extensions::read(after, opcode, self.session.flags)?;
        if let Some(last) = self.last.get_mut(&opcode) {
            last.extensions = extensions;
        }
        if self.session.minor < first_minor(opcode) {
            return Err(Errno::ENOSYS.into());
        }
        if self.options.read_only && always_changes(opcode) {
            return Err(Errno::EROFS.into());
        }
        if !self.options.keeps_unlinked && self.is_stale(header) {
            return Err(Errno::ESTALE.into());
        }
        self.dispatch(header, &mut Args(args), reply_room_bytes)
    }

    /// Whether a request is about a file without a name that is not open.
    fn is_stale(&self, header: &Header) -> bool {
        let names_none =
            matches!(header.opcode, opcode::INIT | opcode::DESTROY | opcode::FORGET | opcode::BATCH_FORGET);
        let node = self.session.node(header.nodeid).ok().filter(|_| !names_none);
        node.is_some_and(|node| self.tree.node(node).removed && !self.session.is_open_file(node))
    }

    fn dispatch(&mut self, header: &Header, args: &mut Args<'_>, reply_room_bytes: usize) -> Answer {
        let nodeid = header.nodeid;
        match header.opcode {
            opcode::INIT => self.init(args),
            opcode::DESTROY => self.destroy(args),
            opcode::LOOKUP => self.lookup(nodeid, args),
            opcode::FORGET => self.forget(nodeid, args),
            opcode::BATCH_FORGET => self.batch_forget(args),
            opcode::INTERRUPT => self.interrupt(args),
            opcode::GETATTR => self.getattr(nodeid, args),
            opcode::SETATTR => self.setattr(nodeid, args),
            opcode::STATX if self.options.statx => self.statx(nodeid, args),
            opcode::ACCESS => self.access(header, args),
            opcode::READLINK => self.readlink(nodeid, args),
            opcode::STATFS => self.statfs(nodeid, args),
            opcode::SYMLINK => self.make_symlink(header, args),
            opcode::MKNOD => self.mknod(header, args),
            opcode::MKDIR => self.mkdir(header, args),
            opcode::CREATE => self.create(header, args),
            opcode::TMPFILE => self.tmpfile(header, args),
            opcode::UNLINK => self.unlink(nodeid, args),
            opcode::RMDIR => self.rmdir(nodeid, args),
            opcode::RENAME => self.rename(nodeid, args),
            opcode::RENAME2 => self.rename2(nodeid, args),
            opcode::LINK => self.link(nodeid, args),
            opcode::OPEN => self.open(nodeid, args),
            opcode::OPENDIR => self.opendir(nodeid, args),
            opcode::RELEASE => self.release(nodeid, args, false),
            opcode::RELEASEDIR => self.release(nodeid, args, true),
            opcode::FLUSH => self.flush(nodeid, args),
            opcode::FSYNC => self.fsync(nodeid, args, false),
            opcode::FSYNCDIR => self.fsync(nodeid, args, true),
            opcode::SYNCFS => self.syncfs(nodeid, args),
            opcode::SETUPMAPPING => self.setupmapping(nodeid, args),
            opcode::REMOVEMAPPING => self.removemapping(args),
            opcode::READ => self.read(nodeid, args, reply_room_bytes),
            opcode::WRITE => self.write(nodeid, args),
            opcode::FALLOCATE => self.fallocate(nodeid, args),
            opcode::LSEEK => self.lseek(nodeid, args),
            opcode::COPY_FILE_RANGE => self.copy_file_range(nodeid, args, false),
            opcode::COPY_FILE_RANGE_64 => self.copy_file_range(nodeid, args, true),
            opcode::READDIR => self.readdir(nodeid, args, false, reply_room_bytes),
            opcode::READDIRPLUS if self.options.readdirplus => self.readdir(nodeid, args, true, reply_room_bytes),
            opcode::SETXATTR => self.setxattr(nodeid, args),
            opcode::GETXATTR => self.getxattr(nodeid, args, reply_room_bytes),
            opcode::LISTXATTR => self.listxattr(nodeid, args, reply_room_bytes),
            opcode::REMOVEXATTR => self.removexattr(nodeid, args),
            opcode::GETLK => self.getlk(nodeid, args),
            opcode::SETLK => self.setlk(header, args, false),
            opcode::SETLKW => self.setlk(header, args, true),
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    fn init(&mut self, args: &mut Args<'_>) -> Answer {
        let (major, minor, max_readahead) = (args.u32()?, args.u32()?, args.u32()?);
        let mut asked = u64::from(args.u32()?);
        if major != 7 {
            return violation(format!("major is {major}"));
        }
        if asked & init::INIT_EXT != 0 {
            asked |= u64::from(args.u32()?) << 32;
        } else {
            args.zeros::<4>()?;
        }
        args.zeros::<44>()?;
        args.end()?;

        let mut flags = asked & self.options.init_flags;
        if flags & init::INIT_EXT == 0 {
            flags &= u64::from(u32::MAX);
        }
        let max_pages = self.options.max_pages;
        let has_max_pages = flags & init::MAX_PAGES != 0;
        self.session.flags = flags;
        self.session.minor = minor.min(self.options.minor);
        self.session.max_write_bytes = self.options.max_write_bytes;
        self.session.max_data_bytes = PAGE_BYTES * if has_max_pages { u64::from(max_pages) } else { DEFAULT_MAX_PAGES };
        Ok(replies::init(&replies::Init {
            minor: self.options.minor,
            max_readahead,
            flags,
            max_write: self.options.max_write_bytes,
            max_pages: if has_max_pages { max_pages } else { 0 },
            map_alignment: if flags & init::MAP_ALIGNMENT != 0 { self.options.map_alignment } else { 0 },
        }))
    }

    fn destroy(&mut self, args: &mut Args<'_>) -> Answer {
        args.end()?;
        let left =
            Leftovers { known_nodes: self.known_nodes(), open_handles: self.open_handles(), locks: self.locks.count() };
        self.left_at_destroy.push(left);
        let waiting = self.locks.waiting().len();
        self.end_locks();
        self.clear_window();
        self.session.destroy();
        if waiting == 0 { Ok(Vec::new()) } else { violation(format!("{waiting} requests are in flight")) }
    }

    /// The attributes of a node as the driver is told.
    pub(super) fn shown(&self, node: NodeIndex) -> Attr {
        let attr = self.tree.node(node).attr;
        Attr {
            submount: attr.submount && self.session.has(init::SUBMOUNTS),
            dax: attr.dax && self.session.has(init::HAS_INODE_DAX),
            ..attr
        }
    }

    /// Takes note of a request to clear set-id bits, which only one kind of servers understands.
    pub(super) fn note_kill(&mut self, opcode: u32) -> Result<(), Failure> {
        if !self.session.has(init::HANDLE_KILLPRIV_V2) {
            return violation("KILL_SUIDGID without HANDLE_KILLPRIV_V2");
        }
        self.kills.push(opcode);
        Ok(())
    }

    /// Clears what a change of the content takes away: capabilities, and set-id bits if the driver asked for it or left
    /// it to the server.
    pub(super) fn kill_privileges(&mut self, node: NodeIndex, asked: bool) {
        let (first, second) = (self.session.has(init::HANDLE_KILLPRIV), self.session.has(init::HANDLE_KILLPRIV_V2));
        let node = self.tree.node_mut(node);
        if first || second {
            node.xattrs.remove(&b"security.capability"[..]);
        }
        if asked || (first && !second) {
            node.kill_set_id();
        }
    }
}
