//! Requests that change something (`fuse.h`), of which one at a time is made.

use super::common::guest::{Found, Guest};
use std::io::Result;

pub(crate) const ROOT: u64 = 1;
pub(crate) const RDWR: u32 = 2;
pub(crate) const CREAT: u32 = 0o100;
pub(crate) const EXCL: u32 = 0o200;
pub(crate) const TRUNC: u32 = 0o1000;
/// Flags of RENAME2.
pub(crate) const NOREPLACE: u32 = 1;
pub(crate) const EXCHANGE: u32 = 2;
pub(crate) const WHITEOUT: u32 = 4;
/// What SETATTR sets.
pub(crate) const MODE: u32 = 1;
pub(crate) const SIZE: u32 = 8;
const HANDLE: u32 = 64;

/// Numbers, then names with a NUL behind each.
fn bytes(numbers: &[&[u8]], names: &[&str]) -> Vec<u8> {
    let names = names.iter().flat_map(|name| name.bytes().chain([0]));
    numbers.concat().into_iter().chain(names).collect()
}

fn words32(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Guest<'_> {
    pub(crate) fn symlink(&mut self, directory: u64, name: &str) -> Result<Found> {
        self.entry(6, directory, &bytes(&[], &[name, "target"]))
    }

    pub(crate) fn mknod(&mut self, directory: u64, name: &str) -> Result<Found> {
        self.entry(8, directory, &bytes(&[&words32(&[0o100_644, 0, 0, 0])], &[name]))
    }

    pub(crate) fn mkdir(&mut self, directory: u64, name: &str) -> Result<Found> {
        self.entry(9, directory, &bytes(&[&words32(&[0o755, 0])], &[name]))
    }

    pub(crate) fn unlink(&mut self, directory: u64, name: &str) -> Result<()> {
        self.ask_for_nothing(10, directory, &bytes(&[], &[name]))
    }

    pub(crate) fn rmdir(&mut self, directory: u64, name: &str) -> Result<()> {
        self.ask_for_nothing(11, directory, &bytes(&[], &[name]))
    }

    pub(crate) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<()> {
        self.ask_for_nothing(12, from.0, &bytes(&[&words64(&[to.0])], &[from.1, to.1]))
    }

    pub(crate) fn rename2(&mut self, from: (u64, &str), to: (u64, &str), flags: u32) -> Result<()> {
        self.ask_for_nothing(45, from.0, &bytes(&[&words64(&[to.0]), &words32(&[flags, 0])], &[from.1, to.1]))
    }

    pub(crate) fn link(&mut self, nodeid: u64, directory: u64, name: &str) -> Result<Found> {
        self.entry(13, directory, &bytes(&[&words64(&[nodeid])], &[name]))
    }

    pub(crate) fn create(&mut self, directory: u64, name: &str, flags: u32) -> Result<Found> {
        self.entry(35, directory, &bytes(&[&words32(&[CREAT | flags, 0o100_644, 0, 0])], &[name]))
    }

    /// Without a handle, or by one.
    pub(crate) fn setattr(&mut self, nodeid: u64, handle: Option<u64>, valid: u32, size: u64) -> Result<()> {
        let valid = valid | handle.map_or(0, |_| HANDLE);
        let numbers = [words32(&[valid, 0]), words64(&[handle.unwrap_or(0), size, 0, 0, 0, 0])].concat();
        self.ask_for_nothing(4, nodeid, &bytes(&[&numbers, &words32(&[0, 0, 0, 0o600, 0, 0, 0, 0])], &[]))
    }

    pub(crate) fn write(&mut self, nodeid: u64, handle: u64, offset: u64) -> Result<()> {
        let numbers = [words64(&[handle, offset]), words32(&[4, 0]), words64(&[0, 0])].concat();
        self.ask_for_nothing(16, nodeid, &[&numbers[..], b"data"].concat())
    }

    pub(crate) fn fallocate(&mut self, nodeid: u64, handle: u64) -> Result<()> {
        self.ask_for_nothing(43, nodeid, &words64(&[handle, 0, 8192, 0]))
    }

    pub(crate) fn copy_file_range(&mut self, from: (u64, u64), to: (u64, u64)) -> Result<()> {
        self.ask_for_nothing(47, from.0, &words64(&[from.1, 0, to.0, to.1, 0, 4, 0]))
    }

    pub(crate) fn setxattr(&mut self, nodeid: u64, name: &str) -> Result<()> {
        self.ask_for_nothing(21, nodeid, &[&bytes(&[&words32(&[1, 0])], &[name])[..], b"x"].concat())
    }

    pub(crate) fn removexattr(&mut self, nodeid: u64, name: &str) -> Result<()> {
        self.ask_for_nothing(24, nodeid, &bytes(&[], &[name]))
    }

    /// FORGET of one lookup, which has no reply.
    pub(crate) fn forget(&mut self, nodeid: u64) {
        self.tell(2, nodeid, &words64(&[1]));
    }

    /// DESTROY, to which this server has no reply.
    pub(crate) fn destroy(&mut self) {
        self.tell(38, 0, &[]);
    }

    fn tell(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) {
        self.queue.send(opcode, nodeid, arguments);
        assert!(self.queue.wait(super::common::PATIENCE), "{opcode} is not taken");
    }
}
