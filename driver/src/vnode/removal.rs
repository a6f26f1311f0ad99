//! Moving and removing names.

use super::node::unless_lacking;
use super::{Found, Node};
use crate::cache::{CacheMode, Dentry, Inode, Renamed};
use crate::wire::{Access, Name, Rename, Rename2, RenameFlags, Rmdir, Unlink};
use crate::{Errno, Error};
use alloc::sync::Arc;
use core::time::Duration;

impl Node {
    /// Removes the name of something that is no directory.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EISDIR`, `EACCES`, `EPERM` for what belongs to someone else in a sticky directory, `EROFS`; the
    /// server's.
    pub fn unlink(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = Name::new(name.as_ref())?;
        self.expect_directory()?;
        self.permit_removal(name)?;
        self.remove(name, || self.call(&Unlink { name }))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `ENOTDIR`; else as for [`Self::unlink`].
    pub fn rmdir(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        let name = Name::new(name.as_ref())?;
        self.expect_directory()?;
        self.permit_removal(name)?;
        self.remove(name, || self.call(&Rmdir { name }))
    }

    /// Moves `name` of this directory to `new_name` of `new_parent`, in one step; what has that name goes away, unless
    /// `flags` say otherwise.
    ///
    /// # Errors
    ///
    /// `ENOENT`; `EEXIST` for a name that exists with [`RenameFlags::NOREPLACE`]; `EINVAL` for a directory moved into
    /// itself, for flags that exclude each other, and for flags that the server does not know; `EISDIR`, `ENOTDIR` or
    /// `ENOTEMPTY` if the names are of different kinds; `EXDEV` for another file system; `EACCES`, `EPERM`, `EROFS`.
    pub fn rename(
        &self,
        name: impl AsRef<[u8]>,
        new_parent: &Self,
        new_name: impl AsRef<[u8]>,
        flags: RenameFlags,
    ) -> Result<(), Error> {
        let (name, new_name) = (Name::new(name.as_ref())?, Name::new(new_name.as_ref())?);
        self.expect_directory()?;
        new_parent.expect_directory()?;
        let exchanges = flags.contains(RenameFlags::EXCHANGE);
        let known = (RenameFlags::NOREPLACE | RenameFlags::EXCHANGE | RenameFlags::WHITEOUT).contains(flags);
        if !known || exchanges && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT) {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        self.superblock().expect_writable()?;
        self.expect_same_device(new_parent)?;
        if self.is_checked() {
            let permitted = self.permit_rename(name, new_parent, new_name, exchanges);
            if permitted.is_err() {
                // What is missing and what is in the way are the first reasons, for who may see it.
                self.permit(Access::EXECUTE)?;
                new_parent.permit(Access::EXECUTE)?;
                let (moved, _) = self.lookup(name.bytes())?;
                match new_parent.lookup(new_name.bytes()) {
                    Ok(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Error::Refused(Errno::EEXIST)),
                    // Two names of one inode stay as they are.
                    Ok((there, _)) if there.nodeid() == moved.nodeid() => return Ok(()),
                    Err(Error::Refused(Errno::ENOENT)) if !exchanges => {}
                    found => drop(found?),
                }
            }
            permitted?;
        }
        let from = self.cache().begin_change_of_names(self.inode());
        let is_one_directory = Arc::ptr_eq(self.inode(), new_parent.inode());
        let to = (!is_one_directory).then(|| self.cache().begin_change_of_names(new_parent.inode()));
        let moved = self.victim(name)?;
        let victim = match new_parent.victim(new_name) {
            Err(Error::Refused(Errno::ENOENT)) => None,
            victim => victim?,
        };
        let (to_nodeid, new) = (new_parent.nodeid(), Some((new_parent, new_name)));
        let renamed = if flags.is_empty() {
            let rename = Rename { name, new_parent: to_nodeid, new_name };
            self.with_known_names(name, new, || self.call(&rename))
        } else {
            let rename = Rename2 { name, new_parent: to_nodeid, new_name, flags };
            let renamed = self.with_known_names(name, new, || self.call(&rename));
            unless_lacking(renamed).and_then(|renamed| renamed.ok_or(Error::Refused(Errno::EINVAL)))
        };
        match renamed {
            Ok(()) => {
                let to =
                    Renamed { change: to.as_ref().unwrap_or(&from), name: new_name.bytes(), before: victim.as_ref() };
                let from = Renamed { change: &from, name: name.bytes(), before: moved.as_ref() };
                self.cache().move_name(&from, &to, flags);
                note_lost_name(victim);
            }
            Err(_) => {
                self.forget_name(name);
                new_parent.forget_name(new_name);
            }
        }
        renamed
    }

    /// Takes `name` away by `ask`.
    fn remove(&self, name: Name<'_>, ask: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        let victim = self.victim(name)?;
        let change = self.cache().begin_change_of_names(self.inode());
        self.with_known_names(name, None, ask).inspect_err(|_| self.forget_name(name))?;
        self.cache().change_name(&change, name.bytes(), Dentry::Absent, Duration::ZERO);
        note_lost_name(victim);
        Ok(())
    }

    /// What is about to lose this name. It is asked for if anything is cached: its other names and open files are not to
    /// go on as if nothing had happened. `None` if nothing is cached.
    fn victim(&self, name: Name<'_>) -> Result<Option<Arc<Inode>>, Error> {
        if self.cache().options().mode == CacheMode::None {
            return Ok(None);
        }
        let Found { inode, .. } = self.view().find(self.inode(), name, self.cache().now())?;
        let node = Self::new(inode.clone(), self.view().clone());
        if let Err(error) = self.superblock().late_files.open(&node) {
            // Who opened it late will be told by the first read.
            log::debug!("{node:?} loses a name and cannot be opened: {error}");
        }
        Ok(Some(inode))
    }

    fn permit_rename(
        &self,
        name: Name<'_>,
        new_parent: &Self,
        new_name: Name<'_>,
        exchanges: bool,
    ) -> Result<(), Error> {
        let moves = self.nodeid() != new_parent.nodeid();
        self.permit_removal(name)?;
        match new_parent.permit_removal(new_name) {
            Err(Error::Refused(Errno::ENOENT)) if !exchanges => new_parent.permit(Access::WRITE)?,
            result => result?,
        }
        if moves {
            self.permit_move(name)?;
            if exchanges {
                new_parent.permit_move(new_name)?;
            }
        }
        Ok(())
    }

    /// The result of `ask`, which takes `name` away from this directory, and perhaps another name from another.
    ///
    /// virtiofsd before 1.0 answers `EIO` if it knows no inode of these names at the moment: then it is asked again while
    /// it does.
    fn with_known_names(
        &self,
        name: Name<'_>,
        other: Option<(&Self, Name<'_>)>,
        ask: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        match ask() {
            Err(Error::Refused(Errno::EIO)) => {
                let _known = self.lookup_unchecked(name)?;
                let _other = other.map(|(directory, name)| directory.lookup_unchecked(name));
                ask()
            }
            result => result,
        }
    }
}

/// An inode has lost a name: it has fewer links now.
fn note_lost_name(inode: Option<Arc<Inode>>) {
    if let Some(inode) = inode {
        inode.note_change();
    }
}
