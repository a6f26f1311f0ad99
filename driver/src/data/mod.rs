//! The content of files that is kept: the page cache.
//!
//! A page is [`PAGE_BYTES`] of a file, or less at its end. What a READ brings goes into pages as it comes, and is copied
//! from there. The pages of an inode, where it ends, and which attributes it had when they were read, are its
//! [`FileData`]; all pages of a mount share the budget of its [`Pool`].
//!
//! Nothing here sends requests: who does hands in how.

mod batch;
mod changes;
mod dax;
mod dirty;
mod file_data;
mod frames;
mod pool;
mod read;
mod readahead;
mod whole;

pub(crate) use batch::{Batch, Leaving};
pub(crate) use changes::Change;
pub(crate) use dax::{Next, Place, Reclaim, Wanted, Window};
pub(crate) use dirty::{Need, Unwritten};
pub(crate) use file_data::{FileData, Page, Version};
pub(crate) use pool::Pool;
pub(crate) use read::{Reading, read, read_kept};
pub(crate) use readahead::Readahead;

/// The unit of the cache. 4,096 random reads of 4 KiB in 64 MiB cost 3,603 READs of 14 MiB in all with units of 4 KiB, 2,590
/// of 41 MiB with these, and 1,007 of 63 MiB with 64 KiB: nearly all of the file, and budget for few places of it.
pub(crate) const PAGE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
