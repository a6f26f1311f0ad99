//! FUSE_RELEASEDIR: closes a directory.

use super::release::ReleaseArgs;
use crate::Error;
use crate::wire::{FileHandle, Opcode, Operation};

/// FUSE_RELEASEDIR of an open directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Releasedir {
    pub(crate) fh: FileHandle,
    /// The `O_` flags the directory was opened with.
    pub(crate) flags: u32,
}

impl Operation for Releasedir {
    const OPCODE: Opcode = Opcode(29);
    type Args = ReleaseArgs;
    type Body = ();
    type Reply = ();

    fn args(&self) -> ReleaseArgs {
        ReleaseArgs::new(self.fh, self.flags)
    }

    fn decode((): ()) -> Result<(), Error> {
        Ok(())
    }
}
