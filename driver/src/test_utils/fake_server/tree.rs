//! The files of the fake server.

use super::content::{BLOCK_BYTES, Content};
use crate::wire::{Attr, FileType};
use crate::{Errno, Timestamp};
use alloc::collections::BTreeMap;
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
    /// Tells it apart from others with its nodeid.
    pub(super) generation: u64,
    /// When it was made, if the server keeps that.
    pub(super) born: Option<Timestamp>,
    /// Of a directory.
    pub(super) parent: NodeIndex,
    /// The file system it is in: the node at its root.
    pub(super) file_system: NodeIndex,
    /// No name leads to it any more, and none will again.
    pub(super) removed: bool,
    /// Of a file.
    pub(super) content: Content,
    /// Of a symbolic link.
    pub(super) target: Vec<u8>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
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
        let root = Node::new(FileType::Directory, Self::ROOT, Self::ROOT, FIRST_INO);
        Self { nodes: vec![root] }
    }

    pub(super) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    pub(super) fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index]
    }

    /// All nodes that ever were, with their places.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.nodes.iter().enumerate()
    }

    pub(super) fn is_directory(&self, index: NodeIndex) -> bool {
        self.node(index).attr.file_type == FileType::Directory
    }

    pub(super) fn child(&self, directory: NodeIndex, name: &[u8]) -> Result<NodeIndex, Errno> {
        if !self.is_directory(directory) {
            return Err(Errno::ENOTDIR);
        }
        let mut children = self.node(directory).children.iter();
        children.find(|child| child.name == name).map(|child| child.node).ok_or(Errno::ENOENT)
    }

    /// The node at a path below the root, if there is one.
    pub(super) fn find(&self, path: &[u8]) -> Option<NodeIndex> {
        components(path).try_fold(Self::ROOT, |directory, name| self.child(directory, name).ok())
    }

    /// The directory that the last name of a path is in, and that name.
    pub(super) fn find_parent<'p>(&self, path: &'p [u8]) -> Option<(NodeIndex, &'p [u8])> {
        let mut names: Vec<_> = components(path).collect();
        let last = names.pop()?;
        let directory = names.iter().try_fold(Self::ROOT, |directory, name| self.child(directory, name).ok())?;
        Some((directory, last))
    }

    /// The node at a path below the root; it is made, with the directories that lead to it, if it is missing.
    ///
    /// # Panics
    ///
    /// Panics if something in the way is not a directory, or the node is of another kind.
    pub(super) fn make(&mut self, path: &[u8], file_type: FileType) -> NodeIndex {
        let mut at = Self::ROOT;
        let mut names = components(path).peekable();
        while let Some(name) = names.next() {
            let wanted = if names.peek().is_some() { FileType::Directory } else { file_type };
            at = self.child(at, name).unwrap_or_else(|_| self.add(at, name, wanted));
            assert_eq!(self.node(at).attr.file_type, wanted, "{} is something else already", name.escape_ascii());
        }
        at
    }

    /// Makes a node that no name leads to, in the file system of a directory.
    pub(super) fn add_nameless(&mut self, directory: NodeIndex, file_type: FileType) -> NodeIndex {
        let node = self.nodes.len();
        let file_system = self.node(directory).file_system;
        // Each file system numbers its inodes by itself.
        let others = self.nodes.iter().filter(|node| node.file_system == file_system).count();
        self.nodes.push(Node::new(file_type, directory, file_system, FIRST_INO + others as u64));
        node
    }

    pub(super) fn add(&mut self, directory: NodeIndex, name: &[u8], file_type: FileType) -> NodeIndex {
        let node = self.add_nameless(directory, file_type);
        self.enter(directory, name, node);
        node
    }

    /// Makes a directory the root of a file system of its own.
    pub(super) fn make_submount(&mut self, directory: NodeIndex) {
        let node = self.node_mut(directory);
        node.file_system = directory;
        node.attr.ino = FIRST_INO;
        node.attr.submount = true;
    }

    /// Whether a directory is the root of a file system.
    pub(super) fn is_submount(&self, node: NodeIndex) -> bool {
        self.node(node).file_system == node
    }

    /// Gives a node a name; link counts of files are the caller's concern.
    pub(super) fn enter(&mut self, directory: NodeIndex, name: &[u8], node: NodeIndex) {
        let is_directory = self.is_directory(node);
        if is_directory {
            self.node_mut(node).parent = directory;
        }
        let parent = self.node_mut(directory);
        parent.births += 1;
        let place = parent.last_place();
        parent.attr.nlink = parent.attr.nlink.saturating_add(is_directory.into());
        parent.children.push(Child { name: name.to_vec(), node, place });
    }

    /// Takes a name away; the link count of the node is the caller's concern.
    pub(super) fn leave(&mut self, directory: NodeIndex, name: &[u8]) -> Option<NodeIndex> {
        let parent = self.node_mut(directory);
        let at = parent.children.iter().position(|child| child.name == name)?;
        let node = parent.children.remove(at).node;
        let was_directory = self.is_directory(node);
        let parent = self.node_mut(directory);
        parent.attr.nlink = parent.attr.nlink.saturating_sub(was_directory.into());
        Some(node)
    }

    /// Takes a name away, and with the last one the node is removed.
    pub(super) fn remove(&mut self, directory: NodeIndex, name: &[u8]) -> Option<NodeIndex> {
        let node = self.leave(directory, name)?;
        let removed = self.node_mut(node);
        let is_directory = removed.attr.file_type == FileType::Directory;
        removed.attr.nlink = if is_directory { 0 } else { removed.attr.nlink.saturating_sub(1) };
        removed.removed = removed.attr.nlink == 0;
        Some(node)
    }

    /// Whether `node` is `ancestor`, or a directory somewhere in it.
    pub(super) fn is_within(&self, node: NodeIndex, ancestor: NodeIndex) -> bool {
        let mut at = node;
        while at != ancestor && at != Self::ROOT {
            at = self.node(at).parent;
        }
        at == ancestor
    }
}

/// Neither a nodeid nor a place in the list, so that a mix-up shows.
const FIRST_INO: u64 = 1000;

impl Node {
    fn new(file_type: FileType, parent: NodeIndex, file_system: NodeIndex, ino: u64) -> Self {
        let (permissions, nlink) = match file_type {
            FileType::Directory => (0o755, 2),
            FileType::Symlink => (0o777, 1),
            _ => (0o644, 1),
        };
        let date = |seconds: i64| Timestamp { seconds: 1_600_000_000 + seconds, nanoseconds: 123_456_789 };
        let attr = Attr {
            ino,
            file_type,
            permissions,
            nlink,
            uid: 0,
            gid: 0,
            rdev: 0,
            size_bytes: 0,
            blocks: 0,
            block_size_bytes: BLOCK_BYTES as u32,
            accessed: date(3),
            modified: date(1),
            changed: date(2),
            submount: false,
            dax: false,
        };
        Self {
            attr,
            generation: 0,
            born: Some(date(0)),
            parent,
            file_system,
            removed: false,
            content: Content::default(),
            target: Vec::new(),
            xattrs: BTreeMap::new(),
            children: Vec::new(),
            births: 0,
        }
    }

    /// The highest place that an entry of this directory has, or had, in listings.
    pub(super) fn last_place(&self) -> u64 {
        self.births + 1
    }

    /// Changes the content, and makes the attributes follow.
    pub(super) fn change_content(&mut self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content);
        self.attr.size_bytes = self.content.len();
        self.attr.blocks = self.content.blocks() * (BLOCK_BYTES / 512);
    }

    pub(super) fn set_target(&mut self, target: &[u8]) {
        self.target = target.to_vec();
        self.attr.size_bytes = target.len() as u64;
    }

    /// Notes that the content changed at `now`.
    pub(super) fn modified(&mut self, now: Timestamp) {
        self.attr.modified = now;
        self.attr.changed = now;
    }

    /// Clears the set-user-id bit, and the set-group-id bit where it means a group to run as.
    pub(super) fn kill_set_id(&mut self) {
        if self.attr.file_type != FileType::Directory {
            let group = if self.attr.permissions & 0o010 == 0 { 0 } else { 0o2000 };
            self.attr.permissions &= !(0o4000 | group);
        }
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}
