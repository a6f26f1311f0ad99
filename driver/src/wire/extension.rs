//! Request extensions: what CREATE, TMPFILE, MKNOD, MKDIR and SYMLINK carry behind everything else.
//!
//! An extension is its length, its type and its content, padded to 8 bytes; the padding counts in the length. There are
//! two:
//!
//! - The security context (minor 36) comes first, and always if `SECURITY_CTX` is negotiated, be it without a context:
//!   virtiofsd refuses a request that lacks it, or that has more than one context. Its type is the number of contexts;
//!   types up to 31 are kept free for that.
//! - Supplementary groups (minor 38) may come if `CREATE_SUPP_GROUP` is negotiated. Linux sends one: the directory's,
//!   if the caller is in it by a supplementary group.
//!
//! The header has the length of them all ([`InHeader::with_extensions`](super::InHeader::with_extensions)). Before
//! minor 38 this was padding, and the security context had the same bytes; virtiofsd goes by the length of the request.

use super::XattrName;
use crate::{Errno, Error};
use alloc::vec::Vec;
use zerocopy::{Immutable, IntoBytes};

/// `fuse_ext_header`; `fuse_secctx_header` is alike.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ExtensionHeader {
    /// The length of the extension with this header and its padding, in bytes.
    size: u32,
    kind: u32,
}

/// `fuse_secctx`; a name with its NUL byte and a value follow.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RawSecurityContext {
    /// The length of the value, in bytes.
    size: u32,
    padding: u32,
}

/// `FUSE_EXT_GROUPS`.
const GROUPS: u32 = 32;

/// Appends a security context to `payload`: the extended attribute that a new inode gets at once. `None` says that
/// there is none, and so does an empty value.
///
/// # Errors
///
/// `E2BIG` if the value is larger than an extended attribute can be; [`Error::NoMemory`].
pub(crate) fn push_security_context(
    payload: &mut Vec<u8>,
    context: Option<(XattrName<'_>, &[u8])>,
) -> Result<(), Error> {
    let Some((name, value)) = context.filter(|(_, value)| !value.is_empty()) else {
        return push(payload, 0, &[]);
    };
    if value.len() > super::XATTR_MAX_BYTES {
        return Err(Error::Invalid(Errno::E2BIG));
    }
    let context = RawSecurityContext { size: value.len() as u32, padding: 0 };
    push(payload, 1, &[context.as_bytes(), name.bytes(), b"\0", value])
}

/// Appends supplementary groups (`fuse_supp_groups`) to `payload`.
///
/// # Errors
///
/// `E2BIG` if there are more than Linux lets a process have; [`Error::NoMemory`].
pub(crate) fn push_groups(payload: &mut Vec<u8>, groups: &[u32]) -> Result<(), Error> {
    /// Linux's `NGROUPS_MAX`, beyond which virtiofsd refuses the request.
    const MAX: usize = 65_536;
    if groups.len() > MAX {
        return Err(Error::Invalid(Errno::E2BIG));
    }
    push(payload, GROUPS, &[(groups.len() as u32).as_bytes(), groups.as_bytes()])
}

/// Appends an extension with `content`, whose length was bounded.
fn push(payload: &mut Vec<u8>, kind: u32, content: &[&[u8]]) -> Result<(), Error> {
    let content_bytes: usize = content.iter().map(|piece| piece.len()).sum();
    let size = (size_of::<ExtensionHeader>() + content_bytes).next_multiple_of(8);
    payload.try_reserve(size).map_err(|_| Error::NoMemory)?;
    let end = payload.len() + size;
    payload.extend_from_slice(ExtensionHeader { size: size as u32, kind }.as_bytes());
    content.iter().for_each(|piece| payload.extend_from_slice(piece));
    payload.resize(end, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn selinux(value: &[u8]) -> Option<(XattrName<'_>, &[u8])> {
        Some((XattrName::new(b"security.selinux").unwrap(), value))
    }

    #[test]
    fn a_security_context_has_the_bytes_of_fuse_h() {
        let mut payload = Vec::new();
        push_security_context(&mut payload, selinux(b"label\0")).unwrap();
        #[rustfmt::skip]
        let golden = [
            &[40, 0, 0, 0, 1, 0, 0, 0][..],     // fuse_secctx_header: size, nr_secctx
            &[6, 0, 0, 0, 0, 0, 0, 0],          // fuse_secctx: size of the value, padding
            b"security.selinux\0",              // name
            b"label\0",                         // value, whose NUL is its own
            &[0],                               // padding to 8 bytes
        ];
        assert_eq!(payload, golden.concat());
    }

    #[test]
    fn that_there_is_no_security_context_is_said() {
        for context in [None, selinux(b"")] {
            let mut payload = Vec::new();
            push_security_context(&mut payload, context).unwrap();
            assert_eq!(payload, [8, 0, 0, 0, 0, 0, 0, 0], "size, nr_secctx");
        }
    }

    #[test]
    fn groups_have_the_bytes_of_fuse_h() {
        let mut payload = Vec::new();
        push_groups(&mut payload, &[0x0102, 0x0304]).unwrap();
        #[rustfmt::skip]
        let golden = [
            24, 0, 0, 0, 32, 0, 0, 0,   // fuse_ext_header: size, type
            2, 0, 0, 0,                 // nr_groups
            2, 1, 0, 0, 4, 3, 0, 0,     // groups
            0, 0, 0, 0,                 // padding to 8 bytes
        ];
        assert_eq!(payload, golden);
        payload.clear();
        push_groups(&mut payload, &[5]).unwrap();
        assert_eq!(payload, [16, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
    }

    #[test]
    fn extensions_follow_each_other_behind_what_is_there() {
        let mut payload = b"target\0".to_vec();
        push_security_context(&mut payload, None).unwrap();
        push_groups(&mut payload, &[5]).unwrap();
        assert_eq!(payload.len(), 7 + 8 + 16);
        assert_eq!((&payload[..7], payload[7], payload[15], payload[19]), (&b"target\0"[..], 8, 16, 32));
    }

    #[test]
    fn more_than_linux_allows_is_too_much() {
        let mut payload = Vec::new();
        let value = vec![b'x'; 65_537];
        assert_eq!(push_security_context(&mut payload, selinux(&value)), Err(Error::Invalid(Errno::E2BIG)));
        assert_eq!(push_groups(&mut payload, &vec![1; 65_537]), Err(Error::Invalid(Errno::E2BIG)));
        assert!(payload.is_empty());
        push_security_context(&mut payload, selinux(&value[1..])).unwrap();
        push_groups(&mut payload, &vec![1; 65_536]).unwrap();
        assert_eq!(payload.len() % 8, 0);
    }
}
