//! Whether a user may do something with an inode: POSIX's rules, for a server that does not know them.

use super::{Node, acl};
use crate::wire::{Access, Attr, FileType, InitFlags, Name};
use crate::{Errno, Error};

/// Only the owner of a file in this directory may take it away.
pub(super) const STICKY: u16 = 0o1000;

impl Node {
    /// Whether the driver has to check what this node's user may do.
    pub(super) fn is_checked(&self) -> bool {
        self.view().is_checked()
    }

    /// # Errors
    ///
    /// `EACCES` if the user may not access the inode in this way; those of asking for its attributes.
    pub(crate) fn permit(&self, wanted: Access) -> Result<(), Error> {
        if self.is_checked() { self.permit_knowing(&self.owner_and_mode()?, wanted) } else { Ok(()) }
    }

    /// As [`Self::permit`], of an inode whose attributes are known.
    pub(crate) fn permit_knowing(&self, own: &Attr, wanted: Access) -> Result<(), Error> {
        if !self.is_checked() || self.allows(own, wanted)? { Ok(()) } else { Err(Error::Refused(Errno::EACCES)) }
    }

    /// Whether mode bits or the access control list let the user access the inode in this way.
    pub(super) fn allows(&self, own: &Attr, wanted: Access) -> Result<bool, Error> {
        let who = self.credentials();
        let shift = if who.uid == own.uid {
            6
        } else {
            // Without bits for the group, which are the list's mask, no list grants anything to anybody but others.
            if own.permissions & 0o070 != 0
                && self.has(InitFlags::POSIX_ACL)
                && let Some(list) = self.access_control_list()?
            {
                return acl::allows(&list, own, who, wanted);
            }
            if who.is_member_of(own.gid) { 3 } else { 0 }
        };
        let allowed = Access::from_bits_truncate((own.permissions >> shift).into());
        Ok(allowed.contains(wanted))
    }

    /// # Errors
    ///
    /// `EPERM` if the user does not own the inode with these attributes.
    pub(super) fn expect_owner(&self, own: &Attr) -> Result<(), Error> {
        if self.is_checked() && self.credentials().uid != own.uid { Err(Error::Refused(Errno::EPERM)) } else { Ok(()) }
    }

    /// # Errors
    ///
    /// Why `name` may not be made in this directory: `EROFS` or `EACCES`, but `EEXIST` if it exists.
    pub(super) fn permit_new(&self, name: Name<'_>) -> Result<(), Error> {
        let checked = if self.is_checked() {
            let own = self.owner_and_mode()?;
            self.permit_knowing(&own, Access::EXECUTE)?;
            self.permit_knowing(&own, Access::WRITE)
        } else {
            Ok(())
        };
        let Err(why_not) = self.superblock().expect_writable().and(checked) else { return Ok(()) };
        Err(exists_or(self.lookup_unchecked(name), why_not))
    }

    /// # Errors
    ///
    /// Why `name` may not be taken away from this directory: `EROFS`, `EACCES`, `EPERM` for what belongs to someone else
    /// in a sticky directory, but `ENOENT` if it does not exist.
    pub(super) fn permit_removal(&self, name: Name<'_>) -> Result<(), Error> {
        self.superblock().expect_writable()?;
        if !self.is_checked() {
            return Ok(());
        }
        let own = self.owner_and_mode()?;
        self.permit_knowing(&own, Access::EXECUTE)?;
        let writable = self.permit_knowing(&own, Access::WRITE);
        let is_sticky = own.permissions & STICKY != 0 && own.uid != self.credentials().uid;
        if writable.is_err() || is_sticky {
            let (victim, attr) = self.lookup_unchecked(name)?;
            writable?;
            victim.expect_owner(&attr)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `EROFS`; `EACCES` if this is a directory that the user may not write: moving it changes its `..`.
    pub(super) fn permit_move(&self, name: Name<'_>) -> Result<(), Error> {
        if !self.is_checked() {
            return Ok(());
        }
        let (moved, attr) = self.lookup_unchecked(name)?;
        match moved.file_type() {
            FileType::Directory => moved.permit_knowing(&attr, Access::WRITE),
            _ => Ok(()),
        }
    }
}

/// Why a name cannot be made that was looked for: if it exists, that is the reason.
pub(super) fn exists_or(found: Result<(Node, Attr), Error>, why_not: Error) -> Error {
    match found {
        Ok(_) => Error::Refused(Errno::EEXIST),
        Err(Error::Refused(Errno::ENOENT)) => why_not,
        Err(error) => error,
    }
}
