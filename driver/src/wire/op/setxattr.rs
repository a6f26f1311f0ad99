//! FUSE_SETXATTR: sets an extended attribute. Its arguments are longer with `SETXATTR_EXT` (minor 33).

use crate::wire::{Opcode, Operation, XattrName};
use bitflags::bitflags;
use zerocopy::{Immutable, IntoBytes};

/// FUSE_SETXATTR of the inode that the request names, without `SETXATTR_EXT`; the value follows as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setxattr<'a> {
    pub(crate) name: XattrName<'a>,
    /// The length of the payload.
    pub(crate) size_bytes: u32,
    pub(crate) flags: XattrFlags,
}

/// FUSE_SETXATTR of the inode that the request names, with `SETXATTR_EXT`; the value follows as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetxattrExt<'a> {
    pub(crate) setxattr: Setxattr<'a>,
    /// The value is an access control list, and setting it costs the inode its set-group-id bit.
    pub(crate) acl_kill_sgid: bool,
}

bitflags! {
    /// How an extended attribute is set: Linux's `XATTR_` flags; by default whether it exists or not. Unknown ones are
    /// kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct XattrFlags: u32 {
        /// It must not exist: `EEXIST`.
        const CREATE = 1 << 0;
        /// It must exist: `ENODATA`.
        const REPLACE = 1 << 1;
        const _ = !0;
    }
}

/// `fuse_setxattr_in` up to `FUSE_COMPAT_SETXATTR_IN_SIZE`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct SetxattrArgs {
    size: u32,
    flags: u32,
}

/// `fuse_setxattr_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct SetxattrExtArgs {
    head: SetxattrArgs,
    setxattr_flags: u32,
    padding: u32,
}

/// `FUSE_SETXATTR_ACL_KILL_SGID`.
const ACL_KILL_SGID: u32 = 1;

impl Operation for Setxattr<'_> {
    const OPCODE: Opcode = Opcode(21);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = SetxattrArgs;
    type Reply = ();

    fn args(&self) -> SetxattrArgs {
        SetxattrArgs { size: self.size_bytes, flags: self.flags.bits() }
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl Operation for SetxattrExt<'_> {
    const OPCODE: Opcode = Setxattr::OPCODE;
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = SetxattrExtArgs;
    type Reply = ();

    fn args(&self) -> SetxattrExtArgs {
        let setxattr_flags = if self.acl_kill_sgid { ACL_KILL_SGID } else { 0 };
        SetxattrExtArgs { head: self.setxattr.args(), setxattr_flags, padding: 0 }
    }

    fn names(&self) -> [&[u8]; 2] {
        self.setxattr.names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    fn setxattr(flags: XattrFlags) -> Setxattr<'static> {
        Setxattr { name: XattrName::new(b"user.a").unwrap(), size_bytes: 0x102, flags }
    }

    #[test]
    fn a_short_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            2, 1, 0, 0,                                 // size
            1, 0, 0, 0x80,                              // flags: CREATE and one of the future
            b'u', b's', b'e', b'r', b'.', b'a', 0,      // name
        ];
        let flags = XattrFlags::CREATE | XattrFlags::from_bits_retain(1 << 31);
        assert_eq!(golden::request(21, &setxattr(flags)), golden);
    }

    #[test]
    fn a_long_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            2, 1, 0, 0,                                 // size
            2, 0, 0, 0,                                 // flags: REPLACE
            1, 0, 0, 0,                                 // setxattr_flags: ACL_KILL_SGID
            0, 0, 0, 0,                                 // padding
            b'u', b's', b'e', b'r', b'.', b'a', 0,      // name
        ];
        let long = SetxattrExt { setxattr: setxattr(XattrFlags::REPLACE), acl_kill_sgid: true };
        assert_eq!(golden::request(21, &long), golden);
        let kept = SetxattrExt { acl_kill_sgid: false, ..long };
        assert_eq!(golden::request(21, &kept), golden::patched(&golden, 8, &[0]));
    }
}
