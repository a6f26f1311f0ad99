//! The DAX window: ranges of files that are mapped into memory which the server shares with the driver, so that their
//! content is read and written without a request.
//!
//! An extent is a range of a file that is mapped; the extents of a file are a part of its
//! [`FileData`](super::FileData). Where in the window they lie, which places are free, and who makes room, is the
//! [`Window`]'s to say. Extents begin at multiples of a chunk, consist of whole alignment units, and end before the file
//! does: the host must never be made to look behind the end of a file. What is mapped is never kept in pages.

mod extents;
mod window;

pub(super) use extents::Extents;
pub(crate) use extents::{Next, Wanted};
pub(crate) use window::{Place, Reclaim, Window};

/// What is mapped at a time, if neither the file nor the window is smaller: larger extents cost fewer requests, and the
/// host a large page.
const CHUNK_BYTES: u64 = 2 << 20;

/// The longest extent, of a file that is read or written in sequence.
const MAX_EXTENT_BYTES: u64 = 16 << 20;

/// What is shorter is not worth a mapping when it is met for the first time.
const MIN_SEQUENTIAL_BYTES: u64 = 64 << 10;
