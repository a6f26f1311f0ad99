//! Removing a directory with all that is in it.

use super::copy_of;
use crate::vnode::{Dir, Node};
use crate::wire::FileType;
use crate::{Errno, Error};
use alloc::vec::Vec;

/// How often a directory is listed again in which something appeared while it was emptied.
const EMPTY_ATTEMPTS: usize = 8;

/// A directory that is being emptied.
struct Level {
    dir: Dir,
    /// Its name in the level above.
    name: Vec<u8>,
    attempts: usize,
}

impl Level {
    fn open(node: &Node, name: Vec<u8>) -> Result<Self, Error> {
        Ok(Self { dir: node.opendir()?, name, attempts: 0 })
    }

    /// Removes entries up to the first directory, which is given with its name.
    fn remove_files(&mut self) -> Result<Option<(Node, Vec<u8>)>, Error> {
        let here = self.dir.node().clone();
        while let Some(entry) = self.dir.next_entry()? {
            if entry.name == b"." || entry.name == b".." {
                continue;
            }
            let unlinked = match entry.file_type {
                Some(FileType::Directory) => Err(Error::Refused(Errno::EISDIR)),
                _ => here.unlink(entry.name),
            };
            match unlinked.map_err(|error| (error.errno(), error)) {
                Ok(()) | Err((Errno::ENOENT, _)) => {}
                // The listing may be older than a rename: what has the name now decides.
                Err((Errno::EISDIR | Errno::EPERM, error)) => match here.lookup(entry.name) {
                    Ok((node, _)) if node.file_type() == FileType::Directory => {
                        return Ok(Some((node, copy_of(entry.name)?)));
                    }
                    Err(error) if error.errno() == Errno::ENOENT => {}
                    Ok(_) => return Err(error),
                    Err(error) => return Err(error),
                },
                Err((_, error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Removes the directory `node`, which `parent` calls `name`, and all that is in it. Without recursion: a host's tree may
/// be deeper than a kernel's stack.
///
/// # Errors
///
/// Those of the first thing that cannot be removed; [`Error::NoMemory`].
pub(super) fn remove_tree(parent: &Node, node: &Node, name: &[u8]) -> Result<(), Error> {
    let mut levels = Vec::new();
    push(&mut levels, node, copy_of(name)?)?;
    // What is put back has its room still.
    while let Some(mut level) = levels.pop() {
        if let Some((below, name)) = level.remove_files()? {
            level.dir.shrink();
            levels.push(level);
            push(&mut levels, &below, name)?;
            continue;
        }
        let above = levels.last().map_or(parent, |level| level.dir.node());
        match above.rmdir(&level.name).map_err(|error| (error.errno(), error)) {
            Ok(()) | Err((Errno::ENOENT, _)) => {}
            Err((Errno::ENOTEMPTY, _)) if level.attempts < EMPTY_ATTEMPTS => {
                level.attempts += 1;
                level.dir.seek(0);
                levels.push(level);
            }
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}

fn push(levels: &mut Vec<Level>, node: &Node, name: Vec<u8>) -> Result<(), Error> {
    levels.try_reserve(1).map_err(|_| Error::NoMemory)?;
    levels.push(Level::open(node, name)?);
    Ok(())
}
