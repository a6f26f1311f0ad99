//! The tree, as tests make it and look at it: what another user of the shared directory would do.

use super::FakeServer;
use super::locks::HeldLock;
use super::tree::NodeIndex;
use crate::wire::{Attr, FileType};
use crate::{NodeId, Timestamp};
use alloc::vec::Vec;

/// Methods that take a path panic if there is nothing at that path, unless they make it.
impl FakeServer {
    /// Makes a directory and those that lead to it, where they are missing.
    ///
    /// # Panics
    ///
    /// This and the other methods that build the tree panic if something in the way is of another kind.
    pub fn dir(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        self.make(path.as_ref(), FileType::Directory);
        self
    }

    /// Makes a file, or gives it other content.
    pub fn file(&mut self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &mut Self {
        let node = self.make(path.as_ref(), FileType::Regular);
        let content = super::content::Content::new(content.as_ref());
        self.tree.node_mut(node).change_content(|old| *old = content);
        self
    }

    /// Makes a symbolic link, or gives it another target.
    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        let node = self.make(path.as_ref(), FileType::Symlink);
        self.tree.node_mut(node).set_target(target.as_ref());
        self
    }

    /// Makes a node without content: a pipe, a socket, a device.
    pub fn special(&mut self, path: impl AsRef<[u8]>, file_type: FileType) -> &mut Self {
        self.make(path.as_ref(), file_type);
        self
    }

    /// Makes an empty directory that is the root of another file system, with inode numbers of its own. The driver is
    /// told so if SUBMOUNTS was negotiated.
    pub fn submount(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        let directory = self.make(path.as_ref(), FileType::Directory);
        assert!(self.tree.node(directory).children.is_empty(), "the root of another file system is not empty");
        self.tree.make_submount(directory);
        self
    }

    /// Gives a file another name.
    pub fn hard_link(&mut self, path: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> &mut Self {
        let node = self.existing(path.as_ref());
        let (directory, name) = self.tree.find_parent(link.as_ref()).expect("the directory of a link exists");
        assert!(self.tree.child(directory, name).is_err(), "the name of a link is free");
        self.tree.enter(directory, name, node);
        self.tree.node_mut(node).attr.nlink += 1;
        self
    }

    /// Takes a file, or a directory with all that is in it, out of the tree; nodeids and file handles stay good.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        let path = path.as_ref();
        self.existing(path);
        let (directory, name) = self.tree.find_parent(path).expect("the root is not removed");
        self.tree.remove(directory, name);
        self
    }

    /// The attributes of a node, to be changed: mode, owner, times, also to what cannot be. A content and its size are
    /// set by [`file`](Self::file).
    pub fn attr_mut(&mut self, path: impl AsRef<[u8]>) -> &mut Attr {
        let node = self.existing(path.as_ref());
        &mut self.tree.node_mut(node).attr
    }

    /// Sets the generation of a node: with another one, the driver has another inode before it, whatever its nodeid.
    pub fn set_generation(&mut self, path: impl AsRef<[u8]>, generation: u64) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.tree.node_mut(node).generation = generation;
        self
    }

    /// Sets when a node was made, or that the server does not know. Only STATX tells.
    pub fn set_born(&mut self, path: impl AsRef<[u8]>, born: Option<Timestamp>) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.tree.node_mut(node).born = born;
        self
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&mut self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.tree.node_mut(node).xattrs.insert(name.as_ref().to_vec(), value.as_ref().to_vec());
        self
    }

    /// Locks a file for somebody who does not use this session. Whether the lock conflicts with others is not asked.
    pub fn lock(&mut self, path: impl AsRef<[u8]>, lock: HeldLock) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.locks.put(node, lock, true);
        self
    }

    /// Ends all locks that [`lock`](Self::lock) made on a file; who waits for them gets on.
    pub fn unlock(&mut self, path: impl AsRef<[u8]>) -> &mut Self {
        let node = self.existing(path.as_ref());
        self.locks.end_outside(node);
        self.settle();
        self
    }

    /// Whether there is something at a path.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> bool {
        self.tree.find(path.as_ref()).is_some()
    }

    /// The attributes of a node.
    pub fn attr(&self, path: impl AsRef<[u8]>) -> Attr {
        self.tree.node(self.existing(path.as_ref())).attr
    }

    /// The content of a file, holes as zeros, or the target of a symbolic link.
    pub fn content(&self, path: impl AsRef<[u8]>) -> Vec<u8> {
        let node = self.tree.node(self.existing(path.as_ref()));
        match node.attr.file_type {
            FileType::Symlink => node.target.clone(),
            _ => node.content.read(0, u64::MAX),
        }
    }

    /// The names in a directory, in the order in which they are listed.
    pub fn names(&self, path: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let node = self.tree.node(self.existing(path.as_ref()));
        node.children.iter().map(|child| child.name.clone()).collect()
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, path: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.tree.node(self.existing(path.as_ref())).xattrs.get(name.as_ref()).cloned()
    }

    /// The locks on a file, also those of others than the driver.
    pub fn locks(&self, path: impl AsRef<[u8]>) -> Vec<HeldLock> {
        self.locks.of(self.existing(path.as_ref()))
    }

    /// The nodeid that the node at a path has for the driver, if it has one.
    pub fn nodeid(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.session.nodeid_of(self.tree.find(path.as_ref())?).map(NodeId)
    }

    fn make(&mut self, path: &[u8], file_type: FileType) -> NodeIndex {
        self.tree.make(path, file_type)
    }

    fn existing(&self, path: &[u8]) -> NodeIndex {
        self.tree.find(path).unwrap_or_else(|| panic!("there is no {}", path.escape_ascii()))
    }
}
