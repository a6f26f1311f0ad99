//! FUSE_LOOKUP: finds a name in a directory and counts one lookup of the inode it leads to.

use crate::Error;
use crate::wire::entry::RawEntry;
use crate::wire::{Entry, FromBody, Name, Opcode, Operation};
use core::time::Duration;

/// FUSE_LOOKUP of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) name: Name<'a>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookedUp {
    /// An inode, of which the server counted one lookup.
    Found(Entry),
    /// The name does not exist, and the server says how long that may be believed: a negative entry.
    Absent { ttl: Duration },
}

impl Operation for Lookup<'_> {
    const OPCODE: Opcode = Opcode(1);
    type Args = ();
    type Reply = LookedUp;

    fn args(&self) {}

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl FromBody for LookedUp {
    type Body = RawEntry;

    fn decode(body: RawEntry) -> Result<Self, Error> {
        Ok(match body.decode()? {
            Some(entry) => Self::Found(entry),
            None => Self::Absent { ttl: body.entry_ttl() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_is_the_name_and_its_nul() {
        let lookup = Lookup { name: Name::new(b"etc").unwrap() };
        assert_eq!(golden::request(1, &lookup), b"etc\0");
    }

    #[test]
    fn a_reply_is_an_entry() {
        assert_eq!(golden::reply::<Lookup<'_>>(&golden::entry_bytes()), Ok(LookedUp::Found(golden::entry())));
    }

    #[test]
    fn a_name_that_does_not_exist_is_a_good_reply() {
        assert_eq!(golden::reply::<Lookup<'_>>(&[0; 128]), Ok(LookedUp::Absent { ttl: Duration::ZERO }));
    }

    #[test]
    fn a_negative_entry_tells_how_long_it_may_be_believed() {
        #[rustfmt::skip]
        let head = [
            0, 0, 0, 0, 0, 0, 0, 0,     // nodeid: none
            0x22, 0, 0, 0, 0, 0, 0, 0,  // generation
            0x23, 0, 0, 0, 0, 0, 0, 0,  // entry_valid
            0x24, 0, 0, 0, 0, 0, 0, 0,  // attr_valid
            0x25, 0, 0, 0,              // entry_valid_nsec
            0x26, 0, 0, 0,              // attr_valid_nsec
        ];
        let body = [&head[..], &[0xff; 88]].concat();
        let absent = |seconds, nanoseconds| Ok(LookedUp::Absent { ttl: Duration::new(seconds, nanoseconds) });
        assert_eq!(golden::reply::<Lookup<'_>>(&body), absent(0x23, 0x25));
        assert_eq!(golden::reply::<Lookup<'_>>(&golden::patched(&body, 32, &[0xff; 4])), absent(0x23, 999_999_999));
        assert_eq!(golden::reply::<Lookup<'_>>(&golden::patched(&body, 16, &[0xff; 8])), absent(u64::MAX, 0x25));
    }

    #[test]
    fn a_reply_that_leads_to_the_root_breaks_the_protocol() {
        let body = golden::patched(&golden::entry_bytes(), 0, &1_u64.to_le_bytes());
        assert!(matches!(golden::reply::<Lookup<'_>>(&body), Err(Error::Protocol(_))));
    }

    #[test]
    fn impossible_attributes_still_tell_the_inode_to_forget() {
        for attr in golden::impossible_attrs() {
            let body = golden::patched(&golden::entry_bytes(), 40, &attr);
            let LookedUp::Found(entry) = golden::reply::<Lookup<'_>>(&body).unwrap() else { panic!("{body:x?}") };
            assert_eq!(entry.nodeid, golden::entry().nodeid);
            assert!(matches!(entry.attr, Err(Error::Protocol(_))), "{body:x?}");
        }
    }
}
