//! What a server does (section 4).

use crate::atomic::{AtomicU64, Ordering};
use crate::key::{Key, Slot};
use crate::table::{MARKED, Table, at};

impl<M: AsRef<[AtomicU64]>> Table<M> {
    /// Counts a change that was made of what `keys` name. To be called after the change and before anybody is told that it
    /// was made; also without keys, for a request that could have changed something and did not.
    ///
    /// Where a slot is [marked](Self::mark), `locked` is called with what is to be done under the lock of the marks.
    ///
    /// Gives the change's number.
    pub fn publish(&self, keys: &[Key], locked: impl FnOnce(&dyn Fn())) -> u64 {
        let number = self.next_number();
        let raise = |&key: &Key| self.version_word(self.slot(key)).fetch_max(number, Ordering::AcqRel);
        let is_marked = keys.iter().fold(false, |is_marked, key| is_marked | (raise(key) == MARKED));
        if is_marked {
            // A slot that is about to get a smaller number must not lose this one.
            locked(&|| {
                keys.iter().for_each(|key| {
                    raise(key);
                });
            });
        }
        self.settle();
        number
    }

    /// Counts changes of which nobody knows what they are: nothing that was asked for before is valid any more.
    pub fn raise_floor(&self) -> u64 {
        let number = self.next_number();
        self.word(at::FLOOR).fetch_max(number, Ordering::AcqRel);
        self.settle();
        number
    }

    /// An inode with a key in this slot is about to be mapped for writing. To be called under the lock of the marks.
    pub fn mark(&self, slot: Slot) {
        self.version_word(slot).store(MARKED, Ordering::Release);
    }

    /// The last mapping for writing of inodes with keys in this slot is gone. To be called under the lock of the marks.
    pub fn unmark(&self, slot: Slot) {
        let number = self.next_number();
        self.version_word(slot).store(number, Ordering::Release);
        self.settle();
    }

    /// Makes everything void that guests have stamped by this table, for ever: another one takes its place.
    pub fn retire(&self) {
        self.word(at::FLOOR).store(u64::MAX, Ordering::Release);
    }

    /// Tells that the table is tended. To be called every 100 ms, after all that is known of the host was published.
    pub fn beat(&self) {
        self.word(at::HEARTBEAT).fetch_add(1, Ordering::Release);
    }

    fn next_number(&self) -> u64 {
        self.word(at::CLOCK).fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }

    fn settle(&self) {
        self.word(at::SETTLED).fetch_add(1, Ordering::Release);
    }
}
