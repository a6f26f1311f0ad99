//! FUSE_OPEN: opens a file.

use crate::Error;
use crate::wire::{FileHandle, FromBody, Opcode, Operation};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_OPEN of the inode that the request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) flags: OpenFlags,
    /// What `TRUNCATE` cuts off costs the file its set-user-id and set-group-id bits (`HANDLE_KILLPRIV_V2`).
    pub(crate) kill_suidgid: bool,
}

bitflags! {
    /// How a file is opened: Linux's `O_` flags with the numbers that x86 and RISC-V have. FUSE carries the numbers of
    /// the server's architecture: ARM has others for `DIRECT`, `LARGEFILE`, `DIRECTORY` and `NOFOLLOW`. Without
    /// `WRITE_ONLY` and `READ_WRITE` the file is opened for reading. Unknown ones are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// For writing only.
        const WRITE_ONLY = 1;
        /// For reading and writing.
        const READ_WRITE = 2;
        /// The file is made if there is none.
        const CREATE = 0o100;
        /// There must be no file: `EEXIST`.
        const EXCLUSIVE = 0o200;
        /// What the file holds is cut off.
        const TRUNCATE = 0o1000;
        /// Writes go to the end of the file.
        const APPEND = 0o2000;
        /// Nothing waits.
        const NONBLOCK = 0o4000;
        /// The content is durable after each write.
        const DSYNC = 0o10_000;
        /// Nothing is cached.
        const DIRECT = 0o40_000;
        /// Offsets have 64 bits.
        const LARGEFILE = 0o100_000;
        /// It must be a directory: `ENOTDIR`.
        const DIRECTORY = 0o200_000;
        /// It must not be a symbolic link: `ELOOP`.
        const NOFOLLOW = 0o400_000;
        /// Reading does not change the time of the last access.
        const NOATIME = 0o1_000_000;
        /// Content and attributes are durable after each write.
        const SYNC = 0o4_010_000;
        /// The file has no name: FUSE_TMPFILE.
        const TMPFILE = 0o20_200_000;
        const _ = !0;
    }
}

impl OpenFlags {
    /// For reading only.
    pub const READ_ONLY: Self = Self::empty();

    /// Whether the file is opened for writing, be it for reading, too.
    pub fn is_writing(self) -> bool {
        self.intersects(Self::WRITE_ONLY | Self::READ_WRITE)
    }
}

/// `fuse_open_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OpenArgs {
    flags: u32,
    open_flags: u32,
}

/// `fuse_open_out`.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct OpenBody {
    fh: u64,
    open_flags: u32,
    backing_id: i32,
}

bitflags! {
    /// `FOPEN_` flags: what the server says of a file it opened. Unknown ones are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct FopenFlags: u32 {
        /// Every read and write of the file goes to the server; nothing of it is kept, nor opened late after that was said.
        const DIRECT_IO = 1 << 0;
        /// What is cached of the file is still true, whatever its attributes say. It comes with the reply to OPEN, so that a
        /// file that is opened late has been compared by then: it costs no pages, and saves none.
        const KEEP_CACHE = 1 << 1;
        /// The file cannot seek.
        const NONSEEKABLE = 1 << 2;
        /// The listing of the directory may be cached. Without it that is done in `CacheMode::Always` alone.
        const CACHE_DIR = 1 << 3;
        /// The file has no position at all.
        const STREAM = 1 << 4;
        /// No FLUSH is wanted at close (minor 35).
        const NOFLUSH = 1 << 5;
        /// Several direct writes may be in flight (minor 38). It changes nothing here: they always may. Linux, without it,
        /// lets direct writes of an inode wait for each other; but another client of the server waits for neither, so a
        /// server has to take WRITEs as they come, and no program may count on more than POSIX promises: of writes that
        /// overlap and are under way together, either may be the last in each byte. Those that append do take turns where the
        /// driver finds the end; elsewhere each WRITE is appended by the server.
        const PARALLEL_DIRECT_WRITES = 1 << 6;
        const _ = !0;
    }
}

/// A file or directory that the server opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) fh: FileHandle,
    pub(crate) flags: FopenFlags,
}

/// `FUSE_OPEN_KILL_SUIDGID` (minor 33).
pub(crate) const KILL_SUIDGID: u32 = 1;

impl OpenArgs {
    pub(crate) fn new(flags: OpenFlags, kill_suidgid: bool) -> Self {
        Self { flags: flags.bits(), open_flags: if kill_suidgid { KILL_SUIDGID } else { 0 } }
    }
}

impl OpenBody {
    pub(crate) fn decode(&self) -> Opened {
        Opened { fh: FileHandle(self.fh), flags: FopenFlags::from_bits_retain(self.open_flags) }
    }
}

impl Operation for Open {
    const OPCODE: Opcode = Opcode(14);
    const OPTIONAL: bool = true;
    type Args = OpenArgs;
    type Reply = Opened;

    fn args(&self) -> OpenArgs {
        OpenArgs::new(self.flags, self.kill_suidgid)
    }
}

impl FromBody for Opened {
    type Body = OpenBody;

    fn decode(body: OpenBody) -> Result<Self, Error> {
        Ok(body.decode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            2, 2, 0, 0x80,  // flags: READ_WRITE, TRUNCATE and one of the future
            1, 0, 0, 0,     // open_flags: KILL_SUIDGID
        ];
        let flags = OpenFlags::READ_WRITE | OpenFlags::TRUNCATE | OpenFlags::from_bits_retain(1 << 31);
        let open = Open { flags, kill_suidgid: true };
        assert_eq!(golden::request(14, &open), golden);
        assert_eq!(golden::request(14, &Open { kill_suidgid: false, ..open }), golden::patched(&golden, 4, &[0]));
    }

    #[test]
    fn flags_have_the_numbers_of_linux_on_x86() {
        for (flag, number) in [
            (OpenFlags::WRITE_ONLY, 0x1),
            (OpenFlags::READ_WRITE, 0x2),
            (OpenFlags::CREATE, 0x40),
            (OpenFlags::EXCLUSIVE, 0x80),
            (OpenFlags::TRUNCATE, 0x200),
            (OpenFlags::APPEND, 0x400),
            (OpenFlags::NONBLOCK, 0x800),
            (OpenFlags::DSYNC, 0x1000),
            (OpenFlags::DIRECT, 0x4000),
            (OpenFlags::LARGEFILE, 0x8000),
            (OpenFlags::DIRECTORY, 0x1_0000),
            (OpenFlags::NOFOLLOW, 0x2_0000),
            (OpenFlags::NOATIME, 0x4_0000),
            (OpenFlags::SYNC, 0x10_1000),
        ] {
            assert_eq!(flag.bits(), number, "{flag:?}");
        }
    }

    #[test]
    fn a_reply_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            5, 0, 0, 0, 0, 0, 0, 1,     // fh
            0x0b, 0, 0, 0x80,           // open_flags: DIRECT_IO, KEEP_CACHE, CACHE_DIR and one of the future
            7, 0, 0, 0,                 // backing_id
        ];
        let known = FopenFlags::DIRECT_IO | FopenFlags::KEEP_CACHE | FopenFlags::CACHE_DIR;
        let flags = known | FopenFlags::from_bits_retain(1 << 31);
        assert_eq!(golden::reply::<Open>(&golden), Ok(Opened { fh: FileHandle(5 | 1 << 56), flags }));
    }

    #[test]
    fn what_a_server_says_of_an_open_file_has_the_numbers_of_fuse_h() {
        for (flag, number) in [
            (FopenFlags::DIRECT_IO, 0x1),
            (FopenFlags::KEEP_CACHE, 0x2),
            (FopenFlags::NONSEEKABLE, 0x4),
            (FopenFlags::CACHE_DIR, 0x8),
            (FopenFlags::STREAM, 0x10),
            (FopenFlags::NOFLUSH, 0x20),
            (FopenFlags::PARALLEL_DIRECT_WRITES, 0x40),
        ] {
            assert_eq!(flag.bits(), number, "{flag:?}");
        }
    }

    #[test]
    fn any_reply_is_good() {
        assert_eq!(golden::reply::<Open>(&[0; 16]).unwrap().fh, FileHandle(0));
        assert_eq!(golden::reply::<Open>(&[0xff; 16]).unwrap().fh, FileHandle(u64::MAX));
    }
}
