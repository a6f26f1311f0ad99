//! Open files with a position.

use super::Metadata;
use crate::vnode::OpenFile;
use crate::{Errno, Error};
use alloc::vec::Vec;

/// A file open for reading, as `std::fs::File`. Closed when dropped.
#[derive(Debug)]
pub struct File {
    file: OpenFile,
    position: u64,
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
        Self { file, position: 0 }
    }

    /// Reads from the position on, and moves it. Gives the number of bytes read; 0 means the end of the file.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_at`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let bytes = self.read_at(self.position, buffer)?;
        self.position += bytes as u64;
        Ok(bytes)
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
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.filter(|&at| at <= i64::MAX as u64).ok_or(Error::Invalid(Errno::EINVAL))?;
        Ok(self.position)
    }

    /// The file's metadata.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        self.file.getattr().map(Metadata::new)
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

#[cfg(feature = "embedded-io")]
mod embedded {
    use super::{File, SeekFrom};
    use crate::{Errno, Error};
    use embedded_io::{ErrorKind, ErrorType, Read, Seek};

    impl embedded_io::Error for Error {
        fn kind(&self) -> ErrorKind {
            match self.errno() {
                Errno::ENOENT => ErrorKind::NotFound,
                Errno::EPERM | Errno::EACCES => ErrorKind::PermissionDenied,
                Errno::EINVAL => ErrorKind::InvalidInput,
                Errno::EINTR => ErrorKind::Interrupted,
                Errno::ENOMEM => ErrorKind::OutOfMemory,
                Errno::ETIMEDOUT => ErrorKind::TimedOut,
                Errno::EOPNOTSUPP | Errno::ENOSYS => ErrorKind::Unsupported,
                _ => ErrorKind::Other,
            }
        }
    }

    impl ErrorType for File {
        type Error = Error;
    }

    impl Read for File {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
            Self::read(self, buffer)
        }
    }

    impl Seek for File {
        fn seek(&mut self, to: embedded_io::SeekFrom) -> Result<u64, Error> {
            Self::seek(
                self,
                match to {
                    embedded_io::SeekFrom::Start(offset) => SeekFrom::Start(offset),
                    embedded_io::SeekFrom::End(offset) => SeekFrom::End(offset),
                    embedded_io::SeekFrom::Current(offset) => SeekFrom::Current(offset),
                },
            )
        }
    }
}
