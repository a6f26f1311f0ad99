//! OPEN, OPENDIR, RELEASE, RELEASEDIR, FLUSH, FSYNC, FSYNCDIR, SYNCFS.

use super::fuse::{self, init, open};
use super::operations::Answer;
use super::request::{Args, Failure, violation};
use super::tree::NodeIndex;
use super::{FakeServer, replies};
use crate::Errno;
use crate::test_utils::opcode;
use crate::wire::FileType;
use alloc::format;
use alloc::vec::Vec;

/// A file as a request names it.
#[derive(Clone, Copy)]
pub(super) struct File {
    pub(super) node: NodeIndex,
    /// The flags it was opened with.
    pub(super) flags: u32,
}

impl File {
    /// Whether it was opened for reading.
    pub(super) fn may_read(&self) -> Result<(), Failure> {
        if self.flags & open::ACCESS_MODE == open::WRITE_ONLY { Err(Errno::EBADF.into()) } else { Ok(()) }
    }

    /// Whether it was opened for writing.
    pub(super) fn may_write(&self) -> Result<(), Failure> {
        if self.flags & open::ACCESS_MODE == open::READ_ONLY { Err(Errno::EBADF.into()) } else { Ok(()) }
    }
}

impl FakeServer {
    /// The file or directory that a request names by its nodeid and a file handle. Where OPEN is not served the handle
    /// has no meaning, except that of CREATE.
    pub(super) fn opened_file(&self, nodeid: u64, fh: u64, is_directory: bool) -> Result<File, Failure> {
        let is_opened = if is_directory { self.options.opendir } else { self.options.open };
        match self.session.opened(fh, nodeid, is_directory) {
            Ok(handle) => Ok(File { node: handle.node, flags: handle.flags }),
            Err(_) if !is_opened => Ok(File { node: self.session.node(nodeid)?, flags: open::READ_WRITE }),
            Err(failure) => Err(failure),
        }
    }

    /// The arguments of OPEN and OPENDIR; gives the node, its type and both words of flags.
    fn open_args(&self, nodeid: u64, args: &mut Args<'_>) -> Result<(NodeIndex, FileType, u32, u32), Failure> {
        let (flags, open_flags) = (args.u32()?, args.u32()?);
        args.end()?;
        if flags & (open::CREAT | open::EXCL | open::NOCTTY) != 0 {
            return violation(format!("opens with flags {flags:#o}"));
        }
        if flags & open::TRUNC != 0 && !self.session.has(init::ATOMIC_O_TRUNC) {
            return violation("opens with O_TRUNC without ATOMIC_O_TRUNC");
        }
        if open_flags & !fuse::OPEN_KILL_SUIDGID != 0 {
            return violation(format!("open_flags are {open_flags:#x}"));
        }
        let node = self.session.node(nodeid)?;
        Ok((node, self.tree.node(node).attr.file_type, flags, open_flags))
    }

    pub(super) fn open(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (node, kind, flags, open_flags) = self.open_args(nodeid, args)?;
        let kill = open_flags & fuse::OPEN_KILL_SUIDGID != 0;
        if kill {
            self.note_kill(opcode::OPEN)?;
        }
        let changes = flags & open::ACCESS_MODE != open::READ_ONLY || flags & open::TRUNC != 0;
        match kind {
            _ if !self.options.open => Err(Errno::ENOSYS.into()),
            FileType::Directory => Err(Errno::EISDIR.into()),
            FileType::Symlink => Err(Errno::ELOOP.into()),
            _ if self.options.read_only && changes => Err(Errno::EROFS.into()),
            _ => {
                if flags & open::TRUNC != 0 {
                    self.truncate(node, kill);
                }
                let fh = self.session.open(nodeid, node, false, flags);
                Ok(replies::open(fh, self.options.fopen_flags))
            }
        }
    }

    /// What `O_TRUNC` does.
    pub(super) fn truncate(&mut self, node: NodeIndex, kill: bool) {
        let now = self.options.now;
        let truncated = self.tree.node_mut(node);
        if truncated.attr.file_type == FileType::Regular {
            truncated.change_content(|content| content.set_len(0));
            truncated.modified(now);
            self.kill_privileges(node, kill);
        }
    }

    pub(super) fn opendir(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        match self.open_args(nodeid, args)? {
            _ if !self.options.opendir => Err(Errno::ENOSYS.into()),
            (node, FileType::Directory, flags, 0) => {
                let fh = self.session.open(nodeid, node, true, flags);
                Ok(replies::open(fh, self.options.opendir_flags))
            }
            (_, FileType::Directory, ..) => violation("open_flags of a directory are not zero"),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    pub(super) fn release(&mut self, nodeid: u64, args: &mut Args<'_>, is_directory: bool) -> Answer {
        let (fh, _flags, release_flags, lock_owner) = (args.u64()?, args.u32()?, args.u32()?, args.u64()?);
        args.end()?;
        let handle = self.session.opened(fh, nodeid, is_directory)?;
        if self.locks.waiting().iter().any(|wait| wait.fh == fh) {
            return violation(format!("closes fh {fh}, of which a request is in flight"));
        }
        self.session.close(fh);
        if release_flags & !fuse::RELEASE_FLAGS != 0 {
            return violation(format!("release_flags are {release_flags:#x}"));
        }
        let unlocks = release_flags & fuse::RELEASE_FLOCK_UNLOCK != 0;
        if unlocks && !self.session.has(init::FLOCK_LOCKS) {
            return violation("FLOCK_UNLOCK without FLOCK_LOCKS");
        }
        if unlocks {
            self.locks.release_all(handle.node, lock_owner, true);
        }
        match handle.flock_owner {
            Some(owner) if self.locks.has_flock(handle.node, owner) => {
                // The server's file is closed, and its lock with it.
                self.locks.release_all(handle.node, owner, true);
                violation(format!("closes fh {fh} and leaves the lock of owner {owner}"))
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn flush(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let fh = args.u64()?;
        args.zeros::<8>()?;
        let lock_owner = args.u64()?;
        args.end()?;
        let file = self.opened_file(nodeid, fh, false)?;
        self.locks.release_all(file.node, lock_owner, false);
        Ok(Vec::new())
    }

    pub(super) fn fsync(&mut self, nodeid: u64, args: &mut Args<'_>, is_directory: bool) -> Answer {
        let (fh, flags) = (args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        if flags & !fuse::FSYNC_FDATASYNC != 0 {
            return violation(format!("fsync_flags are {flags:#x}"));
        }
        self.opened_file(nodeid, fh, is_directory)?;
        Ok(Vec::new())
    }

    pub(super) fn syncfs(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        args.zeros::<8>()?;
        args.end()?;
        self.session.node(nodeid)?;
        Ok(Vec::new())
    }
}
