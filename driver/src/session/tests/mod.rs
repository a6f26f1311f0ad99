//! The session over the fake server.

mod books;
mod forget;
mod negotiate;
mod optional;
mod read;
mod scattered;
mod write;

use super::{Channel, Limits, Reply, Request};
use crate::test_utils::{FakeChannel, Mounted, opcode};
use crate::{Error, Instant, MountOptions, Timestamp, VirtioFs};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;

/// A channel that keeps the bytes of the requests it carries.
struct Recorder {
    channel: FakeChannel,
    requests: Requests,
}

type Requests = Arc<Mutex<Vec<Vec<u8>>>>;

impl Channel for Recorder {
    fn now(&self) -> Instant {
        self.channel.now()
    }

    fn date(&self) -> Timestamp {
        self.channel.date()
    }

    fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        self.channel.wait_until(ready);
    }

    fn wake(&self) {
        self.channel.wake();
    }

    fn limits(&self) -> Limits {
        self.channel.limits()
    }

    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let mut requests = requests.inspect(|request| self.requests.lock().push(bytes(request)));
        self.channel.exchange(&mut requests, done);
    }

    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.requests.lock().push(bytes(request));
        self.channel.post(request)
    }

    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.requests.lock().push(bytes(request));
        self.channel.send_detached(request)
    }

    fn shut_down(&self) {
        self.channel.shut_down();
    }
}

fn bytes(request: &Request<'_, '_>) -> Vec<u8> {
    request.head().flatten().chain(request.payload().slices().flatten()).copied().collect()
}

/// Mounts what is behind `channel`, and keeps the bytes of all requests.
fn record(channel: FakeChannel, options: &MountOptions) -> (Mounted, Requests) {
    let requests = Requests::default();
    let recorder = Recorder { channel: channel.clone(), requests: requests.clone() };
    let fs = VirtioFs::mount_channel(Box::new(recorder), options).unwrap();
    (Mounted { fs, channel }, requests)
}

/// The number at byte `at` of a request.
fn u32_at(request: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(request[at..at + 4].try_into().unwrap())
}

/// The number at byte `at` of a request.
fn u64_at(request: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(request[at..at + 8].try_into().unwrap())
}

/// The requests of one kind.
fn of_kind(requests: &Requests, opcode: u32) -> Vec<Vec<u8>> {
    requests.lock().iter().filter(|request| u32_at(request, 4) == opcode).cloned().collect()
}
