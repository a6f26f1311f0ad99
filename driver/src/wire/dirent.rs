//! Directory entries as READDIR and READDIRPLUS carry them.

use super::entry::{Entry, RawEntry};
use super::{FileType, Name, NodeId};
use crate::Error;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One directory entry, borrowed from the reply that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent<'a> {
    /// The name; unlike [`Name`] it may be `.` or `..`.
    pub(crate) name: &'a [u8],
    pub(crate) ino: u64,
    /// Where to resume the listing behind this entry.
    pub(crate) cookie: u64,
    /// The kind of inode, if the server says.
    pub(crate) file_type: Option<FileType>,
    /// The inode and its attributes (READDIRPLUS only); the server counts one lookup of it.
    pub(crate) entry: Option<Entry>,
}

/// Takes directory entries from a READDIR or READDIRPLUS reply, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirentReader {
    /// Whether each entry is preceded by a `fuse_entry_out`.
    pub(crate) plus: bool,
    /// Where in the reply the next entry starts, in bytes.
    pub(crate) position: usize,
}

/// `fuse_dirent` up to its name.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RawDirent {
    ino: u64,
    off: u64,
    namelen: u32,
    file_type: u32,
}

impl Dirent<'_> {
    /// Appends the entry without its inode, as READDIR carries it; whether there was memory.
    pub(crate) fn push_to(&self, listing: &mut Vec<u8>) -> bool {
        let (namelen, file_type) = (self.name.len() as u32, self.file_type.map_or(0, FileType::dirent));
        let head = RawDirent { ino: self.ino, off: self.cookie, namelen, file_type };
        if listing.try_reserve(size_of::<RawDirent>() + self.name.len() + 8).is_err() {
            return false;
        }
        listing.extend_from_slice(head.as_bytes());
        listing.extend_from_slice(self.name);
        listing.resize(listing.len().next_multiple_of(8), 0);
        true
    }
}

impl DirentReader {
    /// The next entry of `reply`, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`DirentError`] if the entry breaks the protocol. The one behind it can be read all the same, unless it is not
    /// to be found; then this was the last.
    pub(crate) fn next<'a>(&mut self, reply: &'a [u8]) -> Option<Result<Dirent<'a>, DirentError>> {
        let rest = reply.get(self.position..).filter(|rest| !rest.is_empty())?;
        let (dirent, bytes) = self.parse(rest);
        self.position += bytes;
        Some(dirent)
    }

    /// The entry at the start of `rest`, and its length in bytes: all that is left if the entry does not tell.
    fn parse<'a>(&self, rest: &'a [u8]) -> (Result<Dirent<'a>, DirentError>, usize) {
        const CUT: Error = Error::Protocol("a directory entry is cut short");
        let cut = |counted| (Err(DirentError { error: CUT, counted, cookie: None }), rest.len());

        let (entry, after_entry) = if self.plus {
            let Ok((raw, after)) = RawEntry::read_from_prefix(rest) else { return cut(None) };
            (Some(raw), after)
        } else {
            (None, rest)
        };
        let counted = entry.map(|raw| NodeId(raw.nodeid)).filter(|nodeid| !matches!(*nodeid, NodeId(0) | NodeId::ROOT));
        let Ok((raw, after_header)) = RawDirent::read_from_prefix(after_entry) else { return cut(counted) };
        let Some(name) = after_header.get(..raw.namelen as usize) else { return cut(counted) };
        let unpadded = rest.len() - after_header.len() + name.len();
        // The last entry may come without its padding.
        let bytes = unpadded.next_multiple_of(8).min(rest.len());

        let bad = |error| (Err(DirentError { error, counted, cookie: Some(raw.off) }), bytes);

        let special = name == b"." || name == b"..";
        if !special && Name::new(name).is_err() {
            return bad(Error::Protocol("a directory entry has an impossible name"));
        }
        // No lookup is counted of "." and "..", whatever nodeid they carry.
        let entry = match entry.filter(|_| !special).map(|raw| raw.decode()).transpose() {
            Ok(entry) => entry.flatten(),
            Err(error) => return bad(error),
        };
        let file_type = FileType::from_dirent(raw.file_type);
        (Ok(Dirent { name, ino: raw.ino, cookie: raw.off, file_type, entry }), bytes)
    }
}

/// A bad directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirentError {
    pub(crate) error: Error,
    /// The inode that the server counted a lookup of all the same.
    pub(crate) counted: Option<NodeId>,
    /// Where to resume the listing behind this entry, if that is known.
    pub(crate) cookie: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;
    use crate::test_utils::XorShift;
    use alloc::vec;

    /// `fuse_dirent` with its padding.
    fn dirent(name: &[u8]) -> Vec<u8> {
        dirent_with_namelen(name.len() as u32, name)
    }

    fn dirent_with_namelen(namelen: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = [
            &[0x31, 0, 0, 0, 0, 0, 0, 0][..],                      // ino
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], // off
            &namelen.to_le_bytes(),                                // namelen
            &[8, 0, 0, 0],                                         // type: a regular file
            name,
        ]
        .concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// `fuse_direntplus` with its padding.
    fn direntplus(name: &[u8]) -> Vec<u8> {
        [golden::entry_bytes(), dirent(name)].concat()
    }

    fn meaning(name: &[u8], entry: Option<Entry>) -> Dirent<'_> {
        Dirent { name, ino: 0x31, cookie: i64::MAX as u64, file_type: Some(FileType::Regular), entry }
    }

    fn read(plus: bool, reply: &[u8]) -> Vec<Result<Dirent<'_>, DirentError>> {
        let mut reader = DirentReader { plus, position: 0 };
        let entries = core::iter::from_fn(|| {
            let before = reader.position;
            let next = reader.next(reply);
            assert!(next.is_none() || reader.position > before, "no progress");
            assert!(reader.position <= reply.len(), "the position is outside the reply");
            next
        });
        entries.collect()
    }

    #[test]
    fn entries_are_read_from_the_bytes_of_fuse_h() {
        let reply = [dirent(b"."), dirent(b"seven c"), dirent(b"eight ch"), dirent(b"nine char")].concat();
        assert_eq!(reply.len(), 32 + 32 + 32 + 40);
        let expected = [&b"."[..], b"seven c", b"eight ch", b"nine char"].map(|name| Ok(meaning(name, None)));
        assert_eq!(read(false, &reply), expected);
    }

    #[test]
    fn entries_with_attributes_are_read_from_the_bytes_of_fuse_h() {
        let negative = [vec![0; 128], dirent(b"none")].concat();
        let reply = [direntplus(b"a"), negative, direntplus(b"c")].concat();
        let entry = Some(golden::entry());
        assert_eq!(
            read(true, &reply),
            [Ok(meaning(b"a", entry)), Ok(meaning(b"none", None)), Ok(meaning(b"c", entry))]
        );
    }

    #[test]
    fn dot_and_dot_dot_lead_nowhere_whatever_they_carry() {
        for nodeid in [0_u64, 1, 0x21, u64::MAX] {
            for name in [&b"."[..], b".."] {
                let reply = golden::patched(&direntplus(name), 0, &nodeid.to_le_bytes());
                assert_eq!(read(true, &reply), [Ok(meaning(name, None))]);
                let reply = golden::patched(&reply, 40, &[0xff; 88]);
                assert_eq!(read(true, &reply), [Ok(meaning(name, None))]);
            }
        }
    }

    #[test]
    fn an_unknown_type_is_no_type() {
        let reply = golden::patched(&dirent(b"a"), 20, &[0xff; 4]);
        assert_eq!(read(false, &reply)[0].unwrap().file_type, None);
    }

    #[test]
    fn an_entry_cut_short_at_any_byte_breaks_the_protocol_unless_only_padding_is_missing() {
        for (plus, one) in [(false, dirent(b"abc")), (true, direntplus(b"abc"))] {
            let reply = [&one[..], &one].concat();
            let unpadded = one.len() - 5;
            for cut in 0..=reply.len() {
                let entries = read(plus, &reply[..cut]);
                let in_last = cut % one.len();
                let is_cut = in_last > 0 && in_last < unpadded;
                let whole = cut.div_ceil(one.len()) - usize::from(is_cut);
                assert_eq!(entries.iter().filter(|entry| entry.is_ok()).count(), whole, "cut at {cut}");
                assert_eq!(entries.len(), whole + usize::from(is_cut), "cut at {cut}");
                if let Some(Err(bad)) = entries.last() {
                    assert!(matches!(bad.error, Error::Protocol(_)));
                    let is_counted = plus && in_last >= 128;
                    assert_eq!(bad.counted, is_counted.then_some(NodeId(0x21)), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn an_impossible_name_breaks_the_protocol_and_can_be_passed_over_if_its_length_is_known() {
        let long = [b'x'; 300];
        for (namelen, name) in [
            (0, &b""[..]),         // none
            (3, b"a/b"),           // a path
            (1, b"/"),             //
            (3, b"a\0b"),          // a string with an end inside
            (1, b"\0"),            //
            (256, &long[..256]),   // longer than any name
            (300, &long),          //
            (25, b"abc"),          // longer than what follows
            (u32::MAX, b"abc"),    //
            (1 << 31, b"abc"),     //
            (u32::MAX - 23, b"a"), // of which the sum with the header is 0 in 32 bits
        ] {
            for plus in [false, true] {
                let bad = dirent_with_namelen(namelen, name);
                let bad = if plus { [golden::entry_bytes(), bad].concat() } else { bad };
                let good = if plus { direntplus(b"good") } else { dirent(b"good") };
                let is_known = namelen as usize == name.len();
                let reply = if is_known { [bad, good].concat() } else { bad };
                let entries = read(plus, &reply);
                let counted = plus.then_some(NodeId(0x21));
                assert_eq!(entries.len(), 1 + usize::from(is_known), "{namelen}");
                assert!(entries[1..].iter().all(|entry| entry.is_ok_and(|entry| entry.name == b"good")), "{namelen}");
                let error = entries[0].unwrap_err();
                assert!(matches!(error.error, Error::Protocol(_)), "{namelen}");
                assert_eq!(error.counted, counted, "{namelen}");
            }
        }
    }

    #[test]
    fn the_longest_name_is_good() {
        let name = [b'x'; 255];
        assert_eq!(read(false, &dirent(&name)), [Ok(meaning(&name, None))]);
    }

    #[test]
    fn an_entry_with_impossible_attributes_tells_what_the_server_counted() {
        for attr in golden::impossible_attrs() {
            let reply = [golden::patched(&direntplus(b"a"), 40, &attr), direntplus(b"b")].concat();
            let [bad, good] = read(true, &reply)[..] else { panic!("two entries") };
            let bad = bad.unwrap().entry.unwrap();
            assert_eq!(bad.nodeid, NodeId(0x21));
            assert!(matches!(bad.attr, Err(Error::Protocol(_))));
            assert_eq!(good, Ok(meaning(b"b", Some(golden::entry()))));
        }
        let root = golden::patched(&direntplus(b"a"), 0, &1_u64.to_le_bytes());
        assert!(matches!(
            read(true, &root)[..],
            [Err(DirentError { error: Error::Protocol(_), counted: None, cookie: Some(_) })]
        ));
    }

    #[test]
    fn a_position_behind_the_reply_is_its_end() {
        let reply = dirent(b"a");
        for position in [reply.len(), reply.len() + 1, usize::MAX] {
            assert_eq!(DirentReader { plus: false, position }.next(&reply), None);
        }
    }

    /// Whatever comes, `read` makes progress; names are names, and lie in the reply.
    fn check_any(plus: bool, reply: &[u8]) {
        let inside = reply.as_ptr_range();
        for entry in read(plus, reply) {
            match entry {
                Ok(dirent) => {
                    let name = dirent.name.as_ptr_range();
                    assert!(inside.start <= name.start && name.end <= inside.end);
                    assert!(matches!(dirent.name, b"." | b"..") || Name::new(dirent.name).is_ok());
                }
                Err(bad) => assert!(matches!(bad.error, Error::Protocol(_))),
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut random = XorShift::new(0x5eed);
        let names = [&b"."[..], b"a", b"eight ch", &[b'x'; 200]];
        for round in 0..if cfg!(miri) { 100 } else { 20_000 } {
            for plus in [false, true] {
                let mut noise = vec![0; random.below(600)];
                random.fill(&mut noise);
                check_any(plus, &noise);

                // A good listing with a few wrong bytes gets further.
                let one = |name: &&[u8]| if plus { direntplus(name) } else { dirent(name) };
                let mut listing: Vec<u8> = names.iter().flat_map(one).collect();
                for _ in 0..round % 8 {
                    let at = random.below(listing.len());
                    listing[at] = random.next_u64() as u8;
                }
                listing.truncate(random.below(listing.len() + 1));
                check_any(plus, &listing);
            }
        }
    }
}
