//! Memory for pages.

use alloc::sync::Arc;
use alloc::vec::Vec;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The unit in which memory is allocated for pages, and its alignment: a page of memory, so that a READ of many pages
/// needs no more segments than one of as many bytes.
pub(super) const FRAME_BYTES: usize = 4096;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Frame([u8; FRAME_BYTES]);

/// The bytes of a page: a whole number of frames. A copy that is being written to the server shares them until somebody
/// writes to the page.
#[derive(Clone)]
pub(crate) struct Frames(Arc<Vec<Frame>>);

impl Frames {
    /// Zeroes, at least so many bytes; `None` without memory.
    pub(super) fn zeroed(bytes: usize) -> Option<Self> {
        let frames = Frame::new_vec_zeroed(bytes.div_ceil(FRAME_BYTES)).ok()?;
        Some(Self(Arc::new(frames)))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice().as_bytes()
    }

    /// For writing. If somebody shares the bytes they are copied first; `None` without memory for that.
    pub(super) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if Arc::get_mut(&mut self.0).is_none() {
            let mut copy = Self::zeroed(self.len())?;
            copy.bytes_mut()?.copy_from_slice(self.bytes());
            *self = copy;
        }
        Arc::get_mut(&mut self.0).map(|frames| frames.as_mut_slice().as_mut_bytes())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() * FRAME_BYTES
    }
}
