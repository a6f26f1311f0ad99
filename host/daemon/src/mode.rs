//! Kinds of inodes, by their mode.

const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

pub(crate) fn is_regular(mode: u32) -> bool {
    mode & KIND == REGULAR
}

pub(crate) fn is_directory(mode: u32) -> bool {
    mode & KIND == DIRECTORY
}
