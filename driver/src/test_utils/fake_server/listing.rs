//! READDIR and READDIRPLUS.

use super::operations::Answer;
use super::request::{Args, violation};
use super::{FakeServer, replies};
use crate::Errno;
use alloc::format;
use alloc::vec::Vec;

/// The cookie of "."; those of later entries are smaller.
const FIRST_COOKIE: u64 = i64::MAX as u64;

impl FakeServer {
    pub(super) fn readdir(&mut self, nodeid: u64, args: &mut Args<'_>, plus: bool, reply_room_bytes: usize) -> Answer {
        let (directory, cookie, size) = self.read_args(nodeid, args, true, reply_room_bytes)?;
        let node = self.tree.node(directory);
        let after = match FIRST_COOKIE.checked_sub(cookie) {
            _ if cookie == 0 => None,
            Some(place) if place <= node.last_place() => Some(place),
            _ => return violation(format!("cookie {cookie} was never given")),
        };
        let specials = [(0, &b"."[..], directory), (1, b"..", node.parent)];
        let children = node.children.iter().map(|child| (child.place, &child.name[..], child.node));
        let entries =
            specials.into_iter().chain(children).filter(|&(place, ..)| after.is_none_or(|after| place > after));

        let mut listing = Vec::new();
        for (place, name, node) in entries {
            let attr = self.shown(node);
            let dirent = replies::dirent(&attr, FIRST_COOKIE - place, name);
            let entry_bytes = if plus { replies::ENTRY_BYTES } else { 0 };
            if listing.len() + entry_bytes + dirent.len() > size as usize {
                if listing.is_empty() {
                    return Err(Errno::EINVAL.into());
                }
                break;
            }
            if plus {
                // A nodeid with ".", and none with "..": the driver may count on neither.
                let nodeid = match place {
                    0 => nodeid,
                    1 => 0,
                    _ => self.session.look_up(node),
                };
                listing.extend(self.entry_of(nodeid, node));
            }
            listing.extend(dirent);
        }
        Ok(listing)
    }
}
