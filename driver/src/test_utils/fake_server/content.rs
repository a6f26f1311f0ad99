//! The bytes of a file, with its holes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// The size of a block, the unit in which holes are known.
pub(super) const BLOCK_BYTES: u64 = 4096;

type Block = Box<[u8]>;

/// The content of a regular file.
///
/// Bytes of a block behind the end of the file are zero.
#[derive(Clone, Default)]
pub(super) struct Content {
    len: u64,
    /// The blocks that take space; `None`: allocated and never written, which reads as zeros and counts as a hole.
    blocks: BTreeMap<u64, Option<Block>>,
}

/// The pieces of a range, block by block: the block, and the first and the last byte but one in it.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len);
    let blocks = if len == 0 { 0..0 } else { offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) };
    blocks.map(move |block| {
        let start = block * BLOCK_BYTES;
        let from = offset.saturating_sub(start);
        (block, from as usize, (end - start).min(BLOCK_BYTES) as usize)
    })
}

impl Content {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many blocks take space.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// Up to `size` bytes from `offset` on; fewer at the end.
    pub(super) fn read(&self, offset: u64, size: u64) -> Vec<u8> {
        let size = size.min(self.len.saturating_sub(offset));
        let mut bytes = Vec::with_capacity(size as usize);
        for (block, from, to) in pieces(offset, size) {
            match self.blocks.get(&block) {
                Some(Some(block)) => bytes.extend_from_slice(&block[from..to]),
                _ => bytes.resize(bytes.len() + to - from, 0),
            }
        }
        bytes
    }

    /// Writes, and grows to what is written.
    pub(super) fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        self.len = self.len.max(if bytes.is_empty() { 0 } else { offset + bytes.len() as u64 });
        for (block, from, to) in pieces(offset, bytes.len() as u64) {
            let block = self.blocks.entry(block).or_default();
            let block = block.get_or_insert_with(|| vec![0; BLOCK_BYTES as usize].into());
            let (piece, rest) = bytes.split_at(to - from);
            block[from..to].copy_from_slice(piece);
            bytes = rest;
        }
    }

    /// How many of `len` bytes from `offset` on can be given space, if there are `free` blocks.
    pub(super) fn fitting(&self, offset: u64, len: u64, free: u64) -> u64 {
        let mut missing = pieces(offset, len).filter(|(block, ..)| !self.blocks.contains_key(block));
        // More blocks than `usize` has numbers are free: all fits.
        match usize::try_from(free).ok().and_then(|free| missing.nth(free)) {
            Some((block, from, _)) => block * BLOCK_BYTES + from as u64 - offset,
            None => len,
        }
    }

    /// Cuts the file off, or lets it grow by a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, self.len - len);
            self.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
        }
        self.len = len;
    }

    /// Gives space to a range, which does not change what is read.
    pub(super) fn allocate(&mut self, offset: u64, len: u64) {
        for (block, ..) in pieces(offset, len) {
            self.blocks.entry(block).or_default();
        }
    }

    /// Makes a range read as zeros; whole blocks of it take no space any more.
    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        self.zero(offset, len);
        let (first, end) = (offset.div_ceil(BLOCK_BYTES), offset.saturating_add(len) / BLOCK_BYTES);
        self.blocks.retain(|&block, _| block < first || block >= end);
    }

    /// Makes a range read as zeros; what takes space goes on taking it.
    pub(super) fn zero(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        for (&number, block) in
            self.blocks.range_mut(offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES).max(offset / BLOCK_BYTES))
        {
            let start = number * BLOCK_BYTES;
            let (from, to) = (offset.saturating_sub(start) as usize, (end - start).min(BLOCK_BYTES) as usize);
            if from == 0 && to == BLOCK_BYTES as usize {
                *block = None;
            } else if let Some(block) = block {
                block[from..to].fill(0);
            }
        }
    }

    /// Takes whole blocks out; what follows moves up.
    pub(super) fn collapse(&mut self, offset: u64, len: u64) {
        let (first, count) = (offset / BLOCK_BYTES, len / BLOCK_BYTES);
        let mut after = self.blocks.split_off(&first);
        let after = after.split_off(&(first + count));
        self.blocks.extend(after.into_iter().map(|(number, block)| (number - count, block)));
        self.len -= len;
    }

    /// Puts a hole of whole blocks in; what follows moves down.
    pub(super) fn insert(&mut self, offset: u64, len: u64) {
        let after = self.blocks.split_off(&(offset / BLOCK_BYTES));
        self.blocks.extend(after.into_iter().map(|(number, block)| (number + len / BLOCK_BYTES, block)));
        self.len += len;
    }

    /// Where data begins at or behind `offset`.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let mut blocks = self.blocks.range(offset / BLOCK_BYTES..).filter(|(_, block)| block.is_some());
        let (&block, _) = blocks.next()?;
        Some(offset.max(block * BLOCK_BYTES)).filter(|&data| data < self.len)
    }

    /// Where a hole begins at or behind `offset`, which is in the file; the end counts as one.
    pub(super) fn next_hole(&self, offset: u64) -> u64 {
        let mut block = offset / BLOCK_BYTES;
        while matches!(self.blocks.get(&block), Some(Some(_))) {
            block += 1;
        }
        offset.max(block * BLOCK_BYTES).min(self.len)
    }
}
