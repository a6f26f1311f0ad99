//! Names of directory entries.

use crate::{Errno, Error};

/// One component of a path: 1 to 255 bytes of any encoding without `/` and NUL, neither `.` nor `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The longest name, in bytes (`FUSE_NAME_MAX` is larger, but no server has longer ones).
    pub(crate) const MAX_BYTES: usize = 255;

    /// Checks a name that a caller gave.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [] | b"." | b".." => Err(Error::Invalid(Errno::EINVAL)),
            _ if bytes.len() > Self::MAX_BYTES => Err(Error::Invalid(Errno::ENAMETOOLONG)),
            _ if bytes.iter().any(|&byte| byte == b'/' || byte == 0) => Err(Error::Invalid(Errno::EINVAL)),
            _ => Ok(Self(bytes)),
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }
}
