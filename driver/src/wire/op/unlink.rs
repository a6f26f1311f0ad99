//! FUSE_UNLINK: removes a name that is no directory's.

use crate::wire::{Name, Opcode, Operation};

/// FUSE_UNLINK of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unlink<'a> {
    pub(crate) name: Name<'a>,
}

impl Operation for Unlink<'_> {
    const OPCODE: Opcode = Opcode(10);
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
        assert_eq!(golden::request(10, &Unlink { name: Name::new(b"etc").unwrap() }), b"etc\0");
    }
}
