//! Two directory trees, the same in each run: types, names, bytes, modes and modification times.
//!
//! `small` is what the demo shows. `full` holds what can go wrong: names of 255 bytes, with spaces, newlines and bytes
//! that are not UTF-8; twelve levels of nesting; a directory of 20,000 entries; a sparse file of 1 GiB; links of every
//! kind; fifo and socket; odd modes; times before 1970 and after 2038. It takes about 15 MiB of disk.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::tree::{Node, Tree, run};

/// Number of entries of the large directory.
const MANY: usize = 20_000;
/// Nesting: this many chains, each of this many levels, each level with this many files.
const CHAINS: usize = 40;
const LEVELS: usize = 12;
const FILES_PER_LEVEL: usize = 10;
/// Size of the sparse file in bytes.
const SPARSE_BYTES: u64 = 1 << 30;

/// Builds the small tree in `root`.
pub(crate) fn small(root: &Path) -> io::Result<()> {
    let mut tree = Tree::new(root)?;
    tree.file("hello.txt", b"Hello from the host!\n")?;
    tree.file("empty", b"")?;
    tree.directory("notes")?;
    tree.file("notes/poem.txt", b"A directory crossed the line\nas one descriptor, then as nine.\n")?;
    tree.directory("notes/year")?;
    tree.file("notes/year/january.txt", b"Snow.\n")?;
    tree.file("notes/year/june.txt", b"Sun.\n")?;
    tree.link("latest", "notes/year/june.txt")?;
    tree.directory("pictures")?;
    tree.file("pictures/gradient.ppm", &picture(1024, 1024))?;
    tree.file("Grüße, 世界.txt", "Names are bytes; these are UTF-8.\n".as_bytes())?;
    tree.directory("tools")?;
    tree.file("tools/greet.sh", b"#!/bin/sh\necho hello\n")?;
    tree.mode("tools/greet.sh", 0o755);
    tree.finish()
}

/// Builds the full tree in `root`.
pub(crate) fn full(root: &Path) -> io::Result<()> {
    let mut tree = Tree::new(root)?;
    tree.file("hello.txt", b"Hello from the host!\n")?;
    names(&mut tree)?;
    nested(&mut tree)?;
    many(&mut tree)?;
    contents(&mut tree)?;
    links(&mut tree)?;
    special(&mut tree)?;
    modes(&mut tree)?;
    times(&mut tree)?;
    tree.finish()
}

/// Names of all lengths and bytes.
fn names(tree: &mut Tree) -> io::Result<()> {
    tree.directory("names")?;
    let below = |name: &[u8]| OsString::from_vec([b"names/", name].concat());
    let plain: [&[u8]; 14] = [
        b"with space",
        b" leading and trailing ",
        b"new\nline",
        b"\n",
        b"tab\tbell\x07delete\x7f",
        b"back\\slash\\x41",
        b"arrow -> target",
        b"-rf",
        b"...",
        b".hidden",
        "Grüße, 世界 🦀".as_bytes(),
        b"invalid \xff\xfe\x80",
        b"cut off \xe4\xb8",
        b"\"'`$*?[]{}|&;<>()",
    ];
    for name in plain {
        tree.file(below(name), name)?;
    }
    for byte in (1..=255).filter(|&byte| byte != b'/') {
        tree.file(below(&[b'b', byte]), b"")?;
    }
    for length in [1, 2, 100, 254, 255] {
        tree.file(below(&vec![b'n'; length]), b"long")?;
    }
    tree.file(below(&[0x80; 255]), b"255 bytes, none of them UTF-8\n")?;
    tree.directory(below(&[b'D'; 255]))?;
    tree.file(below(&[&[b'D'; 255][..], b"/", &[b'F'; 255]].concat()), b"deep and long\n")
}

/// Chains of directories twelve deep.
fn nested(tree: &mut Tree) -> io::Result<()> {
    tree.directory("nested")?;
    for chain in 0..CHAINS {
        let mut path = format!("nested/{chain:02}");
        for level in 1..=LEVELS {
            if level > 1 {
                path.push_str(&format!("/level-{level:02}"));
            }
            tree.directory(&path)?;
            for file in 0..FILES_PER_LEVEL {
                let name = format!("{path}/file-{file}");
                // Few files have content, because each that has takes a block of the disk.
                let content = if file == 0 { format!("{name}\n") } else { String::new() };
                tree.file(&name, content.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// One directory that needs many READDIR replies.
fn many(tree: &mut Tree) -> io::Result<()> {
    tree.directory("many")?;
    for number in 0..MANY {
        let content = if number % 100 == 0 { format!("{number}\n") } else { String::new() };
        tree.file(format!("many/entry-{number:05}"), content.as_bytes())?;
    }
    Ok(())
}

/// Sizes around the limits of pages and requests, and a sparse file.
fn contents(tree: &mut Tree) -> io::Result<()> {
    tree.directory("contents")?;
    tree.directory("contents/empty directory")?;
    for size in [0, 1, 4095, 4096, 4097, 65_536, 131_073, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        tree.file(format!("contents/size-{size}"), &noise(size))?;
    }
    tree.file("contents/sparse", b"")?;
    let path = tree.root.join("contents/sparse");
    let sparse = File::options().write(true).open(path)?;
    sparse.set_len(SPARSE_BYTES)?;
    for offset in [0, SPARSE_BYTES / 2 + 123, SPARSE_BYTES - 9] {
        sparse.write_all_at(b"not zero\n", offset)?;
    }
    Ok(())
}

/// Symbolic and hard links.
fn links(tree: &mut Tree) -> io::Result<()> {
    tree.directory("links")?;
    tree.link("links/relative", "../hello.txt")?;
    tree.link("links/absolute", "/hello.txt")?;
    tree.link("links/directory", "../nested/00")?;
    tree.link("links/dangling", "no/such/file")?;
    tree.link("links/itself", "itself")?;
    tree.link("links/loop-a", "loop-b")?;
    tree.link("links/loop-b", "loop-a")?;
    tree.link("links/up", "../../../../../../../../hello.txt")?;
    tree.link("links/bytes", OsStr::from_bytes(b"not UTF-8 \xff\n -> \\"))?;
    // The longest target that every common file system of the host takes.
    tree.link("links/long", OsStr::from_bytes(&[b'l'; 1000]))?;
    tree.directory("links/hard")?;
    tree.file("links/hard/one", b"one inode, three names\n")?;
    for name in ["links/hard/two", "links/three"] {
        fs::hard_link(tree.root.join("links/hard/one"), tree.root.join(name))?;
    }
    Ok(())
}

/// Fifo and socket nodes.
fn special(tree: &mut Tree) -> io::Result<()> {
    tree.directory("special")?;
    let fifo = tree.root.join("special/fifo");
    run(Command::new("mkfifo").arg("-m").arg("644").arg(&fifo))?;
    tree.add("special/fifo", 0o644, Node::Special);
    // A socket's path is limited to 107 bytes, the tree's may be longer: go through the open directory.
    let directory = File::open(tree.root.join("special"))?;
    let short = format!("/proc/self/fd/{}/socket", std::os::fd::AsRawFd::as_raw_fd(&directory));
    drop(UnixListener::bind(short)?);
    tree.add("special/socket", 0o755, Node::Special);
    Ok(())
}

/// Permission bits that a naive client mixes up with the file type, or that keep everybody out.
fn modes(tree: &mut Tree) -> io::Result<()> {
    tree.directory("modes")?;
    for mode in [0o000, 0o400, 0o644, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777] {
        let name = format!("modes/file-{mode:04o}");
        tree.file(&name, b"mode\n")?;
        tree.mode(&name, mode);
    }
    for mode in [0o000, 0o700, 0o1777, 0o2775, 0o3770] {
        let name = format!("modes/directory-{mode:04o}");
        tree.directory(&name)?;
        tree.file(format!("{name}/inside"), b"")?;
        tree.mode(&name, mode);
    }
    Ok(())
}

/// Modification times at the edges.
fn times(tree: &mut Tree) -> io::Result<()> {
    tree.directory("times")?;
    let times: [(&str, i64, u32); 10] = [
        ("epoch", 0, 0),
        ("one-nanosecond", 0, 1),
        ("just-before-epoch", -1, 999_999_999),
        ("half-a-second-before-epoch", -1, 500_000_000),
        ("year-1950", -631_152_000, 123_456_789),
        ("first-signed-32-bit", -0x8000_0000, 0),
        ("last-signed-32-bit", 0x7fff_ffff, 999_999_999),
        ("year-2038-overflow", 0x8000_0000, 1),
        ("year-2106-overflow", 0x1_0000_0000, 7),
        ("year-2200", 7_258_118_400, 987_654_321),
    ];
    for (name, seconds, nanoseconds) in times {
        let name = format!("times/{name}");
        tree.file(&name, b"")?;
        tree.time(&name, seconds, nanoseconds);
    }
    tree.directory("times/directory-before-epoch")?;
    tree.time("times/directory-before-epoch", -86_400, 1);
    Ok(())
}

/// A picture in the binary PPM format: three bytes a pixel.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        for x in 0..width {
            bytes.extend([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x ^ y) & 0xff) as u8]);
        }
    }
    bytes
}

/// Bytes without a period that a misplaced page could hide behind (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::test_folder::TemporaryFolder;

    fn manifest(root: &Path) -> Vec<String> {
        let mut text = Vec::new();
        crate::manifest::write(root, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn two_small_trees_are_the_same() {
        let (one, two) = (TemporaryFolder::new("one"), TemporaryFolder::new("two"));
        small(&one.0).unwrap();
        small(&two.0).unwrap();
        let lines = manifest(&one.0);
        assert_eq!(lines, manifest(&two.0));
        assert_eq!(lines.len(), 14);
    }

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let folder = TemporaryFolder::new("occupied");
        fs::write(folder.0.join("mine"), "").unwrap();
        assert!(small(&folder.0).unwrap_err().to_string().contains("not empty"));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn the_full_tree_holds_what_it_promises() {
        let folder = TemporaryFolder::new("full");
        full(&folder.0).unwrap();
        let mut types = BTreeSet::new();
        let (mut entries, mut blocks, mut depth) = (0, 0, 0);
        let mut pending = vec![(folder.0.clone(), 0)];
        while let Some((directory, level)) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                entries += 1;
                blocks += metadata.blocks();
                depth = depth.max(level + 1);
                types.insert(metadata.mode() >> 12);
                if metadata.is_dir() {
                    pending.push((path, level + 1));
                }
            }
        }
        assert!(entries > MANY + 5_000, "{entries} entries");
        assert!(depth > LEVELS, "{depth} levels");
        assert!(blocks * 512 < 100 << 20, "{blocks} blocks of 512 bytes");
        assert_eq!(types, BTreeSet::from([0o01, 0o04, 0o10, 0o12, 0o14]));
        let old = fs::metadata(folder.0.join("times/year-1950")).unwrap();
        assert_eq!((old.mtime(), old.mtime_nsec()), (-631_152_000, 123_456_789));
        let hard = fs::metadata(folder.0.join("links/three")).unwrap();
        assert_eq!(hard.nlink(), 3);
        let sticky = fs::metadata(folder.0.join("modes/directory-1777")).unwrap();
        assert_eq!(sticky.mode() & 0o7777, 0o1777);
        let sparse = fs::metadata(folder.0.join("contents/sparse")).unwrap();
        assert_eq!(sparse.len(), SPARSE_BYTES);
        assert!(sparse.blocks() * 512 < 1 << 20, "the file is not sparse");
    }
}
