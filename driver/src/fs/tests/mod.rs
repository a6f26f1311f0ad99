//! The `std::fs`-shaped API over the fake server.

mod caching;
mod file;
mod hostile;
mod open_options;
mod path;
mod read_dir;
mod slashes;
mod trees;
mod version_table;
mod window;
mod write;

use super::*;
use crate::test_utils::{FakeServer, Fault, Mounted, opcode};
use crate::wire::FileType;
use crate::{Errno, Error};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

#[test]
fn everything_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<VirtioFs>();
    is_shared::<File>();
    is_shared::<ReadDir>();
    is_shared::<DirEntry>();
    is_shared::<Metadata>();
}
