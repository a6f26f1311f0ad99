//! The pages of a file, without a server: what a READ brings is handed in.

mod budget;
mod changing;
mod mapped;
mod model;
mod reading;

use super::*;
use crate::session::Filled;
use crate::test_utils::XorShift;
use crate::wire::{Attr, FileType};
use crate::{Errno, Error, Instant, Timestamp};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const PAGE: u64 = PAGE_BYTES as u64;
const NOW: Instant = Instant(Duration::ZERO);
const EIO: Error = Error::Refused(Errno::EIO);

/// Bytes of which no two frames are alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8 | 1).collect()
}

fn date(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: 0 }
}

/// What tells the content of so many bytes that was written then.
fn version(seconds: i64, size_bytes: usize) -> Version {
    Version::of(&Attr {
        ino: 1,
        file_type: FileType::Regular,
        permissions: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size_bytes: size_bytes as u64,
        blocks: 0,
        block_size_bytes: 4096,
        accessed: date(0),
        modified: date(seconds),
        changed: date(seconds),
        submount: false,
        dax: false,
    })
}

/// An open file and its pages; the server is a row of bytes.
struct File {
    data: Arc<FileData>,
    readahead: Readahead,
    transfer_bytes: usize,
    server: Vec<u8>,
    /// Where each READ began, and how many bytes it asked for.
    asked: Vec<(u64, usize)>,
}

impl File {
    fn new(pool: &Arc<Pool>, content: &[u8]) -> Self {
        Self {
            data: FileData::new(pool),
            readahead: Readahead::new(),
            transfer_bytes: 4 * PAGE_BYTES,
            server: content.to_vec(),
            asked: Vec::new(),
        }
    }

    /// A file of which the end is known, with a budget that is large enough.
    fn with_end(content: &[u8]) -> Self {
        let file = Self::new(&Arc::new(Pool::new(16 << 20)), content);
        file.data.learn_end(content.len() as u64, || true);
        file
    }

    /// Reads so many bytes; `after` sees what the server answers, and may change it.
    fn read_with(
        &mut self,
        offset: u64,
        bytes: usize,
        mut after: impl FnMut(&FileData, &mut Vec<u8>, &mut [&mut [u8]], Filled) -> Result<Filled, Error>,
    ) -> Result<Vec<u8>, Error> {
        let Self { data, readahead, transfer_bytes, server, asked } = self;
        let how = Reading { data, readahead, transfer_bytes: *transfer_bytes };
        let mut buffer = vec![0xee; bytes];
        let mut fetch = |at: u64, buffers: &mut [&mut [u8]]| {
            let room = buffers.iter().map(|buffer| buffer.len()).sum();
            asked.push((at, room));
            let mut rest = server.get(at as usize..).unwrap_or_default();
            let filled = Filled { bytes: rest.len().min(room), stopped: None };
            for buffer in buffers.iter_mut() {
                let (now, later) = rest.split_at(rest.len().min(buffer.len()));
                buffer[..now.len()].copy_from_slice(now);
                rest = later;
            }
            after(data, server, buffers, filled)
        };
        let bytes = read(&how, offset, &mut buffer, &mut fetch)?;
        buffer.truncate(bytes);
        Ok(buffer)
    }

    fn read(&mut self, offset: u64, bytes: usize) -> Vec<u8> {
        self.read_with(offset, bytes, |_, _, _, filled| Ok(filled)).unwrap()
    }

    /// The whole file, read at once.
    fn all(&mut self) -> Vec<u8> {
        self.read(0, self.server.len() + 10)
    }

    /// The READs since this was asked last.
    fn asked(&mut self) -> Vec<(u64, usize)> {
        core::mem::take(&mut self.asked)
    }

    /// What a reply to WRITE makes of the pages.
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let changing = self.data.begin_cut(u64::MAX);
        put(&mut self.server, offset, bytes);
        self.data.end_change(changing, &Change::Written(offset as u64, bytes), || true);
    }

    /// Writes into pages, as an open file does.
    fn write_later(&mut self, offset: Option<u64>, bytes: &[u8]) -> Result<u64, Need> {
        let mut spare = Vec::new();
        let mut last = Need::End;
        for _ in 0..16 {
            match self.data.write_pages(offset, bytes, &mut spare, NOW, date(7)) {
                Err(Need::End) => self.data.learn_end(self.server.len() as u64, || true),
                Err(Need::Read(index)) => {
                    last = Need::Read(index);
                    drop(self.read(index * PAGE, 1));
                }
                Err(Need::Pages(count)) => {
                    let missing = count - spare.len();
                    spare.extend((0..missing).filter_map(|_| Page::new(&self.data.pool, PAGE_BYTES)));
                    if spare.len() < count {
                        return Err(Need::Pages(count));
                    }
                }
                Err(Need::Server) => return Err(Need::Server),
                Ok(at) => return Ok(at),
            }
        }
        Err(last)
    }

    /// Writes dirty pages to the server.
    fn flush(&mut self) -> Vec<(u64, usize)> {
        let mut runs = Vec::new();
        let mut next = 0;
        while let Some(batch) = self.data.take_dirty(next, 2).unwrap() {
            next = batch.next_index();
            for run in batch.runs() {
                let bytes: Vec<u8> = run.iter().flat_map(Leaving::bytes).copied().collect();
                runs.push((run[0].offset(), bytes.len()));
                put(&mut self.server, run[0].offset() as usize, &bytes);
            }
            self.data.end_batch(batch, Ok(()), || true);
        }
        runs
    }
}

/// Writes into a row of bytes, which grows to what is written.
fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    to.resize(to.len().max(offset + bytes.len()), 0);
    to[offset..offset + bytes.len()].copy_from_slice(bytes);
}
