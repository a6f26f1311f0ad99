//! Finding what a name leads to: in the cache, or by asking the server.

use super::{Node, View};
use crate::cache::{Dentry, Inode, Stamp, Verdict};
use crate::wire::{Attr, LookedUp, Lookup, Name};
use crate::{Errno, Error, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

/// What a name leads to.
pub(crate) struct Found {
    pub(crate) inode: Arc<Inode>,
    /// The attributes, if the server was asked.
    pub(crate) told: Option<Box<Told>>,
}

/// Attributes that the server has just told.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub(crate) attr: Attr,
    /// Of the request.
    pub(crate) stamp: Stamp,
}

impl View {
    /// Finds `name` in `directory`, whoever asks. Nothing is allocated, and nobody waited for, if it is known at the time
    /// `now`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such name; the server's.
    pub(crate) fn find(&self, directory: &Arc<Inode>, name: Name<'_>, now: Instant) -> Result<Found, Error> {
        match self.superblock.cache.find(directory, name.bytes(), now) {
            Some(Dentry::Inode(inode)) => {
                directory.note_search();
                Ok(Found { inode, told: None })
            }
            Some(Dentry::Absent) => Err(Error::Refused(Errno::ENOENT)),
            None => self.ask(directory, name),
        }
    }

    /// Asks the server for `name` in `directory`.
    fn ask(&self, directory: &Arc<Inode>, name: Name<'_>) -> Result<Found, Error> {
        let cache = &self.superblock.cache;
        let stamp = cache.stamp();
        let learn = |target, ttl| cache.learn_name(directory, name.bytes(), target, ttl, &stamp);
        match self.superblock.session.call(&self.credentials, directory.nodeid, &Lookup { name }) {
            Ok(LookedUp::Found(entry)) => {
                let (inode, attr) = cache.inode(directory, &entry, &stamp)?;
                learn(Dentry::Inode(inode.clone()), entry.entry_ttl);
                directory.note_search();
                // What was written here meanwhile the reply may not know, nor the pages tell any more.
                let is_new = !cache.options().writes_back()
                    || inode.unchanged_since(&stamp)
                        && (inode.unwritten().is_none() || inode.content_verdict() != Verdict::Old);
                let told = is_new.then(|| Box::new(Told { attr, stamp }));
                Ok(Found { inode, told })
            }
            Ok(LookedUp::Absent { ttl }) => {
                learn(Dentry::Absent, ttl);
                Err(Error::Refused(Errno::ENOENT))
            }
            Err(error) => {
                if error == Error::Refused(Errno::ENOENT) {
                    learn(Dentry::Absent, Duration::ZERO);
                }
                Err(error)
            }
        }
    }
}

impl Node {
    /// Finds `name`, whoever asks, and tells the attributes of what it leads to.
    pub(super) fn lookup_unchecked(&self, name: Name<'_>) -> Result<(Self, Attr), Error> {
        let found = self.view().find(self.inode(), name, self.cache().now())?;
        let node = Self::new(found.inode, self.view().clone());
        let Some(told) = found.told else {
            self.cache().count_name_hits(node.inode(), 1);
            let attr = node.getattr()?;
            return Ok((node, attr));
        };
        Ok((node, told.attr))
    }
}
