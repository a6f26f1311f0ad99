//! FUSE_CREATE: makes a regular file, unless there is one, and opens it.

use super::open::{KILL_SUIDGID, OpenBody};
use crate::Error;
use crate::wire::entry::RawEntry;
use crate::wire::{Entry, FileType, FromBody, Name, Opcode, OpenFlags, Opened, Operation};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_CREATE of `name` in the directory that the request names. Extensions follow as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Create<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) flags: OpenFlags,
    pub(crate) permissions: u16,
    /// Counts with `DONT_MASK`; without it `permissions` are masked by the driver.
    pub(crate) umask: u16,
    /// What `TRUNCATE` cuts off costs the file its set-user-id and set-group-id bits (`HANDLE_KILLPRIV_V2`).
    pub(crate) kill_suidgid: bool,
}

/// `fuse_create_in`, which TMPFILE shares.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct CreateArgs {
    flags: u32,
    mode: u32,
    umask: u32,
    open_flags: u32,
}

/// `fuse_entry_out` and `fuse_open_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct CreateBody {
    entry: RawEntry,
    open: OpenBody,
}

/// A file that the server opened, and the inode of it of which it counts one lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) entry: Entry,
    pub(crate) opened: Opened,
}

impl CreateArgs {
    pub(crate) fn new(flags: OpenFlags, permissions: u16, umask: u16, kill_suidgid: bool) -> Self {
        Self {
            flags: flags.bits(),
            mode: FileType::Regular.mode(permissions),
            umask: umask.into(),
            open_flags: if kill_suidgid { KILL_SUIDGID } else { 0 },
        }
    }
}

impl Operation for Create<'_> {
    const OPCODE: Opcode = Opcode(35);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = CreateArgs;
    type Reply = Created;

    fn args(&self) -> CreateArgs {
        CreateArgs::new(self.flags, self.permissions, self.umask, self.kill_suidgid)
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl FromBody for Created {
    type Body = CreateBody;

    fn decode(body: CreateBody) -> Result<Self, Error> {
        Ok(Self { entry: <Entry as FromBody>::decode(body.entry)?, opened: body.open.decode() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FileHandle, FopenFlags, golden};
    use alloc::vec::Vec;

    fn body(entry: &[u8]) -> Vec<u8> {
        #[rustfmt::skip]
        let open = [
            5, 0, 0, 0, 0, 0, 0, 1,     // fh
            0x20, 0, 0, 0,              // open_flags: NOFLUSH
            0, 0, 0, 0,                 // backing_id
        ];
        [entry, &open].concat()
    }

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            0x42, 2, 0, 0,              // flags
            0xb4, 0x81, 0, 0,           // mode: a regular file, 664
            0x12, 0, 0, 0,              // umask
            1, 0, 0, 0,                 // open_flags: KILL_SUIDGID
            b'a', b'b', 0,              // name
        ];
        let create = Create {
            name: Name::new(b"ab").unwrap(),
            flags: OpenFlags::READ_WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE,
            permissions: 0o664,
            umask: 0o022,
            kill_suidgid: true,
        };
        assert_eq!(golden::request(35, &create), golden);
        assert_eq!(golden::request(35, &Create { kill_suidgid: false, ..create }), golden::patched(&golden, 12, &[0]));
    }

    #[test]
    fn a_reply_is_an_entry_and_an_open_file() {
        let opened = Opened { fh: FileHandle(5 | 1 << 56), flags: FopenFlags::NOFLUSH };
        let created = Created { entry: golden::entry(), opened };
        assert_eq!(golden::reply::<Create<'_>>(&body(&golden::entry_bytes())), Ok(created));
    }

    #[test]
    fn a_file_that_was_made_is_neither_nowhere_nor_the_root() {
        for nodeid in [0_u64, 1] {
            let entry = golden::patched(&golden::entry_bytes(), 0, &nodeid.to_le_bytes());
            assert!(matches!(golden::reply::<Create<'_>>(&body(&entry)), Err(Error::Protocol(_))), "{nodeid}");
        }
    }

    #[test]
    fn impossible_attributes_still_tell_the_inode_to_forget_and_the_file_to_close() {
        for attr in golden::impossible_attrs() {
            let entry = golden::patched(&golden::entry_bytes(), 40, &attr);
            let created = golden::reply::<Create<'_>>(&body(&entry)).unwrap();
            assert_eq!((created.entry.nodeid, created.opened.fh), (golden::entry().nodeid, FileHandle(5 | 1 << 56)));
            assert!(matches!(created.entry.attr, Err(Error::Protocol(_))), "{attr:x?}");
        }
    }
}
