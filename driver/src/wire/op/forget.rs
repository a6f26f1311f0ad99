//! FUSE_FORGET: takes back lookups of one inode. Has no reply; goes on the high-priority queue.

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
    type Reply = ();

    fn args(&self) -> ForgetArgs {
        ForgetArgs { nlookup: self.nlookup }
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
            5, 0, 0, 0, 1, 0, 0, 0, // nlookup
        ];
        assert_eq!(golden::request(2, &Forget { nlookup: 0x1_0000_0005 }), golden);
    }
}
