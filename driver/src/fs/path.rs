//! From paths to inodes: the one place where `.`, `..`, symbolic links and the mount's root have their meaning.

use crate::vnode::Node;
use crate::wire::{Attr, FileType};
use crate::{Errno, Error};
use alloc::vec::Vec;

/// The most symbolic links that are followed on the way to one file (Linux's `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// The most directories between the root and a file: as many as Linux's `PATH_MAX` has room for.
const DEPTH_MAX: usize = 2048;

/// What is done with a symbolic link that a path ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastLink {
    /// It is followed, like all before it.
    Follow,
    /// It is what is looked for, unless the path ends in a slash.
    Stop,
}

/// Where a path leads.
pub(super) struct Found {
    pub(super) node: Node,
    /// The attributes, if the way there told them.
    pub(super) attr: Option<Attr>,
}

impl Found {
    /// The attributes, asked for if need be.
    pub(super) fn attr(&self) -> Result<Attr, Error> {
        self.attr.map_or_else(|| self.node.getattr(), Ok)
    }
}

/// Follows `path` from `root`.
///
/// Nothing leads out of the mount: `..` of the root is the root, and an absolute path, that of a symbolic link
/// included, starts at the root. `..` leads to the directory through which the walk came.
///
/// # Errors
///
/// `ENOENT` for an empty path or one that leads nowhere; `ENOTDIR` if something on the way is no directory; `ELOOP`
/// after 40 symbolic links; `ENAMETOOLONG` and `EINVAL` for impossible names.
pub(super) fn resolve(root: &Node, path: &[u8], last: LastLink) -> Result<Found, Error> {
    if path.is_empty() {
        return Err(Error::Invalid(Errno::ENOENT));
    }
    // The directories on the way from the root, without it: where `..` leads.
    let mut way: Vec<(Node, Attr)> = Vec::new();
    // What is left of the path once a symbolic link was put in the place of its name.
    let mut spliced: Vec<u8>;
    let mut rest = path;
    let mut links = 0;
    while let Some((name, after)) = next_name(rest) {
        rest = after;
        match name {
            b"." => continue,
            b".." => {
                way.pop();
                continue;
            }
            _ => {}
        }
        let (node, attr) = way.last().map_or(root, |(node, _)| node).lookup(name)?;
        let is_last = rest.is_empty();
        match node.file_type() {
            FileType::Directory => {
                if way.len() == DEPTH_MAX {
                    return Err(Error::Invalid(Errno::ENAMETOOLONG));
                }
                way.try_reserve(1).map_err(|_| Error::NoMemory)?;
                way.push((node, attr));
            }
            FileType::Symlink if !is_last || last == LastLink::Follow => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Error::Invalid(Errno::ELOOP));
                }
                let mut target = node.readlink()?;
                if target.starts_with(b"/") {
                    way.clear();
                }
                target.try_reserve_exact(rest.len()).map_err(|_| Error::NoMemory)?;
                // `rest` is empty or starts with a slash.
                target.extend_from_slice(rest);
                spliced = target;
                rest = &spliced;
            }
            _ if is_last => return Ok(Found { node, attr: Some(attr) }),
            _ => return Err(Error::Invalid(Errno::ENOTDIR)),
        }
    }
    Ok(match way.pop() {
        Some((node, attr)) => Found { node, attr: Some(attr) },
        None => Found { node: root.clone(), attr: None },
    })
}

/// The next name of `path`, and what follows it, slashes first. `None` if there are only slashes left.
fn next_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&byte| byte != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_one_by_one() {
        assert_eq!(next_name(b"a/b"), Some((&b"a"[..], &b"/b"[..])));
        assert_eq!(next_name(b"//a//"), Some((&b"a"[..], &b"//"[..])));
        assert_eq!(next_name(b"a"), Some((&b"a"[..], &b""[..])));
        assert_eq!(next_name(b"//"), None);
        assert_eq!(next_name(b""), None);
    }
}
