//! FUSE_OPEN: opens a file.

use crate::Error;
use crate::wire::{FileHandle, FromBody, Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_OPEN of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Linux's `O_` flags.
    pub(crate) flags: u32,
}

/// `fuse_open_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OpenArgs {
    pub(crate) flags: u32,
    pub(crate) open_flags: u32,
}

/// `fuse_open_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct OpenBody {
    fh: u64,
    open_flags: u32,
    backing_id: i32,
}

bitflags! {
    /// `FOPEN_` flags: what the server says of a file it opened. Unknown ones are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct OpenFlags: u32 {
        /// Every read and write of the file goes to the server.
        const DIRECT_IO = 1 << 0;
        /// What is cached of the file is still true.
        const KEEP_CACHE = 1 << 1;
        /// The file cannot seek.
        const NONSEEKABLE = 1 << 2;
        /// The listing of the directory may be cached.
        const CACHE_DIR = 1 << 3;
        /// The file has no position at all.
        const STREAM = 1 << 4;
        /// No FLUSH is wanted at close (minor 35).
        const NOFLUSH = 1 << 5;
        /// Several direct writes may be in flight (minor 38).
        const PARALLEL_DIRECT_WRITES = 1 << 6;
        const _ = !0;
    }
}

/// A file or directory that the server opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) fh: FileHandle,
    pub(crate) flags: OpenFlags,
}

impl OpenBody {
    pub(crate) fn decode(&self) -> Opened {
        Opened { fh: FileHandle(self.fh), flags: OpenFlags::from_bits_retain(self.open_flags) }
    }
}

impl Operation for Open {
    const OPCODE: Opcode = Opcode(14);
    type Args = OpenArgs;
    type Reply = Opened;

    fn args(&self) -> OpenArgs {
        OpenArgs { flags: self.flags, open_flags: 0 }
    }
}

impl FromBody for Opened {
    type Body = OpenBody;

    fn decode(body: OpenBody) -> Result<Self, Error> {
        Ok(body.decode())
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
            2, 0, 1, 0,     // flags
            0, 0, 0, 0,     // open_flags
        ];
        assert_eq!(golden::request(14, &Open { flags: 0x1_0002 }), golden);
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            5, 0, 0, 0, 0, 0, 0, 1,     // fh
            0x0b, 0, 0, 0x80,           // open_flags: DIRECT_IO, KEEP_CACHE, CACHE_DIR and one of the future
            7, 0, 0, 0,                 // backing_id
        ];
        let known = OpenFlags::DIRECT_IO | OpenFlags::KEEP_CACHE | OpenFlags::CACHE_DIR;
        let flags = known | OpenFlags::from_bits_retain(1 << 31);
        assert_eq!(golden::reply::<Open>(&golden), Ok(Opened { fh: FileHandle(5 | 1 << 56), flags }));
    }

    #[test]
    fn any_reply_is_good() {
        assert_eq!(golden::reply::<Open>(&[0; 16]).unwrap().fh, FileHandle(0));
        assert_eq!(golden::reply::<Open>(&[0xff; 16]).unwrap().fh, FileHandle(u64::MAX));
    }
}
