//! The numbers of `fuse.h` and POSIX as the fake server reads them, apart from the driver's own list of them.

/// Flags of INIT.
pub(super) mod init {
    pub(crate) const POSIX_LOCKS: u64 = 1 << 1;
    pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    pub(crate) const DONT_MASK: u64 = 1 << 6;
    pub(crate) const FLOCK_LOCKS: u64 = 1 << 10;
    pub(crate) const WRITEBACK_CACHE: u64 = 1 << 16;
    pub(crate) const HANDLE_KILLPRIV: u64 = 1 << 19;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const MAP_ALIGNMENT: u64 = 1 << 26;
    pub(crate) const SUBMOUNTS: u64 = 1 << 27;
    pub(crate) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    pub(crate) const SECURITY_CTX: u64 = 1 << 32;
    pub(crate) const HAS_INODE_DAX: u64 = 1 << 33;
    pub(crate) const CREATE_SUPP_GROUP: u64 = 1 << 34;
}

/// Flags of SETUPMAPPING.
pub(super) const MAP_WRITE: u64 = 1 << 0;
pub(super) const MAP_READ: u64 = 1 << 1;

/// Flags of `open`.
pub(super) mod open {
    pub(crate) const ACCESS_MODE: u32 = 3;
    pub(crate) const READ_ONLY: u32 = 0;
    pub(crate) const WRITE_ONLY: u32 = 1;
    pub(crate) const READ_WRITE: u32 = 2;
    pub(crate) const CREAT: u32 = 0o100;
    pub(crate) const EXCL: u32 = 0o200;
    pub(crate) const NOCTTY: u32 = 0o400;
    pub(crate) const TRUNC: u32 = 0o1000;
    pub(crate) const APPEND: u32 = 0o2000;
}

/// `FATTR_` flags of SETATTR.
pub(super) mod fattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const CTIME: u32 = 1 << 10;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
    pub(crate) const ALL: u32 = (1 << 12) - 1;
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
