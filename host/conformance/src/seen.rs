//! What a mount says that its directory contains.

use crate::facts::Facts;
use crate::step::Text;
use crate::tree::{Entry, Tree};
use std::collections::BTreeMap;
use virtio_fs::{Error, FileType, VirtioFs};

/// Reads what [`read_tree`](crate::read_tree) reads, through the driver.
///
/// # Errors
///
/// The first of the driver.
pub(crate) fn read(fs: &VirtioFs) -> Result<Tree, Error> {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let (content, mut xattrs) = (content(fs, &path, &mut waiting)?, BTreeMap::new());
        // Afterwards, since reading changes times.
        let metadata = fs.symlink_metadata(at_root(&path))?;
        if !metadata.is_symlink() {
            for name in fs.list_xattr(at_root(&path))? {
                let value = fs.get_xattr(at_root(&path), &name)?;
                xattrs.insert(Text(name), Text(value));
            }
        }
        inodes.entry(metadata.attr().ino).or_insert_with(Vec::new).push(Text(path.clone()));
        let (facts, first_name) = (Facts::from(metadata.attr()), Text(path.clone()));
        tree.insert(Text(path), Entry { facts, content: Text(content), xattrs, first_name });
    }
    for names in inodes.values() {
        let first = names.iter().min().expect("each inode was found by a name");
        for name in names {
            tree.get_mut(name).expect("it was found").first_name = first.clone();
        }
    }
    Ok(tree)
}

/// The content of a file or the target of a link; the entries of a directory go to those that are `waiting`.
fn content(fs: &VirtioFs, path: &[u8], waiting: &mut Vec<Vec<u8>>) -> Result<Vec<u8>, Error> {
    match fs.symlink_metadata(at_root(path))?.file_type() {
        FileType::Regular => fs.read(path),
        FileType::Symlink => fs.read_link(path),
        FileType::Directory => {
            for entry in fs.read_dir(at_root(path))? {
                let mut name = path.to_vec();
                name.extend((!path.is_empty()).then_some(b'/'));
                name.extend(entry?.file_name());
                waiting.push(name);
            }
            Ok(Vec::new())
        }
        _ => Ok(Vec::new()),
    }
}

/// A path that is not empty.
fn at_root(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}
