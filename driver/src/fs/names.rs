//! Making, moving and removing files and directories by their paths.

use super::path::{End, LastLink, Place, resolve};
use super::remove_tree::remove_tree;
use super::{File, OpenOptions, VirtioFs};
use crate::vnode::{RenameFlags, SetAttr};
use crate::wire::FileType;
use crate::{Errno, Error};
use alloc::vec::Vec;

/// How much is copied in one go. A server may say that it copied less.
const COPY_STEP_BYTES: u64 = 1 << 30;

impl VirtioFs {
    /// Opens a file for writing. It is made if there is none; else what it holds is cut off.
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    pub fn create(&self, path: impl AsRef<[u8]>) -> Result<File, Error> {
        OpenOptions::new().write(true).create(true).truncate(true).open(self, path)
    }

    /// Makes a file, or replaces its content.
    ///
    /// # Errors
    ///
    /// Those of [`Self::create`] and [`File::write_all`]; those of closing the file, too.
    pub fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Result<(), Error> {
        let mut file = self.create(path)?;
        file.write_all(content.as_ref())?;
        file.close()
    }

    /// Copies the content and the permission bits of a file, and gives the number of bytes. The server does it if it
    /// can.
    ///
    /// # Errors
    ///
    /// `EINVAL` if both paths lead to one file; else those of [`Self::open`], [`Self::create`] and
    /// [`File::copy_range`].
    pub fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<u64, Error> {
        let from = self.open(from)?;
        let source = from.metadata()?;
        let permissions = source.permissions();
        // Only when it is known to be another file, its content is cut off.
        let to = OpenOptions::new().write(true).create(true).mode(permissions).open(self, to)?;
        if from.as_open_file().node().nodeid() == to.as_open_file().node().nodeid() {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        // Two file systems that the server takes for one may number two files alike; and a server may take one file for
        // two. Such a pair is copied first.
        let target = to.metadata()?;
        let may_be_one_file = (source.device(), source.attr().ino) == (target.device(), target.attr().ino);
        if !may_be_one_file {
            to.set_len(0)?;
        }
        let mut copied = 0;
        loop {
            match from.copy_range(copied, &to, copied, COPY_STEP_BYTES)? {
                0 => break,
                bytes => copied += bytes,
            }
        }
        if may_be_one_file {
            to.set_len(copied)?;
        }
        to.set_permissions(permissions)?;
        to.close()?;
        Ok(copied)
    }

    /// Makes a directory, with all permissions that the umask leaves.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOENT`, `EACCES`, `EROFS` and others as POSIX has them.
    pub fn create_dir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.in_place(path, |place| place.parent.mkdir(place.new_name()?, 0o777).map(drop))
    }

    /// Makes a directory, and those above it that are missing.
    ///
    /// # Errors
    ///
    /// As for [`Self::create_dir`]; `ENOTDIR` or `EEXIST` if something on the way is no directory. That the directory
    /// exists is none.
    pub fn create_dir_all(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        if path.is_empty() {
            return Ok(());
        }
        // The directories that are missing are at the end: a slash or the end of the path follows each.
        let ends = (1..=path.len()).filter(|&at| path.get(at).is_none_or(|&byte| byte == b'/') && path[at - 1] != b'/');
        let ends: Vec<usize> = ends.collect();
        let mut missing = ends.len();
        while missing > 0 && !self.exists(&path[..ends[missing - 1]])? {
            missing -= 1;
        }
        for &end in &ends[missing..] {
            let directory = &path[..end];
            match self.create_dir(directory) {
                // Somebody else was faster, unless it is a symbolic link to nothing.
                Err(error) if error.errno() == Errno::EEXIST && self.exists(directory)? => {}
                result => result?,
            }
        }
        self.node(path)?.expect_directory().map_err(|_| Error::Invalid(Errno::EEXIST))
    }

    /// Removes a file, or anything else that is no directory. Who has it open keeps it.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EISDIR`, `EACCES`, `EPERM`, `EROFS` and others as POSIX has them.
    pub fn remove_file(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.in_place(path, |place| {
            let name = place.name.ok_or(Error::Invalid(Errno::EISDIR))?;
            if place.wants_directory {
                place.parent.lookup(name)?.0.expect_directory()?;
                return Err(Error::Invalid(Errno::EISDIR));
            }
            place.parent.unlink(name)
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `ENOTDIR`, `EINVAL` for a path that ends in `.`, `EBUSY` for the root; else as for
    /// [`Self::remove_file`].
    pub fn remove_dir(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.in_place(path, |place| place.parent.rmdir(removable(&place)?))
    }

    /// Removes a directory and all that is in it. Symbolic links are removed, not followed.
    ///
    /// # Errors
    ///
    /// As for [`Self::remove_dir`], from the first thing that cannot be removed; `ENOTEMPTY` if others fill the
    /// directory faster than it is emptied.
    pub fn remove_dir_all(&self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.in_place(path, |place| {
            let name = removable(&place)?;
            let (node, _) = place.parent.lookup(name)?;
            match node.file_type() {
                FileType::Directory => remove_tree(&place.parent, &node, name),
                FileType::Symlink if !place.wants_directory => place.parent.unlink(name),
                _ => Err(Error::Invalid(Errno::ENOTDIR)),
            }
        })
    }

    /// Gives a file or directory another path, in one step; what is there goes away.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`, `EINVAL` for a directory moved into itself, `EXDEV`, `EBUSY` for a
    /// path that ends in no name, and others as POSIX has them.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        self.rename_with(from, to, RenameFlags::empty())
    }

    /// As [`Self::rename`], with flags: do not replace, exchange, leave a whiteout.
    ///
    /// # Errors
    ///
    /// Those of [`Self::rename`] and [`Node::rename`](crate::vnode::Node::rename).
    pub fn rename_with(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>, flags: RenameFlags) -> Result<(), Error> {
        self.again_if_stale(|| {
            let (from, to) = (Place::of(self.root(), from.as_ref())?, Place::of(self.root(), to.as_ref())?);
            rename(&from, &to, flags)
        })
    }

    /// Gives what `original` leads to another path. A symbolic link at its end is not followed.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EPERM` for a directory, `EXDEV`, and others as POSIX has them.
    pub fn hard_link(&self, original: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Result<(), Error> {
        self.again_if_stale(|| {
            let original = resolve(self.root(), original.as_ref(), LastLink::Stop)?.node();
            let place = Place::of(self.root(), link.as_ref())?;
            original.link(&place.parent, place.new_file_name()?).map(drop)
        })
    }

    /// Makes a symbolic link at `link` that leads to `target`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENAMETOOLONG` for a target of more than 4,095 bytes, and others as POSIX has them.
    pub fn symlink(&self, target: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Result<(), Error> {
        self.in_place(link, |place| place.parent.symlink(place.new_file_name()?, target.as_ref()).map(drop))
    }

    /// Makes a file, fifo, socket or device node. The permission bits are those before the umask; `rdev` is a device's
    /// number in Linux's 32-bit encoding.
    ///
    /// # Errors
    ///
    /// Those of [`Node::mknod`](crate::vnode::Node::mknod).
    pub fn mknod(&self, path: impl AsRef<[u8]>, file_type: FileType, permissions: u16, rdev: u32) -> Result<(), Error> {
        self.in_place(path, |place| place.parent.mknod(place.new_file_name()?, file_type, permissions, rdev).map(drop))
    }

    /// Cuts a file off behind `size_bytes`, or fills it up with zeroes.
    ///
    /// # Errors
    ///
    /// `EACCES`, `EISDIR`, `EROFS`, `EFBIG` and others as POSIX has them.
    pub fn truncate(&self, path: impl AsRef<[u8]>, size_bytes: u64) -> Result<(), Error> {
        let changes = SetAttr { size_bytes: Some(size_bytes), ..SetAttr::default() };
        self.at(path, LastLink::Follow, |found| found.node().setattr(&changes).map(drop))
    }
}

/// The name of a directory to remove.
fn removable<'p>(place: &Place<'p>) -> Result<&'p [u8], Error> {
    place.name.ok_or(Error::Invalid(match place.end {
        End::Dot => Errno::EINVAL,
        End::DotDot => Errno::ENOTEMPTY,
        End::Name | End::Root => Errno::EBUSY,
    }))
}

/// As [`VirtioFs::rename_with`], between places.
fn rename(from: &Place<'_>, to: &Place<'_>, flags: RenameFlags) -> Result<(), Error> {
    let old = from.name.ok_or(Error::Invalid(Errno::EBUSY))?;
    let no_name = if flags.contains(RenameFlags::NOREPLACE) { Errno::EEXIST } else { Errno::EBUSY };
    let new = to.name.ok_or(Error::Invalid(no_name))?;
    if from.wants_directory || to.wants_directory {
        let (moved, _) = from.parent.lookup(old)?;
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        match to.parent.lookup(new) {
            Ok(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Error::Invalid(Errno::EEXIST)),
            Ok((node, _)) if exchanges && to.wants_directory => node.expect_directory()?,
            Err(error) if exchanges || error.errno() != Errno::ENOENT => return Err(error),
            _ => {}
        }
        // What is moved is what gets the new name, slash and all.
        if from.wants_directory || !exchanges {
            moved.expect_directory()?;
        }
    }
    from.parent.rename(old, &to.parent, new, flags)
}
