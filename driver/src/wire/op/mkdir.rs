//! FUSE_MKDIR: makes a directory.

use crate::wire::{Entry, Name, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_MKDIR of `name` in the directory that the request names. Extensions follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mkdir<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) permissions: u16,
    /// Counts with `DONT_MASK`; without it `permissions` are masked by the driver.
    pub(crate) umask: u16,
}

/// `fuse_mkdir_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct MkdirArgs {
    mode: u32,
    umask: u32,
}

impl Operation for Mkdir<'_> {
    const OPCODE: Opcode = Opcode(9);
    const TAKES_SPACE: bool = true;
    type Args = MkdirArgs;
    type Reply = Entry;

    /// The mode is without a file type: the operation says it.
    fn args(&self) -> MkdirArgs {
        MkdirArgs { mode: self.permissions.into(), umask: self.umask.into() }
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
            0xfd, 3, 0, 0,              // mode: sticky, 775
            0x12, 0, 0, 0,              // umask
            b'a', b'b', 0,              // name
        ];
        let mkdir = Mkdir { name: Name::new(b"ab").unwrap(), permissions: 0o1775, umask: 0o022 };
        assert_eq!(golden::request(9, &mkdir), golden);
    }

    #[test]
    fn a_reply_is_an_entry() {
        assert_eq!(golden::reply::<Mkdir<'_>>(&golden::entry_bytes()), Ok(golden::entry()));
    }
}
