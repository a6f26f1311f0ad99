//! What the fake server can and how it answers.

use crate::test_utils::opcode;
use crate::wire::StatFs;
use crate::{Errno, Timestamp};
use alloc::collections::BTreeMap;
use core::time::Duration;

/// What a [`FakeServer`](super::FakeServer) can and how it answers. A change counts from the next request on, the first
/// four fields from the next INIT on.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The minor version in the INIT reply.
    pub minor: u32,
    /// The flags that the server knows, those of `flags2` in the upper half. The INIT reply has those that were asked
    /// for.
    pub init_flags: u64,
    /// The most bytes of one WRITE.
    pub max_write_bytes: u32,
    /// The most pages (of 4096 bytes) of one READ, WRITE or listing.
    pub max_pages: u16,
    /// The binary logarithm of what mappings in the [window](super::FakeServer::add_window) are multiples of.
    pub map_alignment: u16,
    /// How long names may be believed.
    pub entry_ttl: Duration,
    /// How long attributes may be believed.
    pub attr_ttl: Duration,
    /// How long it may be believed that a name does not exist; `None`: LOOKUP answers ENOENT.
    pub negative_ttl: Option<Duration>,
    /// Whether files are to be opened; if not, OPEN answers ENOSYS.
    pub open: bool,
    /// Whether directories are to be opened; if not, OPENDIR answers ENOSYS.
    pub opendir: bool,
    /// `FOPEN_` flags in the replies to OPEN, CREATE and TMPFILE.
    pub fopen_flags: u32,
    /// `FOPEN_` flags in the reply to OPENDIR.
    pub opendir_flags: u32,
    /// Whether READDIRPLUS is served.
    pub readdirplus: bool,
    /// Whether STATX is served.
    pub statx: bool,
    /// Whether a file without a name is there as long as the driver knows it; if not, it is stale (ESTALE) unless the
    /// driver has it open, as for a server that keeps no file descriptors.
    pub keeps_unlinked: bool,
    /// Operations that are refused whatever they ask, and with what.
    pub refused: BTreeMap<u32, Errno>,
    /// Whether everything that changes something answers EROFS.
    pub read_only: bool,
    /// How many bytes all files together may take, in blocks of 4096; then ENOSPC.
    pub space_bytes: u64,
    /// How long a file may become; then EFBIG.
    pub max_file_bytes: u64,
    /// The most bytes that one COPY_FILE_RANGE copies.
    pub max_copy_bytes: u64,
    /// The server's date. It does not move by itself.
    pub now: Timestamp,
    /// Whether DESTROY has a reply. virtiofsd gives none: it uses the buffer with a length of 0.
    pub destroy_replies: bool,
    /// What STATFS answers.
    pub statfs: StatFs,
}

impl Default for ServerOptions {
    /// virtiofsd 1.13 with its default settings, with extended attributes, and with what a window needs.
    fn default() -> Self {
        Self {
            minor: 38,
            init_flags: 0x0106_4c44_f829,
            max_write_bytes: 1 << 20,
            max_pages: 256,
            map_alignment: 12,
            entry_ttl: Duration::from_secs(1),
            attr_ttl: Duration::from_secs(1),
            negative_ttl: None,
            open: true,
            opendir: true,
            fopen_flags: 0,
            opendir_flags: 0,
            readdirplus: true,
            statx: false,
            keeps_unlinked: true,
            refused: BTreeMap::from([(opcode::TMPFILE, Errno::ENOSYS)]),
            read_only: false,
            space_bytes: 256 << 20,
            max_file_bytes: 1 << 44,
            max_copy_bytes: 16 << 20,
            now: Timestamp { seconds: 1_700_000_000, nanoseconds: 987_654_321 },
            destroy_replies: false,
            statfs: StatFs {
                fragment_size_bytes: 4096,
                block_size_bytes: 4096,
                blocks: 1_000_000,
                blocks_free: 600_000,
                blocks_available: 500_000,
                files: 70_000,
                files_free: 60_000,
                name_max_bytes: 255,
            },
        }
    }
}
