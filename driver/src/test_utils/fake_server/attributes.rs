//! GETATTR, SETATTR, STATX, ACCESS, READLINK, STATFS.

use super::fuse::{self, fattr, init, open};
use super::operations::Answer;
use super::request::{Args, Failure, Header, file_type, timestamp, violation};
use super::tree::NodeIndex;
use super::{FakeServer, replies};
use crate::test_utils::opcode;
use crate::wire::FileType;
use crate::{Errno, Timestamp};
use alloc::format;
use alloc::vec::Vec;

/// The arguments of SETATTR. What `valid` does not name has no meaning.
struct SetAttr {
    valid: u32,
    size: u64,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl SetAttr {
    fn has(&self, flag: u32) -> bool {
        self.valid & flag != 0
    }
}

impl FakeServer {
    /// The node whose attributes are asked for by nodeid and, perhaps, file handle.
    fn attr_of(&self, nodeid: u64, flags: u32, fh: u64) -> Result<NodeIndex, Failure> {
        let node = self.session.node(nodeid)?;
        match flags {
            0 => Ok(node),
            fuse::GETATTR_FH => Ok(self.session.opened(fh, nodeid, self.tree.is_directory(node))?.node),
            _ => violation(format!("getattr_flags are {flags:#x}")),
        }
    }

    pub(super) fn getattr(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let flags = args.u32()?;
        args.zeros::<4>()?;
        let fh = args.u64()?;
        args.end()?;
        let node = self.attr_of(nodeid, flags, fh)?;
        Ok(replies::attr(&self.shown(node), self.options.attr_ttl))
    }

    pub(super) fn statx(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let flags = args.u32()?;
        args.zeros::<4>()?;
        let (fh, _sx_flags, _sx_mask) = (args.u64()?, args.u32()?, args.u32()?);
        args.end()?;
        if self.options.minor < 39 {
            return violation("the server's minor does not have it");
        }
        let node = self.attr_of(nodeid, flags, fh)?;
        Ok(replies::statx(&self.shown(node), self.tree.node(node).born, self.options.attr_ttl))
    }

    /// `fuse_setattr_in`; gives the file handle, too.
    fn setattr_args(args: &mut Args<'_>) -> Result<(SetAttr, u64), Failure> {
        let valid = args.u32()?;
        args.zeros::<4>()?;
        let (fh, size, _lock_owner) = (args.u64()?, args.u64()?, args.u64()?);
        let (atime, mtime, ctime) = (args.u64()?, args.u64()?, args.u64()?);
        let set = SetAttr {
            valid,
            size,
            accessed: timestamp(atime, args.u32()?)?,
            modified: timestamp(mtime, args.u32()?)?,
            changed: timestamp(ctime, args.u32()?)?,
            mode: args.u32()?,
            uid: {
                args.zeros::<4>()?;
                args.u32()?
            },
            gid: args.u32()?,
        };
        args.zeros::<4>()?;
        args.end()?;
        if valid & !fattr::ALL != 0 {
            return violation(format!("valid is {valid:#x}"));
        }
        let set_now = [(fattr::ATIME_NOW, fattr::ATIME), (fattr::MTIME_NOW, fattr::MTIME)];
        if set_now.iter().any(|&(now, time)| set.has(now) && !set.has(time)) {
            return violation("a time is set to now, but is not among those to set");
        }
        Ok((set, fh))
    }

    pub(super) fn setattr(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (set, fh) = Self::setattr_args(args)?;
        let node = self.session.node(nodeid)?;
        let kind = self.tree.node(node).attr.file_type;
        if set.has(fattr::MODE) && set.mode >> 12 != 0 && file_type(set.mode) != Some(kind) {
            return violation(format!("mode {:#o} changes the type", set.mode));
        }
        let is_writable = if set.has(fattr::FH) {
            let handle = self.session.opened(fh, nodeid, self.tree.is_directory(node))?;
            handle.flags & open::ACCESS_MODE != open::READ_ONLY
        } else {
            true
        };
        let kill = set.has(fattr::KILL_SUIDGID);
        if kill {
            self.note_kill(opcode::SETATTR)?;
        }
        if set.has(fattr::SIZE) {
            match kind {
                FileType::Directory => return Err(Errno::EISDIR.into()),
                FileType::Regular if is_writable && set.size <= i64::MAX as u64 => {}
                _ => return Err(Errno::EINVAL.into()),
            }
            if set.size > self.options.max_file_bytes {
                return Err(Errno::EFBIG.into());
            }
            self.tree.node_mut(node).change_content(|content| content.set_len(set.size));
            self.kill_privileges(node, kill);
        }
        self.apply(node, &set);
        Ok(replies::attr(&self.shown(node), self.options.attr_ttl))
    }

    /// Sets what is not the size.
    fn apply(&mut self, node: NodeIndex, set: &SetAttr) {
        let now = self.options.now;
        let kills = self.session.has(init::HANDLE_KILLPRIV | init::HANDLE_KILLPRIV_V2);
        let node = self.tree.node_mut(node);
        if set.has(fattr::UID) {
            node.attr.uid = set.uid;
        }
        if set.has(fattr::GID) {
            node.attr.gid = set.gid;
        }
        if set.has(fattr::UID | fattr::GID) && kills {
            node.xattrs.remove(&b"security.capability"[..]);
            node.kill_set_id();
        }
        if set.has(fattr::MODE) {
            node.attr.permissions = (set.mode & 0o7777) as u16;
        }
        if set.has(fattr::SIZE) {
            node.attr.modified = now;
        }
        if set.has(fattr::ATIME) {
            node.attr.accessed = if set.has(fattr::ATIME_NOW) { now } else { set.accessed };
        }
        if set.has(fattr::MTIME) {
            node.attr.modified = if set.has(fattr::MTIME_NOW) { now } else { set.modified };
        }
        node.attr.changed = if set.has(fattr::CTIME) { set.changed } else { now };
    }

    /// The one place where permissions are looked at: the root may do all, except to execute what nobody may.
    pub(super) fn access(&mut self, header: &Header, args: &mut Args<'_>) -> Answer {
        let mask = args.u32()?;
        args.zeros::<4>()?;
        args.end()?;
        if mask & !7 != 0 {
            return violation(format!("mask is {mask:#x}"));
        }
        let attr = self.tree.node(self.session.node(header.nodeid)?).attr;
        let permissions = u32::from(attr.permissions);
        let caller = header.caller;
        let granted = if caller.uid == 0 {
            let is_executable = attr.file_type == FileType::Directory || permissions & 0o111 != 0;
            if is_executable { 7 } else { 6 }
        } else if caller.uid == attr.uid {
            permissions >> 6
        } else if caller.gid == attr.gid {
            permissions >> 3
        } else {
            permissions
        };
        if mask & !granted & 7 == 0 { Ok(Vec::new()) } else { Err(Errno::EACCES.into()) }
    }

    pub(super) fn readlink(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        args.end()?;
        let node = self.tree.node(self.session.node(nodeid)?);
        match node.attr.file_type {
            FileType::Symlink => Ok(node.target.clone()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn statfs(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        args.end()?;
        self.session.node(nodeid)?;
        Ok(replies::statfs(&self.options.statfs))
    }
}
