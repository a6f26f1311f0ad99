//! Faults: replies that a server must not give, or gives on a bad day.

use super::FakeServer;
use crate::Errno;
use crate::wire::OutHeader;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What is wrong with one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused, and nothing is done for it.
    Refuse(Errno),
    /// The reply ends after so many bytes, whatever its header says.
    Cut(usize),
    /// The body ends after so many bytes, and the header agrees.
    CutBody(usize),
    /// The body is another one, and the header agrees with its length.
    Body(Vec<u8>),
    /// The header's length is this.
    Len(u32),
    /// The header's error is this.
    Error(i32),
    /// The header's `unique` is this.
    Unique(u64),
    /// The request is served at once, but the reply stays on its way until [`FakeServer::let_late_replies_go`].
    Late,
}

impl Fault {
    fn apply(&self, reply: &mut Vec<u8>) {
        match self {
            // Is done before the request is served, or when the reply is whole.
            Self::Refuse(_) | Self::Late => {}
            Self::Cut(bytes) => reply.truncate(*bytes),
            Self::CutBody(bytes) => {
                reply.truncate(OutHeader::BYTES + bytes);
                fix_len(reply);
            }
            Self::Body(body) => {
                reply.truncate(OutHeader::BYTES);
                reply.extend_from_slice(body);
                fix_len(reply);
            }
            Self::Len(len) => put(reply, 0, &len.to_ne_bytes()),
            Self::Error(error) => put(reply, 4, &error.to_ne_bytes()),
            Self::Unique(unique) => put(reply, 8, &unique.to_ne_bytes()),
        }
    }
}

fn fix_len(reply: &mut [u8]) {
    let len = reply.len() as u32;
    put(reply, 0, &len.to_ne_bytes());
}

fn put(reply: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = reply.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// A fault that waits for its turn.
struct Scripted {
    opcode: u32,
    /// How many requests of this kind are answered well before.
    skip: usize,
    fault: Fault,
}

/// Sees, and may change, every reply.
type Tamper = Box<dyn FnMut(u32, &mut Vec<u8>) + Send>;

/// All that is planned to go wrong.
#[derive(Default)]
pub(super) struct Faults {
    scripted: Vec<Scripted>,
    tamper: Option<Tamper>,
}

impl Faults {
    /// The faults whose turn is the next request of this kind.
    pub(super) fn take(&mut self, opcode: u32) -> Vec<Fault> {
        let due = self.scripted.extract_if(.., |scripted| scripted.opcode == opcode && scripted.skip == 0);
        let due = due.map(|scripted| scripted.fault).collect();
        for scripted in self.scripted.iter_mut().filter(|scripted| scripted.opcode == opcode) {
            scripted.skip = scripted.skip.saturating_sub(1);
        }
        due
    }

    pub(super) fn apply(&mut self, due: &[Fault], opcode: u32, reply: &mut Vec<u8>) {
        due.iter().for_each(|fault| fault.apply(reply));
        if let Some(tamper) = &mut self.tamper {
            tamper(opcode, reply);
        }
    }
}

impl FakeServer {
    /// Spoils the reply to one request: the next one of the kind `opcode`, or, after `skip` good ones, a later one.
    /// Several faults may meet in one reply; they are applied in the order they were given.
    pub fn fault(&mut self, opcode: u32, skip: usize, fault: Fault) -> &mut Self {
        self.faults.scripted.push(Scripted { opcode, skip, fault });
        self
    }

    /// Shows every reply, with the opcode of its request, to `hook`, which may change it. Replaces an earlier hook.
    ///
    /// The hook must not use the server.
    pub fn tamper(&mut self, hook: impl FnMut(u32, &mut Vec<u8>) + Send + 'static) -> &mut Self {
        self.faults.tamper = Some(Box::new(hook));
        self
    }
}
