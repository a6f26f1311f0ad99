//! Whether what is kept of an inode's content is still true, as the version table tells; and what own changes leave true of
//! what is kept.

use super::version_table::{Sampled, Validity, Verdict, Version};
use super::{Inode, Stamp};
use crate::data::FileData;
use core::time::Duration;

/// A change of an inode that is about to be asked for, and what was kept then.
pub(crate) struct OwnChange {
    sampled: Sampled,
    /// The version of the mode, if that was valid.
    mode: Version,
    content: Version,
    content_was_valid: bool,
}

impl Inode {
    /// What the version table says of what is kept of the content. What is [old](Verdict::Old) has to be
    /// [renewed](Self::renew_content) before it is looked at.
    pub(crate) fn content_verdict(&self) -> Verdict {
        let Some((table, slots)) = self.slots() else { return Verdict::ByTime };
        let content = self.attributes().read().content;
        // What was collected by time is as good as old.
        match content == Validity::NONE {
            true if table.covers(slots.content) => Verdict::Old,
            true => Verdict::ByTime,
            false => table.verdict(&content, slots.content, self.cache().now_coarsely()),
        }
    }

    /// Lets everything go that is kept of the content but has not been written yet. What is asked for from now on is kept, and
    /// what the attributes tell, if they are valid.
    pub(crate) fn renew_content(&self, data: &FileData) {
        let Some((table, slots)) = self.slots() else { return };
        let stamp = self.cache().stamp();
        data.renew(|| {
            let mut attributes = self.attributes().write();
            let told = attributes.validity.version;
            let is_told = [slots.attributes, slots.content].map(|slot| table.judge(told, slot)) == [Verdict::Valid; 2];
            let version = if is_told { told } else { stamp.sampled.version() };
            attributes.content = self.validity_of_content(&stamp, version);
        });
    }

    /// What is kept of the content of a file begins with the reply to the request with this stamp, which made the file.
    pub(crate) fn content_begins(&self, stamp: &Stamp) {
        self.attributes().write().content = self.validity_of_content(stamp, stamp.sampled.version());
    }

    fn validity_of_content(&self, stamp: &Stamp, version: Version) -> Validity {
        Validity::new(self.cache().expiry(stamp, Duration::ZERO, None), version)
    }

    /// The version of the mode, if the table says that it is valid.
    pub(super) fn valid_mode(&self) -> Version {
        let Some((table, slots)) = self.slots() else { return Version::NONE };
        let version = self.attributes().read().mode.version;
        if table.judge(version, slots.attributes) == Verdict::Valid { version } else { Version::NONE }
    }

    /// To be called before a change of this inode is asked for.
    pub(crate) fn begin_own_change(&self) -> OwnChange {
        // First this: what was changed before it is in its slots when these are looked at.
        let sampled = self.cache().sample();
        let Some((table, slots)) = self.slots() else {
            return OwnChange { sampled, mode: Version::NONE, content: Version::NONE, content_was_valid: false };
        };
        let mode = self.valid_mode();
        let content = self.attributes().read().content.version;
        let content_was_valid = table.judge(content, slots.content) == Verdict::Valid;
        OwnChange { sampled, mode, content, content_was_valid }
    }

    /// The version of what this change has left as it was, or determines, if so many requests have made it, all successful,
    /// and nobody else has changed anything since.
    pub(crate) fn version_after(&self, change: &OwnChange, requests: u64) -> Option<Version> {
        self.cache().version_after_own(change.sampled, requests)
    }

    /// As [`Self::note_change`], of a change that was made by so many requests, if it is known that all of them succeeded.
    /// What it leaves as it was stays valid, if nobody else has changed anything since. Gives the version that this has then.
    pub(crate) fn note_own_change(&self, change: &OwnChange, requests: Option<u64>) -> Option<Version> {
        let version = requests.and_then(|requests| self.version_after(change, requests));
        self.note_change_of(version.map(|version| (change.mode, version)));
        version
    }

    /// Whether nothing that is kept of the content was fetched anew since this change began.
    pub(crate) fn has_content_of(&self, change: &OwnChange) -> bool {
        self.attributes().read().content.version == change.content
    }

    /// What is kept of the content is as it is after this change, and has this version, if it has one.
    pub(crate) fn keep_content(&self, change: &OwnChange, version: Option<Version>) {
        if let Some(version) = version.filter(|_| change.content_was_valid) {
            let mut attributes = self.attributes().write();
            attributes.content = restamped(attributes.content, change.content, version);
        }
    }
}

/// What was valid and of the version `looked` before an own change, and of `version` after it. What has been asked for anew
/// since is left alone.
pub(super) fn restamped(validity: Validity, looked: Version, version: Version) -> Validity {
    let is_as_it_was = looked != Version::NONE && validity.version == looked;
    if is_as_it_was { validity.of_version(version) } else { validity }
}
