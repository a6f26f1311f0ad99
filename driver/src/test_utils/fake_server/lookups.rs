//! LOOKUP, FORGET, BATCH_FORGET.

use super::operations::Answer;
use super::request::{Args, violation};
use super::tree::NodeIndex;
use super::{FakeServer, replies};
use crate::Errno;
use alloc::vec::Vec;

impl FakeServer {
    pub(super) fn lookup(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let name = args.name()?;
        args.end()?;
        let directory = self.session.node(nodeid)?;
        match (self.tree.child(directory, name), self.options.negative_ttl) {
            (Ok(node), _) => Ok(self.entry(node)),
            (Err(Errno::ENOENT), Some(ttl)) => Ok(replies::negative_entry(ttl)),
            (Err(errno), _) => Err(errno.into()),
        }
    }

    /// Counts one lookup of a node, and says so.
    pub(super) fn entry(&mut self, node: NodeIndex) -> Vec<u8> {
        let nodeid = self.session.look_up(node);
        self.entry_of(nodeid, node)
    }

    /// What is said of a node that has this nodeid.
    pub(super) fn entry_of(&self, nodeid: u64, node: NodeIndex) -> Vec<u8> {
        replies::entry(nodeid, self.tree.node(node).generation, &self.shown(node), &self.options)
    }

    pub(super) fn forget(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let nlookup = args.u64()?;
        args.end()?;
        self.session.forget(nodeid, nlookup)?;
        Ok(Vec::new())
    }

    pub(super) fn batch_forget(&mut self, args: &mut Args<'_>) -> Answer {
        let count = args.u32()?;
        args.zeros::<4>()?;
        if count == 0 {
            return violation("forgets nothing");
        }
        let mut result = Ok(Vec::new());
        for _ in 0..count {
            let (nodeid, nlookup) = (args.u64()?, args.u64()?);
            // The others are forgotten all the same.
            if let Err(failure) = self.session.forget(nodeid, nlookup) {
                result = Err(failure);
            }
        }
        args.end()?;
        result
    }
}
