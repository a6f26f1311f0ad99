//! Why a command failed.

use crate::commands::CommandInfo;
use crate::{FAILURE, MISUSE, text};
use alloc::vec::Vec;
use core::fmt;
use virtio_fs::Error;

/// How a command ended.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    /// Something could not be done to this path.
    At(Vec<u8>, Error),
    /// The arguments make no sense.
    Usage,
    /// The same, of this command.
    UsageOf(&'static CommandInfo),
    /// What was said makes no sense, for this reason.
    Misuse(&'static str),
    /// All was said already.
    Reported,
    /// Nothing is to be said, but this is the status.
    Status(u8),
}

impl Failure {
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::At(..) | Self::Reported => FAILURE,
            Self::Status(status) => *status,
            Self::Usage | Self::UsageOf(_) | Self::Misuse(_) => MISUSE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path, error) => {
                let path = text::name(path);
                match error {
                    Error::Refused(errno) | Error::Invalid(errno) => write!(f, "{path}: {errno}"),
                    // What a POSIX program would be told, too.
                    error => write!(f, "{path}: {error} ({:?})", error.errno()),
                }
            }
            Self::Usage => f.write_str("wrong arguments"),
            Self::UsageOf(command) => write!(f, "usage: {} {}", command.name, command.arguments),
            Self::Misuse(reason) => f.write_str(reason),
            Self::Reported | Self::Status(_) => Ok(()),
        }
    }
}

/// Says at what something failed.
pub(crate) trait At<T> {
    fn at(self, path: &[u8]) -> Outcome<T>;
}

impl<T> At<T> for Result<T, Error> {
    fn at(self, path: &[u8]) -> Outcome<T> {
        self.map_err(|error| Failure::At(path.to_vec(), error))
    }
}
