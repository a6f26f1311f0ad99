//! The traits of `embedded-io` for files.

use super::{File, SeekFrom};
use crate::{Errno, Error};
use embedded_io::{ErrorKind, ErrorType, Read, Seek, Write};

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self.errno() {
            Errno::ENOENT => ErrorKind::NotFound,
            Errno::EEXIST => ErrorKind::AlreadyExists,
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

impl Write for File {
    fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        Self::write(self, data)
    }

    /// Nothing is kept back: what was written is the server's.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
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
