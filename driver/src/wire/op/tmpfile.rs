//! FUSE_TMPFILE: makes a regular file without a name, and opens it (minor 37).

use super::create::{CreateArgs, Created};
use crate::wire::{Opcode, OpenFlags, Operation};

/// FUSE_TMPFILE in the directory that the request names. Extensions follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tmpfile {
    pub(crate) flags: OpenFlags,
    pub(crate) permissions: u16,
    /// Counts with `DONT_MASK`; without it `permissions` are masked by the driver.
    pub(crate) umask: u16,
}

impl Operation for Tmpfile {
    const OPCODE: Opcode = Opcode(51);
    const SINCE_MINOR: u32 = 37;
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = CreateArgs;
    type Reply = Created;

    fn args(&self) -> CreateArgs {
        CreateArgs::new(self.flags, self.permissions, self.umask, false)
    }

    /// A name that no file can have, as Linux sends it; servers pass over it.
    fn names(&self) -> [&[u8]; 2] {
        [b"/", &[]]
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
            2, 0, 1, 0,                 // flags
            0x80, 0x81, 0, 0,           // mode: a regular file, 600
            0x3f, 0, 0, 0,              // umask
            0, 0, 0, 0,                 // open_flags
            b'/', 0,                    // name
        ];
        let flags = OpenFlags::READ_WRITE | OpenFlags::DIRECTORY;
        assert_eq!(golden::request(51, &Tmpfile { flags, permissions: 0o600, umask: 0o077 }), golden);
    }
}
