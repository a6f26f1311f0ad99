//! Inode numbers in file handles.
//!
//! An event names inodes by handles. To open one takes a right that the sandbox may have given up, and cannot be done
//! when the inode is gone, as it is after its last name was removed. So handles are taken apart, on file systems where
//! it is known what they are made of.

use super::records::Handle;

/// How a file system makes handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Inode number, generation; 32 bits each.
    Generic,
    /// As [`Self::Generic`], or an inode number of 64 bits before the generation.
    Xfs,
    /// Inode number of 64 bits, tree of 64 bits, generation.
    Btrfs,
    /// Generation, then the inode number's lower and upper 32 bits.
    Tmpfs,
}

/// FILEID_INO32_GEN, the same with XFS_FILEID_TYPE_64FLAG, and FILEID_BTRFS_WITHOUT_PARENT.
const INO32_GEN: i32 = 1;
const XFS_INO64_GEN: i32 = 0x81;
const BTRFS_WITHOUT_PARENT: i32 = 0x4d;

impl Layout {
    /// By the magic number that `statfs` tells.
    pub(super) fn of(magic: u64) -> Option<Self> {
        match magic {
            // ext2 to ext4, f2fs
            0xef53 | 0xf2f5_2010 => Some(Self::Generic),
            0x5846_5342 => Some(Self::Xfs),
            0x9123_683e => Some(Self::Btrfs),
            0x0102_1994 => Some(Self::Tmpfs),
            _ => None,
        }
    }

    /// The inode number, if this is a handle as it is known.
    pub(super) fn ino(self, handle: Handle<'_>) -> Option<u64> {
        let short = |at: usize| Some(u32::from_ne_bytes(handle.bytes.get(at..at + 4)?.try_into().ok()?).into());
        let long = || Some(u64::from_ne_bytes(handle.bytes.get(..8)?.try_into().ok()?));
        match (self, handle.kind, handle.bytes.len()) {
            (Self::Generic | Self::Xfs, INO32_GEN, 8) => short(0),
            (Self::Xfs, XFS_INO64_GEN, 12) | (Self::Btrfs, BTRFS_WITHOUT_PARENT, 20) => long(),
            (Self::Tmpfs, INO32_GEN, 12) => {
                let (low, high): (u64, u64) = (short(4)?, short(8)?);
                Some(low | high << 32)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ino(layout: Layout, kind: i32, words: &[u32]) -> Option<u64> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        layout.ino(Handle { kind, bytes: &bytes })
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn each_file_system_has_its_inode_numbers_where_it_puts_them() {
        assert_eq!(ino(Layout::Generic, 1, &[7, 9]), Some(7));
        assert_eq!(ino(Layout::Xfs, 1, &[7, 9]), Some(7));
        assert_eq!(ino(Layout::Xfs, 0x81, &[7, 1, 9]), Some(1 << 32 | 7));
        assert_eq!(ino(Layout::Btrfs, 0x4d, &[7, 1, 5, 0, 9]), Some(1 << 32 | 7));
        assert_eq!(ino(Layout::Tmpfs, 1, &[9, 7, 1]), Some(1 << 32 | 7));
    }

    #[test]
    fn other_handles_tell_nothing() {
        for (layout, kind, words) in [
            (Layout::Generic, 1, &[7, 9, 0][..]),
            (Layout::Generic, 2, &[7, 9]),
            (Layout::Generic, 0xff, &[]),
            (Layout::Xfs, 0x81, &[7, 9]),
            (Layout::Btrfs, 0x4e, &[7, 1, 5, 0, 9]),
            (Layout::Btrfs, 0x4d, &[7, 1]),
            (Layout::Tmpfs, 1, &[9, 7]),
        ] {
            assert_eq!(ino(layout, kind, words), None, "{layout:?} {kind} {words:?}");
        }
        // FUSE, whose numbers are no inode numbers of the host; overlayfs; NFS.
        for magic in [0x6573_5546, 0x794c_7630, 0x6969, 0] {
            assert_eq!(Layout::of(magic), None, "{magic:#x}");
        }
    }
}
