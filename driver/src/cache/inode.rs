//! Inodes, and what is known of them.

use super::content::restamped;
use super::version_table::{Sampled, Validity, Verdict, Version, VersionTable};
use super::{Cache, Serial, Stamp};
use crate::CacheMode;
use crate::Instant;
use crate::data::{self, FileData, Unwritten};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Once, RwLock};
use crate::wire::{Attr, Entry, FileType, InitFlags, NodeId};
use alloc::sync::Arc;
use core::time::Duration;
use virtio_fs_version_table::{Key, Slot};

/// An inode that the server knows, too: it counts the lookups of which this driver was told, until they are taken back
/// when the last user lets go of it.
pub(crate) struct Inode {
    cache: Arc<Cache>,
    pub(crate) serial: Serial,
    pub(crate) nodeid: NodeId,
    generation: u64,
    pub(crate) file_type: FileType,
    /// Whether this is the root of a file system of its own on the host.
    pub(crate) is_submount: bool,
    /// Whether this is a file that may be mapped into the DAX window.
    pub(crate) is_dax: bool,
    /// The root of the submount that the inode is in; `None` in the root's own file system. A submount's root needs none:
    /// submounts in submounts, as many as a server pleases, are no chain whose end would be dropped by recursion.
    submount: Option<Arc<Inode>>,
    /// Where the version table tells of it, if it does.
    slots: Once<Slots>,
    /// Lookups that replies have confirmed.
    nlookup: AtomicU64,
    /// The number of the last local change of a name in this directory.
    names_changed: AtomicU64,
    attributes: RwLock<Attributes>,
    /// What is kept of a file's content, a link's target or a directory's listing, from its first use on.
    data: Once<Arc<FileData>>,
    /// The server said last time that reads and writes of this file are to go to it.
    is_direct: AtomicBool,
    /// How many programs have the file open, and the server not yet.
    open_late: AtomicU32,
    /// Somebody found a name in this directory since a listing last asked.
    is_searched: AtomicBool,
}

/// # Locking
///
/// Written together, under one lock.
pub(super) struct Attributes {
    /// What the server said last.
    pub(super) attr: Option<Attr>,
    /// For how long `attr` is valid: not at all once a local change has made a part of it unknown.
    pub(super) validity: Validity,
    /// For how long mode, owner and group are, which changes of content leave as they are.
    pub(super) mode: Validity,
    /// All that is kept of the content is as new as this, if the version table tells of it.
    pub(super) content: Validity,
    /// The number of the last local change of this inode.
    changed: u64,
    /// How many local changes of names in this directory are under way, and how many have begun so far.
    names_changing: u32,
    names_begun: u64,
}

impl Attributes {
    fn new(attr: Option<Attr>, validity: Validity, changed: u64) -> Self {
        let content = Validity::NONE;
        Self { attr, validity, mode: validity, content, changed, names_changing: 0, names_begun: 0 }
    }

    /// All but type, mode, owner and group are not known any more; nor is a mode with set-id bits, if this is a file.
    fn expire(&mut self) {
        self.validity = Validity::NONE;
        if self.attr.is_some_and(|attr| attr.file_type != FileType::Directory && attr.permissions & SET_IDS != 0) {
            self.mode = Validity::NONE;
        }
    }

    /// The mode has the second version now, if it had the first.
    fn restamp_mode(&mut self, versions: Option<(Version, Version)>) {
        if let Some((looked, version)) = versions {
            self.mode = restamped(self.mode, looked, version);
        }
    }
}

/// Set-user-id and set-group-id.
const SET_IDS: u16 = 0o6000;

/// Where the version table tells of an inode.
pub(super) struct Slots {
    pub(super) attributes: Slot,
    pub(super) content: Slot,
}

impl Slots {
    fn new(table: &VersionTable, ino: u64) -> Self {
        Self { attributes: table.slot(Key::attributes(ino)), content: table.slot(Key::content(ino)) }
    }
}

impl Inode {
    /// An inode that was found in `parent` by a request with this stamp, with attributes that are valid until they expire,
    /// if at all. If it was changed here before, the last of the changes had at most the number `changed`.
    pub(super) fn new(
        cache: &Arc<Cache>,
        parent: &Arc<Self>,
        entry: &Entry,
        attr: Attr,
        (changed, expires, stamp): (u64, Option<Instant>, &Stamp),
    ) -> Self {
        let is_submount = attr.submount && cache.session.negotiated().has(InitFlags::SUBMOUNTS);
        let submount = match parent {
            _ if is_submount => None,
            root if root.is_submount => Some(root.clone()),
            _ => parent.submount.clone(),
        };
        let slots = Once::new();
        // In a file system of its own inode numbers mean something else.
        if let (false, None, Some(table)) = (is_submount, &submount, &cache.table) {
            slots.call_once(|| Slots::new(table, attr.ino));
        }
        let validity = expires.map_or(Validity::NONE, |expires| Validity::new(expires, stamp.sampled.version()));
        Self {
            cache: cache.clone(),
            serial: Serial(cache.next_serial.fetch_add(1, Ordering::Relaxed)),
            nodeid: entry.nodeid,
            generation: entry.generation,
            file_type: attr.file_type,
            is_submount,
            is_dax: attr.file_type == FileType::Regular && cache.maps(&attr),
            submount,
            slots,
            nlookup: AtomicU64::new(1),
            names_changed: AtomicU64::new(0),
            attributes: RwLock::new(Attributes::new(Some(attr), validity, changed)),
            data: Once::new(),
            is_direct: AtomicBool::new(false),
            open_late: AtomicU32::new(0),
            is_searched: AtomicBool::new(false),
        }
    }

    /// The root of the mounted directory, of which no lookups are counted.
    pub(super) fn root(cache: &Arc<Cache>) -> Self {
        Self {
            cache: cache.clone(),
            serial: Serial(cache.next_serial.fetch_add(1, Ordering::Relaxed)),
            nodeid: NodeId::ROOT,
            generation: 0,
            file_type: FileType::Directory,
            is_submount: false,
            is_dax: false,
            submount: None,
            slots: Once::new(),
            nlookup: AtomicU64::new(0),
            names_changed: AtomicU64::new(0),
            attributes: RwLock::new(Attributes::new(None, Validity::NONE, 0)),
            data: Once::new(),
            is_direct: AtomicBool::new(false),
            open_late: AtomicU32::new(0),
            is_searched: AtomicBool::new(false),
        }
    }

    /// See [`Node::device`](crate::vnode::Node::device).
    pub(crate) fn device(&self) -> NodeId {
        match &self.submount {
            _ if self.is_submount => self.nodeid,
            Some(root) => root.nodeid,
            None => NodeId::ROOT,
        }
    }

    /// Where the version table tells of this inode, if it does: not in submounts, and not of the root before the server has
    /// told its number.
    pub(super) fn slots(&self) -> Option<(&VersionTable, &Slots)> {
        self.cache.table.as_ref().zip(self.slots.get())
    }

    /// For how long a name in this directory leads to where it does: by time until then, and by the version table if that
    /// tells of it, which it does in this slot.
    pub(super) fn validity_of_name(&self, name: &[u8], until: Instant, version: Version) -> (Validity, Slot) {
        let ino = self.attributes.read().attr.map(|attr| attr.ino);
        match self.slots().zip(ino) {
            Some(((table, _), ino)) => (Validity::new(until, version), table.slot(Key::name(ino, name))),
            None => (Validity::new(until, Version::NONE), Slot::FIRST),
        }
    }

    /// The server has told the inode number.
    fn note_ino(&self, ino: u64) {
        if let (NodeId::ROOT, Some(table)) = (self.nodeid, &self.cache.table) {
            self.slots.call_once(|| Slots::new(table, ino));
        }
    }

    /// Whether attributes that have this validity are valid at the time `now`.
    fn is_valid(&self, validity: &Validity, now: Instant) -> bool {
        self.cache.is_valid(validity, self.slots.get().map(|slots| slots.attributes), now)
    }

    pub(super) fn attributes(&self) -> &RwLock<Attributes> {
        &self.attributes
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether a reply that names this nodeid is about this inode, and not about another one that got its number.
    pub(super) fn is_still(&self, generation: u64, file_type: FileType) -> bool {
        self.generation == generation && self.file_type == file_type
    }

    /// Counts one more lookup that a reply has confirmed.
    pub(super) fn count_lookup(&self) {
        self.nlookup.fetch_add(1, Ordering::Relaxed);
    }

    /// What is kept of the content of this regular file, or mapped; `None` if nothing is, by the rules of the mount.
    pub(crate) fn data(&self) -> Option<&Arc<FileData>> {
        let caches = self.file_type == FileType::Regular && self.cache.options.mode != CacheMode::None;
        (caches || self.is_dax).then(|| self.data.call_once(|| FileData::new(&self.cache.pool)))
    }

    /// What is kept of the target of this symbolic link, or of the listing of this directory; `None` if nothing is, by the
    /// rules of the mount.
    pub(crate) fn whole(&self) -> Option<&Arc<FileData>> {
        let caches = self.file_type != FileType::Regular && self.cache.options.mode != CacheMode::None;
        caches.then(|| self.data.call_once(|| FileData::new(&self.cache.pool)))
    }

    /// Where those take turns who append to this regular file, whether or not its content is kept.
    pub(crate) fn append_turns(&self) -> &Arc<FileData> {
        self.data.call_once(|| FileData::new(&self.cache.pool))
    }

    /// As [`Self::data`], if it was ever used.
    pub(crate) fn used_data(&self) -> Option<&Arc<FileData>> {
        self.data.get()
    }

    /// Whether the server said last time that reads and writes are to go to it.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Relaxed)
    }

    pub(crate) fn set_direct(&self, is_direct: bool) {
        self.is_direct.store(is_direct, Ordering::Relaxed);
    }

    /// A program has opened the file, and the server not yet.
    pub(crate) fn opened_late(&self) {
        self.open_late.fetch_add(1, Ordering::SeqCst);
    }

    /// The server has opened it, or the program closed it; whether that was the last.
    pub(crate) fn opened_or_closed(&self) -> bool {
        self.open_late.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether a program has the file open, and the server not.
    pub(crate) fn is_open_late(&self) -> bool {
        self.open_late.load(Ordering::SeqCst) > 0
    }

    /// Somebody found a name in this directory.
    pub(crate) fn note_search(&self) {
        // A line that is only read stays in the caches of all processors.
        if !self.is_searched.load(Ordering::Relaxed) {
            self.is_searched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody found a name in this directory since this was last asked.
    pub(crate) fn take_searched(&self) -> bool {
        self.is_searched.swap(false, Ordering::Relaxed)
    }

    /// The attributes, if they are known at the time `now`.
    pub(crate) fn attr(&self, now: Instant) -> Option<Attr> {
        // Before the attributes are looked at: once it is written they are not known any more.
        let own = self.unwritten();
        if own.is_some() && self.content_verdict() == Verdict::Old {
            // Where the file ends is not this driver's word alone.
            return None;
        }
        let attributes = self.attributes.read();
        let attr = if self.is_valid(&attributes.validity, now) { attributes.attr } else { None };
        drop(attributes);
        attr.map(|attr| own.map_or(attr, |own| own.of(attr)))
    }

    /// The attributes, if they are known at the time `now` and no older than what is kept of the content; and `stamp`, which was
    /// taken just now, made as old as they are.
    pub(crate) fn attr_of_content(&self, now: Instant, stamp: Stamp) -> Option<(Attr, Stamp)> {
        let version = {
            let attributes = self.attributes.read();
            let version = attributes.validity.version;
            if attributes.content.version.is_newer_than(version) {
                return None;
            }
            version
        };
        let attr = self.attr(now)?;
        Some((attr, Stamp { sampled: Sampled::of(version), ..stamp }))
    }

    /// Attributes as the server has them, with what the driver has yet to tell it.
    pub(super) fn with_unwritten(&self, attr: Attr) -> Attr {
        self.unwritten().map_or(attr, |own| own.of(attr))
    }

    /// What the driver has yet to tell the server of this file.
    pub(crate) fn unwritten(&self) -> Option<Unwritten> {
        self.used_data().and_then(|data| data.unwritten())
    }

    /// Attributes of which type, mode, owner and group are known at the time `now`, and perhaps nothing else.
    pub(crate) fn mode(&self, now: Instant) -> Option<Attr> {
        let attributes = self.attributes.read();
        if self.is_valid(&attributes.mode, now) { attributes.attr } else { None }
    }

    /// Remembers the attributes that a reply tells, unless something was changed here since its request was sent.
    pub(super) fn learn(&self, attr: &Attr, expires: Instant, stamp: &Stamp) {
        self.note_ino(attr.ino);
        let validity = Validity::new(expires, stamp.sampled.version());
        let mut attributes = self.attributes.write();
        if attributes.changed > stamp.changes || attributes.validity.version.is_newer_than(validity.version) {
            return;
        }
        attributes.attr = Some(*attr);
        (attributes.validity, attributes.mode) = (validity, validity);
        drop(attributes);
        if self.cache.drops_old_pages
            && let Some(data) = self.used_data()
            && self.content_verdict() == Verdict::ByTime
        {
            data.seen(data::Version::of(attr), || self.unchanged_since(stamp));
        }
    }

    /// Whether a request with this stamp was sent after all that was changed here of this inode, and is no older than what is
    /// kept of its content.
    pub(crate) fn unchanged_since(&self, stamp: &Stamp) -> bool {
        let attributes = self.attributes.read();
        let (content, asked) = (attributes.content.version, stamp.sampled.version());
        attributes.changed <= stamp.changes && !content.is_newer_than(asked)
    }

    /// As [`Self::learn`], of a reply that says that they are good for `ttl`.
    pub(crate) fn learn_attr(&self, attr: &Attr, ttl: Duration, stamp: &Stamp) {
        self.learn(attr, self.cache.expiry(stamp, ttl, self.cache.options.attr_timeout), stamp);
    }

    /// A local change of attributes is complete, after which the server says they are these.
    pub(crate) fn change_attr(&self, attr: &Attr, ttl: Duration, stamp: &Stamp) {
        let expires = self.cache.expiry(stamp, ttl, self.cache.options.attr_timeout);
        self.note_ino(attr.ino);
        let version = self.cache.version_after_own(stamp.sampled, 1).unwrap_or(stamp.sampled.version());
        let validity = Validity::new(expires, version);
        let mut attributes = self.attributes.write();
        // Of two changes that were under way together it is not known which was the last.
        let is_last = attributes.changed <= stamp.changes && !attributes.validity.version.is_newer_than(version);
        let validity = if is_last { validity } else { Validity::NONE };
        attributes.attr = Some(*attr);
        (attributes.validity, attributes.mode) = (validity, validity);
        attributes.changed = self.cache.count_change();
    }

    /// A local change is complete that made size, times, links or blocks unknown, but neither owner nor mode, unless
    /// that of a file has set-id bits, which changes of the content take away.
    pub(crate) fn note_change(&self) {
        self.note_change_of(None);
    }

    /// As [`Self::note_change`]. The mode, if it was `looked` at before and was of this version, is of the other one now.
    pub(super) fn note_change_of(&self, mode: Option<(Version, Version)>) {
        let mut attributes = self.attributes.write();
        attributes.expire();
        attributes.restamp_mode(mode);
        attributes.changed = self.cache.count_change();
    }

    /// A local change is complete that may have changed anything.
    pub(crate) fn note_any_change(&self) {
        let mut attributes = self.attributes.write();
        (attributes.validity, attributes.mode) = (Validity::NONE, Validity::NONE);
        attributes.changed = self.cache.count_change();
    }

    /// Forgets what the server knows, too.
    pub(crate) fn clear(&self) {
        self.note_any_change();
        if let Some(data) = self.used_data() {
            data.clear();
            data.clear_extents();
        }
    }

    /// A local change of names in this directory is about to be asked for. Gives its place among them, and whether no
    /// other one is under way.
    pub(super) fn begin_change_of_names(&self) -> (u64, bool) {
        let mut attributes = self.attributes.write();
        attributes.names_changing += 1;
        attributes.names_begun += 1;
        (attributes.names_begun, attributes.names_changing == 1)
    }

    /// What a local change made of names is known.
    pub(super) fn end_change_of_names(&self) {
        self.attributes.write().names_changing -= 1;
    }

    /// Whether no local change of names has begun here since the one with this place.
    pub(super) fn is_last_begun(&self, place: u64) -> bool {
        self.attributes.read().names_begun == place
    }

    /// A local change of a name in this directory is complete. Gives its number, and that of the last one before. The mode,
    /// if it was `looked` at before and was of this version, is of the other one now.
    pub(super) fn note_changed_names(&self, mode: Option<(Version, Version)>) -> (u64, u64) {
        let mut attributes = self.attributes.write();
        attributes.expire();
        attributes.restamp_mode(mode);
        let number = self.cache.count_change();
        attributes.changed = number;
        // First the number, then whatever is done about the name: who remembers an older reply looks at it last. Under
        // the lock, so that each of two changes is either before the other or after it.
        let last = self.names_changed.swap(number, Ordering::SeqCst);
        drop(attributes);
        if let Some(listing) = self.used_data() {
            listing.clear();
        }
        (number, last)
    }

    /// Whether the local change with this number is the last one of a name in this directory.
    pub(super) fn is_last_changed_name(&self, number: u64) -> bool {
        self.names_changed.load(Ordering::SeqCst) == number
    }

    /// Whether no name in this directory was changed here since a request with this stamp was sent.
    pub(super) fn names_unchanged_since(&self, stamp: &Stamp) -> bool {
        self.names_changed.load(Ordering::SeqCst) <= stamp.changes
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let (nlookup, changed) = (*self.nlookup.get_mut(), self.attributes.get_mut().changed);
        self.cache.forget(self, nlookup, changed);
    }
}
