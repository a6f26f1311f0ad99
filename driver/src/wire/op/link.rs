//! FUSE_LINK: gives an inode another name.

use crate::wire::{Entry, Name, NodeId, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_LINK of `nodeid` as `name` in the directory that the request names. The reply counts one more lookup of the
/// inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) nodeid: NodeId,
    pub(crate) name: Name<'a>,
}

/// `fuse_link_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct LinkArgs {
    oldnodeid: u64,
}

impl Operation for Link<'_> {
    const OPCODE: Opcode = Opcode(13);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = LinkArgs;
    type Reply = Entry;

    fn args(&self) -> LinkArgs {
        LinkArgs { oldnodeid: self.nodeid.0 }
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
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
            7, 0, 0, 0, 0, 0, 0, 1,     // oldnodeid
            b'a', b'b', 0,              // name
        ];
        let link = Link { nodeid: NodeId(7 | 1 << 56), name: Name::new(b"ab").unwrap() };
        assert_eq!(golden::request(13, &link), golden);
    }

    #[test]
    fn a_reply_is_an_entry() {
        assert_eq!(golden::reply::<Link<'_>>(&golden::entry_bytes()), Ok(golden::entry()));
    }
}
