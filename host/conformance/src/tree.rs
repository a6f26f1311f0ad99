//! What a directory contains.

use crate::facts::Facts;
use crate::step::Text;
use rustix::fs::{SeekFrom, lgetxattr, llistxattr, lstat, seek};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use virtio_fs::FileType;

/// All that a directory contains, by path; itself included.
pub type Tree = BTreeMap<Text, Entry>;

/// Something that a directory contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes.
    pub facts: Facts,
    /// The content of a file or the target of a symbolic link.
    pub content: Text,
    /// Extended attributes.
    pub xattrs: BTreeMap<Text, Text>,
    /// The first path, in order, of the same inode.
    pub first_name: Text,
}

/// Reads a directory of the host.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let stat = lstat(&path).expect("the attributes of what is in the tree");
        let facts = Facts::from(&stat);
        if facts.file_type == FileType::Directory {
            for entry in fs::read_dir(&path).expect("a directory of the tree") {
                waiting.push(entry.expect("an entry of the tree").path());
            }
        }
        let relative = path.strip_prefix(root).expect("it is in the tree");
        found.push((Text::from(relative.as_os_str().as_bytes()), path, facts, (stat.st_dev, stat.st_ino)));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, path, facts, inode) in found {
        let first_name = inodes.entry(inode).or_insert_with(|| name.clone()).clone();
        let content = match facts.file_type {
            FileType::Regular => content(&path, facts.size).expect("a file's content"),
            FileType::Symlink => fs::read_link(&path).expect("a link's target").into_os_string().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let entry = Entry { facts, content: content.into(), xattrs: xattrs(&path), first_name };
        tree.insert(name, entry);
    }
    tree
}

/// What a file holds. Of a large one, which has holes in it, the places of its data, each followed by the data.
fn content(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    const LARGE: u64 = 16 << 20;
    if size <= LARGE {
        return fs::read(path);
    }
    let file = fs::File::open(path)?;
    let mut content = Vec::new();
    let mut place = 0;
    while let Ok(start) = seek(&file, SeekFrom::Data(place)) {
        place = seek(&file, SeekFrom::Hole(start))?;
        let mut data = vec![0; (place - start) as usize];
        file.read_exact_at(&mut data, start)?;
        content.extend(start.to_le_bytes());
        content.extend(data);
    }
    Ok(content)
}

fn xattrs(path: &Path) -> BTreeMap<Text, Text> {
    let mut names = vec![0; 64 << 10];
    // What a file system has none of, is none.
    let bytes = llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..bytes].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let bytes = lgetxattr(path, name, &mut value[..]).expect("an attribute's value");
        value.truncate(bytes);
        value
    };
    names.map(|name| (name.into(), value(name).into())).collect()
}

/// The first difference of two trees in words, or `None` if they are equal.
pub fn difference(served: &Tree, plain: &Tree) -> Option<String> {
    let names = served.keys().chain(plain.keys());
    let differing = names.filter(|&name| served.get(name) != plain.get(name)).min()?;
    let (served, plain) = (served.get(differing), plain.get(differing));
    Some(format!("{differing:?}\n    is        {served:?}\n    should be {plain:?}"))
}
