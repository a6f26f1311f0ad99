//! What the tests of the operations share: requests as bytes, replies from bytes.
//!
//! Golden bytes are those of a little-endian guest. Neighbouring fields have different values, so that a field in the
//! wrong place shows.

use super::*;
use crate::Timestamp;
use crate::session::Request;
use crate::test_utils::request_bytes;
use alloc::vec::Vec;
use core::time::Duration;

/// The arguments and names of a request, as they are sent behind a header with this opcode.
pub(super) fn request<O: Operation>(opcode: u8, operation: &O) -> Vec<u8> {
    let header = InHeader::new(O::OPCODE, NodeId(2), Unique(3));
    let bytes = request_bytes(&Request::new(header, operation, &[], &mut []).with_names(operation.names()));
    let len = u8::try_from(bytes.len()).unwrap();
    assert_eq!(bytes[..8], [len, 0, 0, 0, opcode, 0, 0, 0], "len, opcode");
    bytes[InHeader::BYTES..].to_vec()
}

/// The meaning of the body of a reply.
pub(super) fn reply<O: Operation>(body: &[u8]) -> Result<O::Reply, Error> {
    assert_eq!(body.len(), O::Reply::BYTES, "the body has another length");
    O::Reply::from_bytes(body)
}

/// `bytes` with other ones at `at`.
pub(super) fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

/// `fuse_attr`.
#[rustfmt::skip]
pub(super) const ATTR: [u8; 88] = [
    0x11, 0, 0, 0, 0, 0, 0, 0,                          // ino
    0x12, 0, 0, 0, 1, 0, 0, 0,                          // size
    0x13, 0, 0, 0, 0, 0, 0, 0,                          // blocks
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // atime: before 1970
    0x15, 0, 0, 0, 0, 0, 0, 0,                          // mtime
    0x16, 0, 0, 0, 1, 0, 0, 0,                          // ctime: after 2106
    0xff, 0xc9, 0x9a, 0x3b,                             // atimensec
    0x18, 0, 0, 0,                                      // mtimensec
    0x19, 0, 0, 0,                                      // ctimensec
    0xed, 0x89, 0, 0,                                   // mode: a regular file, 4755
    0x1b, 0, 0, 0,                                      // nlink
    0x1c, 0, 0, 0,                                      // uid
    0x1d, 0, 0, 0,                                      // gid
    0x1e, 0, 0, 0,                                      // rdev
    0, 0x10, 0, 0,                                      // blksize
    1, 0, 0, 0,                                         // flags: a submount
];

/// What [`ATTR`] means.
pub(super) fn attr() -> Attr {
    Attr {
        ino: 0x11,
        file_type: FileType::Regular,
        permissions: 0o4755,
        nlink: 0x1b,
        uid: 0x1c,
        gid: 0x1d,
        rdev: 0x1e,
        size_bytes: 0x1_0000_0012,
        blocks: 0x13,
        block_size_bytes: 0x1000,
        accessed: Timestamp { seconds: -2, nanoseconds: 999_999_999 },
        modified: Timestamp { seconds: 0x15, nanoseconds: 0x18 },
        changed: Timestamp { seconds: 0x1_0000_0016, nanoseconds: 0x19 },
        submount: true,
        dax: false,
    }
}

/// `fuse_entry_out` up to its attributes.
#[rustfmt::skip]
const ENTRY_HEAD: [u8; 40] = [
    0x21, 0, 0, 0, 0, 0, 0, 0,      // nodeid
    0x22, 0, 0, 0, 0, 0, 0, 0,      // generation
    0x23, 0, 0, 0, 0, 0, 0, 0,      // entry_valid
    0x24, 0, 0, 0, 0, 0, 0, 0,      // attr_valid
    0x25, 0, 0, 0,                  // entry_valid_nsec
    0x26, 0, 0, 0,                  // attr_valid_nsec
];

/// `fuse_entry_out`.
pub(super) fn entry_bytes() -> Vec<u8> {
    [&ENTRY_HEAD[..], &ATTR].concat()
}

/// What [`entry_bytes`] mean.
pub(super) fn entry() -> Entry {
    Entry {
        nodeid: NodeId(0x21),
        generation: 0x22,
        entry_ttl: Duration::new(0x23, 0x25),
        attr_ttl: Duration::new(0x24, 0x26),
        attr: Ok(attr()),
    }
}

/// Attributes with one field that cannot be.
pub(super) fn impossible_attrs() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in [48, 52, 56] {
        // Nanoseconds of one of the times.
        all.push(patched(&ATTR, at, &1_000_000_000_u32.to_le_bytes()));
        all.push(patched(&ATTR, at, &[0xff; 4]));
    }
    // The size, as an offset negative.
    all.push(patched(&ATTR, 8, &(1_u64 << 63).to_le_bytes()));
    all.push(patched(&ATTR, 8, &[0xff; 8]));
    for file_type in [0, 3, 5, 7, 9, 11, 13, 14, 15_u32] {
        all.push(patched(&ATTR, 60, &(file_type << 12 | 0o644).to_le_bytes()));
    }
    all
}

#[test]
fn structures_have_the_sizes_of_fuse_h() {
    fn sizes<O: Operation>() -> (usize, usize) {
        (size_of::<O::Args>(), O::Reply::BYTES)
    }
    assert_eq!((size_of::<InHeader>(), size_of::<OutHeader>()), (40, 16));
    assert_eq!((size_of::<RawAttr>(), size_of::<RawEntry>()), (88, 128));
    assert_eq!((size_of::<InitReply>(), size_of::<ForgetOne>()), (64, 16));
    assert_eq!(sizes::<Init>(), (64, 0));
    assert_eq!(sizes::<Destroy>(), (0, 0));
    assert_eq!(sizes::<Lookup<'_>>(), (0, 128));
    assert_eq!(sizes::<Forget>(), (8, 0));
    assert_eq!(sizes::<BatchForget>(), (8, 0));
    assert_eq!(sizes::<Getattr>(), (16, 104));
    assert_eq!(sizes::<Statx>(), (24, 288));
    assert_eq!(sizes::<Readlink>(), (0, 0));
    assert_eq!((sizes::<Open>(), sizes::<Opendir>()), ((8, 16), (8, 16)));
    assert_eq!((sizes::<Release>(), sizes::<Releasedir>()), ((24, 0), (24, 0)));
    assert_eq!((sizes::<Read>(), sizes::<Readdir>(), sizes::<Readdirplus>()), ((40, 0), (40, 0), (40, 0)));
    assert_eq!(sizes::<Statfs>(), (0, 80));
    assert_eq!((sizes::<Create<'_>>(), sizes::<Tmpfile>()), ((16, 144), (16, 144)));
    assert_eq!((sizes::<Mkdir<'_>>(), sizes::<Mknod<'_>>()), ((8, 128), (16, 128)));
    assert_eq!((sizes::<Symlink<'_>>(), sizes::<Link<'_>>()), ((0, 128), (8, 128)));
    assert_eq!((sizes::<Unlink<'_>>(), sizes::<Rmdir<'_>>()), ((0, 0), (0, 0)));
    assert_eq!((sizes::<Rename<'_>>(), sizes::<Rename2<'_>>()), ((8, 0), (16, 0)));
    assert_eq!(sizes::<Setattr>(), (88, 104));
    assert_eq!((sizes::<Write>(), sizes::<Flush>(), sizes::<Fallocate>()), ((40, 8), (24, 0), (32, 0)));
    assert_eq!((sizes::<Fsync>(), sizes::<Fsyncdir>(), sizes::<Syncfs>()), ((16, 0), (16, 0), (8, 0)));
    assert_eq!((sizes::<CopyFileRange>(), sizes::<CopyFileRange64>()), ((56, 8), (56, 8)));
    assert_eq!(sizes::<Lseek>(), (24, 8));
    assert_eq!((sizes::<Setxattr<'_>>(), sizes::<SetxattrExt<'_>>()), ((8, 0), (16, 0)));
    assert_eq!((sizes::<Getxattr<'_>>(), sizes::<GetxattrSize<'_>>()), ((8, 0), (8, 8)));
    assert_eq!((sizes::<Listxattr>(), sizes::<ListxattrSize>()), ((8, 0), (8, 8)));
    assert_eq!(sizes::<Removexattr<'_>>(), (0, 0));
    assert_eq!((sizes::<Getlk>(), sizes::<Setlk>(), sizes::<Setlkw>()), ((48, 24), (48, 0), (48, 0)));
    assert_eq!((sizes::<CheckAccess>(), sizes::<Interrupt>()), ((8, 0), (8, 0)));
}
