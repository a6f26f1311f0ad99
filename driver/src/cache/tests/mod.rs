//! The caches of a mounted fake server.

mod attributes;
mod budget;
mod changes;
mod guard;
mod names;
mod renames;

use super::{Cache, CacheMode, CacheOptions, Dentry, Inode};
use crate::test_utils::{self, FakeChannel, FakeServer, Fault, Mounted, opcode};
use crate::vnode::{Node, OpenFlags};
use crate::{Attr, Credentials, Errno, Error, MountOptions, VirtioFs};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const NO_REQUESTS: [u32; 0] = [];

/// Something done to a mount or an inode.
type Action<T = VirtioFs> = fn(&T) -> Result<(), Error>;

/// A mount of the tree that `build` makes, by the rules of `mode`.
fn mount(mode: CacheMode, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    mount_with(CacheOptions { mode, ..CacheOptions::default() }, build)
}

fn mount_with(cache: CacheOptions, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    let mut server = FakeServer::new();
    build(&mut server);
    let channel = FakeChannel::new(server);
    let fs = test_utils::mount(channel.clone(), &MountOptions { cache, ..MountOptions::default() }).unwrap();
    Mounted { fs, channel }
}

/// Sets times to live longer than any test takes by the driver's clock.
fn long_lived(server: &mut FakeServer) {
    (server.options.entry_ttl, server.options.attr_ttl) = (YEAR, YEAR);
    server.options.negative_ttl = Some(YEAR);
}

fn refused<T>(errno: Errno) -> Result<T, Error> {
    Err(Error::Refused(errno))
}

/// Somebody who is not user 0.
fn user() -> Credentials {
    Credentials { uid: 1000, gid: 100, ..Credentials::default() }
}

/// A directory in which everybody may do everything.
fn open_dir(server: &mut FakeServer, path: &str) {
    server.dir(path).attr_mut(path).permissions = 0o777;
}

impl Mounted {
    /// The opcodes of the requests that it takes to tell the metadata of what `path` leads to.
    fn stat(&self, path: &str) -> Vec<u32> {
        let (found, sent) = self.sent_by(|| self.fs.metadata(path));
        found.unwrap();
        sent
    }

    /// The opcodes of the requests that it takes to find that there is no `path`.
    fn miss(&self, path: &str) -> Vec<u32> {
        let (found, sent) = self.sent_by(|| self.fs.metadata(path));
        assert_eq!(found.map(drop), refused(Errno::ENOENT), "{path}");
        sent
    }

    fn cache(&self) -> &Arc<Cache> {
        self.fs.root().cache()
    }
}
