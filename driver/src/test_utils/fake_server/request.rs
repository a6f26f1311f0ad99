//! Requests as the fake server reads them: byte by byte, not through the structures that the driver writes them with.

use crate::{Errno, FileType, Timestamp};
use alloc::format;
use alloc::string::String;

/// On whose behalf a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process.
    pub pid: u32,
}

/// `fuse_in_header`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) nodeid: u64,
    pub(super) caller: Caller,
    /// The length of the extensions at the end of the request, in units of 8 bytes.
    pub(super) total_extlen: u16,
    pub(super) padding: u16,
}

impl Header {
    /// The header of a request, and what follows it.
    pub(super) fn read(request: &[u8]) -> Result<(Self, &[u8]), Failure> {
        let mut args = Args(request);
        let header = Self {
            len: args.u32()?,
            opcode: args.u32()?,
            unique: args.u64()?,
            nodeid: args.u64()?,
            caller: Caller { uid: args.u32()?, gid: args.u32()?, pid: args.u32()? },
            total_extlen: args.u16()?,
            padding: args.u16()?,
        };
        Ok((header, args.0))
    }
}

/// Why a request is not answered with success.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is fine; the answer is no.
    Refused(Errno),
    /// The driver must not send such a request.
    Violation(String),
    /// The answer comes later.
    Waits,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

/// A failure by the driver's fault.
pub(super) fn violation<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Violation(what.into()))
}

/// The type in the upper bits of a mode; `None` for one that does not exist.
pub(super) fn file_type(mode: u32) -> Option<FileType> {
    Some(match mode >> 12 {
        1 => FileType::Fifo,
        2 => FileType::CharDevice,
        4 => FileType::Directory,
        6 => FileType::BlockDevice,
        8 => FileType::Regular,
        10 => FileType::Symlink,
        12 => FileType::Socket,
        _ => return None,
    })
}

/// A time as SETATTR carries it.
pub(super) fn timestamp(seconds: u64, nanoseconds: u32) -> Result<Timestamp, Failure> {
    match nanoseconds {
        0..=999_999_999 => Ok(Timestamp { seconds: seconds as i64, nanoseconds }),
        _ => violation(format!("a time has {nanoseconds} nanoseconds")),
    }
}

/// What is left to read of the bytes behind a request's header.
pub(super) struct Args<'a>(pub(super) &'a [u8]);

impl<'a> Args<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        match self.0.split_first_chunk::<N>() {
            Some((&bytes, rest)) => {
                self.0 = rest;
                Ok(bytes)
            }
            None => violation("the arguments are cut short"),
        }
    }

    pub(super) fn u16(&mut self) -> Result<u16, Failure> {
        self.take().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        self.take().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Failure> {
        self.take().map(u64::from_ne_bytes)
    }

    /// Bytes that have to be zero.
    pub(super) fn zeros<const N: usize>(&mut self) -> Result<(), Failure> {
        if self.take::<N>()? == [0; N] { Ok(()) } else { violation("a reserved argument is not zero") }
    }

    /// `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        match self.0.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.0 = rest;
                Ok(bytes)
            }
            None => violation("the arguments are cut short"),
        }
    }

    /// A text and its NUL byte.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Failure> {
        let Some(length) = self.0.iter().position(|&byte| byte == 0) else {
            return violation("a name does not end with a NUL byte");
        };
        let (text, rest) = self.0.split_at(length);
        // `rest` begins with the NUL byte that was found.
        self.0 = &rest[1..];
        Ok(text)
    }

    /// The name of a directory entry and its NUL byte.
    pub(super) fn name(&mut self) -> Result<&'a [u8], Failure> {
        match self.text()? {
            b"" => violation("a name is empty"),
            b"." | b".." => violation("a name is \".\" or \"..\""),
            name if name.len() > 255 => violation(format!("a name has {} bytes", name.len())),
            name if name.contains(&b'/') => violation("a name contains a slash"),
            name => Ok(name),
        }
    }

    /// The name of an extended attribute and its NUL byte.
    pub(super) fn xattr_name(&mut self) -> Result<&'a [u8], Failure> {
        match self.text()? {
            b"" => violation("the name of an extended attribute is empty"),
            name if name.len() > 255 => violation(format!("the name of an extended attribute has {}", name.len())),
            name => Ok(name),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { violation(format!("{} bytes follow the arguments", self.0.len())) }
    }
}
