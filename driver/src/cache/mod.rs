//! What is known of the server's tree without asking again: inodes with their attributes, and names.
//!
//! The caches decide by the version table, if there is one, or by time, which is an argument; and by the order of requests
//! and local changes, which a [`Stamp`] tells. They send nothing but FORGETs.

mod changes;
mod content;
mod dentries;
mod inode;
mod inode_table;
mod options;
mod version_table;

pub(crate) use changes::{NamesChange, Renamed};
pub(crate) use dentries::{Dentries, Dentry};
pub(crate) use inode::Inode;
pub use options::{CacheMode, CacheOptions, Coherence, Dax};
pub(crate) use version_table::Verdict;

use self::inode_table::InodeTable;
use self::version_table::{Sampled, Validity, Version, VersionTable};
use crate::data::Pool;
use crate::session::Session;
use crate::spread_counter::SpreadCounter;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wire::{Entry, InitFlags, NodeId};
use crate::{Attr, Error, Instant};
use alloc::sync::Arc;
use core::time::Duration;
use virtio_fs_version_table::Slot;

/// A number of an inode that no other inode of the mount has had or will have, whatever the server does with its
/// nodeids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Serial(pub(crate) u64);

/// When a request was sent whose reply may be cached: taken before it is sent.
///
/// A local change is counted when its reply arrives. What was asked for before that, and answered after it, may be
/// older than the change, and is not remembered of what was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// How many local changes were complete.
    changes: u64,
    sent: Instant,
    /// The version table then.
    sampled: Sampled,
}

/// The caches of a mount.
///
/// # Locking
///
/// Spin locks, held for memory accesses only. Nothing is sent, and no inode is dropped, under one of them. The lock of
/// a dentry shard comes before that of an inode's attributes.
pub(crate) struct Cache {
    session: Arc<Session>,
    options: CacheOptions,
    dentries: Dentries<Arc<Inode>>,
    inodes: InodeTable,
    pool: Arc<Pool>,
    table: Option<VersionTable>,
    name_hits: SpreadCounter,
    /// Which files may be mapped, if there is a window.
    dax: Dax,
    /// Pages of a file go as soon as its attributes tell that somebody changed it, and not only when it is opened.
    drops_old_pages: bool,
    next_serial: AtomicU64,
    changes: AtomicU64,
    /// The number of the last local change of an inode that was dropped since then.
    lost_changes: AtomicU64,
}

impl Cache {
    pub(crate) fn new(session: Arc<Session>, options: &CacheOptions, dax: Dax) -> Self {
        let max_entries = if options.mode == CacheMode::None { 0 } else { options.max_entries };
        let has = |flag| session.negotiated().has(flag);
        let told = has(InitFlags::AUTO_INVAL_DATA) && !has(InitFlags::EXPLICIT_INVAL_DATA);
        let drops_old_pages = options.mode == CacheMode::Auto && told;
        let uses_table = options.mode != CacheMode::None && options.coherence == Coherence::VersionTable;
        let table = if uses_table { VersionTable::find(&session, options) } else { None };
        Self {
            session,
            options: options.clone(),
            dentries: Dentries::new(max_entries),
            inodes: InodeTable::new(),
            pool: Arc::new(Pool::new(options.max_data_bytes)),
            table,
            name_hits: SpreadCounter::new(),
            dax,
            drops_old_pages,
            next_serial: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            lost_changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// Whether a file with these attributes may be mapped into the DAX window.
    fn maps(&self, attr: &Attr) -> bool {
        match self.dax {
            Dax::Never => false,
            Dax::Inode => attr.dax,
            Dax::Always => true,
        }
    }

    /// The time by which cached things expire. Where nothing is cached or nothing expires, the clock is not looked at.
    pub(crate) fn now(&self) -> Instant {
        if let Some(table) = &self.table {
            let now = self.session.now();
            table.heed(now);
            return now;
        }
        match self.options.mode {
            CacheMode::Auto => self.session.now(),
            CacheMode::Always if self.options.has_timeout() => self.session.now(),
            CacheMode::None | CacheMode::Always => Instant(Duration::ZERO),
        }
    }

    /// As [`Self::now`], by a clock that costs less, where there is a version table.
    fn now_coarsely(&self) -> Instant {
        let now = self.session.coarse_now();
        if let Some(table) = &self.table {
            table.heed(now);
        }
        now
    }

    /// To be taken before a request is sent whose reply may be cached.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { changes: self.changes.load(Ordering::SeqCst), sent: self.now(), sampled: self.sample() }
    }

    /// The version table as it is now.
    fn sample(&self) -> Sampled {
        self.table.as_ref().map_or(Sampled::NONE, VersionTable::sample)
    }

    /// The version of what own changes determine that were asked for after `sampled`, in so many requests, all of which
    /// succeeded: if nobody else has changed anything since.
    fn version_after_own(&self, sampled: Sampled, requests: u64) -> Option<Version> {
        self.table.as_ref()?.version_after_own(sampled, requests)
    }

    /// Whether what is kept, and has this validity and this slot, is valid at the time `now`.
    fn is_valid(&self, validity: &Validity, slot: Option<Slot>, now: Instant) -> bool {
        match self.table.as_ref().zip(slot) {
            Some((table, slot)) => table.is_valid(validity, slot, now),
            None => validity.is_by_time(now),
        }
    }

    /// Whether there is a version table, so that the root's inode number is worth a request.
    pub(crate) fn has_version_table(&self) -> bool {
        self.table.is_some()
    }

    /// Counts a local change whose reply arrived, and gives its number.
    fn count_change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Until when the reply to a request is good, of which the server says it is for `ttl`.
    fn expiry(&self, stamp: &Stamp, ttl: Duration, fixed: Option<Duration>) -> Instant {
        match (self.options.mode, fixed) {
            (CacheMode::None, _) => Instant(Duration::ZERO),
            (CacheMode::Always, None) => Instant(Duration::MAX),
            (_, fixed) => stamp.sent + fixed.unwrap_or(ttl),
        }
    }

    /// The root of the mounted directory.
    pub(crate) fn root(self: &Arc<Self>) -> Arc<Inode> {
        Arc::new(Inode::root(self))
    }

    /// The inode of `entry`, found in the directory `parent` by a request with this stamp, of which the server counted
    /// one lookup for the caller.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the attributes are impossible. The lookup is taken back.
    pub(crate) fn inode(
        self: &Arc<Self>,
        parent: &Arc<Inode>,
        entry: &Entry,
        stamp: &Stamp,
    ) -> Result<(Arc<Inode>, Attr), Error> {
        let nodeid = entry.nodeid;
        let attr = entry.attr.inspect_err(|_| self.session.forget(nodeid, 1))?;
        let expires = self.expiry(stamp, entry.attr_ttl, self.options.attr_timeout);
        let is_it = |known: &Inode| known.is_still(entry.generation, attr.file_type);
        let mut is_new = false;
        let make = |is_being_dropped: bool| {
            is_new = true;
            // The inode may have been changed and dropped since the request was sent: then this reply may be older, and
            // so may those be that are still on their way. One that is being dropped has yet to say when it was changed.
            let changes = if is_being_dropped { &self.changes } else { &self.lost_changes };
            let changed = changes.load(Ordering::SeqCst);
            let expires = (changed <= stamp.changes).then_some(expires);
            Arc::new(Inode::new(self, parent, entry, attr, (changed, expires, stamp)))
        };
        let inode = self.inodes.find_or_make(nodeid, is_it, make);
        if !is_new {
            inode.count_lookup();
            inode.learn(&attr, expires, stamp);
        }
        let attr = inode.with_unwritten(attr);
        Ok((inode, attr))
    }

    /// What `name` of `directory` leads to, if that is known.
    pub(crate) fn find(&self, directory: &Inode, name: &[u8], now: Instant) -> Option<Dentry<Arc<Inode>>> {
        self.dentries.get(directory.serial, name, |validity, slot| self.is_valid(validity, Some(slot), now))
    }

    /// Remembers what a reply, whose request had this stamp, says of `name` in `directory`; it is good for `ttl`.
    pub(crate) fn learn_name(
        &self,
        directory: &Inode,
        name: &[u8],
        target: Dentry<Arc<Inode>>,
        ttl: Duration,
        stamp: &Stamp,
    ) {
        let expires = self.expiry_of_name(&target, ttl, stamp);
        let (validity, slot) = directory.validity_of_name(name, expires, stamp.sampled.version());
        if validity.is_of_use(stamp.sent) {
            let is_still_true = || directory.names_unchanged_since(stamp);
            self.dentries.insert(directory.serial, name, target, (validity, slot), is_still_true);
        }
    }

    fn expiry_of_name(&self, target: &Dentry<Arc<Inode>>, ttl: Duration, stamp: &Stamp) -> Instant {
        let fixed = match target {
            Dentry::Inode(_) => self.options.entry_timeout,
            Dentry::Absent => self.options.negative_timeout,
        };
        self.expiry(stamp, ttl, fixed)
    }

    /// Drops all names, and with them the inodes that nobody uses.
    pub(crate) fn drop_names(&self) {
        self.dentries.clear();
    }

    /// Forgets all that the server knows, too.
    pub(crate) fn clear(&self) {
        self.drop_names();
        self.inodes.all().iter().for_each(|inode| inode.clear());
        self.pool.tidy();
    }

    /// So many names were found without a request, on the way to this inode.
    pub(crate) fn count_name_hits(&self, inode: &Inode, names: u64) {
        self.name_hits.add(inode, names);
    }

    /// How many names were found without a request.
    pub(crate) fn name_hits(&self) -> u64 {
        self.name_hits.sum()
    }

    /// How many names are remembered.
    pub(crate) fn names(&self) -> usize {
        self.dentries.len()
    }

    /// Takes lookups of an inode back that is being dropped, whose last local change has the number `changed`.
    fn forget(&self, inode: &Inode, nlookup: u64, changed: u64) {
        // Before the table says that it knows no such inode.
        self.lost_changes.fetch_max(changed, Ordering::SeqCst);
        if inode.nodeid != NodeId::ROOT {
            self.inodes.remove(inode);
        }
        self.session.forget(inode.nodeid, nlookup);
    }
}

#[cfg(test)]
mod tests;
