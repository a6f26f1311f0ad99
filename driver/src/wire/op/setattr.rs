//! FUSE_SETATTR: changes the attributes of an inode.

use crate::Timestamp;
use crate::wire::{FileHandle, FileType, LockOwner, Opcode, Operation, ValidAttr};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_SETATTR of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setattr {
    /// An open file of the inode, if there is one: it counts for a change of the size.
    pub(crate) fh: Option<FileHandle>,
    /// The kind of inode: the mode is sent whole, as Linux does, because a server may keep it as it comes.
    pub(crate) file_type: FileType,
    pub(crate) changes: SetAttr,
    /// Who changes the size, for mandatory locks.
    pub(crate) lock_owner: Option<LockOwner>,
    /// The change costs the inode its set-user-id and set-group-id bits (`HANDLE_KILLPRIV_V2`).
    pub(crate) kill_suidgid: bool,
}

/// What to change of an inode; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits with set-user-id, set-group-id and sticky: `0o0000` to `0o7777`.
    pub permissions: Option<u16>,
    /// The owning user.
    pub uid: Option<u32>,
    /// The owning group.
    pub gid: Option<u32>,
    /// Size in bytes: what is behind it is cut off, what is missing reads as zeroes.
    pub size_bytes: Option<u64>,
    /// Last access.
    pub accessed: Option<SetTime>,
    /// Last change of the content.
    pub modified: Option<SetTime>,
    /// Last change of the inode. Most servers leave that to their own clock.
    pub changed: Option<Timestamp>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The server's present.
    Now,
    /// This date.
    At(Timestamp),
}

/// `fuse_setattr_in`.
#[derive(Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct SetattrArgs {
    valid: u32,
    padding: u32,
    fh: u64,
    size: u64,
    lock_owner: u64,
    atime: u64,
    mtime: u64,
    ctime: u64,
    atimensec: u32,
    mtimensec: u32,
    ctimensec: u32,
    mode: u32,
    unused4: u32,
    uid: u32,
    gid: u32,
    unused5: u32,
}

/// `FATTR_` bits: which fields count.
mod valid {
    pub(super) const MODE: u32 = 1 << 0;
    pub(super) const UID: u32 = 1 << 1;
    pub(super) const GID: u32 = 1 << 2;
    pub(super) const SIZE: u32 = 1 << 3;
    pub(super) const ATIME: u32 = 1 << 4;
    pub(super) const MTIME: u32 = 1 << 5;
    pub(super) const FH: u32 = 1 << 6;
    pub(super) const ATIME_NOW: u32 = 1 << 7;
    pub(super) const MTIME_NOW: u32 = 1 << 8;
    pub(super) const LOCKOWNER: u32 = 1 << 9;
    pub(super) const CTIME: u32 = 1 << 10;
    pub(super) const KILL_SUIDGID: u32 = 1 << 11;
}

impl SetattrArgs {
    /// What `changes` change of an inode of this kind.
    fn new(changes: &SetAttr, file_type: FileType) -> Self {
        let &SetAttr { permissions, uid, gid, size_bytes, accessed, modified, changed } = changes;
        let mut args = Self::default();
        if let Some(permissions) = permissions {
            args.valid |= valid::MODE;
            args.mode = file_type.mode(permissions);
        }
        if let Some(uid) = uid {
            args.valid |= valid::UID;
            args.uid = uid;
        }
        if let Some(gid) = gid {
            args.valid |= valid::GID;
            args.gid = gid;
        }
        if let Some(size) = size_bytes {
            args.valid |= valid::SIZE;
            args.size = size;
        }
        // A time that is the present needs both of its bits.
        match accessed {
            Some(SetTime::Now) => args.valid |= valid::ATIME | valid::ATIME_NOW,
            Some(SetTime::At(time)) => {
                args.valid |= valid::ATIME;
                (args.atime, args.atimensec) = (time.seconds as u64, time.nanoseconds);
            }
            None => {}
        }
        match modified {
            Some(SetTime::Now) => args.valid |= valid::MTIME | valid::MTIME_NOW,
            Some(SetTime::At(time)) => {
                args.valid |= valid::MTIME;
                (args.mtime, args.mtimensec) = (time.seconds as u64, time.nanoseconds);
            }
            None => {}
        }
        if let Some(time) = changed {
            args.valid |= valid::CTIME;
            (args.ctime, args.ctimensec) = (time.seconds as u64, time.nanoseconds);
        }
        args
    }
}

impl Operation for Setattr {
    const OPCODE: Opcode = Opcode(4);
    const TAKES_SPACE: bool = true;
    type Args = SetattrArgs;
    /// What the attributes are now.
    type Reply = ValidAttr;

    fn args(&self) -> SetattrArgs {
        let mut args = SetattrArgs::new(&self.changes, self.file_type);
        if let Some(FileHandle(fh)) = self.fh {
            args.valid |= valid::FH;
            args.fh = fh;
        }
        if let Some(LockOwner(owner)) = self.lock_owner {
            args.valid |= valid::LOCKOWNER;
            args.lock_owner = owner;
        }
        if self.kill_suidgid {
            args.valid |= valid::KILL_SUIDGID;
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::time::Duration;

    const NOTHING: Setattr = Setattr {
        fh: None,
        file_type: FileType::Regular,
        changes: SetAttr {
            permissions: None,
            uid: None,
            gid: None,
            size_bytes: None,
            accessed: None,
            modified: None,
            changed: None,
        },
        lock_owner: None,
        kill_suidgid: false,
    };

    fn changes(changes: SetAttr) -> Vec<u8> {
        golden::request(4, &Setattr { changes, ..NOTHING })
    }

    /// A request that is zero but for these numbers at these places.
    fn only(fields: &[(usize, &[u8])]) -> Vec<u8> {
        fields.iter().fold(vec![0; 88], |bytes, (at, field)| golden::patched(&bytes, *at, field))
    }

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            0x7f, 0x0e, 0, 0,                                   // valid: all but ATIME_NOW and MTIME_NOW
            0, 0, 0, 0,                                         // padding
            5, 0, 0, 0, 0, 0, 0, 1,                             // fh
            6, 0, 0, 0, 1, 0, 0, 0,                             // size
            7, 0, 0, 0, 0, 0, 0, 2,                             // lock_owner
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // atime: before 1970
            9, 0, 0, 0, 1, 0, 0, 0,                             // mtime: after 2106
            10, 0, 0, 0, 0, 0, 0, 0,                            // ctime
            0xff, 0xc9, 0x9a, 0x3b,                             // atimensec
            12, 0, 0, 0,                                        // mtimensec
            13, 0, 0, 0,                                        // ctimensec
            0xed, 0x89, 0, 0,                                   // mode: a regular file, 4755
            0, 0, 0, 0,                                         // unused4
            14, 1, 0, 0,                                        // uid
            15, 1, 0, 0,                                        // gid
            0, 0, 0, 0,                                         // unused5
        ];
        let setattr = Setattr {
            fh: Some(FileHandle(5 | 1 << 56)),
            file_type: FileType::Regular,
            changes: SetAttr {
                permissions: Some(0o4755),
                uid: Some(0x10e),
                gid: Some(0x10f),
                size_bytes: Some(0x1_0000_0006),
                accessed: Some(SetTime::At(Timestamp { seconds: -2, nanoseconds: 999_999_999 })),
                modified: Some(SetTime::At(Timestamp { seconds: 0x1_0000_0009, nanoseconds: 12 })),
                changed: Some(Timestamp { seconds: 10, nanoseconds: 13 }),
            },
            lock_owner: Some(LockOwner(7 | 2 << 56)),
            kill_suidgid: true,
        };
        assert_eq!(golden::request(4, &setattr), golden);
    }

    #[test]
    fn nothing_is_changed_that_was_not_asked_for() {
        assert_eq!(changes(SetAttr::default()), [0; 88]);
        let mode = 0o100_640_u32.to_le_bytes();
        assert_eq!(
            changes(SetAttr { permissions: Some(0o640), ..SetAttr::default() }),
            only(&[(0, &[1]), (68, &mode)])
        );
        assert_eq!(changes(SetAttr { uid: Some(3), ..SetAttr::default() }), only(&[(0, &[2]), (76, &[3])]));
        assert_eq!(changes(SetAttr { gid: Some(3), ..SetAttr::default() }), only(&[(0, &[4]), (80, &[3])]));
        assert_eq!(changes(SetAttr { size_bytes: Some(3), ..SetAttr::default() }), only(&[(0, &[8]), (16, &[3])]));
        assert_eq!(changes(SetAttr { size_bytes: Some(0), ..SetAttr::default() }), only(&[(0, &[8])]));
        assert_eq!(
            golden::request(4, &Setattr { fh: Some(FileHandle(3)), ..NOTHING }),
            only(&[(0, &[0x40]), (8, &[3])])
        );
        assert_eq!(
            golden::request(4, &Setattr { lock_owner: Some(LockOwner(3)), ..NOTHING }),
            only(&[(1, &[2]), (24, &[3])])
        );
        assert_eq!(golden::request(4, &Setattr { kill_suidgid: true, ..NOTHING }), only(&[(1, &[8])]));
    }

    #[test]
    fn each_time_is_the_servers_present_or_a_date() {
        let date = Timestamp { seconds: 3, nanoseconds: 4 };
        let accessed = |time| changes(SetAttr { accessed: Some(time), ..SetAttr::default() });
        assert_eq!(accessed(SetTime::Now), only(&[(0, &[0x90])]));
        assert_eq!(accessed(SetTime::At(date)), only(&[(0, &[0x10]), (32, &[3]), (56, &[4])]));
        let modified = |time| changes(SetAttr { modified: Some(time), ..SetAttr::default() });
        assert_eq!(modified(SetTime::Now), only(&[(0, &[0x20, 1])]));
        assert_eq!(modified(SetTime::At(date)), only(&[(0, &[0x20]), (40, &[3]), (60, &[4])]));
        let changed = changes(SetAttr { changed: Some(date), ..SetAttr::default() });
        assert_eq!(changed, only(&[(1, &[4]), (48, &[3]), (64, &[4])]));
    }

    #[test]
    fn the_mode_has_the_file_type() {
        let permissions = SetAttr { permissions: Some(0o1777), ..SetAttr::default() };
        let request = golden::request(4, &Setattr { file_type: FileType::Directory, changes: permissions, ..NOTHING });
        assert_eq!(request[68..72], 0o041_777_u32.to_le_bytes());
    }

    #[test]
    fn a_reply_is_the_attributes() {
        #[rustfmt::skip]
        let head = [
            0x41, 0, 0, 0, 0, 0, 0, 0,      // attr_valid
            0x42, 0, 0, 0,                  // attr_valid_nsec
            0x43, 0, 0, 0,                  // dummy
        ];
        let valid = ValidAttr { attr: golden::attr(), ttl: Duration::new(0x41, 0x42) };
        assert_eq!(golden::reply::<Setattr>(&[&head[..], &golden::ATTR].concat()), Ok(valid));
    }
}
