//! Steps in the mount, through the layer `fs`, as far as it has a function for them.

use crate::facts::{Facts, Value};
use crate::guest::{self, Guest, Opened, Result, done, set_time};
use crate::step::{Op, Text};
use crate::thread::User;
use virtio_fs::fs::{DirEntry, File, FileTimes, Metadata, OpenOptions};
use virtio_fs::{Access, AllocateFlags, Errno, Error, OpenFlags, RenameFlags, VirtioFs, XattrFlags};

impl Guest {
    /// Does `op` by paths; `None` if it takes an inode.
    pub(crate) fn by_path(&mut self, user: &User, op: &Op) -> Option<Result<Value>> {
        let fs = self.fs.with_credentials(user.credentials());
        match op {
            &Op::Open { slot, ref path, flags, permissions } => {
                let opened = options(OpenFlags::from_bits_retain(flags), permissions)?.open(&fs, &path.0);
                Some(opened.map(|file| {
                    self.files.insert(slot, Opened::File(file));
                    Value::Done
                }))
            }
            op => match op.slot().and_then(|slot| self.files.get(&slot)) {
                Some(Opened::File(file)) => on_file(self, file, op),
                Some(Opened::OpenFile(_)) => None,
                None => on_path(&fs, user, op),
            },
        }
    }
}

/// The options that stand for these flags, if there are such.
fn options(flags: OpenFlags, permissions: u16) -> Option<OpenOptions> {
    let is = |flag| flags.contains(flag);
    let writes = is(OpenFlags::WRITE_ONLY) || is(OpenFlags::READ_WRITE);
    let truncates_or_makes = flags.intersects(OpenFlags::TRUNCATE | OpenFlags::CREATE);
    if !writes && (truncates_or_makes || is(OpenFlags::APPEND)) || is(OpenFlags::APPEND | OpenFlags::TRUNCATE) {
        return None;
    }
    let mut options = OpenOptions::new();
    options.read(!is(OpenFlags::WRITE_ONLY)).write(writes).append(is(OpenFlags::APPEND));
    options.truncate(is(OpenFlags::TRUNCATE)).create(is(OpenFlags::CREATE)).mode(permissions);
    options.create_new(is(OpenFlags::CREATE | OpenFlags::EXCLUSIVE)).custom_flags(flags);
    Some(options)
}

fn facts(metadata: Metadata) -> Value {
    Value::Facts(Facts::from(metadata.attr()))
}

/// Who makes something learns what was made.
fn made(fs: &VirtioFs, path: &Text, result: Result<()>) -> Option<Result<Value>> {
    Some(result.and_then(|()| fs.symlink_metadata(&path.0)).map(facts))
}

fn on_path(fs: &VirtioFs, user: &User, op: &Op) -> Option<Result<Value>> {
    Some(match op {
        Op::Mkdir { path, permissions } => {
            // There are other permissions than all by the umask only.
            if permissions & 0o7000 != 0 {
                return None;
            }
            let umask = user.umask | 0o777 & !permissions;
            let made_by = fs.with_credentials(user.with_umask(umask).credentials());
            return made(fs, path, made_by.create_dir(&path.0));
        }
        Op::Mknod { path, kind, permissions, rdev } => {
            return made(fs, path, fs.mknod(&path.0, *kind, *permissions, *rdev));
        }
        Op::Symlink { target, path } => return made(fs, path, fs.symlink(&target.0, &path.0)),
        Op::Link { original, path } => return made(fs, path, fs.hard_link(&original.0, &path.0)),
        Op::Unlink { path } => done(fs.remove_file(&path.0)),
        Op::Rmdir { path } => done(fs.remove_dir(&path.0)),
        Op::Rename { from, to, flags: 0 } => done(fs.rename(&from.0, &to.0)),
        Op::Rename { from, to, flags } => done(fs.rename_with(&from.0, &to.0, RenameFlags::from_bits_retain(*flags))),
        Op::Stat { path } => fs.metadata(&path.0).map(facts),
        Op::Lstat { path } => fs.symlink_metadata(&path.0).map(facts),
        Op::Readlink { path } => fs.read_link(&path.0).map(|target| Value::Bytes(target.into())),
        Op::List { path } => list(fs, path),
        Op::Access { path, wanted } => done(fs.access(&path.0, Access::from_bits_retain(*wanted))),
        Op::Chmod { path, permissions, follow: true } => done(fs.set_permissions(&path.0, *permissions)),
        Op::Chown { path, uid, gid, follow: true } => done(fs.set_owner(&path.0, *uid, *gid)),
        Op::Chown { path, uid, gid, follow: false } => done(fs.set_symlink_owner(&path.0, *uid, *gid)),
        Op::Truncate { path, size } => done(fs.truncate(&path.0, *size)),
        Op::SetTimes { path, accessed, modified, follow } => {
            let times = FileTimes { accessed: set_time(*accessed), modified: set_time(*modified) };
            done(if *follow { fs.set_times(&path.0, times) } else { fs.set_symlink_times(&path.0, times) })
        }
        Op::GetXattr { path, name, room, follow: true } => {
            fs.get_xattr(&path.0, &name.0).and_then(|value| match room {
                0 => Ok(Value::Number(value.len() as u64)),
                &room if room < value.len() => Err(Error::Refused(Errno::ERANGE)),
                _ => Ok(Value::Bytes(value.into())),
            })
        }
        Op::ListXattr { path, room, follow: true } => fs.list_xattr(&path.0).and_then(|names| {
            let bytes = names.iter().map(|name| name.len() + 1).sum();
            match room {
                0 => Ok(Value::Number(bytes as u64)),
                &room if room < bytes => Err(Error::Refused(Errno::ERANGE)),
                _ => Ok(Value::names(&names.join(&0))),
            }
        }),
        Op::SetXattr { path, name, value, flags, follow: true } => {
            done(fs.set_xattr(&path.0, &name.0, &value.0, XattrFlags::from_bits_retain(*flags)))
        }
        Op::RemoveXattr { path, name, follow: true } => done(fs.remove_xattr(&path.0, &name.0)),
        Op::Sync { .. } => done(fs.sync()),
        _ => return None,
    })
}

fn list(fs: &VirtioFs, path: &Text) -> Result<Value> {
    let entry = |entry: DirEntry| {
        let file_type = entry.file_type()?;
        match entry.metadata() {
            Ok(metadata) => guest::expect_equal(metadata.attr(), &entry.node()?.getattr()?)?,
            // Who may not search the directory gets names and kinds alone.
            Err(error) if error.errno() == Errno::EACCES => {}
            Err(error) => return Err(error),
        }
        Ok((entry.file_name().into(), file_type))
    };
    let entries: Result<Vec<_>> = fs.read_dir(&path.0)?.map(|next| next.and_then(entry)).collect();
    entries.map(Value::entries)
}

fn on_file(guest: &Guest, file: &File, op: &Op) -> Option<Result<Value>> {
    Some(match op {
        Op::Read { offset, length, .. } => {
            let mut buffer = vec![0; *length];
            file.read_at(*offset, &mut buffer).map(|bytes| {
                buffer.truncate(bytes);
                Value::Bytes(buffer.into())
            })
        }
        Op::Write { offset, data, .. } => file.write_at(*offset, &data.0).map(|bytes| Value::Number(bytes as u64)),
        Op::Fstat { .. } => file.metadata().map(facts),
        Op::Fchmod { permissions, .. } => done(file.set_permissions(*permissions)),
        Op::Ftruncate { size, .. } => done(file.set_len(*size)),
        Op::FsetTimes { accessed, modified, .. } => {
            done(file.set_times(FileTimes { accessed: set_time(*accessed), modified: set_time(*modified) }))
        }
        Op::Fsync { data_only, .. } => done(if *data_only { file.sync_data() } else { file.sync_all() }),
        Op::Allocate { offset, length, flags, .. } => {
            done(file.allocate(*offset, *length, AllocateFlags::from_bits_retain(*flags)))
        }
        Op::CopyRange { offset, to, to_offset, length, .. } => match &guest.files[to] {
            Opened::File(to) => file.copy_range(*offset, to, *to_offset, *length).map(Value::Number),
            Opened::OpenFile(_) => return None,
        },
        Op::SeekData { offset, .. } => file.seek_data(*offset).map(Value::Number),
        Op::SeekHole { offset, .. } => file.seek_hole(*offset).map(Value::Number),
        _ => return None,
    })
}
