//! Locks on files: POSIX record locks and `flock`.

use super::FromBody;
use crate::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Who holds a lock: a number of the caller's choice, the same for all that may undo each other's locks. POSIX locks
/// belong to a process, `flock` locks to an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockOwner(pub u64);

/// What a lock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Keeps writers out; there may be others of its kind.
    Read,
    /// Keeps everyone else out.
    Write,
    /// Gives up what the owner holds of the range.
    Unlock,
}

/// A lock on a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What the lock does.
    pub kind: LockKind,
    /// The first byte.
    pub start: u64,
    /// The last byte: at least `start`, and at most [`Self::TO_THE_END`].
    pub end: u64,
    /// The process that holds the lock, as it is shown to others.
    pub pid: u32,
}

impl Lock {
    /// The end of a range that has none, however large the file will be.
    pub const TO_THE_END: u64 = i64::MAX as u64;
}

/// `fuse_file_lock`.
#[derive(Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawLock {
    start: u64,
    end: u64,
    kind: u32,
    pid: u32,
}

/// `F_RDLCK`.
const READ: u32 = 0;
/// `F_WRLCK`.
const WRITE: u32 = 1;
/// `F_UNLCK`.
const UNLOCK: u32 = 2;

impl RawLock {
    pub(crate) fn new(lock: &Lock) -> Self {
        let kind = match lock.kind {
            LockKind::Read => READ,
            LockKind::Write => WRITE,
            LockKind::Unlock => UNLOCK,
        };
        Self { start: lock.start, end: lock.end, kind, pid: lock.pid }
    }
}

/// The lock that is in the way; `None` if there is none, whatever the range then says.
impl FromBody for Option<Lock> {
    type Body = RawLock;

    fn decode(body: RawLock) -> Result<Self, Error> {
        let kind = match body.kind {
            READ => LockKind::Read,
            WRITE => LockKind::Write,
            UNLOCK => return Ok(None),
            _ => return Err(Error::Protocol("a lock is of no known kind")),
        };
        if body.start > body.end || body.end > Lock::TO_THE_END {
            return Err(Error::Protocol("a lock's range is impossible"));
        }
        Ok(Some(Lock { kind, start: body.start, end: body.end, pid: body.pid }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    #[rustfmt::skip]
    const LOCK: [u8; 24] = [
        3, 0, 0, 0, 1, 0, 0, 0,     // start
        9, 0, 0, 0, 2, 0, 0, 0,     // end
        1, 0, 0, 0,                 // type: F_WRLCK
        4, 1, 0, 0,                 // pid
    ];

    fn decode(at: usize, patch: &[u8]) -> Result<Option<Lock>, Error> {
        FromBody::from_bytes(&golden::patched(&LOCK, at, patch))
    }

    #[test]
    fn a_lock_has_the_bytes_of_fuse_h() {
        for (kind, number) in [(LockKind::Read, 0), (LockKind::Write, 1), (LockKind::Unlock, 2)] {
            let lock = Lock { kind, start: 0x1_0000_0003, end: 0x2_0000_0009, pid: 0x104 };
            let bytes = golden::patched(&LOCK, 16, &[number]);
            assert_eq!(RawLock::new(&lock).as_bytes(), bytes);
            let in_the_way = (kind != LockKind::Unlock).then_some(lock);
            assert_eq!(FromBody::from_bytes(&bytes), Ok(in_the_way));
        }
    }

    #[test]
    fn the_range_of_no_lock_means_nothing() {
        let bytes = [&[0xff; 16][..], &[2, 0, 0, 0], &[0xff; 4]].concat();
        assert_eq!(<Option<Lock>>::from_bytes(&bytes), Ok(None));
    }

    #[test]
    fn the_smallest_and_the_largest_range_are_good() {
        let one = decode(8, &LOCK[..8]).unwrap().unwrap();
        assert_eq!(one.start, one.end);
        let end = Lock::TO_THE_END;
        assert_eq!(decode(8, &end.to_le_bytes()).unwrap().unwrap().end, end);
    }

    #[test]
    fn an_impossible_lock_breaks_the_protocol() {
        for kind in [3, 4, u32::MAX] {
            assert!(matches!(decode(16, &kind.to_le_bytes()), Err(Error::Protocol(_))), "{kind}");
        }
        for end in [0, 0x1_0000_0002, 1 << 63, u64::MAX] {
            assert!(matches!(decode(8, &end.to_le_bytes()), Err(Error::Protocol(_))), "{end}");
        }
        assert!(matches!(decode(0, &[0xff; 16]), Err(Error::Protocol(_))));
    }
}
