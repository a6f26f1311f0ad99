//! FUSE_OPENDIR: opens a directory for listing.

use super::open::{OpenArgs, OpenBody};
use crate::Error;
use crate::wire::{Opcode, Opened, Operation};

/// FUSE_OPENDIR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opendir {
    /// Linux's `O_` flags.
    pub(crate) flags: u32,
}

impl Operation for Opendir {
    const OPCODE: Opcode = Opcode(27);
    type Args = OpenArgs;
    type Body = OpenBody;
    type Reply = Opened;

    fn args(&self) -> OpenArgs {
        OpenArgs { flags: self.flags, open_flags: 0 }
    }

    fn decode(body: OpenBody) -> Result<Opened, Error> {
        Ok(body.decode())
    }
}
