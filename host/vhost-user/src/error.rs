//! Why a connection could not be made.

use crate::memory::MemoryError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why [`connect`](crate::connect) failed.
#[derive(Debug)]
pub enum ConnectError {
    /// There is no guest memory to give to the daemon.
    Memory(MemoryError),
    /// Nobody listens on the socket.
    Socket {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody listens, but does not speak vhost-user as expected.
    Handshake {
        /// The socket.
        path: PathBuf,
        /// The message that was not answered well.
        message: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// The daemon lacks something that this front end cannot do without.
    Unsupported {
        /// The socket.
        path: PathBuf,
        /// What is missing.
        missing: &'static str,
    },
    /// The caller's options have no meaning. The text says which rule they break.
    Options(&'static str),
    /// The kernel gives no descriptors or threads.
    Resources(io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Resources(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => write!(f, "{error}"),
            Self::Socket { path, source } => {
                write!(f, "no vhost-user daemon at {}: {source}", path.display())
            }
            Self::Handshake { path, message, reason } => {
                write!(
                    f,
                    "what listens at {} does not answer {message} as a vhost-user daemon does: {reason}",
                    path.display()
                )
            }
            Self::Unsupported { path, missing } => {
                write!(f, "the vhost-user daemon at {} does not offer {missing}", path.display())
            }
            Self::Options(rule) => write!(f, "{rule}"),
            Self::Resources(error) => write!(f, "out of resources of the system: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            Self::Socket { source, .. } | Self::Resources(source) => Some(source),
            _ => None,
        }
    }
}
