//! From paths to inodes: the one place where `.`, `..`, symbolic links and the mount's root have their meaning.

use super::{Metadata, VirtioFs};
use crate::vnode::{self, Access, Node, OpenFile, OpenFlags, Told};
use crate::wire::{Attr, FileType, Name};
use crate::{Errno, Error};
use alloc::vec::Vec;
use smallvec::SmallVec;

/// The most symbolic links that are followed on the way to one file (Linux's `MAXSYMLINKS`).
pub(super) const LINKS_MAX: usize = 40;

/// The most directories between the root and a file: as many as Linux's `PATH_MAX` has room for.
const DEPTH_MAX: usize = 2048;

/// For so many directories on the way no memory is allocated.
const STEPS_ON_THE_STACK: usize = 12;

/// What is done with a symbolic link that a path ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastLink {
    /// It is followed, like all before it.
    Follow,
    /// It is what is looked for, unless the path ends in a slash.
    Stop,
}

/// Where a path leads.
pub(super) struct Found<'r> {
    root: &'r Node,
    step: Step,
}

/// An inode on the way along a path.
type Step = vnode::Found;

impl Found<'_> {
    pub(super) fn node(&self) -> Node {
        Node::new(self.step.inode.clone(), self.root.view().clone())
    }

    /// The attributes, if the way there asked for them.
    fn told(&self) -> Option<Told> {
        self.step.told.as_deref().copied()
    }

    /// The attributes, asked for if need be.
    pub(super) fn attr(&self) -> Result<Attr, Error> {
        match self.told().map(|told| told.attr).or_else(|| self.step.inode.attr(self.root.cache().now())) {
            Some(attr) => Ok(attr),
            None => self.node().getattr(),
        }
    }

    /// Opens the file. Gives its attributes, too, if they are known.
    pub(super) fn open(&self, flags: OpenFlags) -> Result<(OpenFile, Option<Attr>), Error> {
        self.node().open_knowing(flags, self.told())
    }

    pub(super) fn metadata(&self) -> Result<Metadata, Error> {
        Ok(Metadata::new(self.attr()?, self.step.inode.device()))
    }
}

/// # Errors
///
/// `EACCES` if who is at `root` may not search the last directory on the way.
fn permit_search(root: &Node, way: &[Step]) -> Result<(), Error> {
    if !root.view().is_checked() {
        return Ok(());
    }
    let Some(directory) = way.last() else { return root.permit(Access::EXECUTE) };
    let node = Node::new(directory.inode.clone(), root.view().clone());
    match &directory.told {
        Some(told) => node.permit_knowing(&told.attr, Access::EXECUTE),
        None => node.permit(Access::EXECUTE),
    }
}

/// The place of a name: what is to be made, moved or removed.
pub(super) struct Place<'p> {
    pub(super) parent: Node,
    /// The path to `parent`; empty for the root.
    pub(super) parent_path: &'p [u8],
    pub(super) name: Option<&'p [u8]>,
    /// What a path without a name ends in.
    pub(super) end: End,
    /// The path ends in a slash: only a directory may have the name.
    pub(super) wants_directory: bool,
}

/// What a path ends in that ends in no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Name,
    Root,
    Dot,
    DotDot,
}

impl<'p> Place<'p> {
    /// Follows `path` from `root` up to its last name, which need not exist.
    ///
    /// # Errors
    ///
    /// Those of [`resolve`].
    pub(super) fn of(root: &Node, path: &'p [u8]) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(Error::Invalid(Errno::ENOENT));
        }
        let slashes = path.iter().rev().take_while(|&&byte| byte == b'/').count();
        let trimmed = &path[..path.len() - slashes];
        let start = trimmed.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (parent_path, last) = trimmed.split_at(start);
        let end = match last {
            b"" => End::Root,
            b"." => End::Dot,
            b".." => End::DotDot,
            _ => End::Name,
        };
        let parent = match parent_path {
            b"" => root.clone(),
            _ => resolve(root, parent_path, LastLink::Follow)?.node(),
        };
        parent.expect_directory()?;
        if matches!(end, End::Dot | End::DotDot) {
            parent.permit(Access::EXECUTE)?;
        }
        let name = (end == End::Name).then_some(last);
        Ok(Self { parent, parent_path, name, end, wants_directory: slashes > 0 })
    }

    /// The name of something to make.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the path ends in no name, and so in what exists.
    pub(super) fn new_name(&self) -> Result<&'p [u8], Error> {
        self.name.ok_or(Error::Invalid(Errno::EEXIST))
    }

    /// As [`Self::new_name`], of something to make that is no directory.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the path asks for a directory, which is not there.
    pub(super) fn new_file_name(&self) -> Result<&'p [u8], Error> {
        let name = self.new_name()?;
        if self.wants_directory {
            // If it is there, that is the reason.
            self.parent.lookup(name)?;
            return Err(Error::Invalid(Errno::EEXIST));
        }
        Ok(name)
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
pub(super) fn resolve<'r>(root: &'r Node, path: &[u8], last: LastLink) -> Result<Found<'r>, Error> {
    if path.is_empty() {
        return Err(Error::Invalid(Errno::ENOENT));
    }
    let now = root.cache().now();
    // The directories on the way from the root, without it: where `..` leads.
    let mut way: SmallVec<[Step; STEPS_ON_THE_STACK]> = SmallVec::new();
    // What is left of the path once a symbolic link was put in the place of its name.
    let mut spliced: Vec<u8>;
    let mut rest = path;
    let mut links = 0;
    let mut hits = 0;
    while let Some((name, after)) = next_name(rest) {
        rest = after;
        permit_search(root, &way)?;
        // These are names, too, for whose sake a directory is searched.
        if name == b"." {
            continue;
        }
        if name == b".." {
            way.pop();
            continue;
        }
        let directory = way.last().map_or(root.inode(), |step| &step.inode);
        let step = root.view().find(directory, Name::new(name)?, now)?;
        hits += u64::from(step.told.is_none());
        let is_last = rest.is_empty();
        match step.inode.file_type {
            FileType::Directory => {
                if way.len() == DEPTH_MAX {
                    return Err(Error::Invalid(Errno::ENAMETOOLONG));
                }
                way.try_reserve(1).map_err(|_| Error::NoMemory)?;
                way.push(step);
            }
            FileType::Symlink if !is_last || last == LastLink::Follow => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Error::Invalid(Errno::ELOOP));
                }
                let mut target = Node::new(step.inode, root.view().clone()).readlink()?;
                if target.starts_with(b"/") {
                    way.clear();
                }
                target.try_reserve_exact(rest.len()).map_err(|_| Error::NoMemory)?;
                // `rest` is empty or starts with a slash.
                target.extend_from_slice(rest);
                spliced = target;
                rest = &spliced;
            }
            _ if is_last => {
                root.cache().count_name_hits(&step.inode, hits);
                return Ok(Found { root, step });
            }
            _ => return Err(Error::Invalid(Errno::ENOTDIR)),
        }
    }
    let step = way.pop().unwrap_or_else(|| Step { inode: root.inode().clone(), told: None });
    root.cache().count_name_hits(&step.inode, hits);
    Ok(Found { root, step })
}

impl VirtioFs {
    /// What `ask` gives for what `path` leads to; [once more](Self::again_if_stale), if that is stale.
    pub(super) fn at<T>(
        &self,
        path: impl AsRef<[u8]>,
        last: LastLink,
        mut ask: impl FnMut(Found<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.again_if_stale(|| ask(resolve(self.root(), path.as_ref(), last)?))
    }

    /// What `ask` gives for the place that `path` leads to; [once more](Self::again_if_stale), if that is stale.
    pub(super) fn in_place<T>(
        &self,
        path: impl AsRef<[u8]>,
        mut ask: impl FnMut(Place<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.again_if_stale(|| ask(Place::of(self.root(), path.as_ref())?))
    }

    /// The result of `walk`, which follows paths and asks for something there. An inode that somebody removed in between, or
    /// since it was cached, may be stale for the server (`ESTALE`), which has done nothing then: the paths are followed once
    /// more without what is cached of names, as Linux does.
    pub(super) fn again_if_stale<T>(&self, mut walk: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        match walk() {
            Err(Error::Refused(Errno::ESTALE)) => {
                self.root().cache().drop_names();
                walk()
            }
            result => result,
        }
    }
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
