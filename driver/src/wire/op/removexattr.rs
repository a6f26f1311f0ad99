//! FUSE_REMOVEXATTR: removes an extended attribute.

use crate::wire::{Opcode, Operation, XattrName};

/// FUSE_REMOVEXATTR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removexattr<'a> {
    pub(crate) name: XattrName<'a>,
}

impl Operation for Removexattr<'_> {
    const OPCODE: Opcode = Opcode(24);
    const OPTIONAL: bool = true;
    type Args = ();
    type Reply = ();

    fn args(&self) {}

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_is_the_name_and_its_nul() {
        let name = XattrName::new(b"user.a/b").unwrap();
        assert_eq!(golden::request(24, &Removexattr { name }), b"user.a/b\0");
    }
}
