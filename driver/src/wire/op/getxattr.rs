//! FUSE_GETXATTR: the value of an extended attribute, or how large it is.

use crate::Error;
use crate::wire::{FromBody, Opcode, Operation, XattrName};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// FUSE_GETXATTR of the inode that the request names; the value comes as data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Getxattr<'a> {
    pub(crate) name: XattrName<'a>,
    /// The room for the value, not 0; a larger value is `ERANGE`.
    pub(crate) size_bytes: u32,
}

/// FUSE_GETXATTR of the inode that the request names, which asks only for the size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GetxattrSize<'a> {
    pub(crate) name: XattrName<'a>,
}

/// `fuse_getxattr_in`, which LISTXATTR shares.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct GetxattrArgs {
    /// 0 asks for the size.
    size: u32,
    padding: u32,
}

/// `fuse_getxattr_out`, which LISTXATTR shares.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(crate) struct GetxattrBody {
    size: u32,
    padding: u32,
}

/// How large a value, or the list of names, is at the moment. Any number: what is reserved for it needs a bound, such
/// as [`XATTR_MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XattrSize(pub(crate) u32);

/// The largest value, and the largest list of names, in bytes (Linux's `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`).
pub(crate) const XATTR_MAX_BYTES: usize = 64 << 10;

impl GetxattrArgs {
    pub(crate) fn new(size_bytes: u32) -> Self {
        Self { size: size_bytes, padding: 0 }
    }
}

impl Operation for Getxattr<'_> {
    const OPCODE: Opcode = Opcode(22);
    const OPTIONAL: bool = true;
    type Args = GetxattrArgs;
    type Reply = ();

    fn args(&self) -> GetxattrArgs {
        GetxattrArgs::new(self.size_bytes)
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl Operation for GetxattrSize<'_> {
    const OPCODE: Opcode = Getxattr::OPCODE;
    const OPTIONAL: bool = true;
    type Args = GetxattrArgs;
    type Reply = XattrSize;

    fn args(&self) -> GetxattrArgs {
        GetxattrArgs::new(0)
    }

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

impl FromBody for XattrSize {
    type Body = GetxattrBody;

    fn decode(body: GetxattrBody) -> Result<Self, Error> {
        Ok(Self(body.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            2, 1, 0, 0,                                 // size
            0, 0, 0, 0,                                 // padding
            b'u', b's', b'e', b'r', b'.', b'a', 0,      // name
        ];
        let name = XattrName::new(b"user.a").unwrap();
        assert_eq!(golden::request(22, &Getxattr { name, size_bytes: 0x102 }), golden);
        assert_eq!(golden::request(22, &GetxattrSize { name }), golden::patched(&golden, 0, &[0; 4]));
    }

    #[test]
    fn a_reply_with_the_size_is_read_from_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            3, 2, 1, 0,                 // size
            0xff, 0xff, 0xff, 0xff,     // padding
        ];
        assert_eq!(golden::reply::<GetxattrSize<'_>>(&golden), Ok(XattrSize(0x1_0203)));
    }
}
