//! POSIX access control lists, as Linux keeps them in the extended attribute `system.posix_acl_access`.

use super::Node;
use crate::session::Credentials;
use crate::wire::{Access, Attr};
use crate::{Errno, Error};
use alloc::vec::Vec;

/// The attribute that holds the list.
const NAME: &[u8] = b"system.posix_acl_access";
/// The only version of the format.
const VERSION: [u8; 4] = 2_u32.to_le_bytes();
/// A 16-bit tag, 16 permission bits and a 32-bit id, all little-endian.
const ENTRY_BYTES: usize = 8;

/// What an entry is about (`ACL_` of `linux/posix_acl.h`).
mod tag {
    pub(super) const USER: u16 = 0x02;
    pub(super) const GROUP_OBJ: u16 = 0x04;
    pub(super) const GROUP: u16 = 0x08;
    pub(super) const MASK: u16 = 0x10;
    pub(super) const OTHER: u16 = 0x20;
}

impl Node {
    /// The access control list of this inode, if it has one.
    pub(super) fn access_control_list(&self) -> Result<Option<Vec<u8>>, Error> {
        match self.xattr_unchecked(NAME) {
            Ok(list) => Ok(Some(list)),
            Err(Error::Refused(Errno::ENODATA | Errno::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether `list` lets someone who does not own the inode access it (POSIX.1e draft 17, §23.1.5).
///
/// # Errors
///
/// [`Error::Protocol`] if it is no list.
pub(super) fn allows(list: &[u8], own: &Attr, who: &Credentials, wanted: Access) -> Result<bool, Error> {
    let entries = list.strip_prefix(&VERSION).filter(|entries| entries.len() % ENTRY_BYTES == 0);
    let entries = entries.ok_or(Error::Protocol("an access control list has another format"))?;
    let entries = entries.chunks_exact(ENTRY_BYTES).map(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let allowed = Access::from_bits_truncate(u16::from_le_bytes([entry[2], entry[3]]).into());
        (tag, allowed, u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]))
    });
    let all = Access::from_bits_truncate(7);
    let mask = entries.clone().find(|&(tag, ..)| tag == tag::MASK).map_or(all, |(_, allowed, _)| allowed);
    if let Some((_, allowed, _)) = entries.clone().find(|&(tag, _, id)| tag == tag::USER && id == who.uid) {
        return Ok((allowed & mask).contains(wanted));
    }
    // One group that allows all of it is enough, but who is in any group of the list is none of the others.
    let mut groups = entries.clone().filter(|&(tag, _, id)| match tag {
        tag::GROUP_OBJ => who.is_member_of(own.gid),
        tag::GROUP => who.is_member_of(id),
        _ => false,
    });
    if let Some((_, first, _)) = groups.next() {
        let enough = |allowed: Access| (allowed & mask).contains(wanted);
        return Ok(enough(first) || groups.any(|(_, allowed, _)| enough(allowed)));
    }
    let others = entries.clone().find(|&(tag, ..)| tag == tag::OTHER);
    Ok(others.is_some_and(|(_, allowed, _)| allowed.contains(wanted)))
}
