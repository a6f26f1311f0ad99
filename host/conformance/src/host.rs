//! Steps as system calls.

use crate::facts::{Facts, Outcome, Value, file_type};
use crate::step::{Op, Slot, Text, Time};
use crate::thread::{User, as_user};
use rustix::fs::{
    self, AtFlags, CWD, Dir, FallocateFlags, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps, XattrFlags,
};
use rustix::io::{Errno as HostErrno, pread, pwrite};
use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use virtio_fs::{Errno, FileType};

/// A directory of the host that scripts run in by system calls.
pub(crate) struct Host {
    root: PathBuf,
    files: BTreeMap<Slot, Opened>,
    mappings: BTreeMap<Slot, Mapped>,
}

struct Opened {
    file: OwnedFd,
    opener: User,
    /// For the driver: what this asks of a file system depends on which it is.
    is_direct: bool,
}

/// A range of a file that stands for a mapping of it: what memory accesses would do is done by system calls, so that it is an
/// error to look behind the end.
struct Mapped {
    file: OwnedFd,
    range: Range<u64>,
    is_writable: bool,
}

impl Host {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into(), files: BTreeMap::new(), mappings: BTreeMap::new() }
    }

    /// Closes what is open, and unmaps what is mapped.
    pub(crate) fn close_all(&mut self) {
        self.mappings.clear();
        self.files.clear();
    }

    /// Does `op`, which fails in the mount: no file stays open by it, and none is closed.
    pub(crate) fn run_in_vain(&mut self, user: &User, op: &Op, open_flags: OFlags) -> Outcome {
        let &Op::Open { slot, .. } = op else { return self.run(user, op, open_flags) };
        let before = self.files.remove(&slot);
        let outcome = self.run(user, op, open_flags);
        self.files.remove(&slot);
        self.files.extend(before.map(|file| (slot, file)));
        outcome
    }

    /// Whether `op` changes an open file that has no name any more.
    pub(crate) fn changes_nameless(&self, op: &Op) -> bool {
        let slot = match op {
            Op::Read { .. } | Op::Fstat { .. } | Op::SeekData { .. } | Op::SeekHole { .. } => None,
            Op::Fsync { .. } | Op::Close { .. } => None,
            Op::CopyRange { to, .. } => Some(*to),
            op => op.slot(),
        };
        let file = slot.and_then(|slot| self.files.get(&slot));
        file.is_some_and(|opened| fs::fstat(&opened.file).is_ok_and(|stat| stat.st_nlink == 0))
    }

    /// Does `op`. Files that are made are opened with `open_flags` besides those of the step.
    pub(crate) fn run(&mut self, user: &User, op: &Op, open_flags: OFlags) -> Outcome {
        let opener = op.slot().and_then(|slot| self.files.get(&slot)).map(|opened| opened.opener);
        let user = opener.unwrap_or(*user);
        let (files, mappings) = (&mut self.files, &mut self.mappings);
        // A system may forbid links to what belongs to others (`fs.protected_hardlinks`), which POSIX does not.
        let kept = match op {
            Op::Link { .. } if user.uid != 0 => CapabilitySet::FOWNER,
            _ => CapabilitySet::empty(),
        };
        let outcome = as_user(&self.root, &user, kept, || match op {
            Op::Open { slot, path, flags, permissions } => {
                let flags = OFlags::from_bits_retain(*flags) | OFlags::CLOEXEC;
                let is_direct = flags.contains(OFlags::DIRECT);
                let flags = flags - OFlags::DIRECT;
                let flags = if flags.contains(OFlags::CREATE) { flags | open_flags } else { flags };
                let opened = fs::open(path.0.as_slice(), flags, Mode::from_raw_mode((*permissions).into()))?;
                // The driver has `opendir` for those.
                if fs::FileType::from_raw_mode(fs::fstat(&opened)?.st_mode) == fs::FileType::Directory {
                    return Err(HostErrno::ISDIR);
                }
                files.insert(*slot, Opened { file: opened, opener: user, is_direct });
                Ok(Value::Done)
            }
            Op::Close { slot } => {
                files.remove(slot).expect("an open file");
                Ok(Value::Done)
            }
            &Op::Map { slot, mapping, offset, length, writable } => {
                mappings.remove(&mapping);
                let opened = files.get(&slot).expect("an open file");
                mappings.insert(mapping, Mapped::new(opened, offset..offset + length, writable)?);
                Ok(Value::Done)
            }
            Op::Unmap { mapping } => {
                mappings.remove(mapping).expect("a mapping");
                Ok(Value::Done)
            }
            Op::MapRead { .. } | Op::MapWrite { .. } | Op::MapAdd { .. } => on_mapping(mappings, op),
            op if op.slot().is_some() => on_file(files, op),
            op => on_path(op),
        });
        outcome.map_err(errno)
    }
}

impl Mapped {
    fn new(opened: &Opened, range: Range<u64>, is_writable: bool) -> Result<Self> {
        /// What the daemon maps is whole pages.
        const UNIT: u64 = 4096;
        let access = fs::fcntl_getfl(&opened.file)? & OFlags::RWMODE;
        if access == OFlags::WRONLY || is_writable && access != OFlags::RDWR {
            return Err(HostErrno::BADF);
        }
        if opened.is_direct {
            return Err(HostErrno::NODEV);
        }
        if range.is_empty() {
            return Err(HostErrno::INVAL);
        }
        if range.end.next_multiple_of(UNIT) > fs::fstat(&opened.file)?.st_size as u64 {
            return Err(HostErrno::NXIO);
        }
        Ok(Self { file: opened.file.try_clone().map_err(|_| HostErrno::MFILE)?, range, is_writable })
    }

    /// Where in the file these bytes are.
    fn place(&self, offset: u64, bytes: usize) -> Result<u64> {
        let end = offset + bytes as u64;
        if end > self.range.end - self.range.start {
            return Err(HostErrno::INVAL);
        }
        if self.range.start + end > fs::fstat(&self.file)?.st_size as u64 {
            return Err(HostErrno::NXIO);
        }
        Ok(self.range.start + offset)
    }

    fn expect_writable(&self) -> Result<()> {
        if self.is_writable { Ok(()) } else { Err(HostErrno::BADF) }
    }
}

fn on_mapping(mappings: &BTreeMap<Slot, Mapped>, op: &Op) -> Result<Value> {
    let mapped = |mapping: &Slot| mappings.get(mapping).expect("a mapping");
    match op {
        Op::MapRead { mapping, offset, length } => {
            let (mapped, mut buffer) = (mapped(mapping), vec![0; *length]);
            pread(&mapped.file, &mut buffer[..], mapped.place(*offset, *length)?)?;
            Ok(Value::Bytes(buffer.into()))
        }
        Op::MapWrite { mapping, offset, data } => {
            let mapped = mapped(mapping);
            mapped.expect_writable()?;
            let place = mapped.place(*offset, data.0.len())?;
            write_at(mapped, place, &data.0)
        }
        Op::MapAdd { mapping, offset, more } => {
            let (mapped, mut number) = (mapped(mapping), [0; 8]);
            mapped.expect_writable()?;
            if !(mapped.range.start + offset).is_multiple_of(8) {
                return Err(HostErrno::INVAL);
            }
            let place = mapped.place(*offset, number.len())?;
            pread(&mapped.file, &mut number[..], place)?;
            let number = u64::from_ne_bytes(number);
            write_at(mapped, place, &number.wrapping_add(*more).to_ne_bytes())?;
            Ok(Value::Number(number))
        }
        _ => unreachable!("it is not done to a mapping"),
    }
}

/// Wherever the file was opened to append: memory accesses do not.
fn write_at(mapped: &Mapped, place: u64, data: &[u8]) -> Result<Value> {
    let flags = fs::fcntl_getfl(&mapped.file)?;
    fs::fcntl_setfl(&mapped.file, flags - OFlags::APPEND)?;
    let written = pwrite(&mapped.file, data, place);
    fs::fcntl_setfl(&mapped.file, flags)?;
    done(written.map(drop))
}

fn errno(error: HostErrno) -> Errno {
    Errno(error.raw_os_error() as u16)
}

type Result<T> = std::result::Result<T, HostErrno>;

fn done(result: Result<()>) -> Result<Value> {
    result.map(|()| Value::Done)
}

/// Who makes something learns what was made.
fn made(path: &[u8], result: Result<()>) -> Result<Value> {
    result.and_then(|()| Ok(Value::Facts(Facts::from(&fs::lstat(path)?))))
}

fn unless_following(follow: bool) -> AtFlags {
    if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW }
}

fn on_path(op: &Op) -> Result<Value> {
    match op {
        Op::Mkdir { path: Text(path), permissions } => made(path, fs::mkdir(&path[..], mode(*permissions))),
        &Op::Mknod { path: Text(ref path), kind, permissions, rdev } => {
            let kind = rustix::fs::FileType::from_raw_mode(format(kind));
            made(path, fs::mknodat(CWD, &path[..], kind, mode(permissions), rdev.into()))
        }
        Op::Symlink { target, path: Text(path) } => made(path, fs::symlink(&target.0[..], &path[..])),
        Op::Link { original, path: Text(path) } => made(path, fs::link(&original.0[..], &path[..])),
        Op::Unlink { path } => done(fs::unlink(&path.0[..])),
        Op::Rmdir { path } => done(fs::rmdir(&path.0[..])),
        Op::Rename { from, to, flags } => {
            let flags = RenameFlags::from_bits_retain(*flags);
            done(fs::renameat_with(CWD, &from.0[..], CWD, &to.0[..], flags))
        }
        Op::Stat { path } => Ok(Value::Facts(Facts::from(&fs::stat(&path.0[..])?))),
        Op::Lstat { path } => Ok(Value::Facts(Facts::from(&fs::lstat(&path.0[..])?))),
        Op::Readlink { path } => Ok(Value::Bytes(fs::readlink(&path.0[..], Vec::new())?.into_bytes().into())),
        Op::List { path } => list(&path.0),
        Op::Access { path, wanted } => done(fs::access(&path.0[..], fs::Access::from_bits_retain(*wanted))),
        Op::Chmod { path, permissions, follow } => {
            done(fs::chmodat(CWD, &path.0[..], mode(*permissions), unless_following(*follow)))
        }
        Op::Chown { path, uid, gid, follow } => {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            done(fs::chownat(CWD, &path.0[..], uid, gid, unless_following(*follow)))
        }
        Op::Truncate { path, size } => done(truncate(&path.0, *size)),
        Op::SetTimes { path, accessed, modified, follow } => {
            let times = timestamps(*accessed, *modified);
            done(fs::utimensat(CWD, &path.0[..], &times, unless_following(*follow)))
        }
        Op::GetXattr { .. } | Op::ListXattr { .. } | Op::SetXattr { .. } | Op::RemoveXattr { .. } => on_xattr(op),
        Op::SyncDir { path } => done(fs::fsync(fs::open(&path.0[..], OFlags::DIRECTORY, Mode::empty())?)),
        Op::Sync { path } => done(fs::syncfs(fs::open(&path.0[..], OFlags::DIRECTORY, Mode::empty())?)),
        _ => unreachable!("it is done to an open file"),
    }
}

fn on_xattr(op: &Op) -> Result<Value> {
    match op {
        Op::GetXattr { path: Text(path), name: Text(name), room, follow } => {
            let (path, name, mut value) = (&path[..], &name[..], vec![0; *room]);
            if *room == 0 {
                let get = if *follow { fs::getxattr_query } else { fs::lgetxattr_query };
                return get(path, name).map(|bytes| Value::Number(bytes as u64));
            }
            let get = if *follow { fs::getxattr } else { fs::lgetxattr };
            let bytes = get(path, name, &mut value[..])?;
            value.truncate(bytes);
            Ok(Value::Bytes(value.into()))
        }
        Op::ListXattr { path: Text(path), room, follow } => {
            let (path, mut names) = (&path[..], vec![0; *room]);
            if *room == 0 {
                let list = if *follow { fs::listxattr_query } else { fs::llistxattr_query };
                return list(path).map(|bytes| Value::Number(bytes as u64));
            }
            let list = if *follow { fs::listxattr } else { fs::llistxattr };
            let bytes = list(path, &mut names[..])?;
            Ok(Value::names(&names[..bytes]))
        }
        Op::SetXattr { path: Text(path), name: Text(name), value: Text(value), flags, follow } => {
            let flags = XattrFlags::from_bits_retain(*flags);
            done(match follow {
                true => fs::setxattr(&path[..], &name[..], value, flags),
                false => fs::lsetxattr(&path[..], &name[..], value, flags),
            })
        }
        Op::RemoveXattr { path: Text(path), name: Text(name), follow } => done(match follow {
            true => fs::removexattr(&path[..], &name[..]),
            false => fs::lremovexattr(&path[..], &name[..]),
        }),
        _ => unreachable!("it is no extended attribute's"),
    }
}

fn on_file(files: &BTreeMap<Slot, Opened>, op: &Op) -> Result<Value> {
    let file = |slot: &Slot| &files.get(slot).expect("an open file").file;
    match op {
        Op::Read { slot, offset, length } => {
            let mut buffer = vec![0; *length];
            let bytes = pread(file(slot), &mut buffer[..], *offset)?;
            buffer.truncate(bytes);
            Ok(Value::Bytes(buffer.into()))
        }
        Op::Write { slot, offset, data } => Ok(Value::Number(pwrite(file(slot), &data.0, *offset)? as u64)),
        Op::Fstat { slot } => Ok(Value::Facts(Facts::from(&fs::fstat(file(slot))?))),
        Op::Fchmod { slot, permissions } => done(fs::fchmod(file(slot), mode(*permissions))),
        Op::Fchown { slot, uid, gid } => done(fs::fchown(file(slot), uid.map(Uid::from_raw), gid.map(Gid::from_raw))),
        Op::Ftruncate { slot, size } => done(fs::ftruncate(file(slot), *size)),
        Op::FsetTimes { slot, accessed, modified } => done(fs::futimens(file(slot), &timestamps(*accessed, *modified))),
        Op::Fsync { slot, data_only: true } => done(fs::fdatasync(file(slot))),
        Op::Fsync { slot, data_only: false } => done(fs::fsync(file(slot))),
        Op::Allocate { slot, offset, length, flags } => {
            done(fs::fallocate(file(slot), FallocateFlags::from_bits_retain(*flags), *offset, *length))
        }
        Op::CopyRange { slot, offset, to, to_offset, length } => {
            let (mut from, mut into) = (*offset, *to_offset);
            let length = usize::try_from(*length).expect("64 bits");
            let copied = fs::copy_file_range(file(slot), Some(&mut from), file(to), Some(&mut into), length)?;
            Ok(Value::Number(copied as u64))
        }
        Op::SeekData { slot, offset } => Ok(Value::Number(fs::seek(file(slot), SeekFrom::Data(*offset))?)),
        Op::SeekHole { slot, offset } => Ok(Value::Number(fs::seek(file(slot), SeekFrom::Hole(*offset))?)),
        _ => unreachable!("it is done to a path"),
    }
}

fn list(path: &[u8]) -> Result<Value> {
    let mut entries = Vec::new();
    for entry in Dir::new(fs::open(path, OFlags::DIRECTORY, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push((name.into(), file_type(entry.file_type())));
        }
    }
    Ok(Value::entries(entries))
}

/// By path, which `rustix` lacks.
fn truncate(path: &[u8], size: u64) -> Result<()> {
    let path = CString::new(path).map_err(|_| HostErrno::INVAL)?;
    // SAFETY: the path ends with NUL.
    match unsafe { libc::truncate(path.as_ptr(), size as i64) } {
        0 => Ok(()),
        _ => Err(HostErrno::from_io_error(&std::io::Error::last_os_error()).expect("an error of the system")),
    }
}

fn mode(permissions: u16) -> Mode {
    Mode::from_bits_retain(permissions.into())
}

/// The `S_IFMT` bits.
fn format(kind: FileType) -> u32 {
    match kind {
        FileType::Fifo => 0o010_000,
        FileType::CharDevice => 0o020_000,
        FileType::Directory => 0o040_000,
        FileType::BlockDevice => 0o060_000,
        FileType::Regular => 0o100_000,
        FileType::Symlink => 0o120_000,
        FileType::Socket => 0o140_000,
    }
}

fn timestamps(accessed: Time, modified: Time) -> Timestamps {
    let spec = |time| match time {
        Time::Omit => Timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        Time::Now => Timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
        Time::At(seconds, nanoseconds) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    };
    Timestamps { last_access: spec(accessed), last_modification: spec(modified) }
}
