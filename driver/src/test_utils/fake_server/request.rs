//! Requests as the fake server reads them: byte by byte, not through the structures that the driver writes them with.

use crate::Errno;
use alloc::format;
use alloc::string::String;

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is fine; the answer is no.
    Refused(Errno),
    /// The driver must not send such a request.
    Violation(String),
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

    /// A name and its NUL byte.
    pub(super) fn name(&mut self) -> Result<&'a [u8], Failure> {
        let Some(length) = self.0.iter().position(|&byte| byte == 0) else {
            return violation("a name does not end with a NUL byte");
        };
        let (name, rest) = self.0.split_at(length);
        // `rest` begins with the NUL byte that was found.
        self.0 = &rest[1..];
        match name {
            b"" => violation("a name is empty"),
            b"." | b".." => violation("a name is \".\" or \"..\""),
            _ if name.len() > 255 => violation(format!("a name has {} bytes", name.len())),
            _ if name.contains(&b'/') => violation("a name contains a slash"),
            _ => Ok(name),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { violation(format!("{} bytes follow the arguments", self.0.len())) }
    }
}
