//! FUSE_ACCESS: whether the caller may read, write or execute an inode.

use crate::wire::{Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{Immutable, IntoBytes};

/// FUSE_ACCESS of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckAccess {
    pub(crate) access: Access,
}

bitflags! {
    /// What somebody wants to do with an inode: the bits of `access`. Without any, it need only exist.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Executes a file or goes through a directory (`X_OK`).
        const EXECUTE = 1 << 0;
        /// Writes (`W_OK`).
        const WRITE = 1 << 1;
        /// Reads (`R_OK`).
        const READ = 1 << 2;
    }
}

/// `fuse_access_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct AccessArgs {
    mask: u32,
    padding: u32,
}

impl Operation for CheckAccess {
    const OPCODE: Opcode = Opcode(34);
    const OPTIONAL: bool = true;
    type Args = AccessArgs;
    type Reply = ();

    fn args(&self) -> AccessArgs {
        AccessArgs { mask: self.access.bits(), padding: 0 }
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
            5, 0, 0, 0,     // mask: R_OK, X_OK
            0, 0, 0, 0,     // padding
        ];
        assert_eq!(golden::request(34, &CheckAccess { access: Access::READ | Access::EXECUTE }), golden);
        let write = golden::request(34, &CheckAccess { access: Access::WRITE });
        assert_eq!(write, golden::patched(&golden, 0, &[2]));
    }
}
