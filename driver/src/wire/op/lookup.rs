//! FUSE_LOOKUP: finds a name in a directory and counts one lookup of the inode it leads to.

use crate::Error;
use crate::wire::entry::RawEntry;
use crate::wire::{Entry, FromBody, Name, Opcode, Operation};

/// FUSE_LOOKUP of `name` in the directory that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) name: Name<'a>,
}

impl Operation for Lookup<'_> {
    const OPCODE: Opcode = Opcode(1);
    type Args = ();
    /// `None` is a negative entry: the name does not exist, and the server lets that be cached.
    type Reply = Option<Entry>;

    fn args(&self) {}

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl FromBody for Option<Entry> {
    type Body = RawEntry;

    fn decode(body: RawEntry) -> Result<Self, Error> {
        body.decode()
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
        assert_eq!(golden::reply::<Lookup<'_>>(&golden::entry_bytes()), Ok(Some(golden::entry())));
    }

    #[test]
    fn a_name_that_does_not_exist_is_a_good_reply() {
        assert_eq!(golden::reply::<Lookup<'_>>(&[0; 128]), Ok(None));
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
            let entry = golden::reply::<Lookup<'_>>(&body).unwrap().unwrap();
            assert_eq!(entry.nodeid, golden::entry().nodeid);
            assert!(matches!(entry.attr, Err(Error::Protocol(_))), "{body:x?}");
        }
    }
}
