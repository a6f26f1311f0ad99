//! Content that is kept as a whole, or not at all: targets of links, listings of directories.

use super::PAGE_BYTES;
use super::file_data::{FileData, Page, Version};
use alloc::vec::Vec;

impl FileData {
    /// What [`Self::keep_whole`] is to be told, taken before the server is asked.
    pub(crate) fn epoch(&self) -> u64 {
        self.state.read().epoch
    }

    /// Keeps what the server said that was asked in this epoch, of an inode with these attributes; if there is memory.
    pub(crate) fn keep_whole(&self, epoch: u64, version: Option<Version>, content: &[u8]) {
        let mut pages = Vec::new();
        if pages.try_reserve_exact(content.len().div_ceil(PAGE_BYTES)).is_err() {
            return;
        }
        for piece in content.chunks(PAGE_BYTES) {
            let Some(mut page) = Page::new(&self.pool, piece.len()) else { return };
            page.put(0, piece);
            pages.push(page);
        }
        let mut state = self.state.write();
        if state.epoch != epoch {
            return;
        }
        state.pages.clear();
        state.eof = None;
        state.version = version;
        // Whoever looks at what was kept before has to see that it is gone.
        state.epoch += 1;
        let epoch = state.epoch;
        drop(state);
        self.insert(epoch, 0, pages, content.len(), true);
    }

    /// What is kept, if it is all there and belongs to these attributes; `None` for the attributes: whatever they were.
    pub(crate) fn whole(&self, version: Option<Version>) -> Option<Vec<u8>> {
        let state = self.state.read();
        let length = usize::try_from(state.eof?).ok()?;
        let is_old = version.is_some() && state.version != version;
        // Nothing is kept of what is empty: that is how it looks when nothing is known, too.
        if is_old || length == 0 || state.pages.len() < length.div_ceil(PAGE_BYTES) {
            return None;
        }
        let epoch = state.epoch;
        drop(state);
        let mut content = Vec::new();
        content.try_reserve_exact(length).ok()?;
        content.resize(length, 0);
        let is_all = self.copy_out(0, &mut content).bytes == length && self.epoch() == epoch;
        is_all.then_some(content)
    }
}
