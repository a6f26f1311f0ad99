//! The metadata version table that this server keeps (`SPEC-version-table.md`).
//!
//! - [`mod@file`]: private tables, and files that several servers share.
//! - [`locks`]: between the threads of this server, and between servers.
//! - [`marks`]: mappings for writing.
//! - [`tend`]: the heartbeat.
//! - [`memory`]: what all of them lies in.
//!
//! [`crate::counted_fs`] says what each request changes. The keeper of the window shows the table to guests. They may be
//! able to write to it, so that nothing is read back from it but for guests to see: where slots are was found out when this
//! server started, and counts are elsewhere. Who starts later believes the header: a guest that has written there keeps it
//! from starting.

mod file;
mod locks;
mod marks;
#[allow(unsafe_code)]
mod memory;
mod tend;

pub(crate) use file::{Size, Target, open};
pub(crate) use marks::Mark;
pub(crate) use tend::Watch;

use locks::{Held, Locks};
use memory::Memory;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use virtio_fs_version_table::{Flags, Key, Slot, Table, words_for};

/// The table, and what servers know beside it.
pub(crate) struct VersionTable {
    table: Table<Memory>,
    /// What guests map.
    file: Arc<File>,
    locks: Locks,
    /// How many mappings for writing there are of each slot.
    counts: Memory,
    /// Others served it before.
    is_joined: bool,
}

impl VersionTable {
    /// Begins to tend the table, before any guest is told of it. The sandbox must have been entered, which is done
    /// without threads. What `watch` counts must be counted by now.
    pub(crate) fn start(self: &Arc<Self>, watch: Watch) -> io::Result<()> {
        if self.is_joined {
            // What a server lost that was killed, and what nobody counted.
            self.raise_floor();
        }
        tend::start(self.clone(), watch)
    }

    /// What guests map, whole.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What it says of changes on the host.
    pub(crate) fn flags(&self) -> Flags {
        self.table.flags()
    }

    /// How long the file is.
    pub(crate) fn bytes(&self) -> u64 {
        file::bytes_of(self.table.log2_slots())
    }

    /// Counts a change of what `keys` name, after it was made and before anybody is told.
    pub(crate) fn publish(&self, keys: &[Key]) {
        let mut is_whole = true;
        self.table.publish(keys, |again| {
            let held = self.locks.marks();
            is_whole = held.is_whole();
            again();
        });
        if !is_whole {
            self.raise_floor();
        }
    }

    /// Whether somebody has removed what servers share: who starts now makes another table.
    fn is_removed(&self) -> bool {
        self.locks.servers().is_some_and(|servers| file::is_removed(servers) || file::is_removed(&self.file))
    }

    /// Counts a change of which it is not known what it changed.
    pub(crate) fn raise_floor(&self) {
        self.table.raise_floor();
    }

    /// Waits until no other request, of any server of the table, makes, moves or removes names in these directories,
    /// and holds them up until the value is dropped.
    pub(crate) fn lock_names(&self, directories: [u64; 2]) -> Names<'_> {
        let held = self.locks.names(directories);
        Names { table: self, held }
    }

    fn count(&self, slot: Slot) -> &AtomicU64 {
        &self.counts.as_ref()[slot.index()]
    }
}

/// See [`VersionTable::lock_names`].
pub(crate) struct Names<'a> {
    table: &'a VersionTable,
    held: [Option<Held<'a>>; 2],
}

impl Drop for Names<'_> {
    fn drop(&mut self) {
        if !self.held.iter().flatten().all(Held::is_whole) {
            // Another server may have changed a name between the look and the change.
            self.table.raise_floor();
        }
    }
}
