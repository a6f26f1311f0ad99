//! Ranges of open files: allocating, copying, and finding holes.

use super::OpenFile;
use super::node::{supported, unless_lacking, zeroed};
use crate::data::Change;
use crate::wire::{
    Access, AllocateFlags, Copied, CopyFileRange, CopyFileRange64, CopyRange, Fallocate, Found, Lseek, OpenFlags,
    Whence, Written,
};
use crate::{Errno, Error};
use alloc::sync::Arc;

/// The most that is asked for in one COPY_FILE_RANGE, whose reply has 32 bits: whole pages.
const COPY_MAX_BYTES: u64 = 0xffff_f000;

impl OpenFile {
    /// Allocates space, or by `flags` frees or zeroes it, from byte `offset` on.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for writing; `EINVAL` for no bytes; `EFBIG` beyond the largest offset;
    /// `EOPNOTSUPP` if the server, or the host's file system, cannot do it; `ENOSPC`.
    pub fn allocate(&self, offset: u64, length: u64, flags: AllocateFlags) -> Result<(), Error> {
        if length == 0 || offset > i64::MAX as u64 || length > i64::MAX as u64 {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        self.expect(Access::WRITE)?;
        if offset + length > i64::MAX as u64 {
            return Err(Error::Invalid(Errno::EFBIG));
        }
        self.note_change()?;
        let fh = self.handle()?.fh();
        self.node.write_back();
        let ask = || self.node.call(&Fallocate { fh, offset, length, flags });
        // These move what is behind the range.
        let moves = flags.intersects(AllocateFlags::COLLAPSE_RANGE | AllocateFlags::INSERT_RANGE);
        let (cut, end) = if moves { (offset, u64::MAX) } else { (u64::MAX, offset + length) };
        supported(self.node.change_content(cut, ask, |()| Some(1), |_, _| Change::Unknown(offset..end)))
    }

    /// Copies up to `length` bytes from byte `offset` of this file to byte `to_offset` of another. Gives the number of
    /// bytes copied; 0 means that this file ends here.
    ///
    /// The server does it if it can, without the bytes passing through here; else the driver reads and writes, one
    /// transfer at a time.
    ///
    /// # Errors
    ///
    /// `EBADF` if this file is not open for reading, or the other not for writing, or for appending; `EINVAL` for ranges
    /// of one file that overlap, and for an offset beyond the largest; those of writing.
    pub fn copy_range(&self, offset: u64, to: &Self, to_offset: u64, length: u64) -> Result<u64, Error> {
        self.expect(Access::READ)?;
        to.expect(Access::WRITE)?;
        if to.flags().contains(OpenFlags::APPEND) {
            return Err(Error::Invalid(Errno::EBADF));
        }
        let room = |from: u64| (i64::MAX as u64).checked_sub(from).ok_or(Error::Invalid(Errno::EINVAL));
        let room = match (room(offset)?, room(to_offset)?) {
            (_, 0) if length > 0 => return Err(Error::Invalid(Errno::EFBIG)),
            (from, to) => from.min(to),
        };
        let one_mount = Arc::ptr_eq(self.node.superblock(), to.node.superblock());
        let one_file = one_mount && self.node.nodeid() == to.node.nodeid();
        let overlap = |length: u64| offset < to_offset + length && to_offset < offset + length;
        let mut length = length.min(room);
        if one_file && overlap(length) {
            // Where the file ends, the copy does.
            length = length.min(self.getattr()?.size_bytes.saturating_sub(offset));
            if overlap(length) {
                return Err(Error::Invalid(Errno::EINVAL));
            }
        }
        if length == 0 {
            return Ok(0);
        }
        to.note_change()?;
        if one_mount {
            let copied = self.copy_in_server(offset, to, to_offset, length);
            to.node.inode().note_change();
            match copied {
                Err(Error::Refused(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EXDEV)) => {}
                result => return result,
            }
        }
        self.copy_by_hand(offset, to, to_offset, length)
    }

    fn copy_in_server(&self, offset: u64, to: &Self, to_offset: u64, length: u64) -> Result<u64, Error> {
        let (fh, to_nodeid, to_fh) = (self.handle()?.fh(), to.node.nodeid(), to.handle()?.fh());
        self.node.write_back();
        to.node.write_back();
        let ask = || self.ask_to_copy(CopyRange { fh, offset, to_nodeid, to_fh, to_offset, length });
        let change = Change::Unknown(to_offset..to_offset + length);
        to.node.change_content(u64::MAX, ask, |_| Some(1), |_, _| change)
    }

    fn ask_to_copy(&self, range: CopyRange) -> Result<u64, Error> {
        let length = range.length;
        let copied = match unless_lacking(self.node.call(&CopyFileRange64(range)))? {
            Some(Copied(bytes)) => bytes,
            None => {
                let range = CopyRange { length: length.min(COPY_MAX_BYTES), ..range };
                let Written(bytes) = self.node.call(&CopyFileRange(range))?;
                bytes.into()
            }
        };
        if copied > length { Err(Error::Protocol("more was copied than asked for")) } else { Ok(copied) }
    }

    fn copy_by_hand(&self, offset: u64, to: &Self, to_offset: u64, length: u64) -> Result<u64, Error> {
        let room = self.node.session().negotiated().max_transfer_bytes;
        let mut buffer = zeroed(usize::try_from(length).unwrap_or(room).min(room))?;
        let bytes = self.read_at(offset, &mut buffer)?;
        to.write_at(to_offset, &buffer[..bytes]).map(|written| written as u64)
    }

    /// The first byte at `offset` or behind it that is no hole (`SEEK_DATA`).
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is none before the end of the file.
    pub fn seek_data(&self, offset: u64) -> Result<u64, Error> {
        self.lseek(offset, Whence::Data)
    }

    /// The first byte at `offset` or behind it that is in a hole (`SEEK_HOLE`); there is one at the end of the file.
    ///
    /// # Errors
    ///
    /// `ENXIO` if `offset` is at the end of the file or behind it.
    pub fn seek_hole(&self, offset: u64) -> Result<u64, Error> {
        self.lseek(offset, Whence::Hole)
    }

    fn lseek(&self, offset: u64, whence: Whence) -> Result<u64, Error> {
        if offset > i64::MAX as u64 {
            return Err(Error::Invalid(Errno::ENXIO));
        }
        self.node.write_back();
        match unless_lacking(self.node.call(&Lseek { fh: self.handle()?.fh(), offset, whence }))? {
            Some(Found(place)) if place < offset => Err(Error::Protocol("a seek leads back")),
            Some(Found(place)) => Ok(place),
            // All of it is data, then.
            None => {
                let size = self.getattr()?.size_bytes;
                match whence {
                    _ if offset >= size => Err(Error::Invalid(Errno::ENXIO)),
                    Whence::Data => Ok(offset),
                    Whence::Hole => Ok(size),
                }
            }
        }
    }
}
