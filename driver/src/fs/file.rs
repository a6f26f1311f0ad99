//! Open files with a position.

use super::Metadata;
use crate::vnode::{Access, AllocateFlags, Durability, LockKind, Mapping, OpenFile, OpenFlags, SetAttr, SetTime, Wait};
use crate::{Errno, Error};
use alloc::vec::Vec;
use core::ops::Range;

/// An open file, as `std::fs::File`. Closed when dropped; [`Self::close`] tells of errors, too.
#[derive(Debug)]
pub struct File {
    file: OpenFile,
    /// `None` behind what was appended, wherever that is.
    position: Option<u64>,
}

/// Times to set; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTimes {
    /// Last access.
    pub accessed: Option<SetTime>,
    /// Last change of the content.
    pub modified: Option<SetTime>,
}

impl From<FileTimes> for SetAttr {
    fn from(FileTimes { accessed, modified }: FileTimes) -> Self {
        Self { accessed, modified, ..Self::default() }
    }
}

/// Where a seek goes to, as `std::io::SeekFrom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// So many bytes from the start.
    Start(u64),
    /// So many bytes from the end.
    End(i64),
    /// So many bytes from the position.
    Current(i64),
}

/// How much a file of unknown size is read at first, in bytes.
const UNKNOWN_SIZE_STEP_BYTES: usize = 64 << 10;
/// How much of a file's size is believed before any of its bytes came: enough that many requests are in flight.
const BELIEVED_SIZE_BYTES: usize = 16 << 20;

impl File {
    pub(super) fn new(file: OpenFile) -> Self {
        Self { file, position: Some(0) }
    }

    /// Reads from the position on, and moves it. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_at`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let position = self.position()?;
        let bytes = self.read_at(position, buffer)?;
        self.position = Some(position + bytes as u64);
        Ok(bytes)
    }

    /// Where the next read or write is, unless that is appended.
    fn position(&mut self) -> Result<u64, Error> {
        let position = match self.position {
            Some(position) => position,
            None => self.metadata()?.len(),
        };
        self.position = Some(position);
        Ok(position)
    }

    /// Writes at the position, or at the end if the file is open for appending, and moves the position behind it. Gives
    /// the number of bytes written.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write_at`].
    pub fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        if self.file.flags().contains(OpenFlags::APPEND) {
            let bytes = self.write_at(0, data)?;
            if bytes > 0 {
                self.position = None;
            }
            return Ok(bytes);
        }
        let position = self.position()?;
        let bytes = self.write_at(position, data)?;
        self.position = Some(position + bytes as u64);
        Ok(bytes)
    }

    /// Writes from byte `offset` on, or at the end if the file is open for appending. Gives the number of bytes written:
    /// see [`OpenFile::write_at`].
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for writing; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1; `ENOSPC`,
    /// `EFBIG`, `EDQUOT` and others from the server.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize, Error> {
        self.file.write_at(offset, data)
    }

    /// Writes all of `data` at the position.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write_at`]. The position tells how much was written then; see there for what lies behind it.
    pub fn write_all(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let bytes = self.write(data)?;
            data = &data[bytes..];
        }
        Ok(())
    }

    /// Writes all of `data` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write_at`]. Some of `data` is written then.
    pub fn write_all_at(&self, mut offset: u64, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let bytes = self.write_at(offset, data)?;
            offset += bytes as u64;
            data = &data[bytes..];
        }
        Ok(())
    }

    /// Reads from byte `offset` on. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// # Errors
    ///
    /// The server's; `EINVAL` if `offset` is beyond the largest, 2⁶³ − 1.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.file.read_at(offset, buffer)
    }

    /// Moves the position and gives it, in bytes from the start. It may lie behind the end.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a position before the start or beyond the largest offset; for [`SeekFrom::End`] the server's.
    pub fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position()?.checked_add_signed(offset),
        };
        let position = position.filter(|&at| at <= i64::MAX as u64).ok_or(Error::Invalid(Errno::EINVAL))?;
        self.position = Some(position);
        Ok(position)
    }

    /// The file's metadata.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Ok(Metadata::new(self.file.getattr()?, self.file.node().device()))
    }

    /// Cuts the file off behind `size_bytes`, or fills it up with zeroes. The position stays.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file is not open for writing, or for a size beyond the largest offset; `EFBIG`; the server's.
    pub fn set_len(&self, size_bytes: u64) -> Result<(), Error> {
        self.change(SetAttr { size_bytes: Some(size_bytes), ..SetAttr::default() })
    }

    /// Sets permission bits with set-user-id, set-group-id and sticky.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EROFS`; the server's.
    pub fn set_permissions(&self, permissions: u16) -> Result<(), Error> {
        self.change(SetAttr { permissions: Some(permissions), ..SetAttr::default() })
    }

    /// Sets the times of the last access and the last change of the content.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EACCES`, `EROFS`; the server's.
    pub fn set_times(&self, times: FileTimes) -> Result<(), Error> {
        self.change(times.into())
    }

    fn change(&self, changes: SetAttr) -> Result<(), Error> {
        self.file.setattr(&changes).map(drop)
    }

    /// Waits until the content and the metadata are durable.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.file.fsync(Durability::All)
    }

    /// Waits until the content is durable.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn sync_data(&self) -> Result<(), Error> {
        self.file.fsync(Durability::Data)
    }

    /// Locks the file for this handle alone (`flock`), and waits as long as others have it.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::flock`]: `EOPNOTSUPP` if the server keeps no such locks, or lets nobody wait for them.
    pub fn lock(&self) -> Result<(), Error> {
        self.file.flock(LockKind::Write, Wait::Yes)
    }

    /// Locks the file for this handle and others that share it, and waits as long as another has it alone.
    ///
    /// # Errors
    ///
    /// Those of [`Self::lock`].
    pub fn lock_shared(&self) -> Result<(), Error> {
        self.file.flock(LockKind::Read, Wait::Yes)
    }

    /// As [`Self::lock`], but does not wait.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if others have it; those of [`Self::lock`].
    pub fn try_lock(&self) -> Result<(), Error> {
        self.file.flock(LockKind::Write, Wait::No)
    }

    /// As [`Self::lock_shared`], but does not wait.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if another has it alone; those of [`Self::lock`].
    pub fn try_lock_shared(&self) -> Result<(), Error> {
        self.file.flock(LockKind::Read, Wait::No)
    }

    /// Gives the lock of this handle up.
    ///
    /// # Errors
    ///
    /// Those of [`Self::lock`].
    pub fn unlock(&self) -> Result<(), Error> {
        self.file.flock(LockKind::Unlock, Wait::No)
    }

    /// Copies up to `length` bytes to another file: see [`OpenFile::copy_range`]. The positions stay.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::copy_range`].
    pub fn copy_range(&self, offset: u64, to: &Self, to_offset: u64, length: u64) -> Result<u64, Error> {
        self.file.copy_range(offset, &to.file, to_offset, length)
    }

    /// Maps a range of this file into the DAX window: see [`OpenFile::map`].
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::map`].
    pub fn map(&self, range: Range<u64>, access: Access) -> Result<Mapping, Error> {
        self.file.map(range, access)
    }

    /// Allocates space, or frees or zeroes it: see [`OpenFile::allocate`].
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::allocate`].
    pub fn allocate(&self, offset: u64, length: u64, flags: AllocateFlags) -> Result<(), Error> {
        self.file.allocate(offset, length, flags)
    }

    /// The first byte at `offset` or behind it that is no hole. The position stays.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is none before the end of the file.
    pub fn seek_data(&self, offset: u64) -> Result<u64, Error> {
        self.file.seek_data(offset)
    }

    /// The first byte at `offset` or behind it that is in a hole; there is one at the end of the file. The position
    /// stays.
    ///
    /// # Errors
    ///
    /// `ENXIO` if `offset` is at the end of the file or behind it.
    pub fn seek_hole(&self, offset: u64) -> Result<u64, Error> {
        self.file.seek_hole(offset)
    }

    /// Closes the file.
    ///
    /// # Errors
    ///
    /// Those of earlier writes, if the server tells them now. The file is closed all the same.
    pub fn close(self) -> Result<(), Error> {
        self.file.close()
    }

    /// The open file without the position: the way into the inode-level API.
    pub fn as_open_file(&self) -> &OpenFile {
        &self.file
    }

    /// Reads the whole file: `size_bytes`, as its attributes say, or up to its end if they say 0, as for the files of
    /// `/proc`.
    pub(super) fn read_all(&self, size_bytes: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(size_bytes).map_err(|_| Error::NoMemory)?;
        let mut content = Vec::new();
        loop {
            let filled = content.len();
            // Room grows by doubling at most: a size that lies costs no more than the first step.
            let step = match size {
                0 => UNKNOWN_SIZE_STEP_BYTES.max(filled),
                _ => (size - filled).min(BELIEVED_SIZE_BYTES.max(filled)),
            };
            content.try_reserve_exact(step).map_err(|_| Error::NoMemory)?;
            content.resize(filled + step, 0);
            let bytes = self.read_at(filled as u64, &mut content[filled..])?;
            content.truncate(filled + bytes);
            // A short read before the size is the end of a file that shrank, or an error that comes up when asked
            // again.
            if bytes == 0 || content.len() == size {
                return Ok(content);
            }
        }
    }
}
