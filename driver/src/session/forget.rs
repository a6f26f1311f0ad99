//! Lookups to take back, collected until a message is full.

use crate::sync::Mutex;
use crate::virtio::POST_MAX_BYTES;
use crate::wire::{BatchForget, ForgetOne, InHeader, NodeId, Operation};
use alloc::vec::Vec;

/// The most inodes of one BATCH_FORGET.
pub(super) const BATCH: usize =
    (POST_MAX_BYTES - InHeader::BYTES - size_of::<<BatchForget as Operation>::Args>()) / size_of::<ForgetOne>();

/// Inodes of which lookups are to be taken back.
///
/// # Locking
///
/// One spin lock, never held while a message is sent. May be used where nothing may wait.
pub(super) struct ForgetQueue {
    lists: Mutex<Lists>,
}

struct Lists {
    pending: Vec<ForgetOne>,
    /// An emptied list, to be filled again.
    spare: Vec<ForgetOne>,
}

/// What must be sent now.
pub(super) enum Batch {
    /// A full list.
    List(Vec<ForgetOne>),
    /// One alone, for which there was no memory to wait in.
    One(ForgetOne),
}

impl ForgetQueue {
    pub(super) fn new() -> Self {
        Self { lists: Mutex::new(Lists { pending: Vec::new(), spare: Vec::new() }) }
    }

    /// Adds `nlookup` lookups of `nodeid`. Gives back what must be sent now.
    pub(super) fn push(&self, nodeid: NodeId, nlookup: u64) -> Option<Batch> {
        let one = ForgetOne { nodeid: nodeid.0, nlookup };
        let mut lists = self.lists.lock();
        // A list is empty when it has no room: all lists are made for a batch.
        if lists.pending.capacity() == 0 && lists.pending.try_reserve_exact(BATCH).is_err() {
            return Some(Batch::One(one));
        }
        lists.pending.push(one);
        (lists.pending.len() >= BATCH).then(|| Batch::List(lists.take()))
    }

    /// All that waits, if there is anything.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut lists = self.lists.lock();
        (!lists.pending.is_empty()).then(|| Batch::List(lists.take()))
    }

    /// Gives back what was sent, so that its memory is used again.
    pub(super) fn recycle(&self, batch: Batch) {
        if let Batch::List(mut list) = batch {
            list.clear();
            // The list that was spare until now is freed, if there was one, when the lock is not held any more.
            list = core::mem::replace(&mut self.lists.lock().spare, list);
            drop(list);
        }
    }
}

impl Batch {
    pub(super) fn as_slice(&self) -> &[ForgetOne] {
        match self {
            Self::List(list) => list,
            Self::One(one) => core::slice::from_ref(one),
        }
    }
}

impl Lists {
    fn take(&mut self) -> Vec<ForgetOne> {
        let empty = core::mem::take(&mut self.spare);
        core::mem::replace(&mut self.pending, empty)
    }
}
