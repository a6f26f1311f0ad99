//! What files cost, and hold, when their content is cached.

mod changes;
mod errors;
mod lazy;
mod opening;
mod reading;
mod write_back;
mod writing;

use super::*;
use crate::cache::{CacheMode, CacheOptions};
use crate::data::PAGE_BYTES;
use crate::test_utils::{self, FakeChannel};
use crate::vnode::Permissions;
use crate::{Credentials, MountOptions, OpenFlags, Timestamp};
use core::time::Duration;

const PAGE: u64 = PAGE_BYTES as u64;
const SECOND: Duration = Duration::from_secs(1);
const NO_REQUESTS: [u32; 0] = [];
/// `FOPEN_` flags.
const DIRECT_IO: u32 = 1;
const KEEP_CACHE: u32 = 2;

fn options(mode: CacheMode) -> CacheOptions {
    CacheOptions { mode, ..CacheOptions::default() }
}

/// Writes are collected.
fn collecting(mode: CacheMode) -> CacheOptions {
    CacheOptions { writeback: true, ..options(mode) }
}

/// All ways to cache content.
fn all_options() -> [CacheOptions; 4] {
    let modes = [CacheMode::Auto, CacheMode::Always];
    [options(modes[0]), options(modes[1]), collecting(modes[0]), collecting(modes[1])]
}

/// A mount of what `build` makes. Writes of 64 KiB, reads of four pages.
fn mount(cache: CacheOptions, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    mount_as(Credentials::default(), cache, build)
}

fn mount_as(credentials: Credentials, cache: CacheOptions, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    let mut server = FakeServer::new();
    server.options.max_write_bytes = 64 << 10;
    server.options.max_pages = 16;
    build(&mut server);
    let channel = FakeChannel::new(server);
    let options = MountOptions { cache, credentials, ..MountOptions::default() };
    Mounted { fs: test_utils::mount(channel.clone(), &options).unwrap(), channel }
}

/// A mount with the file "f" of so many bytes.
fn with_file(cache: CacheOptions, bytes: usize) -> Mounted {
    mount(cache, |server| {
        server.file("f", pattern(bytes));
    })
}

/// Bytes of which no two frames are alike, and none is zero.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8 | 1).collect()
}

fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// All that can be read from byte `offset` on.
fn read_from(file: &File, offset: u64) -> Vec<u8> {
    let mut content = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let bytes = file.read_at(offset + filled as u64, &mut content[filled..]).unwrap();
        filled += bytes;
        if bytes == 0 {
            content.truncate(filled);
            return content;
        }
    }
}

impl Mounted {
    /// What the server has of a file.
    fn content(&self, path: &str) -> Vec<u8> {
        self.server(|server| server.content(path))
    }

    /// Somebody else gives a file other content, at another time.
    fn others_write(&self, path: &str, content: &[u8]) {
        self.server(|server| {
            server.file(path, content);
            let attr = server.attr_mut(path);
            attr.modified.seconds += 1;
            attr.changed.seconds += 1;
        });
    }

    /// Opens for reading, reads everything and closes again.
    fn read_once(&self, path: &str) -> (Vec<u8>, Vec<u32>) {
        self.sent_by(|| {
            let file = self.fs.open(path).unwrap();
            read_from(&file, 0)
        })
    }

    fn cached_bytes(&self) -> u64 {
        self.fs.statistics().cached_bytes
    }

    /// A number in the last request of a kind.
    fn sent_u32(&self, opcode: u32, at: usize) -> u32 {
        self.server(|server| {
            let request = server.last_request(opcode).unwrap();
            u32::from_ne_bytes(request[at..at + 4].try_into().unwrap())
        })
    }
}
