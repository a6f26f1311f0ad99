//! Whether what is kept is still true, as the metadata version table tells without a message (`SPEC-version-table.md`,
//! section 5), or the time, where there is none.

use super::CacheOptions;
use crate::Instant;
use crate::session::Session;
use crate::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use crate::virtio::SharedWords;
use core::time::Duration;
use virtio_fs_version_table::{Flags, Key, MARKED, Sample, Slot, Table};

/// The table of a mount, and whether anybody tends it.
pub(crate) struct VersionTable {
    table: Table<SharedWords>,
    /// Odd while the table is tended, even while its heartbeat stands still. Another number makes void what has a stamp of
    /// before.
    life: AtomicU16,
    epoch: AtomicU64,
    heartbeat: AtomicU64,
    /// The highest that was seen in this life.
    clock: AtomicU64,
    /// When it is looked at next whether the table is tended, in milliseconds.
    next_look: AtomicU64,
    /// What is valid by the table is believed for so much longer than it would be by time, and no longer.
    backstop_ns: u64,
}

/// The table as it was before a request was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampled {
    version: Version,
    sample: Sample,
}

impl Sampled {
    /// No table.
    pub(super) const NONE: Self = Self { version: Version::NONE, sample: Sample { clock: 0, is_settled: false } };

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// As old as what has this version; nobody knows what was settled then.
    pub(super) fn of(version: Version) -> Self {
        Self { version, ..Self::NONE }
    }
}

/// The version of something that is kept, which is as new as all that was acknowledged in this life of the table until its
/// clock was this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64);

/// So many bits of a version are the clock: a million changes a second for nine years. Then all goes by time.
const CLOCK_BITS: u32 = 48;

impl Version {
    /// The table tells nothing of it.
    pub(super) const NONE: Self = Self(0);

    fn new(life: u16, clock: u64) -> Self {
        let version = u64::from(life) << CLOCK_BITS | clock;
        if clock >> CLOCK_BITS == 0 { Self(version) } else { Self::NONE }
    }

    fn life(self) -> u16 {
        (self.0 >> CLOCK_BITS) as u16
    }

    fn clock(self) -> u64 {
        self.0 & ((1 << CLOCK_BITS) - 1)
    }

    /// Whether this is of a later life of the table than the other, or of a later time in the same one.
    pub(super) fn is_newer_than(self, other: Self) -> bool {
        // Lives are counted in a circle.
        match self.life().wrapping_sub(other.life()).cast_signed() {
            _ if self == Self::NONE => false,
            0 => self.clock() > other.clock(),
            lives => lives > 0,
        }
    }

    /// Whether the table told something then.
    pub(super) fn is_of_table(self) -> bool {
        is_tended(self.life())
    }
}

/// For how long something is valid that is kept: by time, and by the version table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    until_ns: u64,
    pub(super) version: Version,
}

impl Validity {
    /// Not at all.
    pub(super) const NONE: Self = Self { until_ns: 0, version: Version::NONE };

    pub(super) fn new(until: Instant, version: Version) -> Self {
        Self { until_ns: nanoseconds(until.0), version }
    }

    pub(super) fn of_version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    pub(super) fn is_by_time(&self, now: Instant) -> bool {
        nanoseconds(now.0) < self.until_ns || self.until_ns == u64::MAX
    }

    /// When it ends by time.
    pub(super) fn until(&self) -> Instant {
        // What is further away is for ever.
        Instant(if self.until_ns == u64::MAX { Duration::MAX } else { Duration::from_nanos(self.until_ns) })
    }

    /// Whether this is worth to be kept, from the time `now` on.
    pub(super) fn is_of_use(&self, now: Instant) -> bool {
        self.is_by_time(now) || self.version.is_of_table()
    }
}

/// What the table says of something that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as new as the last change that was acknowledged to anybody.
    Valid,
    /// It may be older.
    Old,
    /// Nothing: it is valid for as long as by time.
    ByTime,
}

/// How often it is looked at whether the table is tended, in milliseconds.
const LOOK_INTERVAL_MS: u64 = 1000;

impl VersionTable {
    /// The table of the session, if the device shows one.
    pub(super) fn find(session: &Session, options: &CacheOptions) -> Option<Self> {
        let table = match Table::open(session.version_table()?) {
            Ok(table) => table,
            Err(why) => {
                log::warn!("the device's version table is of no use: {why}");
                return None;
            }
        };
        let slots = 1_u64 << table.log2_slots();
        let host = if table.flags() == Flags::empty() { "not counted" } else { "counted" };
        log::debug!("the device has a version table of {slots} slots; changes on the host are {host}");
        Some(Self {
            life: AtomicU16::new(1),
            epoch: AtomicU64::new(table.epoch()),
            heartbeat: AtomicU64::new(table.heartbeat()),
            clock: AtomicU64::new(table.sample().clock),
            next_look: AtomicU64::new(milliseconds(session.now()) + LOOK_INTERVAL_MS),
            backstop_ns: nanoseconds(options.backstop),
            table,
        })
    }

    /// Looks whether the table is tended, if it is time to. To be called again and again.
    pub(super) fn heed(&self, now: Instant) {
        let now = milliseconds(now);
        let next = self.next_look.load(Ordering::Relaxed);
        if now < next {
            return;
        }
        let own = self.next_look.compare_exchange(next, now + LOOK_INTERVAL_MS, Ordering::Relaxed, Ordering::Relaxed);
        if own.is_ok() {
            self.look();
        }
    }

    fn look(&self) {
        let (epoch, heartbeat) = (self.table.epoch(), self.table.heartbeat());
        let has_moved = self.heartbeat.swap(heartbeat, Ordering::Relaxed) != heartbeat;
        // In this order: whoever takes a sample meanwhile finds a later time.
        let highest = self.clock.load(Ordering::Acquire);
        let clock = self.table.sample().clock;
        let is_back = clock < highest;
        if is_back {
            self.clock.store(clock, Ordering::Relaxed);
        }
        let is_another = self.epoch.swap(epoch, Ordering::Relaxed) != epoch || is_back;
        let life = self.life.load(Ordering::Relaxed);
        let was_tended = is_tended(life);
        let next = match (has_moved, was_tended) {
            (true, true) if is_another => life.wrapping_add(2),
            (true, true) | (false, false) => life,
            (true, false) | (false, true) => life.wrapping_add(1),
        };
        if next != life {
            let what = if has_moved { "is tended" } else { "stands still: what is kept is believed by time" };
            log::info!("the version table {what}");
            // Who was held up here for long has nothing to say any more.
            _ = self.life.compare_exchange(life, next, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// To be taken before a request is sent, and before what is kept is looked at that the request changes.
    pub(super) fn sample(&self) -> Sampled {
        // The life first: what is sampled of another one is void then.
        let life = self.life.load(Ordering::Acquire);
        let sample = self.table.sample();
        self.clock.fetch_max(sample.clock, Ordering::Relaxed);
        Sampled { version: Version::new(life, sample.clock), sample }
    }

    /// What the table says of what has this version and this slot.
    pub(super) fn judge(&self, version: Version, slot: Slot) -> Verdict {
        let life = self.life.load(Ordering::Acquire);
        if version == Version::NONE || !is_tended(life) {
            return Verdict::ByTime;
        }
        let clock = version.clock();
        match self.table.version(slot) {
            _ if version.life() != life => Verdict::Old,
            MARKED => Verdict::ByTime,
            last_change if last_change <= clock && !self.table.is_void(clock) => Verdict::Valid,
            _ => Verdict::Old,
        }
    }

    /// As [`Self::judge`], of what has this validity. Nothing is valid for ever.
    pub(super) fn verdict(&self, validity: &Validity, slot: Slot, now: Instant) -> Verdict {
        match self.judge(validity.version, slot) {
            Verdict::Valid if nanoseconds(now.0) >= validity.until_ns.saturating_add(self.backstop_ns) => Verdict::Old,
            verdict => verdict,
        }
    }

    /// Whether what has this validity and this slot is valid at the time `now`.
    pub(super) fn is_valid(&self, validity: &Validity, slot: Slot, now: Instant) -> bool {
        match self.verdict(validity, slot, now) {
            Verdict::Valid => true,
            Verdict::Old => false,
            Verdict::ByTime => validity.is_by_time(now),
        }
    }

    /// Whether the table tells something of what has this slot, if it is asked for now.
    pub(super) fn covers(&self, slot: Slot) -> bool {
        is_tended(self.life.load(Ordering::Acquire)) && self.table.version(slot) != MARKED
    }

    /// The version of what own changes determine, which so many requests since the sample have made, all successful.
    pub(super) fn version_after_own(&self, sampled: Sampled, requests: u64) -> Option<Version> {
        let clock = self.table.stamp_after_own(sampled.sample, requests)?;
        let life = sampled.version.life();
        let is_same_life = is_tended(life) && self.life.load(Ordering::Acquire) == life;
        is_same_life.then(|| Version::new(life, clock))
    }

    /// Where the versions of this key are.
    pub(super) fn slot(&self, key: Key) -> Slot {
        self.table.slot(key)
    }
}

fn is_tended(life: u16) -> bool {
    life % 2 == 1
}

/// What is further away than five hundred years is for ever.
fn nanoseconds(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}

fn milliseconds(time: Instant) -> u64 {
    nanoseconds(time.0) / 1_000_000
}
