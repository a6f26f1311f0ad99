//! Lookups to take back, collected until a message is full.

use crate::virtio::POST_MAX_BYTES;
use crate::wire::{BatchForget, ForgetOne, InHeader, NodeId, Operation};
use alloc::vec::Vec;
use spin::Mutex;

/// The most inodes of one BATCH_FORGET.
pub(super) const BATCH: usize =
    (POST_MAX_BYTES - InHeader::BYTES - size_of::<<BatchForget as Operation>::Args>()) / size_of::<ForgetOne>();

/// Inodes of which lookups are to be taken back.
///
/// # Locking
///
/// One spin lock, never held while a message is sent. May be used where nothing may wait, but for [`Self::push`]'s
/// result.
pub(super) struct ForgetQueue {
    lists: Mutex<Lists>,
}

struct Lists {
    pending: Vec<ForgetOne>,
    /// Emptied lists, to be filled again.
    spare: Vec<Vec<ForgetOne>>,
}

impl ForgetQueue {
    pub(super) fn new() -> Self {
        Self { lists: Mutex::new(Lists { pending: Vec::with_capacity(BATCH), spare: Vec::with_capacity(1) }) }
    }

    /// Adds `nlookup` lookups of `nodeid`. Gives back a list that is full and must be sent now.
    pub(super) fn push(&self, nodeid: NodeId, nlookup: u64) -> Option<Vec<ForgetOne>> {
        let mut lists = self.lists.lock();
        lists.pending.push(ForgetOne { nodeid: nodeid.0, nlookup });
        (lists.pending.len() >= BATCH).then(|| lists.take())
    }

    /// All that is to be sent, if there is anything.
    pub(super) fn take(&self) -> Option<Vec<ForgetOne>> {
        let mut lists = self.lists.lock();
        (!lists.pending.is_empty()).then(|| lists.take())
    }

    /// Gives back a list that was sent, to be filled again.
    pub(super) fn recycle(&self, mut list: Vec<ForgetOne>) {
        list.clear();
        let mut lists = self.lists.lock();
        if lists.spare.len() < lists.spare.capacity() {
            lists.spare.push(list);
        }
    }
}

impl Lists {
    fn take(&mut self) -> Vec<ForgetOne> {
        let empty = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
        core::mem::replace(&mut self.pending, empty)
    }
}
