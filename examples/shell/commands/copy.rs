//! `cp`.

use super::walk::read_bytes;
use crate::arguments::Options;
use crate::failure::{At, Failure, Outcome};
use crate::{Shell, join, last_name};
use alloc::vec::Vec;
use virtio_fs::fs::{Metadata, OpenOptions};
use virtio_fs::{Errno, Error, FileType, NodeId};

/// How much is read, and then written, at a time: eight requests of 1 MiB, which are in flight together.
const STEP_BYTES: usize = 8 << 20;

pub(super) fn cp(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "rw")?;
    let (to, from) = words.split_last().filter(|(_, from)| !from.is_empty()).ok_or(Failure::Usage)?;
    let mut copy = Copy { recursive: options.has(b'r'), by_hand: options.has(b'w'), made: None, buffer: Vec::new() };
    let into = shell.goes_into_directory(to, from.len())?;
    shell.for_each(from, |shell, from| {
        let target = shell.target(from, to, into);
        let path = shell.path(from);
        let metadata =
            if copy.recursive { shell.fs.symlink_metadata(&path) } else { shell.fs.metadata(&path) }.at(from)?;
        copy.made = None;
        copy.any(shell, &path, &target, &metadata)
    })
}

impl Shell<'_> {
    /// Whether things that are copied or moved `to` a path go into a directory that is there. Several things must.
    pub(super) fn goes_into_directory(&self, to: &[u8], count: usize) -> Outcome<bool> {
        let into = self.fs.metadata(self.path(to)).is_ok_and(|metadata| metadata.is_dir());
        if count > 1 && !into { Err(Error::Invalid(Errno::ENOTDIR)).at(to) } else { Ok(into) }
    }

    /// The path that something gets.
    pub(super) fn target(&self, from: &[u8], to: &[u8], into: bool) -> Vec<u8> {
        let to = self.path(to);
        if into { join(&to, last_name(from)) } else { to }
    }
}

/// How `cp` copies.
struct Copy {
    recursive: bool,
    /// By reading and writing; else the server is asked to.
    by_hand: bool,
    /// The first directory that was made: it is not copied into itself.
    made: Option<(NodeId, u64)>,
    /// What is read and written.
    buffer: Vec<u8>,
}

impl Copy {
    fn any(&mut self, shell: &mut Shell<'_>, from: &[u8], to: &[u8], metadata: &Metadata) -> Outcome {
        match metadata.file_type() {
            FileType::Regular if self.by_hand => self.file(shell, from, to, metadata),
            FileType::Regular => shell.fs.copy(from, to).at(to).map(drop),
            FileType::Directory if !self.recursive => Err(Error::Invalid(Errno::EISDIR)).at(from),
            FileType::Directory => self.directory(shell, from, to, metadata),
            FileType::Symlink => {
                let target = shell.fs.read_link(from).at(from)?;
                shell.fs.symlink(target, to).at(to)
            }
            file_type if self.recursive => {
                shell.fs.mknod(to, file_type, metadata.permissions(), metadata.attr().rdev).at(to)
            }
            _ => Err(Error::Invalid(Errno::EOPNOTSUPP)).at(from),
        }
    }

    fn directory(&mut self, shell: &mut Shell<'_>, from: &[u8], to: &[u8], metadata: &Metadata) -> Outcome {
        if self.made.is_some_and(|made| made == identity(metadata)) {
            return Err(Error::Invalid(Errno::EINVAL)).at(from);
        }
        match shell.fs.create_dir(to) {
            Err(error)
                if error.errno() == Errno::EEXIST && shell.fs.metadata(to).is_ok_and(|metadata| metadata.is_dir()) => {}
            result => result.at(to)?,
        }
        if self.made.is_none() {
            self.made = Some(identity(&shell.fs.metadata(to).at(to)?));
        }
        for (name, metadata) in shell.entries(from)? {
            self.any(shell, &join(from, &name), &join(to, &name), &metadata)?;
        }
        // At last, when nothing more is to be put into it.
        shell.fs.set_permissions(to, metadata.permissions()).at(to)
    }

    /// Copies a file by reading and writing it.
    fn file(&mut self, shell: &mut Shell<'_>, from: &[u8], to: &[u8], metadata: &Metadata) -> Outcome {
        let source = shell.fs.open(from).at(from)?;
        let mut options = OpenOptions::new();
        let target = options.write(true).create(true).mode(metadata.permissions()).open(&shell.fs, to).at(to)?;
        // Only when it is known to be another file, its content is cut off.
        if identity(&target.metadata().at(to)?) == identity(metadata) {
            return Err(Error::Invalid(Errno::EINVAL)).at(to);
        }
        target.set_len(0).at(to)?;
        let mut offset = 0;
        loop {
            let room = read_bytes(offset, metadata.len(), STEP_BYTES);
            self.buffer.resize(room.max(self.buffer.len()), 0);
            let bytes = source.read_at(offset, &mut self.buffer[..room]).at(from)?;
            if bytes == 0 {
                break;
            }
            target.write_all_at(offset, &self.buffer[..bytes]).at(to)?;
            offset += bytes as u64;
        }
        target.set_permissions(metadata.permissions()).at(to)?;
        // What the server could not write it may say now.
        target.close().at(to)
    }
}

/// What makes two paths lead to the same thing.
fn identity(metadata: &Metadata) -> (NodeId, u64) {
    (metadata.device(), metadata.attr().ino)
}
