//! SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.

use super::fuse::{SETXATTR_ACL_KILL_SGID, init};
use super::operations::Answer;
use super::request::{Args, Failure, violation};
use super::tree::NodeIndex;
use super::{FakeServer, replies};
use crate::Errno;
use crate::wire::FileType;
use alloc::format;
use alloc::vec::Vec;

/// `XATTR_` flags.
const CREATE: u32 = 1;
const REPLACE: u32 = 2;
/// The longest value.
const VALUE_MAX_BYTES: usize = 65536;
/// Argument list too long: a value that is too long.
const E2BIG: Errno = Errno(7);

impl FakeServer {
    /// Whether a node may have an attribute of this name.
    fn is_allowed(&self, node: NodeIndex, name: &[u8]) -> Result<(), Failure> {
        let kind = self.tree.node(node).attr.file_type;
        let spaces = [&b"security."[..], b"system.", b"trusted."];
        if name.starts_with(b"user.") {
            let allowed = matches!(kind, FileType::Regular | FileType::Directory);
            return if allowed { Ok(()) } else { Err(Errno::EPERM.into()) };
        }
        if spaces.iter().any(|space| name.starts_with(space)) { Ok(()) } else { Err(Errno::EOPNOTSUPP.into()) }
    }

    pub(super) fn setxattr(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let (size, flags) = (args.u32()?, args.u32()?);
        let mut kills_group = false;
        if self.session.has(init::SETXATTR_EXT) {
            let more_flags = args.u32()?;
            args.zeros::<4>()?;
            if more_flags & !SETXATTR_ACL_KILL_SGID != 0 {
                return violation(format!("setxattr_flags are {more_flags:#x}"));
            }
            kills_group = more_flags != 0;
        }
        let name = args.xattr_name()?;
        let value = args.bytes(size as usize)?;
        args.end()?;
        if flags & !(CREATE | REPLACE) != 0 {
            return violation(format!("flags are {flags:#x}"));
        }
        if kills_group && name != b"system.posix_acl_access" {
            return violation("ACL_KILL_SGID without an access control list");
        }
        let node = self.session.node(nodeid)?;
        self.is_allowed(node, name)?;
        if value.len() > VALUE_MAX_BYTES {
            return Err(E2BIG.into());
        }
        let now = self.options.now;
        let node = self.tree.node_mut(node);
        match (flags, node.xattrs.contains_key(name)) {
            (0, _) | (CREATE, false) | (REPLACE, true) => {}
            (CREATE, true) => return Err(Errno::EEXIST.into()),
            (REPLACE, false) => return Err(Errno::ENODATA.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        node.xattrs.insert(name.to_vec(), value.to_vec());
        if kills_group {
            node.attr.permissions &= !0o2000;
        }
        node.attr.changed = now;
        Ok(Vec::new())
    }

    /// The rest of the reply to GETXATTR and LISTXATTR: the size if that was asked for, or the bytes.
    fn sized(bytes: Vec<u8>, size: u32, reply_room_bytes: usize) -> Answer {
        // Values are bounded, and so are lists of names.
        match (size, bytes.len() as u32) {
            (0, len) => Ok(replies::size(len)),
            _ if size as usize > reply_room_bytes.saturating_sub(16) => {
                violation(format!("{size} bytes are asked for, with {reply_room_bytes} bytes of room"))
            }
            (_, len) if len > size => Err(Errno::ERANGE.into()),
            _ => Ok(bytes),
        }
    }

    pub(super) fn getxattr(&mut self, nodeid: u64, args: &mut Args<'_>, reply_room_bytes: usize) -> Answer {
        let size = args.u32()?;
        args.zeros::<4>()?;
        let name = args.xattr_name()?;
        args.end()?;
        let node = self.tree.node(self.session.node(nodeid)?);
        let value = node.xattrs.get(name).ok_or(Errno::ENODATA)?;
        Self::sized(value.clone(), size, reply_room_bytes)
    }

    pub(super) fn listxattr(&mut self, nodeid: u64, args: &mut Args<'_>, reply_room_bytes: usize) -> Answer {
        let size = args.u32()?;
        args.zeros::<4>()?;
        args.end()?;
        let node = self.tree.node(self.session.node(nodeid)?);
        let names = node.xattrs.keys().flat_map(|name| name.iter().copied().chain([0]));
        Self::sized(names.collect(), size, reply_room_bytes)
    }

    pub(super) fn removexattr(&mut self, nodeid: u64, args: &mut Args<'_>) -> Answer {
        let name = args.xattr_name()?;
        args.end()?;
        let node = self.session.node(nodeid)?;
        self.is_allowed(node, name)?;
        let now = self.options.now;
        let node = self.tree.node_mut(node);
        node.xattrs.remove(name).ok_or(Errno::ENODATA)?;
        node.attr.changed = now;
        Ok(Vec::new())
    }
}
