//! The numbers of `fuse.h` and POSIX as the fake server reads them, apart from the driver's own list of them.

/// Flags of INIT.
pub(super) mod init {
    pub(in super::super) const POSIX_LOCKS: u64 = 1 << 1;
    pub(in super::super) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(in super::super) const BIG_WRITES: u64 = 1 << 5;
    pub(in super::super) const DONT_MASK: u64 = 1 << 6;
    pub(in super::super) const FLOCK_LOCKS: u64 = 1 << 10;
    pub(in super::super) const HANDLE_KILLPRIV: u64 = 1 << 19;
    pub(in super::super) const MAX_PAGES: u64 = 1 << 22;
    pub(in super::super) const SUBMOUNTS: u64 = 1 << 27;
    pub(in super::super) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(in super::super) const SETXATTR_EXT: u64 = 1 << 29;
    pub(in super::super) const INIT_EXT: u64 = 1 << 30;
    pub(in super::super) const SECURITY_CTX: u64 = 1 << 32;
    pub(in super::super) const CREATE_SUPP_GROUP: u64 = 1 << 34;
}

/// Flags of `open`.
pub(super) mod open {
    pub(in super::super) const ACCESS_MODE: u32 = 3;
    pub(in super::super) const READ_ONLY: u32 = 0;
    pub(in super::super) const WRITE_ONLY: u32 = 1;
    pub(in super::super) const READ_WRITE: u32 = 2;
    pub(in super::super) const CREAT: u32 = 0o100;
    pub(in super::super) const EXCL: u32 = 0o200;
    pub(in super::super) const NOCTTY: u32 = 0o400;
    pub(in super::super) const TRUNC: u32 = 0o1000;
    pub(in super::super) const APPEND: u32 = 0o2000;
}

/// `FATTR_` flags of SETATTR.
pub(super) mod fattr {
    pub(in super::super) const MODE: u32 = 1 << 0;
    pub(in super::super) const UID: u32 = 1 << 1;
    pub(in super::super) const GID: u32 = 1 << 2;
    pub(in super::super) const SIZE: u32 = 1 << 3;
    pub(in super::super) const ATIME: u32 = 1 << 4;
    pub(in super::super) const MTIME: u32 = 1 << 5;
    pub(in super::super) const FH: u32 = 1 << 6;
    pub(in super::super) const ATIME_NOW: u32 = 1 << 7;
    pub(in super::super) const MTIME_NOW: u32 = 1 << 8;
    pub(in super::super) const CTIME: u32 = 1 << 10;
    pub(in super::super) const KILL_SUIDGID: u32 = 1 << 11;
    pub(in super::super) const ALL: u32 = (1 << 12) - 1;
}

/// `FUSE_WRITE_KILL_SUIDGID`, and all flags of WRITE.
pub(super) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
pub(super) const WRITE_FLAGS: u32 = (1 << 3) - 1;
/// `FUSE_OPEN_KILL_SUIDGID`.
pub(super) const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// `FUSE_RELEASE_FLOCK_UNLOCK`, and all flags of RELEASE.
pub(super) const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;
pub(super) const RELEASE_FLAGS: u32 = (1 << 2) - 1;
/// `FUSE_FSYNC_FDATASYNC`.
pub(super) const FSYNC_FDATASYNC: u32 = 1 << 0;
/// `FUSE_SETXATTR_ACL_KILL_SGID`.
pub(super) const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
/// `FUSE_GETATTR_FH`.
pub(super) const GETATTR_FH: u32 = 1;
/// `FUSE_LK_FLOCK`.
pub(super) const LK_FLOCK: u32 = 1 << 0;
/// `F_RDLCK`, `F_WRLCK`, `F_UNLCK`.
pub(super) const F_RDLCK: u32 = 0;
pub(super) const F_WRLCK: u32 = 1;
pub(super) const F_UNLCK: u32 = 2;
/// `SEEK_DATA`, `SEEK_HOLE`.
pub(super) const SEEK_DATA: u32 = 3;
pub(super) const SEEK_HOLE: u32 = 4;
/// The types of request extensions: up to this one it is a security context, and how many of them.
pub(super) const MAX_NR_SECCTX: u32 = 31;
/// `FUSE_EXT_GROUPS`.
pub(super) const EXT_GROUPS: u32 = 32;
