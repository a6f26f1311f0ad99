//! FUSE_DESTROY: ends the session. The server closes every file and forgets every inode.

use crate::wire::{Opcode, Operation};

/// FUSE_DESTROY.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destroy;

impl Operation for Destroy {
    const OPCODE: Opcode = Opcode(38);
    type Args = ();
    type Reply = ();

    // libfuse and virtiofsd answer with nothing at all.
    const REPLY_MAY_BE_EMPTY: bool = true;

    fn args(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_no_arguments_and_may_have_no_reply() {
        assert!(golden::request(38, &Destroy).is_empty());
        const { assert!(Destroy::REPLY_MAY_BE_EMPTY) };
    }
}
