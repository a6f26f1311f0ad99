//! FUSE_FORGET: takes back lookups of one inode. Has no reply; goes on the high-priority queue.

use crate::Error;
use crate::wire::{Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_FORGET of `nlookup` lookups of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forget {
    pub(crate) nlookup: u64,
}

/// `fuse_forget_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ForgetArgs {
    nlookup: u64,
}

impl Operation for Forget {
    const OPCODE: Opcode = Opcode(2);
    type Args = ForgetArgs;
    type Body = ();
    type Reply = ();

    fn args(&self) -> ForgetArgs {
        ForgetArgs { nlookup: self.nlookup }
    }

    fn decode((): ()) -> Result<(), Error> {
        Ok(())
    }
}
