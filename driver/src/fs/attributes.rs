//! What is known of files by their paths, and changing it.

use super::path::LastLink;
use super::{FileTimes, Metadata, VirtioFs};
use crate::vnode::{Access, SetAttr, XattrFlags};
use crate::wire::StatFs;
use crate::{Errno, Error};
use alloc::vec::Vec;

impl VirtioFs {
    /// The metadata of what `path` leads to.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`].
    pub fn metadata(&self, path: impl AsRef<[u8]>) -> Result<Metadata, Error> {
        self.at(path, LastLink::Follow, |found| found.metadata())
    }

    /// As [`Self::metadata`], but of a symbolic link that `path` ends in, not of its target.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`].
    pub fn symlink_metadata(&self, path: impl AsRef<[u8]>) -> Result<Metadata, Error> {
        self.at(path, LastLink::Stop, |found| found.metadata())
    }

    /// Whether `path` leads to anything.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`], but for those that say no: `ENOENT` and `ENOTDIR`.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> Result<bool, Error> {
        match self.node(path).map_err(|error| (error.errno(), error)) {
            Ok(_) => Ok(true),
            Err((Errno::ENOENT | Errno::ENOTDIR, _)) => Ok(false),
            Err((_, error)) => Err(error),
        }
    }

    /// Whether the mount's user may access what `path` leads to in these ways.
    ///
    /// # Errors
    ///
    /// `EACCES` or `EROFS` if not; as for [`Self::node`].
    pub fn access(&self, path: impl AsRef<[u8]>, wanted: Access) -> Result<(), Error> {
        self.at(path, LastLink::Follow, |found| found.node().access(wanted))
    }

    /// Sets permission bits with set-user-id, set-group-id and sticky.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EROFS`; as for [`Self::node`].
    pub fn set_permissions(&self, path: impl AsRef<[u8]>, permissions: u16) -> Result<(), Error> {
        self.change(path.as_ref(), LastLink::Follow, SetAttr { permissions: Some(permissions), ..SetAttr::default() })
    }

    /// Sets the owning user and group; `None` leaves it.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EROFS`; as for [`Self::node`].
    pub fn set_owner(&self, path: impl AsRef<[u8]>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        self.change(path.as_ref(), LastLink::Follow, SetAttr { uid, gid, ..SetAttr::default() })
    }

    /// As [`Self::set_owner`], but of a symbolic link that `path` ends in.
    ///
    /// # Errors
    ///
    /// Those of [`Self::set_owner`].
    pub fn set_symlink_owner(&self, path: impl AsRef<[u8]>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        self.change(path.as_ref(), LastLink::Stop, SetAttr { uid, gid, ..SetAttr::default() })
    }

    /// Sets the times of the last access and the last change of the content.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EACCES`, `EROFS`; as for [`Self::node`].
    pub fn set_times(&self, path: impl AsRef<[u8]>, times: FileTimes) -> Result<(), Error> {
        self.change(path.as_ref(), LastLink::Follow, times.into())
    }

    /// As [`Self::set_times`], but of a symbolic link that `path` ends in.
    ///
    /// # Errors
    ///
    /// Those of [`Self::set_times`].
    pub fn set_symlink_times(&self, path: impl AsRef<[u8]>, times: FileTimes) -> Result<(), Error> {
        self.change(path.as_ref(), LastLink::Stop, times.into())
    }

    /// The value of an extended attribute; its name begins with a namespace, such as `user.`.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there is none, `EOPNOTSUPP` if the server keeps none; as for [`Self::node`].
    pub fn get_xattr(&self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.at(path, LastLink::Follow, |found| found.node().xattr(name.as_ref()))
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    ///
    /// Those of [`Node::setxattr`](crate::vnode::Node::setxattr); as for [`Self::node`].
    pub fn set_xattr(
        &self,
        path: impl AsRef<[u8]>,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: XattrFlags,
    ) -> Result<(), Error> {
        self.at(path, LastLink::Follow, |found| found.node().setxattr(name.as_ref(), value.as_ref(), flags))
    }

    /// The names of the extended attributes.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the server keeps none; as for [`Self::node`].
    pub fn list_xattr(&self, path: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, Error> {
        let names = self.at(path, LastLink::Follow, |found| found.node().xattr_names())?;
        Ok(names.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    ///
    /// Those of [`Node::removexattr`](crate::vnode::Node::removexattr); as for [`Self::node`].
    pub fn remove_xattr(&self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.at(path, LastLink::Follow, |found| found.node().removexattr(name.as_ref()))
    }

    /// How full the file system is that holds what `path` leads to.
    ///
    /// # Errors
    ///
    /// As for [`Self::node`].
    pub fn statvfs(&self, path: impl AsRef<[u8]>) -> Result<StatFs, Error> {
        self.at(path, LastLink::Follow, |found| found.node().statfs())
    }

    /// Makes everything durable that was written to the root's file system, as far as the server can. What was collected
    /// and cannot be written is told to the files that are open. Submounts are other file systems: for them there is
    /// [`Node::syncfs`](crate::vnode::Node::syncfs).
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn sync(&self) -> Result<(), Error> {
        self.root().superblock().dirty.write_all();
        self.root().syncfs()
    }

    fn change(&self, path: &[u8], last: LastLink, changes: SetAttr) -> Result<(), Error> {
        self.at(path, last, |found| found.node().setattr(&changes).map(drop))
    }
}
