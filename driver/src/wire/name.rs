//! Names of directory entries and of extended attributes.

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

/// The name of an extended attribute with its namespace, such as `user.color`: 1 to 255 bytes without NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XattrName<'a>(&'a [u8]);

impl<'a> XattrName<'a> {
    /// The longest name, in bytes (Linux's `XATTR_NAME_MAX`).
    pub(crate) const MAX_BYTES: usize = 255;

    /// Checks a name that a caller gave. An empty or a long one is `ERANGE`, as on Linux.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [] => Err(Error::Invalid(Errno::ERANGE)),
            _ if bytes.len() > Self::MAX_BYTES => Err(Error::Invalid(Errno::ERANGE)),
            _ if bytes.contains(&0) => Err(Error::Invalid(Errno::EINVAL)),
            _ => Ok(Self(bytes)),
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_but_slash_and_nul_make_a_name() {
        for byte in 1..=u8::MAX {
            let is_name = byte != b'/' && byte != b'.';
            assert_eq!(Name::new(&[byte]).is_ok(), is_name, "{byte}");
            assert_eq!(Name::new(&[b'x', byte]).is_ok(), byte != b'/', "{byte}");
        }
        assert_eq!(Name::new(b"...").map(Name::bytes), Ok(&b"..."[..]));
    }

    #[test]
    fn a_name_that_no_directory_can_have_is_the_callers_mistake() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", b"\0"] {
            assert_eq!(Name::new(name), Err(Error::Invalid(Errno::EINVAL)), "{}", name.escape_ascii());
        }
        assert!(Name::new(&[b'x'; 255]).is_ok());
        assert_eq!(Name::new(&[b'x'; 256]), Err(Error::Invalid(Errno::ENAMETOOLONG)));
    }

    #[test]
    fn any_bytes_but_nul_make_the_name_of_an_extended_attribute() {
        for byte in 1..=u8::MAX {
            assert_eq!(XattrName::new(&[byte]).map(XattrName::bytes), Ok(&[byte][..]));
        }
        assert!(XattrName::new(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn an_extended_attributes_name_that_cannot_be_is_the_callers_mistake() {
        for name in [&b""[..], &[b'x'; 256]] {
            assert_eq!(XattrName::new(name), Err(Error::Invalid(Errno::ERANGE)), "{}", name.escape_ascii());
        }
        for name in [&b"user.a\0"[..], b"\0", b"a\0b"] {
            assert_eq!(XattrName::new(name), Err(Error::Invalid(Errno::EINVAL)), "{}", name.escape_ascii());
        }
    }
}
