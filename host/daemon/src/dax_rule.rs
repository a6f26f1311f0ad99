//! Which files are marked for DAX (FUSE_ATTR_DAX): the rule of `--dax`.

use crate::glob::Glob;
use std::ffi::CString;

/// A guest in its mode `inode` maps the files that are marked, and reads and writes the others by messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DaxRule {
    /// None.
    Never,
    /// Every regular file.
    Always,
    /// Regular files that were looked up by a name that fits one of these.
    Names(Vec<Glob>),
    /// Regular files that have this extended attribute, whatever its value.
    Xattr(CString),
}

impl DaxRule {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "never" => Ok(Self::Never),
            None if text == "always" => Ok(Self::Always),
            Some(("inode", globs)) => {
                let globs: Option<_> = globs.split(',').map(|glob| Glob::new(glob.as_bytes())).collect();
                Ok(Self::Names(globs.ok_or("a pattern is empty, or ends in a `\\`")?))
            }
            Some(("xattr", name)) => match CString::new(name) {
                Ok(name) if !name.is_empty() => Ok(Self::Xattr(name)),
                _ => Err("an extended attribute has a name".into()),
            },
            _ => Err(format!("`{text}` is none of never, always, inode=GLOB[,GLOB...] and xattr=NAME")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_understood_and_what_is_wrong_is_named() {
        assert_eq!(DaxRule::parse("never"), Ok(DaxRule::Never));
        assert_eq!(DaxRule::parse("always"), Ok(DaxRule::Always));
        let globs = [b"*.db", b"a=b?"].map(|glob: &[u8; 4]| Glob::new(glob).unwrap());
        assert_eq!(DaxRule::parse("inode=*.db,a=b?"), Ok(DaxRule::Names(globs.into())));
        assert_eq!(DaxRule::parse("xattr=user.dax"), Ok(DaxRule::Xattr(c"user.dax".into())));
        for wrong in ["", "sometimes", "inode", "inode=", "inode=a,,b", "inode=a\\", "xattr=", "xattr"] {
            assert!(DaxRule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
