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
    /// How many names are remembered at most, with the inodes that they lead to. The server keeps each of these inodes,
    /// too; virtiofsd with an open file descriptor.
    pub max_entries: usize,
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
            max_entries: 10_000,
        }
    }
}
