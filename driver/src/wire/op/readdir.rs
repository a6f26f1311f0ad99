//! FUSE_READDIR: lists a directory.

use crate::Error;
use crate::wire::{FileHandle, Opcode, Operation, ReadArgs};

/// FUSE_READDIR of an open directory; entries (a sequence of `fuse_dirent`) come as data, none at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readdir {
    pub(crate) fh: FileHandle,
    /// Where to go on: the cookie of the last entry seen, 0 at first.
    pub(crate) cookie: u64,
    /// The most bytes of entries that the reply may carry.
    pub(crate) size_bytes: u32,
}

impl Operation for Readdir {
    const OPCODE: Opcode = Opcode(28);
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
