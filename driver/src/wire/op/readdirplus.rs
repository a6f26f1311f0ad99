//! FUSE_READDIRPLUS: lists a directory with the attributes of every inode, and counts one lookup of each.

use crate::Error;
use crate::wire::{FileHandle, Opcode, Operation, ReadArgs};

/// FUSE_READDIRPLUS of an open directory; entries (a sequence of `fuse_direntplus`) come as data, none at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readdirplus {
    pub(crate) fh: FileHandle,
    /// Where to go on: the cookie of the last entry seen, 0 at first.
    pub(crate) cookie: u64,
    /// The most bytes of entries that the reply may carry.
    pub(crate) size_bytes: u32,
}

impl Operation for Readdirplus {
    const OPCODE: Opcode = Opcode(44);
    type Args = ReadArgs;
    type Body = ();
    type Reply = ();

    fn args(&self) -> ReadArgs {
        ReadArgs::new(self.fh, self.cookie, self.size_bytes, 0)
    }

    fn decode((): ()) -> Result<(), Error> {
        Ok(())
    }
}
