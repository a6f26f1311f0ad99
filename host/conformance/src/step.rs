//! The language of the scripts.

use crate::facts::Outcome;
use crate::thread::{ROOT, User};
use std::fmt;
use virtio_fs::{Errno, FileType};

/// Bytes that are mostly text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub Vec<u8>);

impl<T: Into<Vec<u8>>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "... ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// As it is.
    Omit,
    /// The present.
    Now,
    /// Seconds and nanoseconds since 1970.
    At(i64, u32),
}

/// The name of an open file or of a mapping in a script; no mapping has that of a file.
pub type Slot = u8;

/// One thing that is done. Numbers of flags are Linux's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Op {
    Mkdir { path: Text, permissions: u16 },
    Mknod { path: Text, kind: FileType, permissions: u16, rdev: u32 },
    Symlink { target: Text, path: Text },
    Link { original: Text, path: Text },
    Unlink { path: Text },
    Rmdir { path: Text },
    Rename { from: Text, to: Text, flags: u32 },
    Stat { path: Text },
    Lstat { path: Text },
    Readlink { path: Text },
    List { path: Text },
    Access { path: Text, wanted: u32 },
    Chmod { path: Text, permissions: u16, follow: bool },
    Chown { path: Text, uid: Option<u32>, gid: Option<u32>, follow: bool },
    Truncate { path: Text, size: u64 },
    SetTimes { path: Text, accessed: Time, modified: Time, follow: bool },
    GetXattr { path: Text, name: Text, room: usize, follow: bool },
    ListXattr { path: Text, room: usize, follow: bool },
    SetXattr { path: Text, name: Text, value: Text, flags: u32, follow: bool },
    RemoveXattr { path: Text, name: Text, follow: bool },
    SyncDir { path: Text },
    Sync { path: Text },
    Open { slot: Slot, path: Text, flags: u32, permissions: u16 },
    Close { slot: Slot },
    Read { slot: Slot, offset: u64, length: usize },
    Write { slot: Slot, offset: u64, data: Text },
    Fstat { slot: Slot },
    Fchmod { slot: Slot, permissions: u16 },
    Fchown { slot: Slot, uid: Option<u32>, gid: Option<u32> },
    Ftruncate { slot: Slot, size: u64 },
    FsetTimes { slot: Slot, accessed: Time, modified: Time },
    Fsync { slot: Slot, data_only: bool },
    Allocate { slot: Slot, offset: u64, length: u64, flags: u32 },
    CopyRange { slot: Slot, offset: u64, to: Slot, to_offset: u64, length: u64 },
    SeekData { slot: Slot, offset: u64 },
    SeekHole { slot: Slot, offset: u64 },
    Map { slot: Slot, mapping: Slot, offset: u64, length: u64, writable: bool },
    Unmap { mapping: Slot },
    MapRead { mapping: Slot, offset: u64, length: usize },
    MapWrite { mapping: Slot, offset: u64, data: Text },
    MapAdd { mapping: Slot, offset: u64, more: u64 },
}

impl Op {
    /// The open file or the mapping that this is done to.
    pub fn slot(&self) -> Option<Slot> {
        match *self {
            Self::Close { slot }
            | Self::Read { slot, .. }
            | Self::Write { slot, .. }
            | Self::Fstat { slot }
            | Self::Fchmod { slot, .. }
            | Self::Fchown { slot, .. }
            | Self::Ftruncate { slot, .. }
            | Self::FsetTimes { slot, .. }
            | Self::Fsync { slot, .. }
            | Self::Allocate { slot, .. }
            | Self::CopyRange { slot, .. }
            | Self::SeekData { slot, .. }
            | Self::SeekHole { slot, .. }
            | Self::Map { slot, .. } => Some(slot),
            Self::Unmap { mapping }
            | Self::MapRead { mapping, .. }
            | Self::MapWrite { mapping, .. }
            | Self::MapAdd { mapping, .. } => Some(mapping),
            _ => None,
        }
    }
}

/// The layer of the driver that a script uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Inodes and single names; the directory that a name is in is found by path.
    Vnode,
    /// Paths, as far as there is a function that takes one.
    Fs,
}

/// Where a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In the mount, and in the plain directory.
    Mount,
    /// In the directory that is served, behind the driver's back, and in the plain one.
    Host,
}

/// One thing that is done by somebody somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// By whom. What is done to an open file is done by who opened it.
    pub user: User,
    /// Where.
    pub side: Side,
    /// By whom it is done in the plain directory, if by someone else.
    pub compared_with: Option<User>,
    /// What the mount answers, if that is not what the plain directory answers, where nothing is done then.
    pub differs: Option<Outcome>,
    /// The layer that has this difference; `None`: both.
    pub layer: Option<Layer>,
}

impl From<Op> for Step {
    fn from(op: Op) -> Self {
        Self { op, user: ROOT, side: Side::Mount, compared_with: None, differs: None, layer: None }
    }
}

impl Step {
    /// The same, done by someone else than user 0.
    pub fn by(self, user: User) -> Self {
        Self { user, ..self }
    }

    /// The same, done behind the driver's back.
    pub fn on_host(self) -> Self {
        Self { side: Side::Host, ..self }
    }

    /// The same, with another outcome on the mount: a limit of the driver, of the protocol or of virtiofsd that is
    /// known.
    pub fn but(self, outcome: Outcome) -> Self {
        Self { differs: Some(outcome), ..self }
    }

    /// The same, with another error on the mount.
    pub fn but_fails(self, errno: Errno) -> Self {
        self.but(Err(errno))
    }

    /// The difference is one of this layer only.
    pub fn at(self, layer: Layer) -> Self {
        Self { layer: Some(layer), ..self }
    }

    /// The same, with the outcome on the mount that it has in the plain directory for `user`.
    pub fn as_if_by(self, user: User) -> Self {
        Self { compared_with: Some(user), ..self }
    }

    /// What the mount answers in this layer, if not what the plain directory answers.
    pub(crate) fn expected_at(&self, layer: Layer) -> Option<&Outcome> {
        self.differs.as_ref().filter(|_| self.layer.is_none_or(|only| only == layer))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.op)?;
        if self.user != ROOT {
            write!(f, " by {}:{} {:?}", self.user.uid, self.user.gid, self.user.groups)?;
        }
        if self.user.umask != 0 {
            write!(f, " umask {:03o}", self.user.umask)?;
        }
        if self.side == Side::Host { write!(f, " on the host") } else { Ok(()) }
    }
}

/// Linux's numbers.
#[expect(missing_docs, reason = "they have Linux's names")]
pub mod flag {
    pub const O_RDONLY: u32 = 0;
    pub const O_WRONLY: u32 = 1;
    pub const O_RDWR: u32 = 2;
    pub const O_CREAT: u32 = 0o100;
    pub const O_EXCL: u32 = 0o200;
    pub const O_TRUNC: u32 = 0o1000;
    pub const O_APPEND: u32 = 0o2000;
    pub const O_DSYNC: u32 = 0o10_000;
    pub const O_DIRECT: u32 = 0o40_000;
    pub const O_DIRECTORY: u32 = 0o200_000;
    pub const O_NOFOLLOW: u32 = 0o400_000;
    pub const O_NOATIME: u32 = 0o1_000_000;
    pub const O_SYNC: u32 = 0o4_010_000;
    pub const RENAME_NOREPLACE: u32 = 1;
    pub const RENAME_EXCHANGE: u32 = 2;
    pub const RENAME_WHITEOUT: u32 = 4;
    pub const FALLOC_KEEP_SIZE: u32 = 1;
    pub const FALLOC_PUNCH_HOLE: u32 = 2;
    pub const FALLOC_COLLAPSE_RANGE: u32 = 8;
    pub const FALLOC_ZERO_RANGE: u32 = 16;
    pub const FALLOC_INSERT_RANGE: u32 = 32;
    pub const XATTR_CREATE: u32 = 1;
    pub const XATTR_REPLACE: u32 = 2;
    pub const R_OK: u32 = 4;
    pub const W_OK: u32 = 2;
    pub const X_OK: u32 = 1;
    pub const F_OK: u32 = 0;
}

/// Functions that make steps: for user 0, on the mount.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) = $op:ident { $($field:ident: $value:expr),* };)*) => {
        $($(#[$doc])* #[expect(clippy::allow_attributes, reason = "shared by all")] #[allow(missing_docs)]
        pub fn $name($($argument: $kind),*) -> Step {
            Op::$op { $($field: $value),* }.into()
        })*
    };
}

steps! {
    mkdir(path: impl Into<Text>, permissions: u16) = Mkdir { path: path.into(), permissions: permissions };
    mknod(path: impl Into<Text>, kind: FileType, permissions: u16, rdev: u32)
        = Mknod { path: path.into(), kind: kind, permissions: permissions, rdev: rdev };
    fifo(path: impl Into<Text>) = Mknod { path: path.into(), kind: FileType::Fifo, permissions: 0o644, rdev: 0 };
    file(path: impl Into<Text>) = Mknod { path: path.into(), kind: FileType::Regular, permissions: 0o644, rdev: 0 };
    symlink(target: impl Into<Text>, path: impl Into<Text>) = Symlink { target: target.into(), path: path.into() };
    link(original: impl Into<Text>, path: impl Into<Text>) = Link { original: original.into(), path: path.into() };
    unlink(path: impl Into<Text>) = Unlink { path: path.into() };
    rmdir(path: impl Into<Text>) = Rmdir { path: path.into() };
    rename(from: impl Into<Text>, to: impl Into<Text>) = Rename { from: from.into(), to: to.into(), flags: 0 };
    rename_with(from: impl Into<Text>, to: impl Into<Text>, flags: u32)
        = Rename { from: from.into(), to: to.into(), flags: flags };
    stat(path: impl Into<Text>) = Stat { path: path.into() };
    lstat(path: impl Into<Text>) = Lstat { path: path.into() };
    readlink(path: impl Into<Text>) = Readlink { path: path.into() };
    list(path: impl Into<Text>) = List { path: path.into() };
    access(path: impl Into<Text>, wanted: u32) = Access { path: path.into(), wanted: wanted };
    chmod(path: impl Into<Text>, permissions: u16)
        = Chmod { path: path.into(), permissions: permissions, follow: true };
    lchmod(path: impl Into<Text>, permissions: u16)
        = Chmod { path: path.into(), permissions: permissions, follow: false };
    chown(path: impl Into<Text>, uid: Option<u32>, gid: Option<u32>)
        = Chown { path: path.into(), uid: uid, gid: gid, follow: true };
    lchown(path: impl Into<Text>, uid: Option<u32>, gid: Option<u32>)
        = Chown { path: path.into(), uid: uid, gid: gid, follow: false };
    truncate(path: impl Into<Text>, size: u64) = Truncate { path: path.into(), size: size };
    set_times(path: impl Into<Text>, accessed: Time, modified: Time)
        = SetTimes { path: path.into(), accessed: accessed, modified: modified, follow: true };
    set_link_times(path: impl Into<Text>, accessed: Time, modified: Time)
        = SetTimes { path: path.into(), accessed: accessed, modified: modified, follow: false };
    get_xattr(path: impl Into<Text>, name: impl Into<Text>, room: usize)
        = GetXattr { path: path.into(), name: name.into(), room: room, follow: true };
    lget_xattr(path: impl Into<Text>, name: impl Into<Text>, room: usize)
        = GetXattr { path: path.into(), name: name.into(), room: room, follow: false };
    list_xattr(path: impl Into<Text>, room: usize) = ListXattr { path: path.into(), room: room, follow: true };
    llist_xattr(path: impl Into<Text>, room: usize) = ListXattr { path: path.into(), room: room, follow: false };
    set_xattr(path: impl Into<Text>, name: impl Into<Text>, value: impl Into<Text>, flags: u32)
        = SetXattr { path: path.into(), name: name.into(), value: value.into(), flags: flags, follow: true };
    lset_xattr(path: impl Into<Text>, name: impl Into<Text>, value: impl Into<Text>, flags: u32)
        = SetXattr { path: path.into(), name: name.into(), value: value.into(), flags: flags, follow: false };
    remove_xattr(path: impl Into<Text>, name: impl Into<Text>)
        = RemoveXattr { path: path.into(), name: name.into(), follow: true };
    lremove_xattr(path: impl Into<Text>, name: impl Into<Text>)
        = RemoveXattr { path: path.into(), name: name.into(), follow: false };
    sync_dir(path: impl Into<Text>) = SyncDir { path: path.into() };
    sync(path: impl Into<Text>) = Sync { path: path.into() };
    open(slot: Slot, path: impl Into<Text>, flags: u32)
        = Open { slot: slot, path: path.into(), flags: flags, permissions: 0o644 };
    create(slot: Slot, path: impl Into<Text>, flags: u32, permissions: u16)
        = Open { slot: slot, path: path.into(), flags: flags | 0o100, permissions: permissions };
    close(slot: Slot) = Close { slot: slot };
    read(slot: Slot, offset: u64, length: usize) = Read { slot: slot, offset: offset, length: length };
    write(slot: Slot, offset: u64, data: impl Into<Text>) = Write { slot: slot, offset: offset, data: data.into() };
    fstat(slot: Slot) = Fstat { slot: slot };
    fchmod(slot: Slot, permissions: u16) = Fchmod { slot: slot, permissions: permissions };
    fchown(slot: Slot, uid: Option<u32>, gid: Option<u32>)
        = Fchown { slot: slot, uid: uid, gid: gid };
    ftruncate(slot: Slot, size: u64) = Ftruncate { slot: slot, size: size };
    fset_times(slot: Slot, accessed: Time, modified: Time)
        = FsetTimes { slot: slot, accessed: accessed, modified: modified };
    fsync(slot: Slot, data_only: bool) = Fsync { slot: slot, data_only: data_only };
    allocate(slot: Slot, offset: u64, length: u64, flags: u32)
        = Allocate { slot: slot, offset: offset, length: length, flags: flags };
    copy_range(slot: Slot, offset: u64, to: Slot, to_offset: u64, length: u64)
        = CopyRange { slot: slot, offset: offset, to: to, to_offset: to_offset, length: length };
    seek_data(slot: Slot, offset: u64) = SeekData { slot: slot, offset: offset };
    seek_hole(slot: Slot, offset: u64) = SeekHole { slot: slot, offset: offset };
    map(slot: Slot, mapping: Slot, offset: u64, length: u64, writable: bool)
        = Map { slot: slot, mapping: mapping, offset: offset, length: length, writable: writable };
    unmap(mapping: Slot) = Unmap { mapping: mapping };
    map_read(mapping: Slot, offset: u64, length: usize)
        = MapRead { mapping: mapping, offset: offset, length: length };
    map_write(mapping: Slot, offset: u64, data: impl Into<Text>)
        = MapWrite { mapping: mapping, offset: offset, data: data.into() };
    map_add(mapping: Slot, offset: u64, more: u64) = MapAdd { mapping: mapping, offset: offset, more: more };
}
