//! What is known of an inode, and changing it.

use super::Node;
use super::node::unless_lacking;
use crate::data::Change;
use crate::wire::{
    Access, CheckAccess, FileHandle, FileType, Getattr, InitFlags, SetAttr, SetTime, Setattr, Statx, ValidAttr,
};
use crate::{Attr, Errno, Error, Timestamp};

/// Set-group-id.
const SET_GID: u16 = 0o2000;
/// Set-user-id.
const SET_UID: u16 = 0o4000;
/// Execution by the group.
const GROUP_EXECUTE: u16 = 0o010;

impl Node {
    /// The attributes of the inode, by the rules of the [mode](crate::CacheMode).
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn getattr(&self) -> Result<Attr, Error> {
        self.getattr_of(None)
    }

    /// As [`Self::getattr`], of an inode that may be open.
    pub(super) fn getattr_of(&self, fh: Option<FileHandle>) -> Result<Attr, Error> {
        self.inode().attr(self.cache().now()).map_or_else(|| self.ask_attr(fh), Ok)
    }

    /// Attributes of which type, mode, owner and group are right, and perhaps nothing else.
    pub(super) fn owner_and_mode(&self) -> Result<Attr, Error> {
        self.inode().mode(self.cache().now()).map_or_else(|| self.ask_attr(None), Ok)
    }

    /// Asks the server for the attributes.
    pub(crate) fn ask_attr(&self, fh: Option<FileHandle>) -> Result<Attr, Error> {
        if self.inode().unwritten().is_some() {
            self.heed_changes();
        }
        self.with_unwritten(|| {
            let stamp = self.cache().stamp();
            let ValidAttr { attr, ttl } = self.expect_same_kind(self.call(&Getattr { fh })?)?;
            self.inode().learn_attr(&attr, ttl, &stamp);
            Ok(attr)
        })
    }

    /// The attributes that the server tells when it is asked, with what the driver has yet to tell it. If that was written
    /// meanwhile, the reply may be from before, and it is asked again.
    fn with_unwritten(&self, mut ask: impl FnMut() -> Result<Attr, Error>) -> Result<Attr, Error> {
        loop {
            let was_unwritten = self.inode().unwritten().is_some();
            let attr = ask()?;
            match self.inode().unwritten() {
                None if was_unwritten => {}
                own => return Ok(own.map_or(attr, |own| own.of(attr))),
            }
        }
    }

    /// # Errors
    ///
    /// [`Error::Protocol`] if the server says that this inode is of another kind.
    fn expect_same_kind(&self, told: ValidAttr) -> Result<ValidAttr, Error> {
        if told.attr.file_type == self.file_type() {
            Ok(told)
        } else {
            Err(Error::Protocol("an inode became one of another kind"))
        }
    }

    /// Sends a change of attributes, and remembers what it made of them.
    fn change_attr(&self, fh: Option<FileHandle>, changes: SetAttr, kill_suidgid: bool) -> Result<Attr, Error> {
        // What was written before is not to be newer than what is set now.
        self.write_back();
        let stamp = self.cache().stamp();
        let own = self.inode().begin_own_change();
        let resizing = changes.size_bytes.and_then(|size| Some((size, self.inode().data()?)));
        let resizing = resizing.map(|(size, data)| (size, data, data.begin_cut(size)));
        let setattr = Setattr { fh, file_type: self.file_type(), changes, lock_owner: None, kill_suidgid };
        let result = self.call(&setattr).and_then(|changed| self.expect_same_kind(changed));
        // First this: see `change_content`.
        match &result {
            Ok(ValidAttr { attr, ttl }) => self.inode().change_attr(attr, *ttl, &stamp),
            // Servers may make one change after the other, and stop at the first that fails.
            Err(_) => self.inode().note_any_change(),
        }
        if let Some((size, data, changing)) = resizing {
            let change = if result.is_ok() { Change::Resized(size) } else { Change::Unknown(0..u64::MAX) };
            data.end_change(changing, &change, || self.inode().has_content_of(&own));
            let version = result.is_ok().then(|| self.inode().version_after(&own, 1)).flatten();
            self.inode().keep_content(&own, version);
            if data.is_doubtful() {
                self.write_back();
            }
        }
        result.map(|ValidAttr { attr, .. }| attr)
    }

    /// The attributes of the inode, and when it was made, if the server knows (FUSE_STATX, minor 39; virtiofsd lacks
    /// it).
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn statx(&self) -> Result<(Attr, Option<Timestamp>), Error> {
        let mut told_born = None;
        let attr = self.with_unwritten(|| match unless_lacking(self.call(&Statx { fh: None }))? {
            Some((valid, born)) => {
                told_born = born;
                Ok(self.expect_same_kind(valid)?.attr)
            }
            None => self.getattr(),
        })?;
        Ok((attr, told_born))
    }

    /// Changes attributes, and gives the new ones.
    ///
    /// # Errors
    ///
    /// `EPERM` or `EACCES` if the user may not, `EROFS`; `EISDIR` or `EINVAL` for the size of what is no regular file,
    /// `EINVAL` for a size beyond the largest offset, and for a date with a second of nanoseconds or more; the
    /// server's.
    pub fn setattr(&self, changes: &SetAttr) -> Result<Attr, Error> {
        self.setattr_of(None, changes, false)
    }

    /// As [`Self::setattr`], of an inode that may be open for writing.
    pub(super) fn setattr_of(&self, fh: Option<FileHandle>, changes: &SetAttr, is_open: bool) -> Result<Attr, Error> {
        if *changes == SetAttr::default() {
            return self.getattr_of(fh);
        }
        if let Some(size) = changes.size_bytes {
            match self.file_type() {
                FileType::Regular if size <= i64::MAX as u64 => {}
                FileType::Directory => return Err(Error::Invalid(Errno::EISDIR)),
                _ => return Err(Error::Invalid(Errno::EINVAL)),
            }
        }
        expect_dates(changes)?;
        self.superblock().expect_writable()?;
        let mut changes = *changes;
        // Servers without KILLPRIV truncate with all their rights: the bits stay unless we take them away.
        let costs_set_ids =
            changes.size_bytes.is_some() && !self.kills_set_ids() && !self.credentials().is_privileged();
        if self.is_checked() || costs_set_ids {
            let own = self.getattr_of(fh)?;
            if self.is_checked() {
                self.permit_changes(is_open, &own, &mut changes)?;
            }
            let kept = self.without_set_ids(&own);
            if costs_set_ids && kept != own.permissions {
                changes.permissions.get_or_insert(kept);
            }
        }
        let changes_owner = changes.uid.is_some() || changes.gid.is_some();
        let kill_suidgid = changes.size_bytes.is_some() && self.asks_to_kill_set_ids()
            || changes_owner && self.file_type() != FileType::Directory && self.has(InitFlags::HANDLE_KILLPRIV_V2);
        let attr = self.change_attr(fh, changes, kill_suidgid)?;
        if changes.permissions.is_some() && attr.permissions & (SET_UID | SET_GID) != 0 {
            self.superblock().note_set_ids();
        }
        Ok(attr)
    }

    /// Whether the user may make these changes of an inode with the attributes `own`; and what is left of them.
    fn permit_changes(&self, is_open: bool, own: &Attr, changes: &mut SetAttr) -> Result<(), Error> {
        let who = self.credentials();
        let denied = Err(Error::Refused(Errno::EPERM));
        if changes.uid.is_some_and(|uid| uid != own.uid || uid != who.uid) {
            return denied;
        }
        if changes.gid.is_some_and(|gid| who.uid != own.uid || gid != own.gid && !who.is_member_of(gid)) {
            return denied;
        }
        if let Some(permissions) = &mut changes.permissions {
            self.expect_owner(own)?;
            if !who.is_member_of(changes.gid.unwrap_or(own.gid)) {
                *permissions &= !SET_GID;
            }
        }
        if changes.size_bytes.is_some() && !is_open {
            self.permit_knowing(own, Access::WRITE)?;
        }
        let times = [changes.accessed, changes.modified];
        if times.iter().any(|time| matches!(time, Some(SetTime::At(_)))) || changes.changed.is_some() {
            self.expect_owner(own)?;
        } else if times.contains(&Some(SetTime::Now)) && who.uid != own.uid {
            // Who may write may touch both times, but not one alone.
            if times[0] != times[1] {
                return denied;
            }
            self.permit_knowing(own, Access::WRITE)?;
        }
        Ok(())
    }

    /// Whether the server takes set-id bits away by itself, or when it is told to.
    pub(super) fn kills_set_ids(&self) -> bool {
        self.has(InitFlags::HANDLE_KILLPRIV) || self.has(InitFlags::HANDLE_KILLPRIV_V2)
    }

    /// Whether a change of the content says that set-id bits are to be taken away.
    pub(super) fn asks_to_kill_set_ids(&self) -> bool {
        self.has(InitFlags::HANDLE_KILLPRIV_V2) && !self.credentials().is_privileged()
    }

    /// Takes set-id bits away before someone else than user 0 changes the content.
    pub(super) fn kill_set_ids(&self, fh: Option<FileHandle>) -> Result<(), Error> {
        if self.credentials().is_privileged() {
            return Ok(());
        }
        let own = self.inode().mode(self.cache().now()).map_or_else(|| self.ask_attr(fh), Ok)?;
        let kept = self.without_set_ids(&own);
        if kept != own.permissions {
            self.change_attr(fh, SetAttr { permissions: Some(kept), ..SetAttr::default() }, false)?;
        }
        Ok(())
    }

    /// Whether the user may access the inode in these ways; nothing wanted asks whether it is there.
    ///
    /// # Errors
    ///
    /// `EACCES` if not; `EROFS` for writing on a read-only mount; the server's.
    pub fn access(&self, wanted: Access) -> Result<(), Error> {
        let means_content = matches!(self.file_type(), FileType::Regular | FileType::Directory | FileType::Symlink);
        if wanted.contains(Access::WRITE) && means_content {
            self.superblock().expect_writable()?;
        }
        if self.superblock().permissions == super::Permissions::Server
            && unless_lacking(self.call(&CheckAccess { access: wanted }))?.is_some()
        {
            return Ok(());
        }
        let own = self.getattr()?;
        let allowed = if self.credentials().is_privileged() {
            // What nobody may execute is no program, whoever asks. Directories may be searched all the same.
            !wanted.contains(Access::EXECUTE) || own.file_type == FileType::Directory || own.permissions & 0o111 != 0
        } else {
            self.allows(&own, wanted)?
        };
        if allowed { Ok(()) } else { Err(Error::Refused(Errno::EACCES)) }
    }

    /// What is left of permission bits after a change of the content by someone else than user 0. Set-group-id without
    /// execution by the group is no set-id bit, but only members of the group may keep it.
    fn without_set_ids(&self, own: &Attr) -> u16 {
        let executes = own.permissions & GROUP_EXECUTE != 0;
        let set_gid = if executes || !self.credentials().is_member_of(own.gid) { SET_GID } else { 0 };
        own.permissions & !(SET_UID | set_gid)
    }
}

/// Servers hand dates on to `utimensat`, for which some numbers beyond are words: "now", and "as it is".
fn expect_dates(changes: &SetAttr) -> Result<(), Error> {
    let date = |time| match time {
        Some(SetTime::At(date)) => Some(date),
        Some(SetTime::Now) | None => None,
    };
    let dates = [date(changes.accessed), date(changes.modified), changes.changed];
    match dates.into_iter().flatten().all(|date| date.nanoseconds < 1_000_000_000) {
        true => Ok(()),
        false => Err(Error::Invalid(Errno::EINVAL)),
    }
}
