//! FUSE_INIT: opens the session and settles the protocol's version, flags and limits.

use crate::Error;
use crate::wire::{Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The major version of the protocol.
pub(crate) const MAJOR: u32 = 7;
/// The newest minor version this driver knows.
pub(crate) const NEWEST_MINOR: u32 = 45;
/// The oldest minor version this driver works with: the first that virtio-fs has.
pub(crate) const OLDEST_MINOR: u32 = 31;

bitflags! {
    /// What one side of the session can do (`FUSE_INIT` flags; the upper 32 bits are `flags2`, minor 36).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct InitFlags: u64 {
        /// Several READs of one file may be in flight.
        const ASYNC_READ = 1 << 0;
        /// The server keeps POSIX record locks.
        const POSIX_LOCKS = 1 << 1;
        /// OPEN with `O_TRUNC` truncates.
        const ATOMIC_O_TRUNC = 1 << 3;
        /// "." and ".." can be looked up.
        const EXPORT_SUPPORT = 1 << 4;
        /// A WRITE may carry more than 4 KiB.
        const BIG_WRITES = 1 << 5;
        /// The server applies the umask.
        const DONT_MASK = 1 << 6;
        /// The server keeps `flock` locks.
        const FLOCK_LOCKS = 1 << 10;
        /// The client drops cached pages when attributes changed; else when the file is opened. (In `CacheMode::Auto`:
        /// `Always` drops none.)
        const AUTO_INVAL_DATA = 1 << 12;
        /// READDIRPLUS is known.
        const DO_READDIRPLUS = 1 << 13;
        /// The client chooses between READDIR and READDIRPLUS.
        const READDIRPLUS_AUTO = 1 << 14;
        /// Several direct READs and WRITEs may be in flight.
        const ASYNC_DIO = 1 << 15;
        /// The client may delay writes.
        const WRITEBACK_CACHE = 1 << 16;
        /// OPEN may answer ENOSYS, which means that files need not be opened.
        const NO_OPEN_SUPPORT = 1 << 17;
        /// Several LOOKUPs and READDIRs of one directory may be in flight.
        const PARALLEL_DIROPS = 1 << 18;
        /// The server clears set-user-id bits on its own.
        const HANDLE_KILLPRIV = 1 << 19;
        /// POSIX access control lists.
        const POSIX_ACL = 1 << 20;
        /// Requests after an abort answer ECONNABORTED.
        const ABORT_ERROR = 1 << 21;
        /// `max_pages` of the reply counts.
        const MAX_PAGES = 1 << 22;
        /// Targets of symbolic links may be cached.
        const CACHE_SYMLINKS = 1 << 23;
        /// OPENDIR may answer ENOSYS, which means that directories need not be opened.
        const NO_OPENDIR_SUPPORT = 1 << 24;
        /// Cached pages are dropped only on request, which here is that the file is opened: there are no notifications. It
        /// outdoes `AUTO_INVAL_DATA`.
        const EXPLICIT_INVAL_DATA = 1 << 25;
        /// `map_alignment` of the reply counts.
        const MAP_ALIGNMENT = 1 << 26;
        /// The server marks the roots of other file systems.
        const SUBMOUNTS = 1 << 27;
        /// The server clears set-user-id bits when the client says so.
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        /// The longer form of SETXATTR is known.
        const SETXATTR_EXT = 1 << 29;
        /// `flags2` counts.
        const INIT_EXT = 1 << 30;
        /// CREATE and the like carry a security context.
        const SECURITY_CTX = 1 << 32;
        /// Attributes say which inodes use DAX.
        const HAS_INODE_DAX = 1 << 33;
        /// CREATE and the like carry a supplementary group.
        const CREATE_SUPP_GROUP = 1 << 34;
    }
}

/// FUSE_INIT, the first request of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init {
    pub(crate) flags: InitFlags,
    /// The largest readahead, in bytes.
    pub(crate) max_readahead_bytes: u32,
}

/// `fuse_init_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InitArgs {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    flags2: u32,
    unused: [u32; 11],
}

/// `fuse_init_out` as it is since minor 23.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InitReply {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) max_readahead: u32,
    pub(crate) flags: u32,
    pub(crate) max_background: u16,
    pub(crate) congestion_threshold: u16,
    /// The most bytes of one WRITE.
    pub(crate) max_write: u32,
    /// The unit of the server's timestamps, in nanoseconds.
    pub(crate) time_gran: u32,
    /// The most pages of one request's data; counts with [`InitFlags::MAX_PAGES`].
    pub(crate) max_pages: u16,
    /// The binary logarithm of what offsets of a DAX mapping are multiples of.
    pub(crate) map_alignment: u16,
    pub(crate) flags2: u32,
    pub(crate) max_stack_depth: u32,
    pub(crate) request_timeout: u16,
    pub(crate) unused: [u16; 11],
}

impl Init {
    /// The room that the reply is given: more than today's `fuse_init_out`, for servers with a longer one.
    pub(crate) const REPLY_ROOM_BYTES: usize = 256;
}

impl Operation for Init {
    const OPCODE: Opcode = Opcode(26);
    type Args = InitArgs;
    /// The reply is taken as data, because its length depends on the server's version.
    type Reply = ();

    fn args(&self) -> InitArgs {
        let bits = self.flags.bits();
        InitArgs {
            major: MAJOR,
            minor: NEWEST_MINOR,
            max_readahead: self.max_readahead_bytes,
            flags: bits as u32,
            flags2: (bits >> 32) as u32,
            unused: [0; 11],
        }
    }
}

impl InitReply {
    /// Reads the reply from its `data`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the server speaks another major version or one that is too old, or if the reply is cut
    /// short.
    pub(crate) fn decode(data: &[u8]) -> Result<Self, Error> {
        let version = data.first_chunk::<8>().ok_or(Error::Protocol("the INIT reply is cut short"))?;
        let (major, minor) = version.split_at(4);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
        if number(major) != MAJOR {
            return Err(Error::Protocol("the server speaks another major version of FUSE than 7"));
        }
        if number(minor) < OLDEST_MINOR {
            return Err(Error::Protocol("the server speaks a version of FUSE older than 7.31"));
        }
        let (reply, _) = Self::read_from_prefix(data).map_err(|_| Error::Protocol("the INIT reply is cut short"))?;
        Ok(reply)
    }

    /// The flags of both words that this driver knows.
    pub(crate) fn flags(&self) -> InitFlags {
        let low = InitFlags::from_bits_truncate(self.flags.into());
        if low.contains(InitFlags::INIT_EXT) {
            low | InitFlags::from_bits_truncate(u64::from(self.flags2) << 32)
        } else {
            low
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use alloc::vec;
    use alloc::vec::Vec;

    /// `fuse_init_out`.
    #[rustfmt::skip]
    const REPLY: [u8; 64] = [
        7, 0, 0, 0,             // major
        38, 0, 0, 0,            // minor
        0, 0, 2, 0,             // max_readahead
        0x01, 0, 0x40, 0x40,    // flags: ASYNC_READ, MAX_PAGES, INIT_EXT
        0x11, 1,                // max_background
        0x12, 1,                // congestion_threshold
        0, 0, 0x10, 0,          // max_write
        0x13, 0, 0, 0,          // time_gran
        0, 1,                   // max_pages
        21, 0,                  // map_alignment
        0x04, 0, 0, 0x80,       // flags2: CREATE_SUPP_GROUP and one of the future
        0x14, 0, 0, 0,          // max_stack_depth
        0x15, 0,                // request_timeout
        0xff, 0xff, 0xff, 0xff, // unused
        0xff, 0xff, 0xff, 0xff, //
        0xff, 0xff, 0xff, 0xff, //
        0xff, 0xff, 0xff, 0xff, //
        0xff, 0xff, 0xff, 0xff, //
        0xff, 0xff,             //
    ];

    fn with_version(major: u32, minor: u32) -> Vec<u8> {
        golden::patched(&golden::patched(&REPLY, 0, &major.to_le_bytes()), 4, &minor.to_le_bytes())
    }

    fn is_protocol_error(data: &[u8]) -> bool {
        matches!(InitReply::decode(data), Err(Error::Protocol(_)))
    }

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            7, 0, 0, 0,             // major
            45, 0, 0, 0,            // minor
            0, 0, 2, 0,             // max_readahead
            0x01, 0, 0x40, 0x40,    // flags
            0x04, 0, 0, 0,          // flags2
        ];
        let golden = [&golden[..], &[0; 44]].concat(); // unused
        let flags = InitFlags::ASYNC_READ | InitFlags::MAX_PAGES | InitFlags::INIT_EXT | InitFlags::CREATE_SUPP_GROUP;
        assert_eq!(golden::request(26, &Init { flags, max_readahead_bytes: 128 << 10 }), golden);
    }

    #[test]
    fn flags_have_the_numbers_of_fuse_h() {
        // What virtiofsd 1.13 answers.
        let flags = InitFlags::from_bits_retain(0x0104_4844_f829);
        assert!(flags.contains(InitFlags::MAX_PAGES | InitFlags::DO_READDIRPLUS | InitFlags::SUBMOUNTS));
        assert!(flags.contains(InitFlags::PARALLEL_DIROPS | InitFlags::INIT_EXT | InitFlags::CREATE_SUPP_GROUP));
        assert!(!flags.intersects(InitFlags::NO_OPEN_SUPPORT | InitFlags::WRITEBACK_CACHE | InitFlags::POSIX_LOCKS));
    }

    #[test]
    fn flags_about_caches_have_the_numbers_of_fuse_h() {
        for (flag, number) in [
            (InitFlags::AUTO_INVAL_DATA, 0x1000),
            (InitFlags::WRITEBACK_CACHE, 0x1_0000),
            (InitFlags::CACHE_SYMLINKS, 0x80_0000),
            (InitFlags::EXPLICIT_INVAL_DATA, 0x200_0000),
        ] {
            assert_eq!(flag.bits(), number, "{flag:?}");
        }
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        let reply = InitReply::decode(&REPLY).unwrap();
        assert_eq!((reply.major, reply.minor, reply.max_readahead), (7, 38, 128 << 10));
        assert_eq!((reply.max_background, reply.congestion_threshold), (0x111, 0x112));
        assert_eq!((reply.max_write, reply.time_gran), (1 << 20, 0x13));
        assert_eq!((reply.max_pages, reply.map_alignment), (256, 21));
        assert_eq!((reply.max_stack_depth, reply.request_timeout), (0x14, 0x15));
        let known = InitFlags::ASYNC_READ | InitFlags::MAX_PAGES | InitFlags::INIT_EXT | InitFlags::CREATE_SUPP_GROUP;
        assert_eq!(reply.flags(), known, "flags of the future are dropped");
    }

    #[test]
    fn flags2_counts_only_with_init_ext() {
        let without = golden::patched(&REPLY, 12, &0x0040_0001_u32.to_le_bytes());
        let without = golden::patched(&without, 32, &[0xff; 4]);
        let flags = InitReply::decode(&without).unwrap().flags();
        assert_eq!(flags, InitFlags::ASYNC_READ | InitFlags::MAX_PAGES);
    }

    #[test]
    fn a_reply_cut_short_at_any_byte_breaks_the_protocol() {
        for length in 0..REPLY.len() {
            assert!(is_protocol_error(&REPLY[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_longer_reply_is_good() {
        for more in 0..=Init::REPLY_ROOM_BYTES - REPLY.len() {
            let longer = [&REPLY[..], &vec![0xff; more]].concat();
            assert_eq!(InitReply::decode(&longer).unwrap().as_bytes(), REPLY, "{more} bytes more");
        }
    }

    #[test]
    fn other_major_versions_and_minor_versions_before_31_are_refused() {
        for (major, minor) in [(6, 38), (8, 38), (0, 0), (u32::MAX, 38), (7, 30), (7, 0)] {
            assert!(is_protocol_error(&with_version(major, minor)), "{major}.{minor}");
        }
    }

    #[test]
    fn an_old_server_is_told_from_a_broken_one() {
        let old = Err(Error::Protocol("the server speaks a version of FUSE older than 7.31"));
        assert_eq!(InitReply::decode(&with_version(7, 22)[..24]).map(|_| ()), old);
    }

    #[test]
    fn newer_minor_versions_are_good() {
        for minor in [31, 45, 46, 1000, u32::MAX] {
            assert_eq!(InitReply::decode(&with_version(7, minor)).unwrap().minor, minor);
        }
    }
}
