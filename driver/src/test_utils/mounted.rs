//! What every test of the layers above the channel starts and ends with.

use super::{FakeChannel, FakeServer, Fault, Leftovers, mount, opcode};
use crate::session::Session;
use crate::{CacheMode, CacheOptions, Error, MountOptions, VirtioFs};
use alloc::vec::Vec;
use core::time::Duration;

/// How a server is mounted of which every call is to be seen: nothing is cached.
pub(crate) fn uncached() -> MountOptions {
    let cache = CacheOptions { mode: CacheMode::None, ..CacheOptions::default() };
    MountOptions { cache, ..MountOptions::default() }
}

/// A mounted fake server, and the way to look at it from outside.
pub(crate) struct Mounted {
    pub(crate) fs: VirtioFs,
    pub(crate) channel: FakeChannel,
}

impl Mounted {
    /// Mounts a server after `build` made its tree; caches nothing, so that each call is seen by the server.
    pub(crate) fn new(build: impl FnOnce(&mut FakeServer)) -> Self {
        Self::try_new(build).unwrap()
    }

    pub(crate) fn try_new(build: impl FnOnce(&mut FakeServer)) -> Result<Self, Error> {
        let mut server = FakeServer::new();
        build(&mut server);
        Self::over(FakeChannel::new(server))
    }

    /// Mounts what is behind `channel`, and caches nothing.
    pub(crate) fn over(channel: FakeChannel) -> Result<Self, Error> {
        Self::caching(channel, CacheMode::None)
    }

    /// Mounts what is behind `channel`, by the rules of `mode`.
    pub(crate) fn caching(channel: FakeChannel, mode: CacheMode) -> Result<Self, Error> {
        let cache = CacheOptions { mode, ..CacheOptions::default() };
        let fs = mount(channel.clone(), &MountOptions { cache, ..uncached() })?;
        Ok(Self { fs, channel })
    }

    pub(crate) fn session(&self) -> &Session {
        self.fs.root().session()
    }

    /// Looks at the server, or changes it.
    pub(crate) fn server<R>(&self, look: impl FnOnce(&mut FakeServer) -> R) -> R {
        let server = self.channel.server();
        let mut server = server.lock();
        server.take_from_window();
        let before = server.before();
        let result = look(&mut server);
        server.count_changes(before, false);
        server.show_in_window();
        result
    }

    /// How many requests of a kind came so far.
    pub(crate) fn count(&self, opcode: u32) -> usize {
        self.server(|server| server.count(opcode))
    }

    /// The opcodes of the requests that `action` sends.
    pub(crate) fn sent_by<R>(&self, action: impl FnOnce() -> R) -> (R, Vec<u32>) {
        let before = self.server(|server| server.opcodes().len());
        let result = action();
        (result, self.server(|server| server.opcodes()[before..].to_vec()))
    }

    /// The opcodes of the requests that it takes for `action` to succeed, and to drop what it gives.
    pub(crate) fn sends<R>(&self, action: impl FnOnce(&VirtioFs) -> Result<R, Error>) -> Vec<u32> {
        let (result, sent) = self.sent_by(|| action(&self.fs).map(drop));
        result.unwrap();
        sent
    }

    /// Lets time pass by the clock of the driver.
    pub(crate) fn advance(&self, time: Duration) {
        self.channel.advance(time);
    }

    /// Lets `ask` send a request whose reply stays on its way while `change` is made, and arrives then.
    pub(crate) fn overtake<R: Send>(
        &self,
        late: u32,
        ask: impl FnOnce(&VirtioFs) -> R + Send,
        change: impl FnOnce(&VirtioFs),
    ) -> R {
        self.server(|server| {
            server.fault(late, 0, Fault::Late);
        });
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&self.fs));
            while self.server(|server| server.replies_on_their_way()) == 0 {
                std::thread::yield_now();
            }
            // A change that panics does not leave the other thread waiting.
            let go = LetGo(self);
            change(&self.fs);
            drop(go);
            asking.join().unwrap()
        })
    }

    /// Unmounts, and asserts that the driver kept the books: see [`assert_ended_well`].
    pub(crate) fn unmount(self) {
        self.fs.unmount().unwrap();
        assert_ended_well(&self.channel);
    }
}

/// Lets late replies go when it is dropped.
struct LetGo<'m>(&'m Mounted);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.server(FakeServer::let_late_replies_go);
    }
}

/// Asserts that the session was ended once, with every inode forgotten and every handle closed before, and that no
/// request broke a rule.
pub(crate) fn assert_ended_well(channel: &FakeChannel) {
    let server = channel.server();
    let server = server.lock();
    assert_eq!(server.violations(), [""; 0]);
    assert_eq!(server.left_at_destroy(), [Leftovers::default()], "{:?}", server.opcodes());
    assert_eq!(server.opcodes().last(), Some(&opcode::DESTROY));
    assert_eq!(server.opcodes().first(), Some(&opcode::INIT));
    assert!(channel.is_reset());
}
