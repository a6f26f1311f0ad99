//! What may follow the arguments of a request that makes an inode.

use super::fuse::{self, init};
use super::request::{Args, Failure, violation};
use crate::test_utils::opcode;
use alloc::format;
use alloc::vec::Vec;

type Context = (Vec<u8>, Vec<u8>);

/// The extensions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The security context of the new inode: its name and its value.
    pub security_context: Option<Context>,
    /// A group of the caller besides its own, with which the inode may be made.
    pub supplementary_group: Option<u32>,
}

/// Reads `bytes`, the extensions of a request. `flags` are those that were negotiated.
pub(super) fn read(bytes: &[u8], opcode: u32, flags: u64) -> Result<Extensions, Failure> {
    let mut extensions = Extensions::default();
    if bytes.is_empty() {
        return Ok(extensions);
    }
    if flags & (init::SECURITY_CTX | init::CREATE_SUPP_GROUP) == 0 {
        return violation("extensions were not negotiated");
    }
    if !matches!(opcode, opcode::CREATE | opcode::TMPFILE | opcode::MKNOD | opcode::MKDIR | opcode::SYMLINK) {
        return violation("it has no extensions");
    }
    let (mut contexts, mut groups) = (0, 0);
    let mut rest = Args(bytes);
    while !rest.0.is_empty() {
        let (size, kind) = (rest.u32()?, rest.u32()?);
        if size % 8 != 0 || size < 8 {
            return violation(format!("an extension has {size} bytes"));
        }
        let mut body = Args(rest.bytes(size as usize - 8)?);
        if kind <= fuse::MAX_NR_SECCTX && flags & init::SECURITY_CTX != 0 {
            contexts += 1;
            extensions.security_context = security_context(&mut body, kind)?;
        } else if kind == fuse::EXT_GROUPS && flags & init::CREATE_SUPP_GROUP != 0 {
            groups += 1;
            extensions.supplementary_group = Some(group(&mut body)?);
        } else {
            return violation(format!("extensions of type {kind} were not negotiated"));
        }
        if body.0.len() >= 8 || body.0.iter().any(|&byte| byte != 0) {
            return violation("an extension has more behind it than the zeros of its padding");
        }
    }
    if contexts > 1 || groups > 1 {
        return violation("an extension comes twice");
    }
    Ok(extensions)
}

/// `fuse_secctx_header`, whose type is their number.
fn security_context(body: &mut Args<'_>, count: u32) -> Result<Option<Context>, Failure> {
    if count == 0 {
        return Ok(None);
    }
    if count > 1 {
        return violation(format!("there are {count} security contexts"));
    }
    let size = body.u32()?;
    body.zeros::<4>()?;
    let name = body.xattr_name()?;
    Ok(Some((name.to_vec(), body.bytes(size as usize)?.to_vec())))
}

/// `fuse_supp_groups`, of which there is one.
fn group(body: &mut Args<'_>) -> Result<u32, Failure> {
    match body.u32()? {
        1 => body.u32(),
        count => violation(format!("there are {count} supplementary groups")),
    }
}
