//! Making names.

use super::file::access_of;
use super::node::{supported, unless_lacking};
use super::permission::exists_or;
use super::{Node, OpenFile, Told};
use crate::cache::{Dentry, NamesChange};
use crate::session::SecurityContext;
use crate::wire::{
    Access, Create, Entry, FileType, InitFlags, Link, Mkdir, Mknod, Name, OpenFlags, Operation, Symlink, Tmpfile,
    XattrName, extension,
};
use crate::{Attr, Errno, Error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

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
        let (file, attr) = self.create_or_open(name.as_ref(), flags, permissions)?;
        let attr = attr.map_or_else(|| file.getattr(), Ok)?;
        Ok((file, attr))
    }

    /// As [`Self::create`], with the attributes only if they are known.
    pub(crate) fn create_or_open(
        &self,
        name: &[u8],
        flags: OpenFlags,
        permissions: u16,
    ) -> Result<(OpenFile, Option<Attr>), Error> {
        let name = Name::new(name)?;
        self.expect_directory()?;
        access_of(flags)?;
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        let exclusive = flags.contains(OpenFlags::EXCLUSIVE);
        // The server only makes files, and never opens what exists: that takes permissions of its own, and virtiofsd
        // remembers an inode for ever that CREATE finds and cannot open.
        let mut looks_first =
            !exclusive && (self.is_checked() || self.superblock().expect_writable().is_err() || self.knows(name));
        for _ in 0..CREATE_ATTEMPTS {
            if looks_first {
                match self.find(name) {
                    Ok((node, told)) => return node.open_found(flags, told),
                    Err(error) if error.errno() == Errno::ENOENT => {}
                    Err(error) => return Err(error),
                }
            }
            self.permit_new(name)?;
            let made = match self.create_unchecked(name, flags, permissions) {
                Err(Error::Refused(Errno::ENOSYS)) => self
                    .mknod(name.bytes(), FileType::Regular, permissions, 0)
                    // Who makes a file may open it, whatever its permissions.
                    .and_then(|(node, attr)| {
                        OpenFile::open_unchecked(node, flags - OpenFlags::TRUNCATE).map(|file| (file, attr))
                    }),
                made => made,
            };
            match made.as_ref().map_err(|error| error.errno()) {
                Err(Errno::EEXIST) if !exclusive => looks_first = true,
                // Servers of a read-only share do not look whether there is anything to make.
                Err(Errno::EROFS) if !exclusive && !looks_first => looks_first = true,
                _ => return made.map(|(file, attr)| (file, Some(attr))),
            }
        }
        Err(Error::Refused(Errno::EBUSY))
    }

    /// Finds `name` in this directory, and the attributes if the server was asked.
    fn find(&self, name: Name<'_>) -> Result<(Self, Option<Told>), Error> {
        self.permit(Access::EXECUTE)?;
        let found = self.view().find(self.inode(), name, self.cache().now())?;
        Ok((Self::new(found.inode, self.view().clone()), found.told.map(|told| *told)))
    }

    /// Opens what was found, with these attributes if the server has just told them.
    fn open_found(&self, flags: OpenFlags, told: Option<Told>) -> Result<(OpenFile, Option<Attr>), Error> {
        let (file, attr) = self.open_knowing(flags, told)?;
        Ok((file, if flags.contains(OpenFlags::TRUNCATE) { None } else { attr }))
    }

    fn create_unchecked(&self, name: Name<'_>, flags: OpenFlags, permissions: u16) -> Result<(OpenFile, Attr), Error> {
        let Mode { permissions, umask } = self.mode(permissions);
        // A new file holds nothing that could be cut off.
        let opened = self.opens_as(flags - OpenFlags::TRUNCATE);
        let sent = opened | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let create = Create { name, flags: sent, permissions, umask, kill_suidgid: false };
        let change = self.cache().begin_change_of_names(self.inode());
        let created = self.call_making(&create, Vec::new()).inspect_err(|_| self.forget_name(name))?;
        let (file, attr) =
            OpenFile::created(self, &created, flags, opened, change.stamp()).inspect_err(|_| self.forget_name(name))?;
        let target = Dentry::Inode(file.node().inode().clone());
        self.cache().change_name(&change, name.bytes(), target, created.entry.entry_ttl);
        Ok((file, attr))
    }

    /// Whether `name` is known to lead to something.
    fn knows(&self, name: Name<'_>) -> bool {
        let cache = self.cache();
        matches!(cache.find(self.inode(), name.bytes(), cache.now()), Some(Dentry::Inode(_)))
    }

    /// A change of `name` failed: so what is believed of it may be wrong.
    pub(super) fn forget_name(&self, name: Name<'_>) {
        self.cache().forget_name(self.inode(), name.bytes());
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
        if !access_of(flags)?.contains(Access::WRITE) {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        self.superblock().expect_writable()?;
        self.permit(Access::WRITE | Access::EXECUTE)?;
        let Mode { permissions, umask } = self.mode(permissions);
        let opened_as = self.opens_as(flags);
        let tmpfile = Tmpfile { flags: opened_as | OpenFlags::TMPFILE, permissions, umask };
        let stamp = self.cache().stamp();
        let created = supported(self.call_making(&tmpfile, Vec::new()))?;
        OpenFile::created(self, &created, flags, opened_as, &stamp)
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
        self.make(name, &Mknod { name, file_type, permissions, umask, rdev }, Vec::new())
    }

    /// Makes a directory in this directory. The permission bits are those before the umask.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is such a name, `EACCES`, `EROFS`; [`Error::Invalid`] for impossible names; the server's.
    pub fn mkdir(&self, name: impl AsRef<[u8]>, permissions: u16) -> Result<(Self, Attr), Error> {
        let name = self.new_name(name.as_ref())?;
        let Mode { permissions, umask } = self.mode(permissions);
        self.make(name, &Mkdir { name, permissions, umask }, Vec::new())
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
        self.make(name, &Symlink { name }, payload)
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
        self.expect_same_device(new_parent)
            .map_err(|elsewhere| exists_or(new_parent.lookup(name.bytes()), elsewhere))?;
        new_parent.permit_new(name)?;
        if self.file_type() == FileType::Directory {
            return Err(exists_or(new_parent.lookup(name.bytes()), Error::Invalid(Errno::EPERM)));
        }
        let change = self.cache().begin_change_of_names(new_parent.inode());
        let linked = new_parent.call(&Link { nodeid: self.nodeid(), name });
        let ttl = linked.map_or(Duration::ZERO, |entry| entry.attr_ttl);
        let (node, attr) = new_parent.made(name, linked, &change)?;
        node.inode().change_attr(&attr, ttl, change.stamp());
        Ok((node, attr))
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
    fn make<O: Operation<Reply = Entry>>(
        &self,
        name: Name<'_>,
        operation: &O,
        payload: Vec<u8>,
    ) -> Result<(Self, Attr), Error> {
        let change = self.cache().begin_change_of_names(self.inode());
        self.made(name, self.call_making(operation, payload), &change)
    }

    /// The inode that got a name in this directory by this change.
    fn made(&self, name: Name<'_>, entry: Result<Entry, Error>, change: &NamesChange) -> Result<(Self, Attr), Error> {
        let made = match unless_lacking(entry) {
            Ok(Some(entry)) => self.child(&entry, change.stamp()).map(|(node, attr)| (node, attr, entry.entry_ttl)),
            // What a server that lacks it makes none of is an error of its own.
            Ok(None) => Err(Error::Refused(Errno::EPERM)),
            Err(error) => Err(error),
        };
        let (node, attr, ttl) = made.inspect_err(|_| self.forget_name(name))?;
        self.cache().change_name(change, name.bytes(), Dentry::Inode(node.inode().clone()), ttl);
        Ok((node, attr))
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
            let group = self.owner_and_mode()?.gid;
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
