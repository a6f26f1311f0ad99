//! A FUSE server in memory.
//!
//! It answers as virtiofsd does where that is one of several right ways: nodeids are handed out by LOOKUP and
//! READDIRPLUS, end with the last FORGET and are never used again; cookies of listings are opaque (and count
//! downwards); "." and ".." are listed; the first file handle is 0. It checks no permission but for ACCESS, and reading
//! does not change the time of access.
//!
//! Tests may change its files from outside, between requests.
//!
//! Nothing that arrives makes it panic. What the driver must not send is answered with EINVAL (EIO outside a session)
//! and noted in [`FakeServer::violations`].

mod attributes;
mod build;
mod content;
mod create;
mod data;
mod extensions;
mod fault;
mod fuse;
mod listing;
mod locking;
mod locks;
mod lookups;
mod names;
mod open;
mod operations;
mod options;
mod replies;
mod request;
mod session;
mod tree;
mod version_table;
mod window;
mod xattr;

pub use extensions::Extensions;
pub use fault::Fault;
pub use locks::HeldLock;
pub use options::ServerOptions;
pub use request::Caller;

use super::opcode;
use crate::Errno;
use crate::wire::NodeId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use fault::Faults;
use locks::LockTable;
use request::{Args, Failure, Header};
use session::Session;
use tree::Tree;
use version_table::VersionTable;
use window::Window;

/// A FUSE server in memory. See [`test_utils`](crate::test_utils) for an example.
pub struct FakeServer {
    /// What it can and how it answers.
    pub options: ServerOptions,
    tree: Tree,
    session: Session,
    locks: LockTable,
    faults: Faults,
    opcodes: Vec<u32>,
    /// The last request of each kind.
    last: BTreeMap<u32, Last>,
    /// The opcodes of requests that asked to clear set-id bits.
    kills: Vec<u32>,
    ignored_interrupts: usize,
    violations: Vec<String>,
    left_at_destroy: Vec<Leftovers>,
    /// Requests without an answer yet, and answers that nobody took yet, by their `unique`.
    pending: BTreeMap<u64, Pending>,
    late: BTreeMap<u64, Vec<u8>>,
    /// Replies that are on their way.
    held: BTreeMap<u64, Vec<u8>>,
    window: Option<Window>,
    table: Option<VersionTable>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this reply.
    Reply(Vec<u8>),
    /// It has no reply.
    NoReply,
    /// The reply of the request with this `unique` comes later: see [`FakeServer::take_late_reply`].
    Later(u64),
}

impl Outcome {
    /// The reply, if there is one now.
    pub fn into_reply(self) -> Option<Vec<u8>> {
        match self {
            Self::Reply(reply) => Some(reply),
            Self::NoReply | Self::Later(_) => None,
        }
    }
}

/// What the driver held when it sent DESTROY, which a server then has to clear up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Nodeids with lookups that were not forgotten.
    pub known_nodes: usize,
    /// Files and directories that were not closed.
    pub open_handles: usize,
    /// Locks that were not released.
    pub locks: usize,
}

/// A request whose answer comes later.
struct Pending {
    opcode: u32,
    due: Vec<Fault>,
    reply_room_bytes: usize,
}

struct Last {
    caller: Caller,
    request: Vec<u8>,
    extensions: Extensions,
}

impl FakeServer {
    /// A server with an empty root directory.
    pub fn new() -> Self {
        Self {
            options: ServerOptions::default(),
            tree: Tree::new(),
            session: Session::default(),
            locks: LockTable::default(),
            faults: Faults::default(),
            opcodes: Vec::new(),
            last: BTreeMap::new(),
            kills: Vec::new(),
            ignored_interrupts: 0,
            violations: Vec::new(),
            left_at_destroy: Vec::new(),
            pending: BTreeMap::new(),
            late: BTreeMap::new(),
            held: BTreeMap::new(),
            window: None,
            table: None,
        }
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

    /// The bytes of the last request of a kind, header included.
    pub fn last_request(&self, opcode: u32) -> Option<&[u8]> {
        self.last.get(&opcode).map(|last| &last.request[..])
    }

    /// On whose behalf the last request of a kind came.
    pub fn last_caller(&self, opcode: u32) -> Option<Caller> {
        self.last.get(&opcode).map(|last| last.caller)
    }

    /// The extensions of the last request of a kind; those that break a rule are left out.
    pub fn last_extensions(&self, opcode: u32) -> Option<&Extensions> {
        self.last.get(&opcode).map(|last| &last.extensions)
    }

    /// How many requests of a kind asked to clear set-user-id and set-group-id bits (`KILL_SUIDGID`).
    pub fn kill_requests(&self, opcode: u32) -> usize {
        self.kills.iter().filter(|&&one| one == opcode).count()
    }

    /// How many INTERRUPTs named a request that was not in flight.
    pub fn ignored_interrupts(&self) -> usize {
        self.ignored_interrupts
    }

    /// What the driver did that it must not do, one sentence each.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many lookups of a nodeid the driver has to forget; 0 if it is not known.
    pub fn nlookup(&self, nodeid: NodeId) -> u64 {
        self.session.nlookup(nodeid.0)
    }

    /// How many nodeids the driver has to forget.
    pub fn known_nodes(&self) -> usize {
        self.session.known_nodes()
    }

    /// How many files and directories the driver has open.
    pub fn open_handles(&self) -> usize {
        self.session.open_handles()
    }

    /// The requests whose replies come later and did not come yet, by their `unique`.
    pub fn waiting(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    /// What was left at each DESTROY so far. After it there is nothing to see: it clears everything.
    pub fn left_at_destroy(&self) -> &[Leftovers] {
        &self.left_at_destroy
    }

    /// Notes that the driver did what it must not do.
    pub(super) fn note_violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Serves one request. `reply_room_bytes` is the size of the buffer for the reply.
    ///
    /// Any request may let those that wait get on.
    pub fn handle(&mut self, request: &[u8], reply_room_bytes: usize) -> Outcome {
        self.take_from_window();
        let before = if version_table::may_change(request) { self.before() } else { None };
        let outcome = self.handle_request(request, reply_room_bytes);
        let reply = match &outcome {
            Outcome::Reply(reply) => Some(reply),
            Outcome::NoReply => None,
            Outcome::Later(unique) => self.held.get(unique),
        };
        self.count_changes(before, reply.is_some_and(|reply| version_table::succeeded(reply)));
        self.show_in_window();
        outcome
    }

    fn handle_request(&mut self, request: &[u8], reply_room_bytes: usize) -> Outcome {
        let Ok((header, args)) = Header::read(request) else {
            self.note_violation(format!("a request of {} bytes is shorter than its header", request.len()));
            return Outcome::Reply(replies::reply(0, Err(Errno::EINVAL)));
        };
        let opcode = header.opcode;
        self.opcodes.push(opcode);
        let last = Last { caller: header.caller, request: request.to_vec(), extensions: Extensions::default() };
        self.last.insert(opcode, last);
        let due = self.faults.take(opcode);
        let refused = due.iter().find_map(|fault| match fault {
            Fault::Refuse(errno) => Some(*errno),
            _ => None,
        });
        let refused = refused.or_else(|| self.options.refused.get(&opcode).copied());

        let result = match self.check(&header, request.len()) {
            Ok(()) => match refused {
                Some(errno) => Err(Failure::Refused(errno)),
                None => self.serve(&header, Args(args), reply_room_bytes),
            },
            Err(failure) => Err(failure),
        };
        let result = match result {
            Ok(body) => Ok(body),
            Err(Failure::Waits) => {
                self.pending.insert(header.unique, Pending { opcode, due, reply_room_bytes });
                self.settle();
                return Outcome::Later(header.unique);
            }
            Err(Failure::Refused(errno)) => Err(errno),
            Err(Failure::Violation(what)) => {
                self.note_violation(format!("{} (unique {}): {what}", opcode::name(opcode), header.unique));
                Err(if self.session.is_open() { Errno::EINVAL } else { Errno::EIO })
            }
        };
        self.settle();
        match opcode {
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => return Outcome::NoReply,
            opcode::DESTROY if result.is_ok() && !self.options.destroy_replies => return Outcome::NoReply,
            _ => {}
        }
        let is_late = due.contains(&Fault::Late);
        let reply = self.finish(header.unique, &Pending { opcode, due, reply_room_bytes }, result);
        if is_late {
            self.held.insert(header.unique, reply);
            return Outcome::Later(header.unique);
        }
        Outcome::Reply(reply)
    }

    /// How many replies are on their way: see [`Fault::Late`].
    pub fn replies_on_their_way(&self) -> usize {
        self.held.len()
    }

    /// Lets all replies arrive that are on their way.
    pub fn let_late_replies_go(&mut self) {
        self.late.append(&mut self.held);
    }

    /// The reply of a request that was answered with [`Outcome::Later`], once it is there.
    pub fn take_late_reply(&mut self, unique: u64) -> Option<Vec<u8>> {
        self.late.remove(&unique)
    }

    /// Answers those who got what they waited for.
    fn settle(&mut self) {
        while let Some(wait) = self.locks.grant() {
            self.session.note_flock(wait.fh, &wait.lock);
            self.answer_late(wait.unique, Ok(Vec::new()));
        }
    }

    fn answer_late(&mut self, unique: u64, result: Result<Vec<u8>, Errno>) {
        if let Some(pending) = self.pending.remove(&unique) {
            let reply = self.finish(unique, &pending, result);
            self.late.insert(unique, reply);
        }
    }

    /// The whole reply, with the faults that are due.
    fn finish(&mut self, unique: u64, request: &Pending, result: Result<Vec<u8>, Errno>) -> Vec<u8> {
        let &Pending { opcode, ref due, reply_room_bytes } = request;
        let mut reply = replies::reply(unique, result);
        if reply.len() > reply_room_bytes {
            let name = opcode::name(opcode);
            self.note_violation(format!("{name}: a reply of {} bytes has room for {reply_room_bytes}", reply.len()));
            reply = replies::reply(unique, Err(Errno::EINVAL));
        }
        self.faults.apply(due, opcode, &mut reply);
        reply
    }
}

impl Default for FakeServer {
    fn default() -> Self {
        Self::new()
    }
}
