//! What the fake server keeps of the driver: lookups, file handles, requests seen.

use super::locks::HeldLock;
use super::request::{Failure, violation};
use super::tree::{NodeIndex, Tree};
use crate::wire::NodeId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    BeforeInit,
    Open,
    Destroyed,
}

/// A session, from INIT to DESTROY. Nodeids and file handles of one session have no meaning in the next, and do not
/// come again there.
#[derive(Default)]
pub(super) struct Session {
    life: Life,
    /// The flags that both sides know.
    pub(super) flags: u64,
    /// The minor version of both sides: the smaller one.
    pub(super) minor: u32,
    /// The most bytes of a READ, a WRITE or a listing.
    pub(super) max_data_bytes: u64,
    /// The most bytes of a WRITE.
    pub(super) max_write_bytes: u32,
    lookups: BTreeMap<u64, Lookups>,
    /// The nodeid of each node that has one.
    nodeids: BTreeMap<NodeIndex, u64>,
    nodeids_given: u64,
    handles: BTreeMap<u64, Handle>,
    handles_given: u64,
    uniques: BTreeSet<u64>,
}

struct Lookups {
    node: NodeIndex,
    count: u64,
}

/// An open file or directory.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    nodeid: u64,
    pub(super) node: NodeIndex,
    is_directory: bool,
    /// The flags it was opened with.
    pub(super) flags: u32,
    /// The owner of the `flock` lock that was taken through it last.
    pub(super) flock_owner: Option<u64>,
}

impl Session {
    /// Begins a new session; whatever the last one held is gone.
    pub(super) fn start(&mut self) {
        self.clear();
        self.uniques.clear();
        self.life = Life::Open;
    }

    /// Ends the session.
    pub(super) fn destroy(&mut self) {
        self.clear();
        self.life = Life::Destroyed;
    }

    fn clear(&mut self) {
        self.lookups.clear();
        self.nodeids.clear();
        self.handles.clear();
    }

    /// Whether both sides know a flag, or one of several.
    pub(super) fn has(&self, flags: u64) -> bool {
        self.flags & flags != 0
    }

    pub(super) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    /// Other requests than INIT need a session.
    pub(super) fn must_be_open(&self) -> Result<(), Failure> {
        match self.life {
            Life::BeforeInit => violation("comes before INIT"),
            Life::Open => Ok(()),
            Life::Destroyed => violation("comes after DESTROY"),
        }
    }

    /// Takes note of the number of a request.
    pub(super) fn note_unique(&mut self, unique: u64) -> Result<(), Failure> {
        if unique == 0 {
            return violation("unique is 0");
        }
        if !self.uniques.insert(unique) {
            return violation("unique was used before");
        }
        Ok(())
    }

    /// The node that a request names.
    pub(super) fn node(&self, nodeid: u64) -> Result<NodeIndex, Failure> {
        if nodeid == NodeId::ROOT.0 {
            return Ok(Tree::ROOT);
        }
        match self.lookups.get(&nodeid) {
            Some(lookups) => Ok(lookups.node),
            None => violation(format!("nodeid {nodeid} is not known")),
        }
    }

    /// Counts one lookup of a node, and gives its nodeid.
    pub(super) fn look_up(&mut self, node: NodeIndex) -> u64 {
        let nodeid = *self.nodeids.entry(node).or_insert_with(|| {
            self.nodeids_given += 1;
            NodeId::ROOT.0 + self.nodeids_given
        });
        self.lookups.entry(nodeid).or_insert(Lookups { node, count: 0 }).count += 1;
        nodeid
    }

    /// Takes `count` lookups back.
    pub(super) fn forget(&mut self, nodeid: u64, count: u64) -> Result<(), Failure> {
        if nodeid == NodeId::ROOT.0 {
            return violation("forgets the root");
        }
        let node = self.node(nodeid)?;
        let left = match self.nlookup(nodeid).checked_sub(count) {
            _ if count == 0 => return violation(format!("forgets no lookup of nodeid {nodeid}")),
            None => return violation(format!("forgets {count} of {} lookups of {nodeid}", self.nlookup(nodeid))),
            Some(0) if self.handles.values().any(|handle| handle.nodeid == nodeid) => {
                return violation(format!("forgets nodeid {nodeid}, which is open"));
            }
            Some(left) => left,
        };
        if left == 0 {
            self.lookups.remove(&nodeid);
            self.nodeids.remove(&node);
        } else {
            self.lookups.insert(nodeid, Lookups { node, count: left });
        }
        Ok(())
    }

    /// Opens a node; gives the file handle.
    pub(super) fn open(&mut self, nodeid: u64, node: NodeIndex, is_directory: bool, flags: u32) -> u64 {
        let fh = self.handles_given;
        self.handles_given += 1;
        self.handles.insert(fh, Handle { nodeid, node, is_directory, flags, flock_owner: None });
        fh
    }

    /// What a file handle stands for, which must be what the request names.
    pub(super) fn opened(&self, fh: u64, nodeid: u64, is_directory: bool) -> Result<Handle, Failure> {
        let Some(handle) = self.handles.get(&fh) else {
            return violation(format!("fh {fh} is not open"));
        };
        if handle.nodeid != nodeid {
            return violation(format!("fh {fh} is of nodeid {}, not of {nodeid}", handle.nodeid));
        }
        if handle.is_directory != is_directory {
            return violation(format!("fh {fh} was opened by the operation for the other kind"));
        }
        Ok(*handle)
    }

    /// Takes note of a lock that was taken through a file handle.
    pub(super) fn note_flock(&mut self, fh: u64, lock: &HeldLock) {
        if let Some(handle) = self.handles.get_mut(&fh).filter(|_| lock.is_flock) {
            handle.flock_owner = Some(lock.owner);
        }
    }

    /// Closes a file handle.
    pub(super) fn close(&mut self, fh: u64) {
        self.handles.remove(&fh);
    }

    /// Whether the driver has a node open.
    pub(super) fn is_open_file(&self, node: NodeIndex) -> bool {
        self.handles.values().any(|handle| handle.node == node)
    }

    /// Whether the driver can still reach a node that has no name.
    pub(super) fn holds(&self, node: NodeIndex) -> bool {
        self.nodeids.contains_key(&node) || self.is_open_file(node)
    }

    pub(super) fn nlookup(&self, nodeid: u64) -> u64 {
        self.lookups.get(&nodeid).map_or(0, |lookups| lookups.count)
    }

    pub(super) fn nodeid_of(&self, node: NodeIndex) -> Option<u64> {
        if node == Tree::ROOT { Some(NodeId::ROOT.0) } else { self.nodeids.get(&node).copied() }
    }

    pub(super) fn known_nodes(&self) -> usize {
        self.lookups.len()
    }

    pub(super) fn open_handles(&self) -> usize {
        self.handles.len()
    }
}
