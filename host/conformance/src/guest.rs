//! Steps in the mount, through the layer `vnode`.

use crate::facts::{Facts, Outcome, Value};
use crate::step::{Layer, Op, Slot, Text, Time};
use crate::thread::User;
use std::collections::BTreeMap;
use virtio_fs::fs::File;
use virtio_fs::vnode::{Durability, Mapping, Node, OpenFile};
use virtio_fs::{
    Access, AllocateFlags, Attr, Error, OpenFlags, RenameFlags, SetAttr, SetTime, Timestamp, VirtioFs, XattrFlags,
};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A mount that scripts run in.
pub(crate) struct Guest {
    pub(crate) fs: VirtioFs,
    pub(crate) files: BTreeMap<Slot, Opened>,
    mappings: BTreeMap<Slot, Mapping>,
}

/// An open file, by the layer that opened it.
pub(crate) enum Opened {
    OpenFile(OpenFile),
    File(File),
}

impl Opened {
    fn as_open_file(&self) -> &OpenFile {
        match self {
            Self::OpenFile(file) => file,
            Self::File(file) => file.as_open_file(),
        }
    }
}

impl Guest {
    pub(crate) fn new(fs: VirtioFs) -> Self {
        Self { fs, files: BTreeMap::new(), mappings: BTreeMap::new() }
    }

    /// Closes what is open, and unmaps what is mapped.
    pub(crate) fn close_all(&mut self) {
        self.mappings.clear();
        self.files.clear();
    }

    /// Does `op` through a layer.
    pub(crate) fn run(&mut self, layer: Layer, user: &User, op: &Op) -> Outcome {
        let by_path = match layer {
            Layer::Vnode => None,
            Layer::Fs => self.by_path(user, op),
        };
        by_path.unwrap_or_else(|| self.by_inode(user, op)).map_err(Error::errno)
    }

    /// Does `op` through the inode-level API.
    fn by_inode(&mut self, user: &User, op: &Op) -> Result<Value> {
        let fs = self.fs.with_credentials(user.credentials());
        match op {
            &Op::Open { slot, ref path, flags, permissions } => open(&fs, path, flags, permissions).map(|file| {
                self.files.insert(slot, Opened::OpenFile(file));
                Value::Done
            }),
            Op::Close { slot } => done(match self.files.remove(slot).expect("an open file") {
                Opened::OpenFile(file) => file.close(),
                Opened::File(file) => file.close(),
            }),
            &Op::Map { slot, mapping, offset, length, writable } => {
                self.mappings.remove(&mapping);
                let file = self.files.get(&slot).expect("an open file").as_open_file();
                let access = if writable { Access::READ | Access::WRITE } else { Access::READ };
                self.mappings.insert(mapping, file.map(offset..offset + length, access)?);
                Ok(Value::Done)
            }
            Op::Unmap { mapping } => {
                self.mappings.remove(mapping).expect("a mapping");
                Ok(Value::Done)
            }
            Op::MapRead { .. } | Op::MapWrite { .. } | Op::MapAdd { .. } => on_mapping(&self.mappings, op),
            op if op.slot().is_some() => on_file(&self.files, op),
            op => on_path(&fs, op),
        }
    }
}

fn on_mapping(mappings: &BTreeMap<Slot, Mapping>, op: &Op) -> Result<Value> {
    let mapping = |name: &Slot| mappings.get(name).expect("a mapping");
    match op {
        Op::MapRead { mapping: name, offset, length } => {
            let mut buffer = vec![0; *length];
            mapping(name).read_at(*offset, &mut buffer)?;
            Ok(Value::Bytes(buffer.into()))
        }
        Op::MapWrite { mapping: name, offset, data } => done(mapping(name).write_at(*offset, &data.0)),
        Op::MapAdd { mapping: name, offset, more } => mapping(name).fetch_add_u64(*offset, *more).map(Value::Number),
        _ => unreachable!("it is not done to a mapping"),
    }
}

pub(crate) fn done(result: Result<()>) -> Result<Value> {
    result.map(|()| Value::Done)
}

fn facts(attr: &Attr) -> Value {
    Value::Facts(Facts::from(attr))
}

fn made((_, attr): (Node, Attr)) -> Value {
    facts(&attr)
}

/// The directory that the path's last name is in, and that name.
fn parent<'p>(fs: &VirtioFs, path: &'p Text) -> Result<(Node, &'p [u8])> {
    match path.0.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => Ok((fs.node(&path.0[..=slash])?, &path.0[slash + 1..])),
        None => Ok((fs.root().clone(), &path.0)),
    }
}

/// What the path leads to, or what its last name is.
fn node(fs: &VirtioFs, path: &Text, follow: bool) -> Result<Node> {
    if follow {
        return fs.node(&path.0);
    }
    let (parent, name) = parent(fs, path)?;
    parent.lookup(name).map(|(node, _)| node)
}

fn open(fs: &VirtioFs, path: &Text, flags: u32, permissions: u16) -> Result<OpenFile> {
    let flags = OpenFlags::from_bits_retain(flags);
    if flags.contains(OpenFlags::CREATE) {
        let (parent, name) = parent(fs, path)?;
        let (file, attr) = parent.create(name, flags, permissions)?;
        expect_equal(&attr, &file.getattr()?)?;
        return Ok(file);
    }
    node(fs, path, !flags.contains(OpenFlags::NOFOLLOW))?.open(flags)
}

fn on_path(fs: &VirtioFs, op: &Op) -> Result<Value> {
    match op {
        Op::Mkdir { path, permissions } => {
            let (parent, name) = parent(fs, path)?;
            parent.mkdir(name, *permissions).map(made)
        }
        &Op::Mknod { ref path, kind, permissions, rdev } => {
            let (parent, name) = parent(fs, path)?;
            parent.mknod(name, kind, permissions, rdev).map(made)
        }
        Op::Symlink { target, path } => {
            let (parent, name) = parent(fs, path)?;
            parent.symlink(name, &target.0).map(made)
        }
        Op::Link { original, path } => {
            let original = node(fs, original, false)?;
            let (parent, name) = parent(fs, path)?;
            original.link(&parent, name).map(made)
        }
        Op::Unlink { path } => {
            let (parent, name) = parent(fs, path)?;
            done(parent.unlink(name))
        }
        Op::Rmdir { path } => {
            let (parent, name) = parent(fs, path)?;
            done(parent.rmdir(name))
        }
        Op::Rename { from, to, flags } => {
            let (from, name) = parent(fs, from)?;
            let (to, new_name) = parent(fs, to)?;
            done(from.rename(name, &to, new_name, RenameFlags::from_bits_retain(*flags)))
        }
        Op::Stat { path } => node(fs, path, true)?.getattr().map(|attr| facts(&attr)),
        Op::Lstat { path } => {
            let (parent, name) = parent(fs, path)?;
            parent.lookup(name).map(made)
        }
        Op::Readlink { path } => node(fs, path, false)?.readlink().map(|target| Value::Bytes(target.into())),
        Op::List { path } => list(&node(fs, path, true)?),
        Op::Access { path, wanted } => done(node(fs, path, true)?.access(Access::from_bits_retain(*wanted))),
        Op::Chmod { path, permissions, follow } => {
            let changes = SetAttr { permissions: Some(*permissions), ..SetAttr::default() };
            set(&node(fs, path, *follow)?, &changes)
        }
        &Op::Chown { ref path, uid, gid, follow } => {
            set(&node(fs, path, follow)?, &SetAttr { uid, gid, ..SetAttr::default() })
        }
        Op::Truncate { path, size } => {
            set(&node(fs, path, true)?, &SetAttr { size_bytes: Some(*size), ..SetAttr::default() })
        }
        Op::SetTimes { path, accessed, modified, follow } => {
            set(&node(fs, path, *follow)?, &times(*accessed, *modified))
        }
        Op::GetXattr { path, name, room, follow } => {
            let mut value = vec![0; *room];
            let bytes = node(fs, path, *follow)?.getxattr(&name.0, &mut value)?;
            value.truncate(bytes);
            Ok(if *room == 0 { Value::Number(bytes as u64) } else { Value::Bytes(value.into()) })
        }
        Op::ListXattr { path, room, follow } => {
            let mut names = vec![0; *room];
            let bytes = node(fs, path, *follow)?.listxattr(&mut names)?;
            names.truncate(bytes);
            Ok(if *room == 0 { Value::Number(bytes as u64) } else { Value::names(&names) })
        }
        Op::SetXattr { path, name, value, flags, follow } => {
            let flags = XattrFlags::from_bits_retain(*flags);
            done(node(fs, path, *follow)?.setxattr(&name.0, &value.0, flags))
        }
        Op::RemoveXattr { path, name, follow } => done(node(fs, path, *follow)?.removexattr(&name.0)),
        Op::SyncDir { path } => {
            let dir = node(fs, path, true)?.opendir()?;
            dir.fsync(Durability::All)?;
            done(dir.close())
        }
        Op::Sync { path } => done(node(fs, path, true)?.syncfs()),
        _ => unreachable!("it is done to an open file"),
    }
}

/// What is told of the new attributes is what is asked for afterwards.
fn set(node: &Node, changes: &SetAttr) -> Result<Value> {
    let told = node.setattr(changes)?;
    expect_equal(&told, &node.getattr()?)?;
    Ok(Value::Done)
}

/// Attributes that are told twice.
pub(crate) fn expect_equal(told: &Attr, asked: &Attr) -> Result<()> {
    let (told, asked) = (Facts::from(told), Facts::from(asked));
    if told == asked {
        return Ok(());
    }
    eprintln!("told were {told:?}\nand then  {asked:?}");
    Err(Error::Protocol("the attributes that were told are others"))
}

fn times(accessed: Time, modified: Time) -> SetAttr {
    SetAttr { accessed: set_time(accessed), modified: set_time(modified), ..SetAttr::default() }
}

pub(crate) fn set_time(time: Time) -> Option<SetTime> {
    match time {
        Time::Omit => None,
        Time::Now => Some(SetTime::Now),
        Time::At(seconds, nanoseconds) => Some(SetTime::At(Timestamp { seconds, nanoseconds })),
    }
}

fn list(node: &Node) -> Result<Value> {
    let mut dir = node.opendir()?;
    let mut entries = Vec::new();
    while let Some(mut entry) = dir.next_entry()? {
        if entry.name == b"." || entry.name == b".." {
            continue;
        }
        let file_type = entry.file_type.ok_or(Error::Protocol("no kind of inode"))?;
        entries.push((entry.name.into(), file_type));
        if let Some((node, attr)) = entry.take_node() {
            expect_equal(&attr, &node.getattr()?)?;
        }
    }
    dir.close()?;
    Ok(Value::entries(entries))
}

fn on_file(files: &BTreeMap<Slot, Opened>, op: &Op) -> Result<Value> {
    let file = |slot: &Slot| files.get(slot).expect("an open file").as_open_file();
    let set = |slot: &Slot, changes: &SetAttr| {
        let told = file(slot).setattr(changes)?;
        expect_equal(&told, &file(slot).getattr()?)?;
        Ok(Value::Done)
    };
    match op {
        Op::Read { slot, offset, length } => {
            let mut buffer = vec![0; *length];
            let bytes = file(slot).read_at(*offset, &mut buffer)?;
            buffer.truncate(bytes);
            Ok(Value::Bytes(buffer.into()))
        }
        Op::Write { slot, offset, data } => file(slot).write_at(*offset, &data.0).map(|b| Value::Number(b as u64)),
        Op::Fstat { slot } => file(slot).getattr().map(|attr| facts(&attr)),
        Op::Fchmod { slot, permissions } => {
            set(slot, &SetAttr { permissions: Some(*permissions), ..SetAttr::default() })
        }
        &Op::Fchown { ref slot, uid, gid } => set(slot, &SetAttr { uid, gid, ..SetAttr::default() }),
        Op::Ftruncate { slot, size } => set(slot, &SetAttr { size_bytes: Some(*size), ..SetAttr::default() }),
        Op::FsetTimes { slot, accessed, modified } => set(slot, &times(*accessed, *modified)),
        Op::Fsync { slot, data_only } => {
            done(file(slot).fsync(if *data_only { Durability::Data } else { Durability::All }))
        }
        Op::Allocate { slot, offset, length, flags } => {
            done(file(slot).allocate(*offset, *length, AllocateFlags::from_bits_retain(*flags)))
        }
        Op::CopyRange { slot, offset, to, to_offset, length } => {
            file(slot).copy_range(*offset, file(to), *to_offset, *length).map(Value::Number)
        }
        Op::SeekData { slot, offset } => file(slot).seek_data(*offset).map(Value::Number),
        Op::SeekHole { slot, offset } => file(slot).seek_hole(*offset).map(Value::Number),
        _ => unreachable!("it is done to a path"),
    }
}
