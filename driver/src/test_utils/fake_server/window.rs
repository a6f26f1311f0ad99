//! SETUPMAPPING, REMOVEMAPPING: a DAX window.

use super::operations::Answer;
use super::request::{Args, violation};
use super::tree::NodeIndex;
use super::{FakeServer, fuse};
use crate::Errno;
use crate::virtio::SharedMemory;
use crate::wire::FileType;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

/// What is in the window where nothing is mapped.
const NOTHING: u8 = 0xdb;

/// Memory that files are mapped into. It has their content before and after each request, and whenever a test looks: what
/// was stored there is written to the files first.
pub(super) struct Window {
    memory: Arc<SharedMemory>,
    alignment: u64,
    /// In the order of their places.
    maps: Vec<Map>,
    /// What is in it as far as the server knows.
    shown: Vec<u8>,
}

/// A range of a file in the window.
#[derive(Clone, Copy, Debug)]
struct Map {
    start: u64,
    length: u64,
    node: NodeIndex,
    offset: u64,
    is_writable: bool,
}

impl Map {
    fn end(&self) -> u64 {
        self.start + self.length
    }

    /// What is left of it outside of a range of the window.
    fn without(self, start: u64, end: u64) -> impl Iterator<Item = Self> {
        let before = Self { length: start.clamp(self.start, self.end()) - self.start, ..self };
        let cut = end.clamp(self.start, self.end()) - self.start;
        let after = Self { start: self.start + cut, length: self.length - cut, offset: self.offset + cut, ..self };
        let is_apart = end <= self.start || self.end() <= start;
        let parts = if is_apart { [Some(self), None] } else { [Some(before), Some(after)] };
        parts.into_iter().flatten().filter(|part| part.length > 0)
    }
}

impl Window {
    /// The files of which anything is mapped for writing.
    pub(super) fn mapped_for_writing(&self) -> Vec<NodeIndex> {
        self.maps.iter().filter(|map| map.is_writable).map(|map| map.node).collect()
    }
}

impl FakeServer {
    /// Gives the device a DAX window, in which mappings are multiples of `1 << alignment` bytes.
    pub fn add_window(&mut self, bytes: usize, alignment: u16) -> &mut Self {
        self.options.map_alignment = alignment;
        let window = Window {
            memory: Arc::new(SharedMemory::owned(bytes)),
            alignment: 1 << alignment,
            maps: Vec::new(),
            shown: Vec::new(),
        };
        self.window = Some(window);
        self.show_in_window();
        self
    }

    /// How many ranges are mapped in the window.
    pub fn mappings(&self) -> usize {
        self.window.as_ref().map_or(0, |window| window.maps.len())
    }

    pub(in crate::test_utils) fn window_memory(&self) -> Option<Arc<SharedMemory>> {
        self.window.as_ref().map(|window| window.memory.clone())
    }

    /// Writes what was stored in the window to the files that are mapped there.
    pub(in crate::test_utils) fn take_from_window(&mut self) {
        let Some(window) = &mut self.window else { return };
        let mut all = vec![0; window.shown.len()];
        // Not if the device was reset.
        if window.memory.read(0, &mut all).is_err() || all == window.shown {
            return;
        }
        let (shown, maps) = (mem::take(&mut window.shown), window.maps.clone());
        let mut end = 0;
        for map in &maps {
            let range = map.start as usize..map.end() as usize;
            if all[end..range.start] != shown[end..range.start] {
                self.note_violation("the window was stored to where nothing is mapped".into());
            }
            end = range.end;
            let (stored, before) = (&all[range.clone()], &shown[range]);
            if stored == before {
                continue;
            }
            let mut content = self.tree.node(map.node).content.read(map.offset, map.length);
            if stored[content.len()..] != before[content.len()..] {
                self.note_violation(format!("{map:?} was stored to behind the file's end"));
            }
            if !map.is_writable {
                self.note_violation(format!("{map:?} was stored to, which is not writable"));
            }
            // Of a range that is mapped twice one may have been stored to here, and the other one there.
            for ((byte, stored), before) in content.iter_mut().zip(stored).zip(before) {
                if stored != before {
                    *byte = *stored;
                }
            }
            let now = self.options.now;
            let node = self.tree.node_mut(map.node);
            node.change_content(|old| old.write(map.offset, &content));
            node.modified(now);
        }
        if all[end..] != shown[end..] {
            self.note_violation("the window was stored to where nothing is mapped".into());
        }
    }

    /// Lets the window have the content of the files that are mapped there.
    pub(in crate::test_utils) fn show_in_window(&mut self) {
        let Some(window) = &mut self.window else { return };
        let mut all = vec![NOTHING; window.memory.len() as usize];
        for map in &window.maps {
            let content = self.tree.node(map.node).content.read(map.offset, map.length);
            all[map.start as usize..][..content.len()].copy_from_slice(&content);
        }
        if all != window.shown {
            let _ = window.memory.write(0, &all);
            window.shown = all;
        }
    }

    pub(super) fn setupmapping(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (fh, offset, length, flags, start) = (args.u64()?, args.u64()?, args.u64()?, args.u64()?, args.u64()?);
        args.end()?;
        let node = self.session.node(nodeid)?;
        let Some(window) = &mut self.window else { return Err(Errno::ENOSYS.into()) };
        let is_aligned = [offset, length, start].iter().all(|number| number.is_multiple_of(window.alignment));
        let fits = start.checked_add(length).is_some_and(|end| end <= window.memory.len());
        if fh != u64::MAX || !is_aligned || !fits || length == 0 || flags & !3 != 0 || flags & fuse::MAP_READ == 0 {
            return violation(format!(
                "a mapping of fh {fh:#x}, {offset:#x}, {length:#x}, flags {flags}, to {start:#x}"
            ));
        }
        let is_writable = flags & fuse::MAP_WRITE != 0;
        let attr = &self.tree.node(node).attr;
        match attr.file_type {
            FileType::Regular => {}
            _ => return Err(Errno::EINVAL.into()),
        }
        if offset + length > attr.size_bytes {
            return Err(Errno::EINVAL.into());
        }
        if is_writable && self.options.read_only {
            return Err(Errno::EROFS.into());
        }
        let end = start + length;
        window.maps = window.maps.iter().flat_map(|map| map.without(start, end)).collect();
        window.maps.push(Map { start, length, node, offset, is_writable });
        window.maps.sort_by_key(|map| map.start);
        Ok(Vec::new())
    }

    pub(super) fn removemapping(&mut self, args: &mut Args<'_>) -> Answer {
        let count = args.u32()?;
        let Some(window) = &mut self.window else { return Err(Errno::ENOSYS.into()) };
        for _ in 0..count {
            let (start, length) = (args.u64()?, args.u64()?);
            let end = start.checked_add(length).filter(|&end| end <= window.memory.len());
            let is_aligned = start.is_multiple_of(window.alignment) && length.is_multiple_of(window.alignment);
            let Some(end) = end.filter(|_| is_aligned) else {
                return violation(format!("{start:#x} and {length:#x} of the window are removed"));
            };
            window.maps = window.maps.iter().flat_map(|map| map.without(start, end)).collect();
        }
        args.end()?;
        Ok(Vec::new())
    }

    /// A new session begins, or the old one ends.
    pub(super) fn clear_window(&mut self) {
        if let Some(window) = &mut self.window {
            window.maps.clear();
        }
    }
}
