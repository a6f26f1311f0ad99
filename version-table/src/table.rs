//! The memory, and what its header says (section 2).

use crate::atomic::{AtomicU64, Ordering};
use crate::key::{Key, Slot};
use core::num::NonZeroU64;
use core::ops::RangeInclusive;

/// What a slot reads while an inode in it is mapped for writing: nothing is valid there.
pub const MARKED: u64 = u64::MAX;

/// The logarithms of how many slots a table may have.
pub const LOG2_SLOTS: RangeInclusive<u32> = 9..=32;

/// `VFSVERT1`, as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"VFSVERT1");
const LAYOUT: u64 = 1;

/// Places in the header, in numbers of 8 bytes. What changes often is in cache lines of its own.
pub(crate) mod at {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const LAYOUT: usize = 1;
    pub(crate) const LOG2_SLOTS: usize = 2;
    pub(crate) const FLAGS: usize = 3;
    pub(crate) const EPOCH: usize = 4;
    pub(crate) const CLOCK: usize = 8;
    pub(crate) const SETTLED: usize = 16;
    pub(crate) const FLOOR: usize = 24;
    pub(crate) const HEARTBEAT: usize = 32;
    pub(crate) const SLOTS: usize = 512;
}

/// How many numbers of 8 bytes a table of `1 << log2_slots` slots takes, with its header.
pub const fn words_for(log2_slots: u32) -> usize {
    at::SLOTS + (1 << log2_slots)
}

/// What a table says of changes on the host that no server made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u64);

impl Flags {
    /// Whole file systems are watched.
    pub const FANOTIFY: Self = Self(1);
    /// Directories that were handed out are watched.
    pub const INOTIFY: Self = Self(2);

    /// Such changes are not counted.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether such changes are counted in one of these ways.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why memory is no table that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has no room for the header and the slots.
    TooSmall,
    /// It does not begin as a table does.
    Magic,
    /// Its layout is another one.
    Layout,
    /// The number of slots, or the epoch, is none that a table can have.
    Header,
}

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "it is too small",
            Self::Magic => "it is no version table",
            Self::Layout => "it has a layout of another version",
            Self::Header => "its header is impossible",
        })
    }
}

impl core::error::Error for Unfit {}

/// A version table in `memory`, which others look at and change at any time.
#[derive(Debug)]
pub struct Table<M> {
    memory: M,
    /// As it was when that was checked: the memory may say something else by now.
    log2_slots: u32,
}

impl<M: AsRef<[AtomicU64]>> Table<M> {
    /// Makes a table of `1 << log2_slots` slots. Everything in `memory` has to be zero.
    ///
    /// # Errors
    ///
    /// [`Unfit::TooSmall`], or [`Unfit::Header`] if no table has so many slots.
    pub fn create(memory: M, log2_slots: u32, flags: Flags, epoch: NonZeroU64) -> Result<Self, Unfit> {
        let words = memory.as_ref();
        check_slots(words, u64::from(log2_slots))?;
        let set = |at: usize, value: u64| words[at].store(value.to_le(), Ordering::Relaxed);
        set(at::LAYOUT, LAYOUT);
        set(at::LOG2_SLOTS, u64::from(log2_slots));
        set(at::FLAGS, flags.0);
        set(at::EPOCH, epoch.get());
        // Last, so that nobody takes the rest for a table before it is one.
        words[at::MAGIC].store(MAGIC, Ordering::Release);
        Ok(Self { memory, log2_slots })
    }

    /// The table that is in `memory`.
    ///
    /// # Errors
    ///
    /// The memory is no table, or none that can be used.
    pub fn open(memory: M) -> Result<Self, Unfit> {
        let words = memory.as_ref();
        if words.len() < at::SLOTS {
            return Err(Unfit::TooSmall);
        }
        let get = |at: usize| words[at].load(Ordering::Acquire);
        // The other side of the region is little-endian whatever this one is; only here both are the same.
        if get(at::MAGIC) != MAGIC || cfg!(target_endian = "big") {
            return Err(Unfit::Magic);
        }
        if get(at::LAYOUT) != LAYOUT {
            return Err(Unfit::Layout);
        }
        let log2_slots = check_slots(words, get(at::LOG2_SLOTS))?;
        if get(at::EPOCH) == 0 { Err(Unfit::Header) } else { Ok(Self { memory, log2_slots }) }
    }

    /// Where the versions of `key` are.
    pub fn slot(&self, key: Key) -> Slot {
        key.slot(self.log2_slots)
    }

    /// The logarithm of how many slots there are.
    pub fn log2_slots(&self) -> u32 {
        self.log2_slots
    }

    /// Another number is another table.
    pub fn epoch(&self) -> u64 {
        self.word(at::EPOCH).load(Ordering::Acquire)
    }

    /// What is counted of changes on the host.
    pub fn flags(&self) -> Flags {
        Flags(self.word(at::FLAGS).load(Ordering::Acquire))
    }

    /// Moves as long as a server tends the table.
    pub fn heartbeat(&self) -> u64 {
        self.word(at::HEARTBEAT).load(Ordering::Acquire)
    }

    /// What the slot reads.
    pub fn version(&self, slot: Slot) -> u64 {
        self.version_word(slot).load(Ordering::Acquire)
    }

    pub(crate) fn word(&self, at: usize) -> &AtomicU64 {
        &self.memory.as_ref()[at]
    }

    pub(crate) fn version_word(&self, slot: Slot) -> &AtomicU64 {
        self.word(at::SLOTS + slot.index())
    }
}

/// Gives the logarithm, if there can be so many slots, and are.
fn check_slots(words: &[AtomicU64], log2_slots: u64) -> Result<u32, Unfit> {
    let log2_slots = u32::try_from(log2_slots).ok().filter(|log2| LOG2_SLOTS.contains(log2)).ok_or(Unfit::Header)?;
    let slots = words.len().checked_sub(at::SLOTS).ok_or(Unfit::TooSmall)?;
    if (slots as u64) < 1 << log2_slots { Err(Unfit::TooSmall) } else { Ok(log2_slots) }
}
