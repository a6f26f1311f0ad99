//! The files of the fake server.

use crate::wire::{Attr, FileType};
use crate::{Errno, Timestamp};
use alloc::vec;
use alloc::vec::Vec;

/// The place of a node in [`Tree::nodes`]; never used again.
pub(super) type NodeIndex = usize;

/// All nodes, also those that were removed.
pub(super) struct Tree {
    nodes: Vec<Node>,
}

pub(super) struct Node {
    pub(super) attr: Attr,
    /// When it was made, if the server keeps that.
    pub(super) born: Option<Timestamp>,
    pub(super) parent: NodeIndex,
    /// Content of a file, target of a symbolic link.
    pub(super) content: Vec<u8>,
    /// What is in a directory, in the order it came there.
    pub(super) children: Vec<Child>,
    /// How many children ever came; numbers them.
    births: u64,
}

pub(super) struct Child {
    pub(super) name: Vec<u8>,
    pub(super) node: NodeIndex,
    /// Its place in listings, after "." (0) and ".." (1); stays the same when other children go.
    pub(super) place: u64,
}

impl Tree {
    pub(super) const ROOT: NodeIndex = 0;

    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new(FileType::Directory, Self::ROOT, Self::ROOT)] }
    }

    pub(super) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    pub(super) fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index]
    }

    pub(super) fn child(&self, directory: NodeIndex, name: &[u8]) -> Result<NodeIndex, Errno> {
        let directory = self.node(directory);
        if directory.attr.file_type != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        directory.children.iter().find(|child| child.name == name).map(|child| child.node).ok_or(Errno::ENOENT)
    }

    /// The node at a path below the root, if there is one.
    pub(super) fn find(&self, path: &[u8]) -> Option<NodeIndex> {
        components(path).try_fold(Self::ROOT, |directory, name| self.child(directory, name).ok())
    }

    /// The node at a path below the root; it is made, with the directories that lead to it, if it is missing.
    ///
    /// # Panics
    ///
    /// Panics if something in the way is not a directory, or the node is of another kind.
    pub(super) fn make(&mut self, path: &[u8], file_type: FileType) -> &mut Node {
        let mut at = Self::ROOT;
        let mut names = components(path).peekable();
        while let Some(name) = names.next() {
            let wanted = if names.peek().is_some() { FileType::Directory } else { file_type };
            at = self.child(at, name).unwrap_or_else(|_| self.add(at, name, wanted));
            assert_eq!(self.node(at).attr.file_type, wanted, "{} is something else already", name.escape_ascii());
        }
        self.node_mut(at)
    }

    fn add(&mut self, directory: NodeIndex, name: &[u8], file_type: FileType) -> NodeIndex {
        let node = self.nodes.len();
        self.nodes.push(Node::new(file_type, node, directory));
        let parent = self.node_mut(directory);
        parent.births += 1;
        let place = parent.last_place();
        parent.attr.nlink += u32::from(file_type == FileType::Directory);
        parent.children.push(Child { name: name.to_vec(), node, place });
        node
    }

    /// Takes the node at a path out of its directory.
    pub(super) fn remove(&mut self, path: &[u8]) -> Option<()> {
        let node = self.find(path).filter(|&node| node != Self::ROOT)?;
        let removed = self.node_mut(node);
        let was_directory = removed.attr.file_type == FileType::Directory;
        removed.attr.nlink = 0;
        let parent = removed.parent;
        let parent = self.node_mut(parent);
        parent.attr.nlink = parent.attr.nlink.saturating_sub(was_directory.into());
        parent.children.retain(|child| child.node != node);
        Some(())
    }
}

impl Node {
    fn new(file_type: FileType, index: NodeIndex, parent: NodeIndex) -> Self {
        let (permissions, nlink) = match file_type {
            FileType::Directory => (0o755, 2),
            FileType::Symlink => (0o777, 1),
            _ => (0o644, 1),
        };
        let date = |seconds: i64| Timestamp { seconds: 1_600_000_000 + seconds, nanoseconds: 123_456_789 };
        let attr = Attr {
            // Neither a nodeid nor a place in the list, so that a mix-up shows.
            ino: 1000 + index as u64,
            file_type,
            permissions,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            size_bytes: 0,
            blocks: 0,
            block_size_bytes: 4096,
            accessed: date(3),
            modified: date(1),
            changed: date(2),
            submount: false,
        };
        Self { attr, born: Some(date(0)), parent, content: Vec::new(), children: Vec::new(), births: 0 }
    }

    /// The highest place that an entry of this directory has, or had, in listings.
    pub(super) fn last_place(&self) -> u64 {
        self.births + 1
    }

    pub(super) fn set_content(&mut self, content: &[u8]) {
        self.content = content.to_vec();
        self.attr.size_bytes = content.len() as u64;
        self.attr.blocks = content.len().div_ceil(512) as u64;
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}
