//! FUSE_MKNOD: makes a regular file, a fifo, a socket or a device node.

use crate::wire::{Entry, FileType, Name, Opcode, Operation};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_MKNOD of `name` in the directory that the request names. Extensions follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mknod<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) file_type: FileType,
    pub(crate) permissions: u16,
    /// The device that a device node stands for, in Linux's 32-bit encoding.
    pub(crate) rdev: u32,
    /// Counts with `DONT_MASK`; without it `permissions` are masked by the driver.
    pub(crate) umask: u16,
}

/// `fuse_mknod_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct MknodArgs {
    mode: u32,
    rdev: u32,
    umask: u32,
    padding: u32,
}

impl Operation for Mknod<'_> {
    const OPCODE: Opcode = Opcode(8);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = MknodArgs;
    type Reply = Entry;

    fn args(&self) -> MknodArgs {
        let mode = self.file_type.mode(self.permissions);
        MknodArgs { mode, rdev: self.rdev, umask: self.umask.into(), padding: 0 }
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
            0xb0, 0x61, 0, 0,           // mode: a block device, 660
            3, 8, 0, 1,                 // rdev
            0x12, 0, 0, 0,              // umask
            0, 0, 0, 0,                 // padding
            b'a', b'b', 0,              // name
        ];
        let mknod = Mknod {
            name: Name::new(b"ab").unwrap(),
            file_type: FileType::BlockDevice,
            permissions: 0o660,
            rdev: 0x0100_0803,
            umask: 0o022,
        };
        assert_eq!(golden::request(8, &mknod), golden);
    }

    #[test]
    fn a_reply_is_an_entry() {
        assert_eq!(golden::reply::<Mknod<'_>>(&golden::entry_bytes()), Ok(golden::entry()));
    }
}
