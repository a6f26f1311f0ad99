//! What there is, by the host and by a mount.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use virtio_fs::{Attr, Errno, Error, FileType, VirtioFs};

/// All attributes but the time of the last access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) ino: u64,
    /// The kind of inode as directory entries have it.
    kind: u32,
    permissions: u32,
    nlink: u64,
    owner: (u32, u32),
    rdev: u64,
    pub(crate) size: u64,
    blocks: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

/// Who is in a namespace of its own has other numbers for users.
fn owner(uid: u32, gid: u32) -> (u32, u32) {
    if rustix::process::geteuid().is_root() { (uid, gid) } else { (0, 0) }
}

impl Facts {
    pub(crate) fn on_host(metadata: &Metadata, counts_blocks: bool) -> Self {
        Self {
            ino: metadata.ino(),
            kind: metadata.mode() >> 12,
            permissions: metadata.mode() & 0o7777,
            nlink: metadata.nlink(),
            owner: owner(metadata.uid(), metadata.gid()),
            rdev: metadata.rdev(),
            size: metadata.size(),
            blocks: if counts_blocks { metadata.blocks() } else { 0 },
            modified: (metadata.mtime(), metadata.mtime_nsec() as u32),
            changed: (metadata.ctime(), metadata.ctime_nsec() as u32),
        }
    }

    pub(crate) fn of(attr: &Attr, counts_blocks: bool) -> Self {
        let kind = match attr.file_type {
            FileType::Fifo => 1,
            FileType::CharDevice => 2,
            FileType::Directory => 4,
            FileType::BlockDevice => 6,
            FileType::Regular => 8,
            FileType::Symlink => 10,
            FileType::Socket => 12,
        };
        Self {
            ino: attr.ino,
            kind,
            permissions: attr.permissions.into(),
            nlink: attr.nlink.into(),
            owner: owner(attr.uid, attr.gid),
            rdev: attr.rdev.into(),
            size: attr.size_bytes,
            blocks: if counts_blocks { attr.blocks } else { 0 },
            modified: (attr.modified.seconds, attr.modified.nanoseconds),
            changed: (attr.changed.seconds, attr.changed.nanoseconds),
        }
    }
}

/// What an inode holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Bytes(Vec<u8>),
    Target(Vec<u8>),
    Names(BTreeMap<Vec<u8>, Result<Facts, Errno>>),
}

/// What there is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) facts: Facts,
    pub(crate) content: Result<Content, Errno>,
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or_else(|| panic!("{error}")) as u16)
}

fn content_on_host(path: &Path, metadata: &Metadata, counts_blocks: bool) -> io::Result<Content> {
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        Content::Bytes(fs::read(path)?)
    } else if kind.is_symlink() {
        Content::Target(fs::read_link(path)?.into_os_string().into_vec())
    } else if kind.is_dir() {
        let names = fs::read_dir(path)?.map(|entry| {
            let name = entry?.file_name();
            let facts = fs::symlink_metadata(path.join(&name)).map(|metadata| Facts::on_host(&metadata, counts_blocks));
            Ok((name.as_bytes().to_vec(), facts.map_err(|error| errno(&error))))
        });
        Content::Names(names.collect::<io::Result<_>>()?)
    } else {
        Content::Nothing
    })
}

/// What the host finds at a path.
pub(crate) fn on_host(path: &Path, counts_blocks: bool) -> Result<Found, Errno> {
    let metadata = fs::symlink_metadata(path).map_err(|error| errno(&error))?;
    let content = content_on_host(path, &metadata, counts_blocks).map_err(|error| errno(&error));
    // Afterwards, since reading may change what a file takes.
    let metadata = fs::symlink_metadata(path).map_err(|error| errno(&error))?;
    Ok(Found { facts: Facts::on_host(&metadata, counts_blocks), content })
}

fn content_on_mount(fs: &VirtioFs, path: &str, kind: FileType, counts_blocks: bool) -> Result<Content, Error> {
    Ok(match kind {
        FileType::Regular => Content::Bytes(fs.read(path)?),
        FileType::Symlink => Content::Target(fs.read_link(path)?),
        FileType::Directory => {
            let names = fs.read_dir(path)?.map(|entry| {
                let entry = entry?;
                let facts =
                    entry.metadata().map(|metadata| Facts::of(metadata.attr(), counts_blocks)).map_err(Error::errno);
                Ok((entry.file_name().to_vec(), facts))
            });
            Content::Names(names.collect::<Result<_, Error>>()?)
        }
        _ => Content::Nothing,
    })
}

/// What a mount finds at a path.
pub(crate) fn on_mount(fs: &VirtioFs, path: &str, counts_blocks: bool) -> Result<Found, Errno> {
    let metadata = fs.symlink_metadata(path).map_err(Error::errno)?;
    let content = content_on_mount(fs, path, metadata.file_type(), counts_blocks).map_err(Error::errno);
    Ok(Found { facts: Facts::of(metadata.attr(), counts_blocks), content })
}

/// An ordinary user, for who may look at files.
pub(crate) const ORDINARY: u32 = 1000;

/// Does something with files of the host as the ordinary user. For root.
pub(crate) fn as_ordinary<T>(work: impl FnOnce() -> T) -> T {
    /// Makes the thread root again.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: as below.
            unsafe { (libc::setfsuid(0), libc::setfsgid(0)) };
        }
    }
    let _back = Back;
    // SAFETY: these concern the rights of this thread only, and no memory.
    unsafe { (libc::setfsgid(ORDINARY), libc::setfsuid(ORDINARY)) };
    work()
}
