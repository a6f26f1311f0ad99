//! FUSE's operations by name, as `fuse.h` has them, in lower case and without `FUSE_`: for options and statistics.

pub(crate) const FORGET: u32 = 2;
pub(crate) const READ: u32 = 15;
pub(crate) const WRITE: u32 = 16;
pub(crate) const INIT: u32 = 26;
pub(crate) const INTERRUPT: u32 = 36;
pub(crate) const DESTROY: u32 = 38;
pub(crate) const BATCH_FORGET: u32 = 42;
pub(crate) const SETUPMAPPING: u32 = 48;
pub(crate) const REMOVEMAPPING: u32 = 49;

/// How many operations are counted apart, by their number; others share the last place.
pub(crate) const COUNTED: usize = 64;

const NAMES: [(u32, &str); 50] = [
    (1, "lookup"),
    (FORGET, "forget"),
    (3, "getattr"),
    (4, "setattr"),
    (5, "readlink"),
    (6, "symlink"),
    (8, "mknod"),
    (9, "mkdir"),
    (10, "unlink"),
    (11, "rmdir"),
    (12, "rename"),
    (13, "link"),
    (14, "open"),
    (READ, "read"),
    (WRITE, "write"),
    (17, "statfs"),
    (18, "release"),
    (20, "fsync"),
    (21, "setxattr"),
    (22, "getxattr"),
    (23, "listxattr"),
    (24, "removexattr"),
    (25, "flush"),
    (INIT, "init"),
    (27, "opendir"),
    (28, "readdir"),
    (29, "releasedir"),
    (30, "fsyncdir"),
    (31, "getlk"),
    (32, "setlk"),
    (33, "setlkw"),
    (34, "access"),
    (35, "create"),
    (INTERRUPT, "interrupt"),
    (37, "bmap"),
    (DESTROY, "destroy"),
    (39, "ioctl"),
    (40, "poll"),
    (41, "notify_reply"),
    (BATCH_FORGET, "batch_forget"),
    (43, "fallocate"),
    (44, "readdirplus"),
    (45, "rename2"),
    (46, "lseek"),
    (47, "copy_file_range"),
    (SETUPMAPPING, "setupmapping"),
    (REMOVEMAPPING, "removemapping"),
    (50, "syncfs"),
    (51, "tmpfile"),
    (52, "statx"),
];

/// The name of an operation, `other` if it has none here.
pub(crate) fn name(opcode: u32) -> &'static str {
    NAMES.iter().find(|(number, _)| *number == opcode).map_or("other", |(_, name)| name)
}

/// The operation of a name.
pub(crate) fn number(name: &str) -> Option<u32> {
    NAMES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Operations that have no reply, whatever happens (`fuse.h`; DESTROY may have one, and has none from virtiofsd).
pub(crate) fn has_no_reply(opcode: u32) -> bool {
    matches!(opcode, FORGET | INTERRUPT | BATCH_FORGET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_to_its_number_and_back() {
        for (opcode, text) in NAMES {
            assert_eq!((name(opcode), number(text)), (text, Some(opcode)));
            assert!((opcode as usize) < COUNTED - 1, "{text} would be counted among the others");
        }
        assert_eq!((name(7), number("other"), number("LOOKUP")), ("other", None, None));
    }
}
