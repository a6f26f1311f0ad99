//! A FUSE server in memory.
//!
//! It answers as virtiofsd does where that is one of several right ways: nodeids are handed out by LOOKUP and
//! READDIRPLUS, end with the last FORGET and are never used again; cookies of listings are opaque (and count
//! downwards); "." and ".." are listed; the first file handle is 0. It serves no request that changes anything; tests
//! change its files from outside, between requests.
//!
//! Nothing that arrives makes it panic. What the driver must not send is answered with EINVAL (EIO outside a session)
//! and noted in [`FakeServer::violations`].

mod fault;
mod operations;
mod replies;
mod request;
mod session;
mod tree;

pub use fault::Fault;

use super::opcode;
use crate::wire::{Attr, FileType, InHeader, NodeId, StatFs};
use crate::{Errno, Timestamp};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use fault::Faults;
use request::{Args, Failure};
use session::Session;
use tree::Tree;
use zerocopy::FromBytes;

/// What a [`FakeServer`] can and how it answers. A change counts from the next request on, the first four fields from
/// the next INIT on.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The minor version in the INIT reply.
    pub minor: u32,
    /// The flags that the server knows, those of `flags2` in the upper half. The INIT reply has those that were asked
    /// for.
    pub init_flags: u64,
    /// The most bytes of one WRITE.
    pub max_write_bytes: u32,
    /// The most pages (of 4096 bytes) of one READ or listing.
    pub max_pages: u16,
    /// How long names and attributes may be believed.
    pub ttl: Duration,
    /// How long it may be believed that a name does not exist; `None`: LOOKUP answers ENOENT.
    pub negative_ttl: Option<Duration>,
    /// Whether files are to be opened; if not, OPEN answers ENOSYS.
    pub open: bool,
    /// Whether directories are to be opened; if not, OPENDIR answers ENOSYS.
    pub opendir: bool,
    /// `FOPEN_` flags in the replies to OPEN and OPENDIR.
    pub open_flags: u32,
    /// Whether READDIRPLUS is served.
    pub readdirplus: bool,
    /// Whether STATX is served.
    pub statx: bool,
    /// Whether DESTROY has a reply. virtiofsd gives none: it uses the buffer with a length of 0.
    pub destroy_replies: bool,
    /// What STATFS answers.
    pub statfs: StatFs,
}

impl Default for ServerOptions {
    /// virtiofsd 1.13 with its default settings.
    fn default() -> Self {
        Self {
            minor: 38,
            init_flags: 0x0104_4844_f829,
            max_write_bytes: 1 << 20,
            max_pages: 256,
            ttl: Duration::from_secs(1),
            negative_ttl: None,
            open: true,
            opendir: true,
            open_flags: 0,
            readdirplus: true,
            statx: false,
            destroy_replies: false,
            statfs: StatFs {
                fragment_size_bytes: 4096,
                block_size_bytes: 4096,
                blocks: 1_000_000,
                blocks_free: 600_000,
                blocks_available: 500_000,
                files: 70_000,
                files_free: 60_000,
                name_max_bytes: 255,
            },
        }
    }
}

/// A FUSE server in memory. See [`test_utils`](crate::test_utils) for an example.
pub struct FakeServer {
    /// What it can and how it answers.
    pub options: ServerOptions,
    tree: Tree,
    session: Session,
    faults: Faults,
    opcodes: Vec<u32>,
    violations: Vec<String>,
    left_at_destroy: Vec<Leftovers>,
}

/// What the driver held when it sent DESTROY, which a server then has to clear up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Nodeids with lookups that were not forgotten.
    pub known_nodes: usize,
    /// Files and directories that were not closed.
    pub open_handles: usize,
}

impl FakeServer {
    /// A server with an empty root directory.
    pub fn new() -> Self {
        Self {
            options: ServerOptions::default(),
            tree: Tree::new(),
            session: Session::default(),
            faults: Faults::default(),
            opcodes: Vec::new(),
            violations: Vec::new(),
            left_at_destroy: Vec::new(),
        }
    }

    /// Makes a directory and those that lead to it, where they are missing.
    ///
    /// # Panics
    ///
    /// This and the other methods that build the tree panic if something in the way is of another kind.
    pub fn dir(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        self.tree.make(path.as_ref(), FileType::Directory);
        self
    }

    /// Makes a file, or gives it other content.
    pub fn file(&mut self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &mut Self {
        self.tree.make(path.as_ref(), FileType::Regular).set_content(content.as_ref());
        self
    }

    /// Makes a symbolic link, or gives it another target.
    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        self.tree.make(path.as_ref(), FileType::Symlink).set_content(target.as_ref());
        self
    }

    /// Makes a node without content: a pipe, a socket, a device.
    pub fn special(&mut self, path: impl AsRef<[u8]>, file_type: FileType) -> &mut Self {
        self.tree.make(path.as_ref(), file_type);
        self
    }

    /// Takes a file, or a directory with all that is in it, out of the tree; nodeids and file handles stay good.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        let path = path.as_ref();
        assert!(self.tree.remove(path).is_some(), "there is no {}", path.escape_ascii());
        self
    }

    /// The attributes of a node, to be changed: mode, owner, times, also to what cannot be. A content and its size are
    /// set by [`file`](Self::file).
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn attr_mut(&mut self, path: impl AsRef<[u8]>) -> &mut Attr {
        let node = self.existing(path.as_ref());
        &mut self.tree.node_mut(node).attr
    }

    /// Sets when a node was made, or that the server does not know. Only STATX tells.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn set_born(&mut self, path: impl AsRef<[u8]>, born: Option<Timestamp>) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.tree.node_mut(node).born = born;
        self
    }

    fn existing(&self, path: &[u8]) -> usize {
        self.tree.find(path).unwrap_or_else(|| panic!("there is no {}", path.escape_ascii()))
    }

    /// The opcodes of all requests so far, in the order they came.
    pub fn opcodes(&self) -> &[u32] {
        &self.opcodes
    }

    /// How many requests of a kind came so far.
    pub fn count(&self, opcode: u32) -> usize {
        self.opcodes.iter().filter(|&&one| one == opcode).count()
    }

    /// Forgets the requests counted so far, and nothing else.
    pub fn reset_counts(&mut self) {
        self.opcodes.clear();
    }

    /// What the driver did that it must not do, one sentence each.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many lookups of a nodeid the driver has to forget; 0 if it is not known.
    pub fn nlookup(&self, nodeid: NodeId) -> u64 {
        self.session.nlookup(nodeid.0)
    }

    /// The nodeid that the node at a path has for the driver, if it has one.
    pub fn nodeid(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.session.nodeid_of(self.tree.find(path.as_ref())?).map(NodeId)
    }

    /// How many nodeids the driver has to forget.
    pub fn known_nodes(&self) -> usize {
        self.session.known_nodes()
    }

    /// How many files and directories the driver has open.
    pub fn open_handles(&self) -> usize {
        self.session.open_handles()
    }

    /// What was left at each DESTROY so far. After it there is nothing to see: it clears everything.
    pub fn left_at_destroy(&self) -> &[Leftovers] {
        &self.left_at_destroy
    }

    /// Notes that the driver did what it must not do.
    pub(super) fn note_violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Serves one request, and gives the whole reply; `None` if there is none to give. `reply_room_bytes` is the size
    /// of the buffer for the reply.
    pub fn handle(&mut self, request: &[u8], reply_room_bytes: usize) -> Option<Vec<u8>> {
        let Ok((header, args)) = InHeader::read_from_prefix(request) else {
            self.note_violation(format!("a request of {} bytes is shorter than its header", request.len()));
            return Some(replies::reply(0, Err(Errno::EINVAL)));
        };
        self.opcodes.push(header.opcode);
        let due = self.faults.take(header.opcode);
        let refused = due.iter().find_map(|fault| match fault {
            Fault::Refuse(errno) => Some(*errno),
            _ => None,
        });

        let result = match self.check(&header, request.len()) {
            Ok(()) => match refused {
                Some(errno) => Err(Failure::Refused(errno)),
                None => self.serve(&header, Args(args), reply_room_bytes),
            },
            Err(failure) => Err(failure),
        };
        let result = result.map_err(|failure| match failure {
            Failure::Refused(errno) => errno,
            Failure::Violation(what) => {
                let name = opcode::name(header.opcode);
                self.note_violation(format!("{name} (unique {}): {what}", header.unique));
                if self.session.is_open() { Errno::EINVAL } else { Errno::EIO }
            }
        });
        match header.opcode {
            opcode::FORGET | opcode::BATCH_FORGET => return None,
            opcode::DESTROY if result.is_ok() && !self.options.destroy_replies => return None,
            _ => {}
        }

        let mut reply = replies::reply(header.unique, result);
        if reply.len() > reply_room_bytes {
            let name = opcode::name(header.opcode);
            self.note_violation(format!("{name}: a reply of {} bytes has room for {reply_room_bytes}", reply.len()));
            reply = replies::reply(header.unique, Err(Errno::EINVAL));
        }
        self.faults.apply(&due, header.opcode, &mut reply);
        Some(reply)
    }
}

impl Default for FakeServer {
    fn default() -> Self {
        Self::new()
    }
}
