//! What may be cached.

use core::time::Duration;

/// How long what the server said is believed. README has a table of what each mode promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Every call asks the server.
    None,
    /// Names and attributes are believed as long as the server says; content is checked whenever a file is opened
    /// (close-to-open).
    #[default]
    Auto,
    /// What was once said stays true: for directories that nobody else changes.
    Always,
}

/// How it is known that something else changed the directory: the host, another guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coherence {
    /// It is not: what the server said is believed for as long as it said.
    Ttl,
    /// By the device's metadata version table (`SPEC-version-table.md`), if it has one. What was cached is never older
    /// than the last change that was acknowledged to anybody, as if [`CacheMode::None`] asked for it each time, and is
    /// believed until something changes, as in [`CacheMode::Always`]: also that a name leads nowhere, a listing, and
    /// content, which is not compared when a file is opened. What the host changes by itself is seen once the server
    /// has heard of it, if it listens.
    ///
    /// Each look is two loads of memory that the host shares, and a call looks at the clock; mounting takes a GETATTR
    /// more. Where the table tells nothing (submounts, files that somebody has mapped for writing), and while nobody
    /// tends it, the same as [`Ttl`](Self::Ttl).
    #[default]
    VersionTable,
}

/// Which files are mapped into the DAX window (VIRTIO 1.3 §5.11.6.4), if the device has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dax {
    /// None.
    Never,
    /// Those of which the server says so (`FUSE_ATTR_DAX`, minor 36).
    #[default]
    Inode,
    /// All.
    Always,
}

/// What a mount caches, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long what the server said is believed.
    pub mode: CacheMode,
    /// How long a name leads to what it led to; `None`: as long as the mode and the server say. Means nothing with
    /// [`CacheMode::None`], like the other two.
    pub entry_timeout: Option<Duration>,
    /// How long attributes are believed.
    pub attr_timeout: Option<Duration>,
    /// How long a name that leads to nothing does so.
    pub negative_timeout: Option<Duration>,
    /// How changes by others are known. Means nothing with [`CacheMode::None`].
    pub coherence: Coherence,
    /// For how much longer than the timeouts have it something is believed at most that is valid by the version table: against
    /// faults of which nobody knows.
    pub backstop: Duration,
    /// How many names are remembered at most, with the inodes that they lead to. The server keeps each of these inodes,
    /// too; virtiofsd with an open file descriptor.
    pub max_entries: usize,
    /// How much content of files is kept at most, in bytes.
    pub max_data_bytes: usize,
    /// Writes are collected, and the server gets them when a file is closed or synchronised, when they are
    /// [old](Self::dirty_age), or when too much of the memory is taken: for directories that nobody else writes to. Means
    /// nothing with [`CacheMode::None`].
    pub writeback: bool,
    /// How long what was written may wait for the server; [`VirtioFs::maintain`](crate::VirtioFs::maintain) sees to it.
    pub dirty_age: Duration,
    /// A file that is opened for reading is opened at the server only when a request needs that. What may be read is up to
    /// the driver's own check then; what else the server might refuse it refuses at the first read. Not done if the server
    /// checks [permissions](crate::Permissions), nor with [`CacheMode::None`].
    pub lazy_open: bool,
}

impl CacheOptions {
    /// Whether writes are collected.
    pub(crate) fn writes_back(&self) -> bool {
        self.writeback && self.mode != CacheMode::None
    }
}

impl CacheOptions {
    /// Whether anything expires by what is said here.
    pub(super) fn has_timeout(&self) -> bool {
        [self.entry_timeout, self.attr_timeout, self.negative_timeout].iter().any(Option::is_some)
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            mode: CacheMode::default(),
            entry_timeout: None,
            attr_timeout: None,
            negative_timeout: None,
            coherence: Coherence::default(),
            backstop: Duration::from_secs(3600),
            max_entries: 10_000,
            max_data_bytes: 16 << 20,
            writeback: false,
            dirty_age: Duration::from_secs(5),
            lazy_open: true,
        }
    }
}
