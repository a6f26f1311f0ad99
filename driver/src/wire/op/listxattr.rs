//! FUSE_LISTXATTR: the names of an inode's extended attributes, or how long the list is.

use super::getxattr::{GetxattrArgs, XattrSize};
use crate::wire::{Opcode, Operation};

/// FUSE_LISTXATTR of the inode that the request names; the names come as data, each ended by a NUL byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listxattr {
    /// The room for the names, not 0; a longer list is `ERANGE`.
    pub(crate) size_bytes: u32,
}

/// FUSE_LISTXATTR of the inode that the request names, which asks only for the size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListxattrSize;

impl Operation for Listxattr {
    const OPCODE: Opcode = Opcode(23);
    const OPTIONAL: bool = true;
    type Args = GetxattrArgs;
    type Reply = ();

    fn args(&self) -> GetxattrArgs {
        GetxattrArgs::new(self.size_bytes)
    }
}

impl Operation for ListxattrSize {
    const OPCODE: Opcode = Listxattr::OPCODE;
    const OPTIONAL: bool = true;
    type Args = GetxattrArgs;
    type Reply = XattrSize;

    fn args(&self) -> GetxattrArgs {
        GetxattrArgs::new(0)
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
            2, 1, 0, 0,     // size
            0, 0, 0, 0,     // padding
        ];
        assert_eq!(golden::request(23, &Listxattr { size_bytes: 0x102 }), golden);
        assert_eq!(golden::request(23, &ListxattrSize), [0; 8]);
    }

    #[test]
    fn a_reply_with_the_size_is_that_of_getxattr() {
        assert_eq!(golden::reply::<ListxattrSize>(&[3, 2, 1, 0, 0, 0, 0, 0]), Ok(XattrSize(0x1_0203)));
    }
}
