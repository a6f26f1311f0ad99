//! Errors, by whose fault they are.

use core::fmt;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The answer is no: that of the server, which did what it should, or the driver's in its place, where it checks
    /// permissions and keeps mounts read-only.
    Refused(Errno),
    /// The device or the server broke the protocol. The text says which rule.
    Protocol(&'static str),
    /// The caller asked for something that has no meaning.
    Invalid(Errno),
    /// The device is lost, or was never there. The text says what happened.
    Device(&'static str),
    /// The kernel has no memory left for the driver.
    NoMemory,
}

impl Error {
    /// The error number to give to a program that expects POSIX.
    pub fn errno(self) -> Errno {
        match self {
            Self::Refused(errno) | Self::Invalid(errno) => errno,
            Self::Protocol(_) => Errno::EIO,
            Self::Device(_) => Errno::ENODEV,
            Self::NoMemory => Errno::ENOMEM,
        }
    }

    /// Whether the server has no room for more.
    pub(crate) fn is_no_space(self) -> bool {
        matches!(self, Self::Refused(Errno::ENOSPC | Errno::EDQUOT))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "{errno}"),
            Self::Protocol(rule) => write!(f, "the device broke the protocol: {rule}"),
            Self::Invalid(errno) => write!(f, "invalid call: {errno}"),
            Self::Device(what) => write!(f, "device: {what}"),
            Self::NoMemory => f.write_str("out of memory"),
        }
    }
}

impl core::error::Error for Error {}

/// A Linux error number, as FUSE carries it on every architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($number);)*

            /// The name and the meaning, for the error numbers that a file system answers with.
            fn describe(self) -> Option<(&'static str, &'static str)> {
                match self {
                    $(Self::$name => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such file or directory";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    ENXIO = 6, "no such device or address";
    E2BIG = 7, "too much at once";
    EBADF = 9, "bad file handle";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "permission denied";
    EBUSY = 16, "busy";
    EEXIST = 17, "file exists";
    EXDEV = 18, "on another file system";
    ENODEV = 19, "no such device";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "is a directory";
    EINVAL = 22, "invalid argument";
    ENFILE = 23, "too many open files in the system";
    EMFILE = 24, "too many open files";
    ENOTTY = 25, "not a terminal";
    ETXTBSY = 26, "text file busy";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left on device";
    ESPIPE = 29, "illegal seek";
    EROFS = 30, "read-only file system";
    EMLINK = 31, "too many links";
    ERANGE = 34, "result out of range";
    EDEADLK = 35, "would wait for ever";
    ENAMETOOLONG = 36, "file name too long";
    ENOLCK = 37, "no locks left";
    ENOSYS = 38, "operation not implemented";
    ENOTEMPTY = 39, "directory not empty";
    ELOOP = 40, "too many levels of symbolic links";
    ENODATA = 61, "no data available";
    EPROTO = 71, "protocol error";
    EOVERFLOW = 75, "value too large";
    EOPNOTSUPP = 95, "operation not supported";
    ETIMEDOUT = 110, "timed out";
    ESTALE = 116, "stale file handle";
    EDQUOT = 122, "disk quota exceeded";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe() {
            Some((name, text)) => write!(f, "{text} ({name})"),
            None => write!(f, "error number {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe() {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}
