//! Tests of the fakes themselves.

mod accounting;
mod attributes;
mod caching;
mod channel;
mod data;
mod driver;
mod fault_injector;
mod listing;
mod locks;
mod names;
mod raw;
mod rules;

use super::{FakeServer, Fault, Outcome, opcode};
use crate::session::{Channel, Credentials, Request, Session};
use crate::test_utils::{Completion, FakeChannel, XorShift};
use crate::wire::{
    BatchForget, DirentReader, FileHandle, FopenFlags, Forget, ForgetOne, FromBody, Getattr, InHeader, Init, InitFlags,
    InitReply, LookedUp, Lookup, Name, NodeId, Open, OpenFlags, Opendir, Operation, Read, Readdir, Readdirplus,
    Readlink, Release, Releasedir, Statfs, Statx, Unique,
};
use crate::{Errno, Error, FileType, Timestamp};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use zerocopy::IntoBytes;

/// A session with a server over a fake channel, without the session layer between.
struct Client {
    channel: FakeChannel,
    unique: u64,
}

impl Client {
    fn new(server: FakeServer) -> Self {
        let mut client = Self { channel: FakeChannel::new(server), unique: 0 };
        let init = Init { flags: InitFlags::all(), max_readahead_bytes: 0 };
        client.call(0, &init, 256).unwrap();
        client
    }

    fn request<'a, O: Operation>(&mut self, nodeid: u64, operation: &'a O, data: &'a mut [u8]) -> Request<'a, 'a> {
        self.unique += 2;
        let header = InHeader::new(O::OPCODE, NodeId(nodeid), Unique(self.unique));
        Request::new(header, operation, &[], data).with_names(operation.names())
    }

    fn call<O: Operation>(&mut self, nodeid: u64, operation: &O, room: usize) -> Result<(O::Reply, Vec<u8>), Error> {
        let mut data = vec![0; room];
        let request = self.request(nodeid, operation, &mut data);
        let mut result = Err(Error::Device("not done"));
        self.channel.exchange(&mut core::iter::once(request), &mut |_, reply| {
            result = reply.and_then(|reply| Ok((O::Reply::from_bytes(reply.body)?, reply.data_bytes)));
        });
        let (reply, data_bytes) = result?;
        data.truncate(data_bytes);
        Ok((reply, data))
    }

    fn lookup(&mut self, directory: u64, name: &str) -> Result<u64, Error> {
        match self.call(directory, &Lookup { name: Name::new(name.as_bytes()).unwrap() }, 0)?.0 {
            LookedUp::Found(entry) => Ok(entry.nodeid.0),
            LookedUp::Absent { .. } => Err(Error::Refused(Errno::ENOENT)),
        }
    }

    fn post<O: Operation>(&mut self, nodeid: u64, operation: &O, payload: &[u8]) {
        self.unique += 2;
        let header = InHeader::new(O::OPCODE, NodeId(nodeid), Unique(self.unique));
        self.channel.post(&Request::new(header, operation, payload, &mut [])).unwrap();
    }

    fn forget(&mut self, nodeid: u64, nlookup: u64) {
        self.post(nodeid, &Forget { nlookup }, &[]);
    }

    fn violations(&self) -> Vec<alloc::string::String> {
        self.channel.server().lock().violations().to_vec()
    }
}

/// A server with one of each.
fn server() -> FakeServer {
    let mut server = FakeServer::new();
    server.dir("d/empty").file("d/f", "content").symlink("l", "d/f").special("pipe", FileType::Fifo);
    server
}
