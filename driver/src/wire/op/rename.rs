//! FUSE_RENAME: moves a name, and replaces the one that is there.

use crate::wire::{Name, NodeId, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_RENAME of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rename<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) new_parent: NodeId,
    pub(crate) new_name: Name<'a>,
}

/// `fuse_rename_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RenameArgs {
    newdir: u64,
}

impl Operation for Rename<'_> {
    const OPCODE: Opcode = Opcode(12);
    const TAKES_SPACE: bool = true;
    type Args = RenameArgs;
    type Reply = ();

    fn args(&self) -> RenameArgs {
        RenameArgs { newdir: self.new_parent.0 }
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), self.new_name.bytes()]
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
            7, 0, 0, 0, 0, 0, 0, 1,     // newdir
            b'a', b'b', 0,              // name
            b'c', 0,                    // new name
        ];
        let rename = Rename {
            name: Name::new(b"ab").unwrap(),
            new_parent: NodeId(7 | 1 << 56),
            new_name: Name::new(b"c").unwrap(),
        };
        assert_eq!(golden::request(12, &rename), golden);
    }
}
