//! How files are opened.

use super::path::{LINKS_MAX, LastLink, Place};
use super::{File, VirtioFs};
use crate::vnode::{Node, OpenFile, OpenFlags};
use crate::{Errno, Error};
use alloc::vec::Vec;

/// How a file is opened, as `std::fs::OpenOptions`.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u16,
    custom_flags: OpenFlags,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Options that open nothing yet: say at least what for.
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom_flags: OpenFlags::READ_ONLY,
        }
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.read = read;
        self
    }

    /// For writing.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.write = write;
        self
    }

    /// For writing at the end, wherever that is when it is written.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.append = append;
        self
    }

    /// What the file holds is cut off.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// The file is made if there is none.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// The file is made, and must not exist: `EEXIST`, for a symbolic link that leads nowhere, too.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// The permission bits of a file that is made, before the umask; `0o666` if nothing is said.
    pub fn mode(&mut self, permissions: u16) -> &mut Self {
        self.mode = permissions;
        self
    }

    /// Other flags. Those that the other options stand for mean nothing here.
    pub fn custom_flags(&mut self, flags: OpenFlags) -> &mut Self {
        self.custom_flags = flags;
        self
    }

    /// Opens the file that `path` leads to.
    ///
    /// # Errors
    ///
    /// `EINVAL` for options that exclude each other: nothing to open for, truncating or making without writing,
    /// truncating and appending. `ENOENT`, `EEXIST`, `EISDIR`, `EACCES`, `EROFS`, `ELOOP` and others as POSIX has them.
    pub fn open(&self, fs: &VirtioFs, path: impl AsRef<[u8]>) -> Result<File, Error> {
        let (flags, path) = (self.flags()?, path.as_ref());
        let last = match flags.contains(OpenFlags::NOFOLLOW) {
            true => LastLink::Stop,
            false => LastLink::Follow,
        };
        let file = match self.create || self.create_new {
            true => fs.again_if_stale(|| self.make(fs.root(), path, flags)),
            false => fs.at(path, last, |found| Ok(found.open(flags)?.0)),
        };
        file.map(File::new)
    }

    /// The `O_` flags.
    fn flags(&self) -> Result<OpenFlags, Error> {
        let writes = self.write || self.append;
        let access = match (self.read, writes) {
            (true, false) => OpenFlags::READ_ONLY,
            (false, true) => OpenFlags::WRITE_ONLY,
            (true, true) => OpenFlags::READ_WRITE,
            (false, false) => return Err(Error::Invalid(Errno::EINVAL)),
        };
        let makes = self.create || self.create_new;
        if !writes && (self.truncate || makes) || self.append && self.truncate && !self.create_new {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        let mut flags = self.custom_flags - OpenFlags::WRITE_ONLY - OpenFlags::READ_WRITE;
        for (option, flag) in [
            (self.append, OpenFlags::APPEND),
            (self.truncate, OpenFlags::TRUNCATE),
            (makes, OpenFlags::CREATE),
            (self.create_new, OpenFlags::EXCLUSIVE),
        ] {
            flags.set(flag, option);
        }
        Ok(flags | access)
    }

    /// Opens a file that may have to be made: where a symbolic link leads, if `path` ends in one.
    fn make(&self, root: &Node, path: &[u8], flags: OpenFlags) -> Result<OpenFile, Error> {
        let mut spliced: Vec<u8>;
        let mut path = path;
        // Behind the last link there is one more place to look at.
        for _ in 0..=LINKS_MAX {
            let place = Place::of(root, path)?;
            let Some(name) = place.name else {
                // It exists, whatever it is.
                let exclusive = flags.contains(OpenFlags::EXCLUSIVE);
                return Err(Error::Invalid(if exclusive { Errno::EEXIST } else { Errno::EISDIR }));
            };
            if place.wants_directory {
                return Err(Error::Invalid(Errno::EISDIR));
            }
            let ends_here = flags.intersects(OpenFlags::EXCLUSIVE | OpenFlags::NOFOLLOW);
            match place.parent.create_or_open(name, flags, self.mode) {
                Err(error) if error.errno() == Errno::ELOOP && !ends_here => {}
                result => return result.map(|(file, _)| file),
            }
            let target = place.parent.lookup(name)?.0.readlink()?;
            spliced = match target.first() {
                Some(b'/') => target,
                _ => [place.parent_path, b"/", &target].concat(),
            };
            path = &spliced;
        }
        Err(Error::Invalid(Errno::ELOOP))
    }
}
