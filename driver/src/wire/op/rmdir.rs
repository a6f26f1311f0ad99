//! FUSE_RMDIR: removes an empty directory.

use crate::wire::{Name, Opcode, Operation};

/// FUSE_RMDIR of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rmdir<'a> {
    pub(crate) name: Name<'a>,
}

impl Operation for Rmdir<'_> {
    const OPCODE: Opcode = Opcode(11);
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
        assert_eq!(golden::request(11, &Rmdir { name: Name::new(b"etc").unwrap() }), b"etc\0");
    }
}
