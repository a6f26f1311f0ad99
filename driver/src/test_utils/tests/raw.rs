//! A client that writes its requests byte by byte.

use super::*;
use crate::test_utils::{Caller, Outcome};

pub(super) const ROOT: u64 = 1;

/// Bytes that grow field by field.
#[derive(Clone, Default)]
pub(super) struct Put(pub(super) Vec<u8>);

impl Put {
    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// A name and its NUL byte.
    pub(super) fn name(self, name: &str) -> Self {
        self.bytes(name.as_bytes()).bytes(&[0])
    }
}

pub(super) fn put() -> Put {
    Put::default()
}

/// A number in a reply's body.
pub(super) fn u32_at(body: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(body[at..at + 4].try_into().unwrap())
}

pub(super) fn u64_at(body: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(body[at..at + 8].try_into().unwrap())
}

/// The body of a reply, or its error.
pub(super) fn result(reply: &[u8]) -> Result<Vec<u8>, Errno> {
    match u32_at(reply, 4) as i32 {
        0 => Ok(reply[16..].to_vec()),
        error => Err(Errno(u16::try_from(-error).unwrap())),
    }
}

/// A session with a server, without a channel between.
pub(super) struct Raw {
    pub(super) server: FakeServer,
    pub(super) caller: Caller,
    unique: u64,
}

impl Raw {
    /// A session with a server that knows `flags` and whatever is new.
    pub(super) fn new(mut server: FakeServer, flags: u64) -> Self {
        server.options.init_flags = flags | 1 << 30;
        server.options.minor = 45;
        server.options.refused.clear();
        let mut raw = Self { server, caller: Caller::default(), unique: 0 };
        let asked = flags | 1 << 30;
        let args = put().u32(7).u32(45).u32(0).u32(asked as u32).u32((asked >> 32) as u32).bytes(&[0; 44]);
        raw.ok(opcode::INIT, 0, args);
        raw
    }

    /// Sends a request with `extensions` behind it.
    pub(super) fn send_extended(&mut self, opcode: u32, nodeid: u64, args: Put, extensions: &[u8]) -> Outcome {
        self.unique += 2;
        let Caller { uid, gid, pid } = self.caller;
        let request = put()
            .u32((40 + args.0.len() + extensions.len()) as u32)
            .u32(opcode)
            .u64(self.unique)
            .u64(nodeid)
            .u32(uid)
            .u32(gid)
            .u32(pid)
            .u32(extensions.len().div_ceil(8) as u32)
            .bytes(&args.0)
            .bytes(extensions);
        self.server.handle(&request.0, 1 << 16)
    }

    pub(super) fn send(&mut self, opcode: u32, nodeid: u64, args: Put) -> Result<Vec<u8>, Errno> {
        result(&self.send_extended(opcode, nodeid, args, &[]).into_reply().unwrap())
    }

    /// A request that has to go well.
    pub(super) fn ok(&mut self, opcode: u32, nodeid: u64, args: Put) -> Vec<u8> {
        let result = self.send(opcode, nodeid, args);
        result.unwrap_or_else(|errno| panic!("{}: {errno} {:?}", opcode::name(opcode), self.server.violations()))
    }

    /// A request that has to be refused, and breaks no rule.
    pub(super) fn err(&mut self, opcode: u32, nodeid: u64, args: Put) -> Errno {
        let result = self.send(opcode, nodeid, args);
        self.no_violations();
        result.expect_err(opcode::name(opcode))
    }

    /// A request that breaks a rule, for the given reason.
    pub(super) fn violates(&mut self, opcode: u32, nodeid: u64, args: Put, why: &str) {
        self.violates_extended(opcode, nodeid, args, &[], why);
    }

    pub(super) fn violates_extended(&mut self, opcode: u32, nodeid: u64, args: Put, extensions: &[u8], why: &str) {
        let before = self.server.violations().len();
        self.send_extended(opcode, nodeid, args, extensions);
        let violations = &self.server.violations()[before..];
        assert_eq!(violations.len(), 1, "{}: {why}: {violations:?}", opcode::name(opcode));
        assert!(violations[0].contains(why), "{why}: {violations:?}");
    }

    pub(super) fn no_violations(&self) {
        assert_eq!(self.server.violations(), [""; 0]);
    }

    pub(super) fn lookup(&mut self, path: &str) -> u64 {
        path.split('/').fold(ROOT, |at, name| u64_at(&self.ok(opcode::LOOKUP, at, put().name(name)), 0))
    }

    /// Looks a file up and opens it; gives its nodeid and the file handle.
    pub(super) fn open(&mut self, path: &str, flags: u32) -> (u64, u64) {
        let nodeid = self.lookup(path);
        (nodeid, u64_at(&self.ok(opcode::OPEN, nodeid, put().u32(flags).u32(0)), 0))
    }

    pub(super) fn release(&mut self, (nodeid, fh): (u64, u64)) {
        self.ok(opcode::RELEASE, nodeid, put().u64(fh).u32(0).u32(0).u64(0));
    }

    pub(super) fn read(&mut self, (nodeid, fh): (u64, u64), offset: u64, size: u32) -> Vec<u8> {
        self.ok(opcode::READ, nodeid, put().u64(fh).u64(offset).u32(size).bytes(&[0; 20]))
    }

    pub(super) fn write(&mut self, (nodeid, fh): (u64, u64), offset: u64, data: &[u8]) -> Result<u32, Errno> {
        self.send(opcode::WRITE, nodeid, write(fh, offset, data, 0)).map(|body| u32_at(&body, 0))
    }
}

/// The arguments of WRITE.
pub(super) fn write(fh: u64, offset: u64, data: &[u8], write_flags: u32) -> Put {
    put().u64(fh).u64(offset).u32(data.len() as u32).u32(write_flags).bytes(&[0; 16]).bytes(data)
}

/// The arguments of SETATTR: `valid`, then the fields that are not zero, by their place.
pub(super) fn setattr(valid: u32, fields: &[(usize, u32)]) -> Put {
    let mut args = put().u32(valid).bytes(&[0; 84]);
    for &(at, value) in fields {
        args.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    args
}
