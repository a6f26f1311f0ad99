//! Making names.

use super::node::unless_lacking;
use super::{Node, OpenFile};
use crate::session::SecurityContext;
use crate::wire::{
    Access, Create, Entry, FileType, InitFlags, Link, Mkdir, Mknod, Name, OpenFlags, Operation, Symlink, Tmpfile,
    XattrName, extension,
};
use crate::{Attr, Errno, Error};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How often a file is looked for and made in turns, while others remove and make it.
const CREATE_ATTEMPTS: usize = 16;

/// The mode and the umask of a request that makes an inode.
struct Mode {
    permissions: u16,
    umask: u16,
}

impl Node {
    /// Opens the regular file `name` of this directory, and makes it if there is none. The permission bits are those of
    /// a new file, before the umask.
    ///
    /// # Errors
    ///
    /// `EEXIST` for what exists with [`OpenFlags::EXCLUSIVE`]; else as for [`Self::open`], [`Self::lookup`] and
    /// [`Self::mkdir`].
    pub fn create(
        &self,
        name: impl AsRef<[u8]>,
        flags: OpenFlags,
        permissions: u16,
    ) -> Result<(OpenFile, Attr), Error> {
        let name = Name::new(name.as_ref())?;
        self.expect_directory()?;
        let exclusive = flags.contains(OpenFlags::EXCLUSIVE);
        // What exists is the server's to open only if we would let it: then it must not meet CREATE.
        let looks_first = !exclusive && (self.is_checked() || self.superblock().expect_writable().is_err());
        for _ in 0..CREATE_ATTEMPTS {
            if looks_first {
                match self.lookup(name.bytes()) {
                    Ok((node, attr)) => return node.open_found(flags, attr),
                    Err(error) if error.errno() == Errno::ENOENT => {}
                    Err(error) => return Err(error),
                }
            }
            self.permit_new(name)?;
            let made = if looks_first { flags | OpenFlags::EXCLUSIVE } else { flags };
            match self.create_unchecked(name, made, permissions) {
                Err(error) if error.errno() == Errno::EEXIST && looks_first => {}
                // virtiofsd's answer for what exists and is no regular file. What it is has an error of its own.
                Err(Error::Refused(Errno::EBADF)) if !exclusive => {
                    let (node, attr) = self.lookup(name.bytes())?;
                    return node.open_found(flags, attr);
                }
                Err(Error::Refused(Errno::ENOSYS)) => match self.mknod(name.bytes(), FileType::Regular, permissions, 0)
                {
                    // Who makes a file may open it, whatever its permissions.
                    Ok((node, attr)) => return OpenFile::open_unchecked(node, flags).map(|file| (file, attr)),
                    Err(error) if error.errno() == Errno::EEXIST && !exclusive => {
                        let (node, attr) = self.lookup(name.bytes())?;
                        return node.open_found(flags, attr);
                    }
                    Err(error) => return Err(error),
                },
                result => return result,
            }
        }
        Err(Error::Refused(Errno::EBUSY))
    }

    fn open_found(&self, flags: OpenFlags, attr: Attr) -> Result<(OpenFile, Attr), Error> {
        let file = self.open(flags)?;
        let attr = if flags.contains(OpenFlags::TRUNCATE) { file.getattr()? } else { attr };
        Ok((file, attr))
    }

    fn create_unchecked(&self, name: Name<'_>, flags: OpenFlags, permissions: u16) -> Result<(OpenFile, Attr), Error> {
        let Mode { permissions, umask } = self.mode(permissions);
        let truncates = flags.contains(OpenFlags::TRUNCATE);
        let atomic = !truncates || self.has(InitFlags::ATOMIC_O_TRUNC);
        // CREATE says it already, and the last virtiofsd in C is aborted by the flag if the file exists.
        let sent = if atomic { flags } else { flags - OpenFlags::TRUNCATE } - OpenFlags::CREATE;
        let kill_suidgid = truncates && self.asks_to_kill_set_ids();
        let create = Create { name, flags: sent, permissions, umask, kill_suidgid };
        let created = self.call_making(&create, Vec::new())?;
        let (file, attr) = OpenFile::created(self, &created, flags)?;
        let attr = match attr.size_bytes {
            0 => attr,
            _ if !truncates => attr,
            // virtiofsd tells what a file that existed was before it was truncated.
            _ if atomic => file.getattr()?,
            _ => file.truncate()?,
        };
        Ok((file, attr))
    }

    /// Makes a file without a name in this directory's file system (FUSE_TMPFILE, minor 37; virtiofsd lacks it).
    /// [`Self::link`] gives it a name, unless [`OpenFlags::EXCLUSIVE`] forbids that.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the server lacks it; `EINVAL` if the file is not opened for writing; `EACCES`, `EROFS`; the
    /// server's.
    pub fn tmpfile(&self, flags: OpenFlags, permissions: u16) -> Result<(OpenFile, Attr), Error> {
        self.expect_directory()?;
        if !flags.is_writing() {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        self.superblock().expect_writable()?;
        self.permit(Access::WRITE | Access::EXECUTE)?;
        let Mode { permissions, umask } = self.mode(permissions);
        let tmpfile = Tmpfile { flags: flags | OpenFlags::TMPFILE, permissions, umask };
        let created =
            unless_lacking(self.call_making(&tmpfile, Vec::new()))?.ok_or(Error::Refused(Errno::EOPNOTSUPP))?;
        OpenFile::created(self, &created, flags)
    }

    /// Makes a file, fifo, socket or device node in this directory; `rdev` is a device's number in Linux's 32-bit
    /// encoding. The permission bits are those before the umask.
    ///
    /// # Errors
    ///
    /// As for [`Self::mkdir`]; `EINVAL` for directories and symbolic links; `EPERM` for devices by others than user 0,
    /// or if the server makes no such inodes.
    pub fn mknod(
        &self,
        name: impl AsRef<[u8]>,
        file_type: FileType,
        permissions: u16,
        rdev: u32,
    ) -> Result<(Self, Attr), Error> {
        let name = self.new_name(name.as_ref())?;
        match file_type {
            FileType::Directory | FileType::Symlink => return Err(Error::Invalid(Errno::EINVAL)),
            FileType::CharDevice | FileType::BlockDevice if self.is_checked() => {
                return Err(Error::Refused(Errno::EPERM));
            }
            _ => {}
        }
        let Mode { permissions, umask } = self.mode(permissions);
        self.make(&Mknod { name, file_type, permissions, umask, rdev }, Vec::new())
    }

    /// Makes a directory in this directory. The permission bits are those before the umask.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is such a name, `EACCES`, `EROFS`; [`Error::Invalid`] for impossible names; the server's.
    pub fn mkdir(&self, name: impl AsRef<[u8]>, permissions: u16) -> Result<(Self, Attr), Error> {
        let name = self.new_name(name.as_ref())?;
        let Mode { permissions, umask } = self.mode(permissions);
        self.make(&Mkdir { name, permissions, umask }, Vec::new())
    }

    /// Makes a symbolic link in this directory.
    ///
    /// # Errors
    ///
    /// As for [`Self::mkdir`]; `ENOENT` for an empty target, `EINVAL` for one with a NUL byte, `ENAMETOOLONG` for one
    /// longer than 4,095 bytes; `EPERM` if the server makes no symbolic links.
    pub fn symlink(&self, name: impl AsRef<[u8]>, target: &[u8]) -> Result<(Self, Attr), Error> {
        let name = self.new_name(name.as_ref())?;
        let mut payload = Vec::new();
        Symlink::push_target(&mut payload, target)?;
        self.make(&Symlink { name }, payload)
    }

    /// Gives this inode another name, in the directory `new_parent`.
    ///
    /// # Errors
    ///
    /// As for [`Self::mkdir`]; `EPERM` for a directory, or if the server makes no links; `EXDEV` for another file
    /// system.
    pub fn link(&self, new_parent: &Self, new_name: impl AsRef<[u8]>) -> Result<(Self, Attr), Error> {
        let name = Name::new(new_name.as_ref())?;
        new_parent.expect_directory()?;
        if let Err(elsewhere) = self.expect_same_device(new_parent) {
            // What exists is the first reason.
            return Err(match new_parent.lookup(name.bytes()) {
                Ok(_) => Error::Refused(Errno::EEXIST),
                Err(Error::Refused(Errno::ENOENT)) => elsewhere,
                Err(error) => error,
            });
        }
        new_parent.permit_new(name)?;
        if self.file_type() == FileType::Directory {
            return Err(Error::Invalid(Errno::EPERM));
        }
        let entry = unless_lacking(new_parent.call(&Link { nodeid: self.nodeid(), name }))?;
        new_parent.child(&entry.ok_or(Error::Refused(Errno::EPERM))?)
    }

    /// Checks that a name may be made in this directory.
    fn new_name<'n>(&self, name: &'n [u8]) -> Result<Name<'n>, Error> {
        let name = Name::new(name)?;
        self.expect_directory()?;
        self.permit_new(name)?;
        Ok(name)
    }

    pub(super) fn expect_same_device(&self, other: &Self) -> Result<(), Error> {
        if Arc::ptr_eq(self.superblock(), other.superblock()) && self.device() == other.device() {
            Ok(())
        } else {
            Err(Error::Invalid(Errno::EXDEV))
        }
    }

    /// Makes an inode in this directory.
    fn make<O: Operation<Reply = Entry>>(&self, operation: &O, payload: Vec<u8>) -> Result<(Self, Attr), Error> {
        // What a server that lacks it makes none of is an error of its own.
        let entry = unless_lacking(self.call_making(operation, payload))?.ok_or(Error::Refused(Errno::EPERM))?;
        self.child(&entry)
    }

    /// Sends a request that makes an inode in this directory, and tells what the credentials say of it: a security
    /// context, and that the user is in the directory's group.
    fn call_making<O: Operation>(&self, operation: &O, mut payload: Vec<u8>) -> Result<O::Reply, Error> {
        let who = self.credentials();
        let without = payload.len();
        if self.has(InitFlags::SECURITY_CTX) {
            let context = match &who.security_context {
                Some(SecurityContext { name, value }) => Some((XattrName::new(name)?, &value[..])),
                None => None,
            };
            extension::push_security_context(&mut payload, context)?;
        }
        if self.has(InitFlags::CREATE_SUPP_GROUP) && !who.groups.is_empty() {
            let group = self.getattr()?.gid;
            if group != who.gid && who.groups.contains(&group) {
                extension::push_groups(&mut payload, &[group])?;
            }
        }
        let extension_bytes = payload.len() - without;
        self.session().call_extended(who, self.nodeid(), operation, &payload, extension_bytes)
    }

    /// The mode of a new inode: the umask is applied by the side that was agreed on.
    fn mode(&self, permissions: u16) -> Mode {
        let umask = self.credentials().umask & 0o777;
        let permissions = permissions & 0o7777;
        let masked = if self.has(InitFlags::DONT_MASK) { permissions } else { permissions & !umask };
        Mode { permissions: masked, umask }
    }
}
