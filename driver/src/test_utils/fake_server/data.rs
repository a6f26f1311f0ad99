//! READ, WRITE, FALLOCATE, LSEEK, COPY_FILE_RANGE.

use super::content::BLOCK_BYTES;
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

/// The most bytes of a WRITE without BIG_WRITES.
const SMALL_WRITE_BYTES: u32 = 4096;
/// `FALLOC_FL_` flags.
const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;
const COLLAPSE_RANGE: u32 = 8;
const ZERO_RANGE: u32 = 16;
const INSERT_RANGE: u32 = 32;
/// No such device or address: SEEK_DATA and SEEK_HOLE behind the end.
const ENXIO: Errno = Errno(6);

impl FakeServer {
    /// The arguments of READ, READDIR and READDIRPLUS; gives the node, the offset and the size.
    pub(super) fn read_args(
        &self,
        nodeid: u64,
        args: &mut Args<'_>,
        is_directory: bool,
        reply_room_bytes: usize,
    ) -> Result<(NodeIndex, u64, u32), Failure> {
        let (fh, offset, size, _read_flags) = (args.u64()?, args.u64()?, args.u32()?, args.u32()?);
        let (_lock_owner, _flags) = (args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        if u64::from(size) > self.session.max_data_bytes {
            return violation(format!("{size} bytes are more than max_pages"));
        }
        if size as usize > reply_room_bytes.saturating_sub(16) {
            return violation(format!("{size} bytes are asked for, with {reply_room_bytes} bytes of room"));
        }
        let file = self.opened_file(nodeid, fh, is_directory)?;
        file.may_read()?;
        Ok((file.node, offset, size))
    }

    pub(super) fn read(&mut self, nodeid: u64, args: &mut Args<'_>, reply_room_bytes: usize) -> Answer {
        let (node, offset, size) = self.read_args(nodeid, args, false, reply_room_bytes)?;
        Ok(self.tree.node(node).content.read(offset, size.into()))
    }

    pub(super) fn write(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (fh, offset, size, write_flags) = (args.u64()?, args.u64()?, args.u32()?, args.u32()?);
        let (_lock_owner, _flags) = (args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        let data = args.bytes(size as usize)?;
        args.end()?;
        if size > self.session.max_write_bytes || u64::from(size) > self.session.max_data_bytes {
            return violation(format!("{size} bytes are more than max_write or max_pages"));
        }
        if size > SMALL_WRITE_BYTES && !self.session.has(init::BIG_WRITES) {
            return violation(format!("{size} bytes without BIG_WRITES"));
        }
        if write_flags & !fuse::WRITE_FLAGS != 0 {
            return violation(format!("write_flags are {write_flags:#x}"));
        }
        let kill = write_flags & fuse::WRITE_KILL_SUIDGID != 0;
        if kill {
            self.note_kill(opcode::WRITE)?;
        }
        let file = self.opened_file(nodeid, fh, false)?;
        file.may_write()?;
        // With this flag the driver knows where files end.
        let appends = file.flags & open::APPEND != 0 && !self.session.has(init::WRITEBACK_CACHE);
        let offset = if appends { self.tree.node(file.node).content.len() } else { offset };
        let written = self.write_data(file.node, offset, data)?;
        if written > 0 {
            self.kill_privileges(file.node, kill);
        }
        // Not more than `size`.
        Ok(replies::size(written as u32))
    }

    /// Writes as much as there is room for; gives the number of bytes.
    fn write_data(&mut self, node: NodeIndex, offset: u64, data: &[u8]) -> Result<usize, Failure> {
        let bytes = data.len() as u64;
        self.regular(node)?;
        if offset.checked_add(bytes).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::EINVAL.into());
        }
        let allowed = bytes.min(self.options.max_file_bytes.saturating_sub(offset));
        let fitting = self.tree.node(node).content.fitting(offset, allowed, self.free_blocks());
        match (allowed, fitting) {
            _ if data.is_empty() => return Ok(0),
            (0, _) => return Err(Errno::EFBIG.into()),
            (_, 0) => return Err(Errno::ENOSPC.into()),
            _ => {}
        }
        let now = self.options.now;
        let node = self.tree.node_mut(node);
        // Not more than the length of a slice.
        let data = &data[..fitting as usize];
        node.change_content(|content| content.write(offset, data));
        node.modified(now);
        Ok(data.len())
    }

    /// How many blocks are free.
    fn free_blocks(&self) -> u64 {
        let is_kept = |index, nlink| nlink > 0 || self.session.holds(index);
        let kept = self.tree.nodes().filter(|(index, node)| is_kept(*index, node.attr.nlink));
        let used = kept.map(|(_, node)| node.content.blocks()).sum();
        (self.options.space_bytes / BLOCK_BYTES).saturating_sub(used)
    }

    fn regular(&self, node: NodeIndex) -> Result<(), Failure> {
        match self.tree.node(node).attr.file_type {
            FileType::Regular => Ok(()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(super) fn fallocate(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (fh, offset, length, mode) = (args.u64()?, args.u64()?, args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        let file = self.opened_file(nodeid, fh, false)?;
        file.may_write()?;
        self.regular(file.node)?;
        let Some(end) = offset.checked_add(length).filter(|&end| end <= i64::MAX as u64 && length > 0) else {
            return Err(Errno::EINVAL.into());
        };
        let free = self.free_blocks();
        let (max, now) = (self.options.max_file_bytes, self.options.now);
        let node = self.tree.node_mut(file.node);
        let len = node.content.len();
        let whole_blocks = offset.is_multiple_of(BLOCK_BYTES) && length.is_multiple_of(BLOCK_BYTES);
        let keeps_size = mode & KEEP_SIZE != 0;
        let new_len = if keeps_size { len } else { len.max(end) };
        match mode & !KEEP_SIZE {
            PUNCH_HOLE if keeps_size => node.change_content(|content| content.punch(offset, length)),
            0 | ZERO_RANGE => {
                if end > max {
                    return Err(Errno::EFBIG.into());
                }
                if node.content.fitting(offset, length, free) < length {
                    return Err(Errno::ENOSPC.into());
                }
                node.change_content(|content| {
                    if mode & ZERO_RANGE != 0 {
                        content.zero(offset, length);
                    }
                    content.allocate(offset, length);
                    if new_len > len {
                        content.set_len(new_len);
                    }
                });
            }
            COLLAPSE_RANGE if !keeps_size => {
                if !whole_blocks || end >= len {
                    return Err(Errno::EINVAL.into());
                }
                node.change_content(|content| content.collapse(offset, length));
            }
            INSERT_RANGE if !keeps_size => {
                if !whole_blocks || offset >= len {
                    return Err(Errno::EINVAL.into());
                }
                if length > max.saturating_sub(len) {
                    return Err(Errno::EFBIG.into());
                }
                node.change_content(|content| content.insert(offset, length));
            }
            _ => return Err(Errno::EOPNOTSUPP.into()),
        }
        node.modified(now);
        self.kill_privileges(file.node, false);
        Ok(Vec::new())
    }

    pub(super) fn lseek(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (fh, offset, whence) = (args.u64()?, args.u64()?, args.u32()?);
        args.zeros::<4>()?;
        args.end()?;
        let file = self.opened_file(nodeid, fh, false)?;
        let content = &self.tree.node(file.node).content;
        let found = match whence {
            fuse::SEEK_DATA | fuse::SEEK_HOLE if offset >= content.len() => None,
            fuse::SEEK_DATA => content.next_data(offset),
            fuse::SEEK_HOLE => Some(content.next_hole(offset)),
            _ => return violation(format!("whence is {whence}")),
        };
        Ok(replies::long(found.ok_or(ENXIO)?))
    }

    pub(super) fn copy_file_range(&mut self, nodeid: u64, args: &mut Args<'_>, long: bool) -> Answer {
        let (fh_in, offset_in) = (args.u64()?, args.u64()?);
        let (nodeid_out, fh_out, offset_out) = (args.u64()?, args.u64()?, args.u64()?);
        let (length, flags) = (args.u64()?, args.u64()?);
        args.end()?;
        if flags != 0 {
            return violation(format!("flags are {flags:#x}"));
        }
        let (from, to) = (self.opened_file(nodeid, fh_in, false)?, self.opened_file(nodeid_out, fh_out, false)?);
        from.may_read()?;
        to.may_write()?;
        if to.flags & open::APPEND != 0 {
            return Err(Errno::EBADF.into());
        }
        self.regular(from.node)?;
        self.regular(to.node)?;
        let (Some(_), Some(_)) = (offset_in.checked_add(length), offset_out.checked_add(length)) else {
            return Err(Errno::EOVERFLOW.into());
        };
        let length = length.min(self.tree.node(from.node).content.len().saturating_sub(offset_in));
        if from.node == to.node && offset_in < offset_out + length && offset_out < offset_in + length {
            return Err(Errno::EINVAL.into());
        }
        // The short reply has no room for a larger number.
        let most = self.options.max_copy_bytes.min(u32::MAX.into());
        let data = self.tree.node(from.node).content.read(offset_in, length.min(most));
        let copied = self.write_data(to.node, offset_out, &data)?;
        if copied > 0 {
            self.kill_privileges(to.node, false);
        }
        Ok(if long { replies::long(copied as u64) } else { replies::size(copied as u32) })
    }
}
