//! FUSE_BATCH_FORGET: takes back lookups of many inodes. Has no reply; goes on the high-priority queue.

use crate::wire::{Opcode, Operation};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_BATCH_FORGET; `count` entries of [`ForgetOne`] follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchForget {
    pub(crate) count: u32,
}

/// `fuse_batch_forget_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct BatchForgetArgs {
    count: u32,
    dummy: u32,
}

/// `fuse_forget_one`: an inode, and how many of its lookups are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ForgetOne {
    pub(crate) nodeid: u64,
    pub(crate) nlookup: u64,
}

impl Operation for BatchForget {
    const OPCODE: Opcode = Opcode(42);
    type Args = BatchForgetArgs;
    type Reply = ();

    fn args(&self) -> BatchForgetArgs {
        BatchForgetArgs { count: self.count, dummy: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            2, 0, 0, 0,     // count
            0, 0, 0, 0,     // dummy
        ];
        assert_eq!(golden::request(42, &BatchForget { count: 2 }), golden);
    }

    #[test]
    fn each_inode_in_the_payload_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            3, 0, 0, 0, 0, 0, 0, 1,     // nodeid
            4, 0, 0, 0, 1, 0, 0, 0,     // nlookup
        ];
        assert_eq!(ForgetOne { nodeid: 3 | 1 << 56, nlookup: 0x1_0000_0004 }.as_bytes(), golden);
    }
}
