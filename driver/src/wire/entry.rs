//! What a name leads to: the reply to LOOKUP and to what makes inodes, and part of READDIRPLUS.

use super::attr::{RawAttr, ttl};
use super::{Attr, FromBody, NodeId};
use crate::Error;
use core::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An inode that the server found and counts one lookup of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) nodeid: NodeId,
    /// Tells inodes apart that had the same nodeid one after the other.
    pub(crate) generation: u64,
    /// How long the name may be believed to lead here.
    pub(crate) entry_ttl: Duration,
    /// How long the attributes may be believed.
    pub(crate) attr_ttl: Duration,
    /// The attributes; an error if they are impossible. The lookup is counted all the same, and must be taken back.
    pub(crate) attr: Result<Attr, Error>,
}

/// `fuse_entry_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct RawEntry {
    pub(crate) nodeid: u64,
    pub(crate) generation: u64,
    pub(crate) entry_valid: u64,
    pub(crate) attr_valid: u64,
    pub(crate) entry_valid_nsec: u32,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) attr: RawAttr,
}

impl RawEntry {
    /// The inode, or `None` if the name does not exist (nodeid 0).
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the inode is the root, of which no lookups are counted.
    pub(crate) fn decode(&self) -> Result<Option<Entry>, Error> {
        match NodeId(self.nodeid) {
            NodeId(0) => Ok(None),
            NodeId::ROOT => Err(Error::Protocol("a name leads to the root's nodeid")),
            nodeid => Ok(Some(Entry {
                nodeid,
                generation: self.generation,
                entry_ttl: self.entry_ttl(),
                attr_ttl: ttl(self.attr_valid, self.attr_valid_nsec),
                attr: self.attr.decode(),
            })),
        }
    }

    /// How long the name may be believed to lead where it does, be it nowhere.
    pub(crate) fn entry_ttl(&self) -> Duration {
        ttl(self.entry_valid, self.entry_valid_nsec)
    }
}

/// What operations that make a name answer.
impl FromBody for Entry {
    type Body = RawEntry;

    fn decode(body: RawEntry) -> Result<Self, Error> {
        body.decode()?.ok_or(Error::Protocol("a name that was just made does not exist"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<Entry>, Error> {
        RawEntry::read_from_bytes(bytes).unwrap().decode()
    }

    #[test]
    fn an_entry_is_read_from_the_bytes_of_fuse_h() {
        assert_eq!(decode(&golden::entry_bytes()), Ok(Some(golden::entry())));
    }

    #[test]
    fn nodeid_0_is_a_negative_entry_whatever_else_it_says() {
        assert_eq!(decode(&[0; 128]), Ok(None));
        assert_eq!(decode(&[&[0; 8][..], &[0xff; 120]].concat()), Ok(None));
    }

    #[test]
    fn any_time_to_live_is_good() {
        // The fields of the name's, then of the attributes'.
        let decode = |at, patch: &[u8]| {
            let entry = decode(&golden::patched(&golden::entry_bytes(), at, patch)).unwrap().unwrap();
            (entry.entry_ttl, entry.attr_ttl)
        };
        let (entry_ttl, attr_ttl) = (golden::entry().entry_ttl, golden::entry().attr_ttl);
        for (nanoseconds, taken) in [(0, 0), (1_000_000_000, 999_999_999), (u32::MAX, 999_999_999_u32)] {
            let bytes = nanoseconds.to_le_bytes();
            assert_eq!(decode(32, &bytes), (Duration::new(0x23, taken), attr_ttl));
            assert_eq!(decode(36, &bytes), (entry_ttl, Duration::new(0x24, taken)));
        }
        assert_eq!(decode(16, &[0xff; 24]), (Duration::MAX, Duration::MAX));
    }

    #[test]
    fn a_name_that_was_made_exists() {
        assert_eq!(<Entry as FromBody>::from_bytes(&golden::entry_bytes()), Ok(golden::entry()));
        for nodeid in [0_u64, 1] {
            let bytes = golden::patched(&golden::entry_bytes(), 0, &nodeid.to_le_bytes());
            assert!(matches!(<Entry as FromBody>::from_bytes(&bytes), Err(Error::Protocol(_))), "{nodeid}");
        }
    }

    #[test]
    fn no_name_leads_to_the_root() {
        let bytes = golden::patched(&golden::entry_bytes(), 0, &1_u64.to_le_bytes());
        assert!(matches!(decode(&bytes), Err(Error::Protocol(_))));
    }

    #[test]
    fn an_entry_with_impossible_attributes_still_tells_its_inode() {
        for attr in golden::impossible_attrs() {
            let bytes = golden::patched(&golden::entry_bytes(), 40, &attr);
            let entry = decode(&bytes).unwrap().unwrap();
            assert_eq!(entry.nodeid, golden::entry().nodeid);
            assert!(matches!(entry.attr, Err(Error::Protocol(_))), "{bytes:x?}");
        }
    }
}
