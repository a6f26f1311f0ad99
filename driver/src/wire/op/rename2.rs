//! FUSE_RENAME2: as FUSE_RENAME, with flags.

use crate::wire::{Name, NodeId, Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{Immutable, IntoBytes};

/// FUSE_RENAME2 of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rename2<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) new_parent: NodeId,
    pub(crate) new_name: Name<'a>,
    pub(crate) flags: RenameFlags,
}

bitflags! {
    /// How a name is moved: Linux's `RENAME_` flags. Unknown ones are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        /// What has the new name is not replaced: `EEXIST`.
        const NOREPLACE = 1 << 0;
        /// Both names exist and change places.
        const EXCHANGE = 1 << 1;
        /// A whiteout takes the old name.
        const WHITEOUT = 1 << 2;
        const _ = !0;
    }
}

/// `fuse_rename2_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Rename2Args {
    newdir: u64,
    flags: u32,
    padding: u32,
}

impl Operation for Rename2<'_> {
    const OPCODE: Opcode = Opcode(45);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = Rename2Args;
    type Reply = ();

    fn args(&self) -> Rename2Args {
        Rename2Args { newdir: self.new_parent.0, flags: self.flags.bits(), padding: 0 }
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
            5, 0, 0, 0x80,              // flags: NOREPLACE, WHITEOUT and one of the future
            0, 0, 0, 0,                 // padding
            b'a', b'b', 0,              // name
            b'c', 0,                    // new name
        ];
        let rename = Rename2 {
            name: Name::new(b"ab").unwrap(),
            new_parent: NodeId(7 | 1 << 56),
            new_name: Name::new(b"c").unwrap(),
            flags: RenameFlags::NOREPLACE | RenameFlags::WHITEOUT | RenameFlags::from_bits_retain(1 << 31),
        };
        assert_eq!(golden::request(45, &rename), golden);
        let exchange = Rename2 { flags: RenameFlags::EXCHANGE, ..rename };
        assert_eq!(golden::request(45, &exchange), golden::patched(&golden, 8, &[2, 0, 0, 0]));
    }
}
