//! FUSE_LOOKUP: finds a name in a directory and counts one lookup of the inode it leads to.

use crate::Error;
use crate::wire::entry::RawEntry;
use crate::wire::{Entry, Name, Opcode, Operation};

/// FUSE_LOOKUP of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) name: Name<'a>,
}

impl Operation for Lookup<'_> {
    const OPCODE: Opcode = Opcode(1);
    type Args = ();
    type Body = RawEntry;
    /// `None` is a negative entry: the name does not exist, and the server lets that be cached.
    type Reply = Option<Entry>;

    fn args(&self) {}

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }

    fn decode(body: RawEntry) -> Result<Option<Entry>, Error> {
        body.decode()
    }
}
