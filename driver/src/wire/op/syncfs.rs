//! FUSE_SYNCFS: makes everything that was written to a file system durable (minor 34).

use crate::wire::{Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_SYNCFS of the file system whose root the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syncfs;

/// `fuse_syncfs_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct SyncfsArgs {
    padding: u64,
}

impl Operation for Syncfs {
    const OPCODE: Opcode = Opcode(50);
    const SINCE_MINOR: u32 = 34;
    const OPTIONAL: bool = true;
    type Args = SyncfsArgs;
    type Reply = ();

    fn args(&self) -> SyncfsArgs {
        SyncfsArgs { padding: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_is_padding() {
        assert_eq!(golden::request(50, &Syncfs), [0; 8]);
    }
}
