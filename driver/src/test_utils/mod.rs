//! Stand-ins for what the driver talks to, for tests of this crate and, with the feature `test-utils`, of its users.
//!
//! - [`FakeServer`] is a FUSE server in memory: it takes whole requests as bytes and gives whole replies as bytes. It
//!   watches the driver (lookups that were not forgotten, files that were not closed, requests that break a rule) and
//!   can be told to answer wrongly.
//! - [`FakeChannel`] carries requests to it without a device: a unit test of the session and of what is above it needs
//!   no virtqueue.
//! - [`mount`] mounts it, for unit tests of what a kernel builds on the driver.
//! - [`FaultInjector`] lets requests of a mount go wrong, or be late: over a real device, too.
//! - [`FakePlatform`] is a kernel whose clock only moves when somebody looks at it, so that no test waits.
//!
//! ```
//! use virtio_fs::test_utils::{FakeServer, opcode};
//!
//! let mut server = FakeServer::new();
//! server.dir("etc").file("etc/motd", "hello\n").symlink("motd", "etc/motd");
//! server.attr_mut("etc/motd").permissions = 0o600;
//! // ... here the driver sends its requests to `server.handle()` ...
//! assert_eq!(server.count(opcode::LOOKUP), 0);
//! assert_eq!(server.open_handles(), 0);
//! assert!(server.violations().is_empty());
//! ```

mod fake_channel;
mod fake_platform;
mod fake_server;
mod fault_injector;
mod mount;
#[cfg(test)]
mod mounted;
pub mod opcode;
mod xorshift;

pub use fake_channel::{Completion, FakeChannel};
pub use fake_platform::FakePlatform;
pub use fake_server::{Caller, Extensions, FakeServer, Fault, HeldLock, Leftovers, Outcome, ServerOptions};
pub use fault_injector::{FaultInjector, FaultRates, Injected};
pub use mount::mount;
#[cfg(test)]
pub(crate) use mounted::{Mounted, assert_ended_well, uncached};
pub use xorshift::XorShift;

#[cfg(test)]
pub(crate) use fake_channel::request_bytes;

#[cfg(test)]
mod tests;
