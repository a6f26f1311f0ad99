//! What makes an inode: CREATE, TMPFILE, MKNOD, MKDIR, SYMLINK.

use super::fuse::{self, init, open};
use super::operations::Answer;
use super::request::{Args, Failure, Header, file_type, violation};
use super::tree::NodeIndex;
use super::{FakeServer, replies};
use crate::Errno;
use crate::wire::FileType;
use alloc::format;
use alloc::vec::Vec;

/// The longest target of a symbolic link.
const TARGET_MAX_BYTES: usize = 4095;

/// An inode to be made.
#[derive(Clone, Copy)]
struct New {
    kind: FileType,
    permissions: u16,
    rdev: u32,
}

impl FakeServer {
    /// The permissions of a new inode.
    fn permissions(&self, mode: u32, umask: u32) -> Result<u16, Failure> {
        if umask & !0o777 != 0 {
            return violation(format!("umask is {umask:#o}"));
        }
        let masked = mode & 0o7777 & !umask;
        if mode & 0o7777 != masked && !self.session.has(init::DONT_MASK) {
            return violation(format!("mode {mode:#o} has bits of umask {umask:#o} without DONT_MASK"));
        }
        // Twelve bits.
        Ok(masked as u16)
    }

    /// A directory that can be given a new name.
    pub(super) fn live_directory(&self, nodeid: u64) -> Result<NodeIndex, Failure> {
        let directory = self.session.node(nodeid)?;
        match self.tree.node(directory) {
            node if node.attr.file_type != FileType::Directory => Err(Errno::ENOTDIR.into()),
            node if node.removed => Err(Errno::ENOENT.into()),
            _ => Ok(directory),
        }
    }

    /// A directory without an entry of this name.
    pub(super) fn vacant(&self, nodeid: u64, name: &[u8]) -> Result<NodeIndex, Failure> {
        let directory = self.live_directory(nodeid)?;
        if self.tree.child(directory, name).is_ok() {
            return Err(Errno::EEXIST.into());
        }
        Ok(directory)
    }

    /// Makes an inode without a name.
    fn make_inode(&mut self, header: &Header, directory: NodeIndex, new: New) -> Result<NodeIndex, Failure> {
        let parent = self.tree.node(directory).attr;
        let last = self.last.get(&header.opcode);
        let extensions = last.map(|last| last.extensions.clone()).unwrap_or_default();
        if extensions.supplementary_group.is_some_and(|group| group != parent.gid) {
            return violation("the supplementary group is not that of the directory");
        }
        let now = self.options.now;
        let index = self.tree.add_nameless(directory, new.kind);
        let node = self.tree.node_mut(index);
        node.born = Some(now);
        node.attr.accessed = now;
        node.modified(now);
        node.attr.permissions = new.permissions;
        node.attr.rdev = new.rdev;
        node.attr.uid = header.caller.uid;
        node.attr.gid = header.caller.gid;
        if parent.permissions & 0o2000 != 0 {
            node.attr.gid = parent.gid;
            if new.kind == FileType::Directory {
                node.attr.permissions |= 0o2000;
            }
        }
        node.xattrs.extend(extensions.security_context);
        Ok(index)
    }

    fn make_named(&mut self, header: &Header, name: &[u8], new: New) -> Result<NodeIndex, Failure> {
        let directory = self.vacant(header.nodeid, name)?;
        let node = self.make_inode(header, directory, new)?;
        self.tree.enter(directory, name, node);
        self.touch(directory);
        Ok(node)
    }

    /// Notes that what is in a directory changed.
    pub(super) fn touch(&mut self, directory: NodeIndex) {
        let now = self.options.now;
        self.tree.node_mut(directory).modified(now);
    }

    pub(super) fn mknod(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let (mode, rdev, umask) = (args.u32()?, args.u32()?, args.u32()?);
        args.zeros::<4>()?;
        let name = args.name()?;
        args.end()?;
        let kind = match file_type(mode) {
            None if mode >> 12 == 0 => FileType::Regular,
            None | Some(FileType::Directory | FileType::Symlink) => return violation(format!("mode is {mode:#o}")),
            Some(kind) => kind,
        };
        let is_device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        let rdev = if is_device { rdev } else { 0 };
        let new = New { kind, permissions: self.permissions(mode, umask)?, rdev };
        let node = self.make_named(header, name, new)?;
        Ok(self.entry(node))
    }

    pub(super) fn mkdir(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let (mode, umask) = (args.u32()?, args.u32()?);
        let name = args.name()?;
        args.end()?;
        if mode >> 12 != 0 && file_type(mode) != Some(FileType::Directory) {
            return violation(format!("mode is {mode:#o}"));
        }
        let new = New { kind: FileType::Directory, permissions: self.permissions(mode, umask)?, rdev: 0 };
        let node = self.make_named(header, name, new)?;
        Ok(self.entry(node))
    }

    pub(super) fn make_symlink(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let (name, target) = (args.name()?, args.text()?);
        args.end()?;
        match target.len() {
            0 => return Err(Errno::ENOENT.into()),
            1..=TARGET_MAX_BYTES => {}
            _ => return Err(Errno::ENAMETOOLONG.into()),
        }
        let node = self.make_named(header, name, New { kind: FileType::Symlink, permissions: 0o777, rdev: 0 })?;
        self.tree.node_mut(node).set_target(target);
        Ok(self.entry(node))
    }

    /// `fuse_create_in`; gives the flags and the permissions, and whether set-id bits are to be cleared.
    fn create_args(&mut self, opcode: u32, args: &mut Args<'_>) -> Result<(u32, u16, bool), Failure> {
        let (flags, mode, umask, open_flags) = (args.u32()?, args.u32()?, args.u32()?, args.u32()?);
        if flags & open::NOCTTY != 0 {
            return violation(format!("flags are {flags:#o}"));
        }
        if mode >> 12 != 0 && file_type(mode) != Some(FileType::Regular) {
            return violation(format!("mode is {mode:#o}"));
        }
        if open_flags & !fuse::OPEN_KILL_SUIDGID != 0 {
            return violation(format!("open_flags are {open_flags:#x}"));
        }
        let kill = open_flags != 0;
        if kill {
            self.note_kill(opcode)?;
        }
        Ok((flags, self.permissions(mode, umask)?, kill))
    }

    pub(super) fn create(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let (flags, permissions, kill) = self.create_args(header.opcode, args)?;
        let name = args.name()?;
        args.end()?;
        if flags & open::CREAT == 0 {
            return violation("creates without O_CREAT");
        }
        let directory = self.live_directory(header.nodeid)?;
        let node = match self.tree.child(directory, name) {
            Ok(_) if flags & open::EXCL != 0 => return Err(Errno::EEXIST.into()),
            Ok(node) => {
                match self.tree.node(node).attr.file_type {
                    FileType::Directory => return Err(Errno::EISDIR.into()),
                    FileType::Symlink => return Err(Errno::ELOOP.into()),
                    _ if flags & open::TRUNC != 0 => self.truncate(node, kill),
                    _ => {}
                }
                node
            }
            Err(_) => self.make_named(header, name, New { kind: FileType::Regular, permissions, rdev: 0 })?,
        };
        Ok(self.opened_entry(node, flags))
    }

    /// The reply to CREATE and TMPFILE: an entry, and the open file.
    fn opened_entry(&mut self, node: NodeIndex, flags: u32) -> Vec<u8> {
        let nodeid = self.session.look_up(node);
        let fh = self.session.open(nodeid, node, false, flags);
        let entry = self.entry_of(nodeid, node);
        [entry, replies::open(fh, self.options.fopen_flags)].concat()
    }

    pub(super) fn tmpfile(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let (flags, permissions, _) = self.create_args(header.opcode, args)?;
        // Linux sends a name that cannot be one.
        if !args.0.is_empty() && args.text()? != b"/" {
            return violation("a file without a name has one");
        }
        args.end()?;
        if flags & open::ACCESS_MODE == open::READ_ONLY {
            return Err(Errno::EINVAL.into());
        }
        let directory = self.live_directory(header.nodeid)?;
        let new = New { kind: FileType::Regular, permissions, rdev: 0 };
        let index = self.make_inode(header, directory, new)?;
        let node = self.tree.node_mut(index);
        node.attr.nlink = 0;
        // With O_EXCL, LINK cannot give it a name.
        node.removed = flags & open::EXCL != 0;
        Ok(self.opened_entry(index, flags))
    }
}
