//! FUSE messages as typed values: pure functions between values and bytes, without I/O, clock or lock.
//!
//! A request is a [`fuse_in_header`](InHeader), the operation's fixed arguments, its names (each ended by a NUL byte)
//! and, for a few operations, payload, at the end of which may be [extensions](extension). A reply is a
//! [`fuse_out_header`](OutHeader), a fixed body, and for a few operations data. Every operation is one file in `op/`
//! and implements [`Operation`]; numbers are in the byte order of the guest, which FUSE_INIT shows to the server
//! (VIRTIO 1.3 §5.11.6). Structures and numbers are those of `fuse.h` 7.45.

mod attr;
mod dirent;
mod entry;
pub(crate) mod extension;
#[cfg(test)]
mod golden;
mod header;
mod ids;
mod lock;
mod name;
mod op;

pub(crate) use attr::ValidAttr;
pub use attr::{Attr, FileType};
pub(crate) use dirent::DirentReader;
pub(crate) use entry::Entry;
pub(crate) use header::{InHeader, OutHeader};
pub use ids::NodeId;
pub(crate) use ids::{FileHandle, Opcode, Unique};
pub use lock::{Lock, LockKind, LockOwner};
pub(crate) use name::{Name, XattrName};
pub use op::access::Access;
pub use op::fallocate::AllocateFlags;
pub use op::init::InitFlags;
pub use op::open::OpenFlags;
pub use op::rename2::RenameFlags;
pub use op::setattr::{SetAttr, SetTime};
pub use op::setxattr::XattrFlags;
pub use op::statfs::StatFs;
pub(crate) use op::*;
#[cfg(test)]
pub(crate) use {attr::RawAttr, entry::RawEntry};

use crate::Error;
use op::init::OLDEST_MINOR;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One FUSE operation: how its request is written and its reply is read.
pub(crate) trait Operation {
    /// The operation's number.
    const OPCODE: Opcode;

    /// The fixed arguments behind `fuse_in_header`; `()` if there are none.
    type Args: IntoBytes + Immutable;

    /// What the reply's fixed body means; `()` if there is none.
    type Reply: FromBody;

    /// The first minor version that has the operation.
    const SINCE_MINOR: u32 = OLDEST_MINOR;

    /// Servers may lack the operation: what one request is answered with `ENOSYS` is true of all.
    const OPTIONAL: bool = false;

    /// The operation may take space on the server, and is harmless to repeat when there was none.
    const TAKES_SPACE: bool = false;

    /// The reply may take as long as other users of the file please.
    const WAITS_FOR_OTHERS: bool = false;

    /// The server may give the request back without a reply, which then means success.
    const REPLY_MAY_BE_EMPTY: bool = false;

    /// The fixed arguments.
    fn args(&self) -> Self::Args;

    /// The names that follow the fixed arguments, in order; empty ones are not sent.
    fn names(&self) -> [&[u8]; 2] {
        [&[], &[]]
    }
}

/// The meaning of a reply's fixed body.
pub(crate) trait FromBody: Sized {
    /// The body as it lies in memory. A reply with another length is refused.
    type Body: FromBytes;

    /// Checks the body and gives its meaning.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if a field has a value that the protocol does not allow.
    fn decode(body: Self::Body) -> Result<Self, Error>;

    /// The length of the body.
    const BYTES: usize = size_of::<Self::Body>();

    /// As [`Self::decode`], from bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let body = Self::Body::read_from_bytes(bytes).map_err(|_| Error::Protocol("a reply is cut short"))?;
        Self::decode(body)
    }
}

impl FromBody for () {
    type Body = ();

    fn decode((): ()) -> Result<(), Error> {
        Ok(())
    }
}
