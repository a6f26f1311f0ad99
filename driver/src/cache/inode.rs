//! Inodes, and what is known of them.

use super::{Cache, Serial, Stamp};
use crate::Instant;
use crate::wire::{Attr, Entry, FileType, InitFlags, NodeId};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use spin::RwLock;

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
    /// The root of the submount that the inode is in; `None` in the root's own file system.
    submount: Option<Arc<Inode>>,
    /// Lookups that replies have confirmed.
    nlookup: AtomicU64,
    /// The number of the last local change of a name in this directory.
    names_changed: AtomicU64,
    attributes: RwLock<Attributes>,
}

/// # Locking
///
/// Written together, under one lock.
struct Attributes {
    /// What the server said last.
    attr: Option<Attr>,
    /// Until when `attr` is good: not at all once a local change has made a part of it unknown.
    expires: Instant,
    /// Until when mode, owner and group are, which changes of content leave as they are.
    mode_expires: Instant,
    /// The number of the last local change of this inode.
    changed: u64,
    /// How many local changes of anything were complete when `attr` was asked for.
    asked: u64,
}

/// Set-user-id and set-group-id.
const SET_IDS: u16 = 0o6000;

const EXPIRED: Instant = Instant(Duration::ZERO);

impl Inode {
    pub(super) fn new(
        cache: &Arc<Cache>,
        parent: &Arc<Self>,
        entry: &Entry,
        attr: Attr,
        expires: Instant,
        stamp: &Stamp,
    ) -> Self {
        let attributes =
            Attributes { attr: Some(attr), expires, mode_expires: expires, changed: 0, asked: stamp.changes };
        Self {
            cache: cache.clone(),
            serial: Serial(cache.next_serial.fetch_add(1, Ordering::Relaxed)),
            nodeid: entry.nodeid,
            generation: entry.generation,
            file_type: attr.file_type,
            is_submount: attr.submount && cache.session.negotiated().has(InitFlags::SUBMOUNTS),
            submount: if parent.is_submount { Some(parent.clone()) } else { parent.submount.clone() },
            nlookup: AtomicU64::new(1),
            names_changed: AtomicU64::new(0),
            attributes: RwLock::new(attributes),
        }
    }

    /// The root of the mounted directory, of which no lookups are counted.
    pub(super) fn root(cache: &Arc<Cache>) -> Self {
        let attributes = Attributes { attr: None, expires: EXPIRED, mode_expires: EXPIRED, changed: 0, asked: 0 };
        Self {
            cache: cache.clone(),
            serial: Serial(cache.next_serial.fetch_add(1, Ordering::Relaxed)),
            nodeid: NodeId::ROOT,
            generation: 0,
            file_type: FileType::Directory,
            is_submount: false,
            submount: None,
            nlookup: AtomicU64::new(0),
            names_changed: AtomicU64::new(0),
            attributes: RwLock::new(attributes),
        }
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// See [`Node::device`](crate::vnode::Node::device).
    pub(crate) fn device(&self) -> NodeId {
        match &self.submount {
            _ if self.is_submount => self.nodeid,
            Some(root) => root.nodeid,
            None => NodeId::ROOT,
        }
    }

    /// Whether a reply that names this nodeid is about this inode, and not about another one that got its number.
    pub(super) fn is_still(&self, generation: u64, file_type: FileType) -> bool {
        self.generation == generation && self.file_type == file_type
    }

    /// Counts one more lookup that a reply has confirmed.
    pub(super) fn count_lookup(&self) {
        self.nlookup.fetch_add(1, Ordering::Relaxed);
    }

    /// The attributes, if they are known at the time `now`.
    pub(crate) fn attr(&self, now: Instant) -> Option<Attr> {
        let attributes = self.attributes.read();
        let attr = attributes.attr.filter(|_| now < attributes.expires)?;
        let has_more_names = attr.nlink > 1 && self.file_type != FileType::Directory;
        if has_more_names && attributes.asked < self.cache.unseen_changes.load(Ordering::SeqCst) {
            return None;
        }
        Some(attr)
    }

    /// Attributes of which type, mode, owner and group are known at the time `now`, and perhaps nothing else.
    pub(crate) fn mode(&self, now: Instant) -> Option<Attr> {
        let attributes = self.attributes.read();
        if now < attributes.mode_expires { attributes.attr } else { None }
    }

    /// Remembers the attributes that a reply tells, unless something was changed here since its request was sent.
    pub(super) fn learn(&self, attr: &Attr, expires: Instant, stamp: &Stamp) {
        let mut attributes = self.attributes.write();
        if attributes.changed <= stamp.changes {
            attributes.attr = Some(*attr);
            attributes.expires = expires;
            attributes.mode_expires = expires;
            attributes.asked = stamp.changes;
        }
    }

    /// As [`Self::learn`], of a reply that says that they are good for `ttl`.
    pub(crate) fn learn_attr(&self, attr: &Attr, ttl: Duration, stamp: &Stamp) {
        self.learn(attr, self.cache.expiry(stamp, ttl, self.cache.options.attr_timeout), stamp);
    }

    /// A local change of attributes is complete, after which the server says they are these.
    pub(crate) fn change_attr(&self, attr: &Attr, ttl: Duration, stamp: &Stamp) {
        let expires = self.cache.expiry(stamp, ttl, self.cache.options.attr_timeout);
        let mut attributes = self.attributes.write();
        // Of two changes that were under way together it is not known which was the last.
        let expires = if attributes.changed <= stamp.changes { expires } else { EXPIRED };
        let changed = self.cache.count_change();
        *attributes = Attributes { attr: Some(*attr), expires, mode_expires: expires, changed, asked: stamp.changes };
    }

    /// A local change is complete that made size, times, links or blocks unknown, but neither owner nor mode, unless
    /// that of a file has set-id bits, which changes of the content take away.
    pub(crate) fn note_change(&self) {
        let mut attributes = self.attributes.write();
        attributes.expires = EXPIRED;
        if attributes.attr.is_some_and(|attr| attr.file_type != FileType::Directory && attr.permissions & SET_IDS != 0)
        {
            attributes.mode_expires = EXPIRED;
        }
        attributes.changed = self.cache.count_change();
    }

    /// A local change is complete that may have changed anything.
    pub(crate) fn note_any_change(&self) {
        let mut attributes = self.attributes.write();
        attributes.expires = EXPIRED;
        attributes.mode_expires = EXPIRED;
        attributes.changed = self.cache.count_change();
    }

    /// A local change of a name in this directory is complete. Gives its number.
    pub(super) fn note_changed_names(&self) -> u64 {
        self.note_change();
        // First the number, then whatever is done about the name: who remembers an older reply looks at it last.
        let number = self.cache.count_change();
        self.names_changed.fetch_max(number, Ordering::SeqCst);
        number
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
