//! Extended attributes.

use super::Node;
use super::node::{supported, zeroed};
use super::permission::STICKY;
use crate::wire::{
    Access, FileType, Getxattr, GetxattrSize, InitFlags, Listxattr, ListxattrSize, Removexattr, Setxattr, SetxattrExt,
    XATTR_MAX_BYTES, XattrFlags, XattrName, XattrSize,
};
use crate::{Errno, Error};
use alloc::vec::Vec;

/// The list that `chmod` keeps in step with the mode bits.
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

impl Node {
    /// Puts the value of an extended attribute into `buffer` and gives its length; with an empty buffer only the length.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there is no such attribute, `ERANGE` if the buffer is too short or the name has more than 255 bytes,
    /// `EOPNOTSUPP` if the server keeps none, `EACCES`, `EPERM`.
    pub fn getxattr(&self, name: impl AsRef<[u8]>, buffer: &mut [u8]) -> Result<usize, Error> {
        let name = XattrName::new(name.as_ref())?;
        self.permit_xattr(name.bytes(), Access::READ)?;
        self.getxattr_unchecked(name, buffer)
    }

    fn getxattr_unchecked(&self, name: XattrName<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            let XattrSize(size) = supported(self.call(&GetxattrSize { name }))?;
            return Ok(size as usize);
        }
        let room = buffer.len().min(XATTR_MAX_BYTES);
        let getxattr = Getxattr { name, size_bytes: room as u32 };
        let reply = self.session().call_with_data(self.credentials(), self.nodeid(), &getxattr, &mut buffer[..room]);
        supported(reply).map(|((), bytes)| bytes)
    }

    /// The value of an extended attribute, whoever asks.
    pub(super) fn xattr_unchecked(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        let name = XattrName::new(name)?;
        whole(&mut |buffer| self.getxattr_unchecked(name, buffer))
    }

    /// As [`Self::getxattr`], into memory of its own.
    pub(crate) fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Error> {
        whole(&mut |buffer| self.getxattr(name, buffer))
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    ///
    /// `EEXIST` or `ENODATA` against the flags, `EINVAL` for unknown flags, `E2BIG` for a value of more than 64 KiB,
    /// `ERANGE` for a name of more than 255 bytes, `EOPNOTSUPP` if the server keeps none, `EACCES`, `EPERM`, `EROFS`,
    /// `ENOSPC`.
    pub fn setxattr(&self, name: impl AsRef<[u8]>, value: &[u8], flags: XattrFlags) -> Result<(), Error> {
        if !(XattrFlags::CREATE | XattrFlags::REPLACE).contains(flags) {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        let name = XattrName::new(name.as_ref())?;
        if value.len() > XATTR_MAX_BYTES {
            return Err(Error::Invalid(Errno::E2BIG));
        }
        self.superblock().expect_writable()?;
        self.permit_xattr(name.bytes(), Access::WRITE)?;
        let setxattr = Setxattr { name, size_bytes: value.len() as u32, flags };
        let (who, nodeid) = (self.credentials(), self.nodeid());
        let set = if self.has(InitFlags::SETXATTR_EXT) {
            let acl_kill_sgid =
                name.bytes() == ACCESS_LIST && self.is_checked() && !who.is_member_of(self.owner_and_mode()?.gid);
            self.session().call_with_payload(who, nodeid, &SetxattrExt { setxattr, acl_kill_sgid }, value)
        } else {
            self.session().call_with_payload(who, nodeid, &setxattr, value)
        };
        // A list changes the mode, too.
        self.inode().note_any_change();
        supported(set)
    }

    /// Puts the names of the extended attributes into `buffer`, each ended by a NUL byte, and gives their length; with
    /// an empty buffer only the length.
    ///
    /// # Errors
    ///
    /// `ERANGE` if the buffer is too short, `EOPNOTSUPP` if the server keeps none.
    pub fn listxattr(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        if !self.is_checked() {
            return self.listxattr_unchecked(buffer);
        }
        // Others than user 0 are not to know of these.
        let mut names = whole(&mut |buffer| self.listxattr_unchecked(buffer))?;
        let seen = names.split_inclusive(|&byte| byte == 0).filter(|name| !name.starts_with(b"trusted."));
        names = seen.flatten().copied().collect();
        if !buffer.is_empty() {
            let room = buffer.get_mut(..names.len()).ok_or(Error::Refused(Errno::ERANGE))?;
            room.copy_from_slice(&names);
        }
        Ok(names.len())
    }

    fn listxattr_unchecked(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            let XattrSize(size) = supported(self.call(&ListxattrSize))?;
            return Ok(size as usize);
        }
        let room = buffer.len().min(XATTR_MAX_BYTES);
        let listxattr = Listxattr { size_bytes: room as u32 };
        let reply = self.session().call_with_data(self.credentials(), self.nodeid(), &listxattr, &mut buffer[..room]);
        supported(reply).map(|((), bytes)| bytes)
    }

    /// As [`Self::listxattr`], into memory of its own.
    pub(crate) fn xattr_names(&self) -> Result<Vec<u8>, Error> {
        whole(&mut |buffer| self.listxattr(buffer))
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    ///
    /// `ENODATA` if there is no such attribute; else as for [`Self::setxattr`].
    pub fn removexattr(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = XattrName::new(name.as_ref())?;
        self.superblock().expect_writable()?;
        self.permit_xattr(name.bytes(), Access::WRITE)?;
        let removed = self.call(&Removexattr { name });
        self.inode().note_any_change();
        supported(removed)
    }

    /// Whether the user may read or write an attribute, by its namespace (`xattr(7)`).
    fn permit_xattr(&self, name: &[u8], wanted: Access) -> Result<(), Error> {
        if !self.is_checked() {
            return Ok(());
        }
        let reads = wanted == Access::READ;
        let refused = |reading, writing| Err(Error::Refused(if reads { reading } else { writing }));
        if name.starts_with(b"system.posix_acl_") {
            return if reads { Ok(()) } else { self.expect_owner(&self.owner_and_mode()?) };
        }
        if name.starts_with(b"trusted.") {
            return refused(Errno::ENODATA, Errno::EPERM);
        }
        if name.starts_with(b"security.") {
            return if reads { Ok(()) } else { refused(Errno::EPERM, Errno::EPERM) };
        }
        if name.starts_with(b"system.") && !reads {
            // Such as the access control lists of NFSv4, which are up to the owner.
            return self.expect_owner(&self.owner_and_mode()?);
        }
        if !name.starts_with(b"user.") {
            return self.permit(wanted);
        }
        match self.file_type() {
            FileType::Regular => self.permit(wanted),
            FileType::Directory => {
                let own = self.owner_and_mode()?;
                if !reads && own.permissions & STICKY != 0 {
                    self.expect_owner(&own)?;
                }
                self.permit_knowing(&own, wanted)
            }
            // Their mode bits say nothing about content.
            _ => refused(Errno::ENODATA, Errno::EPERM),
        }
    }
}

/// All of something that `get` puts into a buffer: it tells its length first, but may grow until it is asked again.
fn whole(get: &mut dyn FnMut(&mut [u8]) -> Result<usize, Error>) -> Result<Vec<u8>, Error> {
    let size = get(&mut [])?;
    if size == 0 {
        return Ok(Vec::new());
    }
    let mut value = zeroed(size.min(XATTR_MAX_BYTES))?;
    let bytes = match get(&mut value) {
        Err(Error::Refused(Errno::ERANGE)) if value.len() < XATTR_MAX_BYTES => {
            value = zeroed(XATTR_MAX_BYTES)?;
            get(&mut value)?
        }
        result => result?,
    };
    value.truncate(bytes);
    Ok(value)
}
