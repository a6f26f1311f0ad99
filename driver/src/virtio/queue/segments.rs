//! A caller's buffer as the device sees it: a few physically contiguous pieces.

use crate::Error;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// A piece of a buffer that is contiguous for the program and for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) paddr: PhysAddr,
    pub(super) vaddr: NonNull<u8>,
    pub(super) len: usize,
    pub(super) direction: BufferDirection,
}

// SAFETY: a segment is an address; whoever follows it proves that it may.
unsafe impl Send for Segment {}

/// Splits a buffer at page boundaries: gives the length of each piece. In a paged kernel neighbouring pages may lie
/// anywhere in physical memory.
fn pages(vaddr: NonNull<u8>, len: usize) -> impl Iterator<Item = NonNull<[u8]>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let left = len.checked_sub(at).filter(|&left| left > 0)?;
        // SAFETY: `at < len`, so this stays within the buffer that the caller has.
        let start = unsafe { vaddr.add(at) };
        let to_boundary = PAGE_SIZE - start.addr().get() % PAGE_SIZE;
        let piece = NonNull::slice_from_raw_parts(start, left.min(to_boundary));
        at += piece.len();
        Some(piece)
    })
}

/// The segments of one request that is in flight, shared with the device. Room for them is allocated once.
pub(super) struct Segments<H: Hal> {
    list: Vec<Segment>,
    /// The most segments, whatever room the allocator gave.
    limit: usize,
    hal: PhantomData<fn() -> H>,
}

impl<H: Hal> Segments<H> {
    /// Room for `limit` segments.
    pub(super) fn new(limit: usize) -> Result<Self, Error> {
        let mut list = Vec::new();
        list.try_reserve_exact(limit).map_err(|_| Error::NoMemory)?;
        Ok(Self { list, limit, hal: PhantomData })
    }

    pub(super) fn as_slice(&self) -> &[Segment] {
        &self.list
    }

    /// Shares `buffer` with the device, page by page; pages that turn out to be neighbours for the device too become
    /// one segment. Says whether there was room for all; if not, the caller must [`unshare`](Self::unshare).
    ///
    /// # Safety
    ///
    /// `buffer` must be valid, and nothing but the device may access it until [`unshare`](Self::unshare).
    pub(super) unsafe fn share(&mut self, buffer: NonNull<[u8]>, direction: BufferDirection) -> bool {
        let first = self.list.len();
        for piece in pages(buffer.cast(), buffer.len()) {
            // SAFETY: a part of `buffer`, for which the caller vouches.
            let paddr = unsafe { H::share(piece, direction) };
            let is_full = self.list.len() == self.limit;
            match self.list[first..].last_mut() {
                Some(last) if last.paddr + last.len as PhysAddr == paddr => last.len += piece.len(),
                _ if !is_full => {
                    self.list.push(Segment { paddr, vaddr: piece.cast(), len: piece.len(), direction });
                }
                _ => {
                    // SAFETY: just shared with these values, and the device was not told of it.
                    unsafe { H::unshare(paddr, piece, direction) };
                    return false;
                }
            }
        }
        true
    }

    /// Takes all segments back from the device.
    ///
    /// # Safety
    ///
    /// The device must have given the buffers back, or have been reset, and the buffers must still be valid.
    pub(super) unsafe fn unshare(&mut self) {
        for segment in self.list.drain(..) {
            let mut paddr = segment.paddr;
            for piece in pages(segment.vaddr, segment.len) {
                // SAFETY: `share` made the segment of exactly these pieces, at addresses that follow each other.
                unsafe { H::unshare(paddr, piece, segment.direction) };
                paddr += piece.len() as PhysAddr;
            }
        }
    }
}
