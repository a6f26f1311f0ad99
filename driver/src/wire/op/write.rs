//! FUSE_WRITE: writes to an open file.

use crate::Error;
use crate::wire::{FileHandle, FromBody, LockOwner, Opcode, OpenFlags, Operation};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_WRITE to an open file; what is to be written follows as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) fh: FileHandle,
    pub(crate) offset: u64,
    /// The length of the payload.
    pub(crate) size_bytes: u32,
    pub(crate) write_flags: WriteFlags,
    /// Who writes, for mandatory locks.
    pub(crate) lock_owner: Option<LockOwner>,
    /// The flags the file was opened with.
    pub(crate) flags: OpenFlags,
}

bitflags! {
    /// `FUSE_WRITE_` flags, without that of `lock_owner`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct WriteFlags: u32 {
        /// Written back from a cache, some time after the caller wrote it.
        const CACHE = 1 << 0;
        /// The write costs the file its set-user-id and set-group-id bits (`HANDLE_KILLPRIV_V2`).
        const KILL_SUIDGID = 1 << 2;
    }
}

/// `fuse_write_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct WriteArgs {
    fh: u64,
    offset: u64,
    size: u32,
    write_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
}

/// `fuse_write_out`, which COPY_FILE_RANGE shares.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct WriteBody {
    size: u32,
    padding: u32,
}

/// How many bytes were written. A server that breaks the protocol may say more than it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) u32);

#[cfg(any(test, feature = "test-utils"))]
impl Write {
    /// Where the arguments have the length of the payload.
    pub(crate) const SIZE_AT: core::ops::Range<usize> = {
        let start = core::mem::offset_of!(WriteArgs, size);
        start..start + size_of::<u32>()
    };
}

/// `FUSE_WRITE_LOCKOWNER`: `lock_owner` is set.
const LOCKOWNER: u32 = 1 << 1;

impl Operation for Write {
    const OPCODE: Opcode = Opcode(16);
    type Args = WriteArgs;
    type Reply = Written;

    fn args(&self) -> WriteArgs {
        let (has_owner, lock_owner) = match self.lock_owner {
            Some(LockOwner(owner)) => (LOCKOWNER, owner),
            None => (0, 0),
        };
        WriteArgs {
            fh: self.fh.0,
            offset: self.offset,
            size: self.size_bytes,
            write_flags: self.write_flags.bits() | has_owner,
            lock_owner,
            flags: self.flags.bits(),
            padding: 0,
        }
    }
}

impl FromBody for Written {
    type Body = WriteBody;

    fn decode(body: WriteBody) -> Result<Self, Error> {
        Ok(Self(body.size))
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
            5, 0, 0, 0, 0, 0, 0, 1,     // fh
            6, 0, 0, 0, 1, 0, 0, 0,     // offset
            0, 0, 16, 0,                // size
            6, 0, 0, 0,                 // write_flags: LOCKOWNER, KILL_SUIDGID
            7, 0, 0, 0, 0, 0, 0, 2,     // lock_owner
            2, 4, 0, 0,                 // flags
            0, 0, 0, 0,                 // padding
        ];
        let write = Write {
            fh: FileHandle(5 | 1 << 56),
            offset: 0x1_0000_0006,
            size_bytes: 1 << 20,
            write_flags: WriteFlags::KILL_SUIDGID,
            lock_owner: Some(LockOwner(7 | 2 << 56)),
            flags: OpenFlags::READ_WRITE | OpenFlags::APPEND,
        };
        assert_eq!(golden::request(16, &write), golden);
        let by_nobody = Write { write_flags: WriteFlags::CACHE, lock_owner: None, ..write };
        assert_eq!(
            golden::request(16, &by_nobody),
            golden::patched(&golden, 20, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        );
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            3, 2, 1, 0,                 // size
            0xff, 0xff, 0xff, 0xff,     // padding
        ];
        assert_eq!(golden::reply::<Write>(&golden), Ok(Written(0x1_0203)));
    }
}
