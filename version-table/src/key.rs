//! What is counted (section 3).

const G: u64 = 0x9e37_79b9_7f4a_7c15;
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of what may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

/// The number of a slot. Keys may share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub(crate) u32);

impl Slot {
    /// That of the key with the smallest hash.
    pub const FIRST: Self = Self(0);

    /// Its number, below that of the slots.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Key {
    /// All that GETATTR tells of the inode with this number, but for the time of the last access; extended attributes.
    pub const fn attributes(ino: u64) -> Self {
        Self(mix(ino.wrapping_add(G)))
    }

    /// A file's bytes and length, a link's target, or the names in a directory.
    pub const fn content(ino: u64) -> Self {
        Self(mix(ino.wrapping_add(G.wrapping_mul(2))))
    }

    /// Whether a directory has this name, and which inode that names.
    pub fn name(directory_ino: u64, name: &[u8]) -> Self {
        Self(mix(mix(directory_ino.wrapping_add(G.wrapping_mul(3))) ^ fnv1a(name)))
    }

    /// The hash itself.
    pub const fn hash(self) -> u64 {
        self.0
    }

    /// The slot of the key in a table of `1 << log2_slots` slots: at most 2³².
    pub(crate) const fn slot(self, log2_slots: u32) -> Slot {
        Slot((self.0 >> (64 - log2_slots)) as u32)
    }
}

const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of section 3.
    #[test]
    fn hashes_and_slots_are_those_of_the_specification() {
        let attributes = Key::attributes;
        let content = Key::content;
        for (key, hash, slot) in [
            (attributes(0), 0xe220_a839_7b1d_cdaf, 57888),
            (content(0), 0x6e78_9e6a_a1b9_65f4, 28280),
            (attributes(1), 0x910a_2dec_8902_5cc1, 37130),
            (content(1), 0xbeeb_8da1_658e_ec67, 48875),
            (attributes(0x12_3456_7890), 0x8d70_ac3b_ea7e_b543, 36208),
            (content(0x12_3456_7890), 0xbd16_7446_363e_e7dd, 48406),
            (attributes(u64::MAX), 0xe4d9_7177_1b65_2c20, 58585),
            (content(u64::MAX), 0xe99f_f867_dbf6_82c9, 59807),
            (Key::name(1, b"a"), 0x2895_8efe_7ae7_5a16, 10389),
            (Key::name(1, b"b"), 0x1be9_4fe5_1aa1_b79f, 7145),
            (Key::name(2, b"a"), 0x2fad_d05a_17e1_9c91, 12205),
            (Key::name(0x12_3456_7890, b"Cargo.toml"), 0x6f2b_a0d9_8113_9d23, 28459),
        ] {
            assert_eq!((key.hash(), key.slot(16)), (hash, Slot(slot)));
            assert_eq!(u64::from(key.slot(32).0), hash >> 32);
        }
    }
}
