//! FUSE_READLINK: the target of a symbolic link.

use crate::wire::{Opcode, Operation};

/// FUSE_READLINK of the inode that the request names; the target comes as data, without a NUL byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readlink;

impl Readlink {
    /// The longest target, in bytes (Linux's `PATH_MAX` without the NUL byte).
    pub(crate) const MAX_BYTES: usize = 4095;
}

impl Operation for Readlink {
    const OPCODE: Opcode = Opcode(5);
    type Args = ();
    type Reply = ();

    fn args(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_no_arguments() {
        assert!(golden::request(5, &Readlink).is_empty());
    }
}
