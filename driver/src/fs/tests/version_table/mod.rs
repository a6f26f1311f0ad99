//! What is cached by the version table, and how the driver fares with a table that is not what it should be.

mod broken;
mod others;
mod own;

use super::*;
use crate::cache::{CacheMode, CacheOptions, Coherence};
use crate::test_utils::{self, FakeChannel};
use crate::vnode::RenameFlags;
use crate::{Credentials, Dax, MountOptions};
use core::time::Duration;

const NO_REQUESTS: [u32; 0] = [];
const SECOND: Duration = Duration::from_secs(1);
/// What the server says that anything may be believed: not at all.
const NOT_AT_ALL: Duration = Duration::ZERO;

/// Entries with the same slot would spoil what a test expects: with so many slots there are none in these trees.
const LOG2_SLOTS: u32 = 16;

fn mount_with(options: MountOptions, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    let mut server = FakeServer::new();
    (server.options.entry_ttl, server.options.attr_ttl) = (NOT_AT_ALL, NOT_AT_ALL);
    server.dir("d/e").file("d/e/f", b"content").file("d/g", b"other").symlink("d/l", b"e/f");
    build(&mut server);
    let channel = FakeChannel::new(server);
    Mounted { fs: test_utils::mount(channel.clone(), &options).unwrap(), channel }
}

/// A mount of a server that lets nothing be believed by time, but has a version table.
fn mount() -> Mounted {
    mount_with(MountOptions::default(), |server| {
        server.add_version_table(LOG2_SLOTS);
    })
}

/// As [`mount`], for somebody whose permissions are checked.
fn mount_for_somebody() -> Mounted {
    let credentials = Credentials { uid: 1, gid: 1, ..Credentials::default() };
    mount_with(MountOptions { credentials, ..MountOptions::default() }, |server| {
        server.add_version_table(LOG2_SLOTS);
        server.attr_mut("").uid = 1;
        for path in ["d", "d/e", "d/e/f", "d/g"] {
            server.attr_mut(path).uid = 1;
        }
    })
}

impl Mounted {
    fn stats(&self, path: &str) -> Vec<u32> {
        self.sends(|fs| fs.symlink_metadata(path))
    }

    fn lists(&self, path: &str) -> (Vec<Vec<u8>>, Vec<u32>) {
        self.sent_by(|| {
            let names = self.fs.read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().to_vec());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        })
    }

    fn reads(&self, path: &str) -> (Vec<u8>, Vec<u32>) {
        self.sent_by(|| self.fs.read(path).unwrap())
    }

    /// Does everything that is to be cached.
    fn walk(&self) {
        self.stats("d/e/f");
        self.stats("d/g");
        self.lists("d");
        self.reads("d/e/f");
        self.fs.read_link("d/l").unwrap();
        self.fs.metadata("d/none").unwrap_err();
    }
}
