//! FUSE_GETATTR: the attributes of an inode.

use crate::Error;
use crate::wire::attr::RawAttr;
use crate::wire::{Attr, FileHandle, Opcode, Operation};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_GETATTR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Getattr {
    /// An open file of the inode, if there is one: the server may answer for a file that has no name any more.
    pub(crate) fh: Option<FileHandle>,
}

/// `fuse_getattr_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct GetattrArgs {
    getattr_flags: u32,
    dummy: u32,
    fh: u64,
}

/// `fuse_attr_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct GetattrBody {
    attr_valid: u64,
    attr_valid_nsec: u32,
    dummy: u32,
    attr: RawAttr,
}

/// `FUSE_GETATTR_FH`: `fh` is set.
const FH: u32 = 1;

impl Operation for Getattr {
    const OPCODE: Opcode = Opcode(3);
    type Args = GetattrArgs;
    type Body = GetattrBody;
    type Reply = Attr;

    fn args(&self) -> GetattrArgs {
        match self.fh {
            Some(FileHandle(fh)) => GetattrArgs { getattr_flags: FH, dummy: 0, fh },
            None => GetattrArgs { getattr_flags: 0, dummy: 0, fh: 0 },
        }
    }

    fn decode(body: GetattrBody) -> Result<Attr, Error> {
        body.attr.decode()
    }
}
