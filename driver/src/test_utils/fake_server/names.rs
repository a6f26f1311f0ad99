//! What changes names: LINK, UNLINK, RMDIR, RENAME, RENAME2.

use super::FakeServer;
use super::operations::Answer;
use super::request::{Args, Failure, violation};
use super::tree::NodeIndex;
use crate::Errno;
use crate::wire::FileType;
use alloc::format;
use alloc::vec::Vec;

/// `RENAME_` flags.
const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;
const WHITEOUT: u32 = 4;

/// One side of a RENAME.
#[derive(Clone, Copy)]
struct Place<'a> {
    directory: NodeIndex,
    name: &'a [u8],
}

impl FakeServer {
    pub(super) fn link(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let old_nodeid = args.u64()?;
        let name = args.name()?;
        args.end()?;
        let node = self.session.node(old_nodeid)?;
        let directory = self.vacant(nodeid, name)?;
        if self.tree.is_directory(node) {
            return Err(Errno::EPERM.into());
        }
        if self.tree.node(node).removed {
            return Err(Errno::ENOENT.into());
        }
        self.same_file_system(directory, node)?;
        self.tree.enter(directory, name, node);
        let now = self.options.now;
        let linked = self.tree.node_mut(node);
        linked.attr.nlink = linked.attr.nlink.saturating_add(1);
        linked.attr.changed = now;
        self.touch(directory);
        Ok(self.entry(node))
    }

    fn same_file_system(&self, one: NodeIndex, other: NodeIndex) -> Result<(), Failure> {
        let is_same = self.tree.node(one).file_system == self.tree.node(other).file_system;
        if is_same { Ok(()) } else { Err(Errno::EXDEV.into()) }
    }

    pub(super) fn unlink(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let name = args.name()?;
        args.end()?;
        let directory = self.session.node(nodeid)?;
        if self.tree.is_directory(self.tree.child(directory, name)?) {
            return Err(Errno::EISDIR.into());
        }
        self.remove_name(directory, name);
        self.touch(directory);
        Ok(Vec::new())
    }

    pub(super) fn rmdir(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let name = args.name()?;
        args.end()?;
        let directory = self.session.node(nodeid)?;
        let node = self.tree.child(directory, name)?;
        if !self.tree.is_directory(node) {
            return Err(Errno::ENOTDIR.into());
        }
        self.is_replaceable(node)?;
        self.remove_name(directory, name);
        self.touch(directory);
        Ok(Vec::new())
    }

    /// Whether a directory is empty and not the root of a file system.
    fn is_replaceable(&self, directory: NodeIndex) -> Result<(), Failure> {
        if self.tree.is_submount(directory) {
            return Err(Errno::EBUSY.into());
        }
        if self.tree.node(directory).children.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY.into()) }
    }

    fn remove_name(&mut self, directory: NodeIndex, name: &[u8]) {
        let now = self.options.now;
        if let Some(node) = self.tree.remove(directory, name) {
            self.tree.node_mut(node).attr.changed = now;
        }
    }

    pub(super) fn rename(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let new_nodeid = args.u64()?;
        self.rename_names(nodeid, new_nodeid, 0, args)
    }

    pub(super) fn rename2(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (new_nodeid, flags) = (args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        self.rename_names(nodeid, new_nodeid, flags, args)
    }

    fn rename_names(&mut self, nodeid: u64, new_nodeid: u64, flags: u32, args: &mut Args<'_>) -> Answer {
        let (old_name, new_name) = (args.name()?, args.name()?);
        args.end()?;
        if flags & !(NOREPLACE | EXCHANGE | WHITEOUT) != 0 {
            return violation(format!("flags are {flags:#x}"));
        }
        let from = Place { directory: self.session.node(nodeid)?, name: old_name };
        let to = Place { directory: self.session.node(new_nodeid)?, name: new_name };
        if flags & EXCHANGE != 0 && flags & (NOREPLACE | WHITEOUT) != 0 {
            return Err(Errno::EINVAL.into());
        }
        // What is checked first where several answers are right: as in Linux.
        self.same_file_system(from.directory, to.directory)?;
        let moved = self.tree.child(from.directory, from.name)?;
        let replaced = match self.tree.child(to.directory, to.name) {
            Ok(_) if flags & NOREPLACE != 0 => return Err(Errno::EEXIST.into()),
            Ok(node) => Some(node),
            Err(Errno::ENOENT) if flags & EXCHANGE == 0 => None,
            Err(errno) => return Err(errno.into()),
        };
        let holds = |directory, place| self.tree.is_directory(directory) && self.tree.is_within(place, directory);
        if holds(moved, to.directory) {
            return Err(Errno::EINVAL.into());
        }
        if replaced.is_some_and(|replaced| holds(replaced, from.directory)) {
            return Err(if flags & EXCHANGE == 0 { Errno::ENOTEMPTY } else { Errno::EINVAL }.into());
        }
        if self.tree.node(to.directory).removed {
            return Err(Errno::ENOENT.into());
        }
        if [Some(moved), replaced].into_iter().flatten().any(|node| self.tree.is_submount(node)) {
            return Err(Errno::EBUSY.into());
        }
        match replaced {
            // Two names of one file: nothing happens.
            Some(node) if node == moved => return Ok(Vec::new()),
            Some(node) if flags & EXCHANGE != 0 => self.exchange(from, to, moved, node),
            _ => self.replace(from, to, moved, replaced)?,
        }
        if flags & WHITEOUT != 0 {
            let whiteout = self.tree.add(from.directory, from.name, FileType::CharDevice);
            let now = self.options.now;
            let whiteout = self.tree.node_mut(whiteout);
            whiteout.modified(now);
            whiteout.attr.permissions = 0;
        }
        let now = self.options.now;
        self.tree.node_mut(moved).attr.changed = now;
        self.touch(from.directory);
        self.touch(to.directory);
        Ok(Vec::new())
    }

    fn exchange(&mut self, from: Place<'_>, to: Place<'_>, one: NodeIndex, other: NodeIndex) {
        self.tree.leave(from.directory, from.name);
        self.tree.leave(to.directory, to.name);
        self.tree.enter(from.directory, from.name, other);
        self.tree.enter(to.directory, to.name, one);
        let now = self.options.now;
        self.tree.node_mut(other).attr.changed = now;
    }

    fn replace(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        moved: NodeIndex,
        replaced: Option<NodeIndex>,
    ) -> Result<(), Failure> {
        if let Some(replaced) = replaced {
            match (self.tree.is_directory(moved), self.tree.is_directory(replaced)) {
                (true, false) => return Err(Errno::ENOTDIR.into()),
                (false, true) => return Err(Errno::EISDIR.into()),
                (true, true) => self.is_replaceable(replaced)?,
                (false, false) => {}
            }
            self.remove_name(to.directory, to.name);
        }
        self.tree.leave(from.directory, from.name);
        self.tree.enter(to.directory, to.name, moved);
        Ok(())
    }
}
