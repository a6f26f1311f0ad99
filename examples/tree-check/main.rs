//! Walks the whole mount and prints a line for every entry, as `sample-tree manifest` does on the host.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt::{self, Display};
use kernel_glue::{Kernel, KernelHal, println};
use sha2::{Digest, Sha256};
use virtio_fs::virtio::pci;
use virtio_fs::vnode::Node;
use virtio_fs::{Attr, Error, FileType, MountOptions, VirtioFs, fs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &MountOptions::default())?;
    let mut buffer = alloc::vec![0; 4 << 20];
    check(fs.root(), &fs.root().getattr()?, b".", &mut buffer)?;
    fs.unmount()
}

/// Prints the line of `node`, then those of all below it.
fn check(node: &Node, attr: &Attr, path: &[u8], buffer: &mut [u8]) -> Result<(), Error> {
    let (kind, hash) = match attr.file_type {
        FileType::Regular => ('f', Some(hash(node, buffer)?)),
        FileType::Directory => ('d', None),
        FileType::Symlink => ('l', None),
        FileType::Fifo => ('p', None),
        FileType::Socket => ('s', None),
        FileType::BlockDevice => ('b', None),
        FileType::CharDevice => ('c', None),
    };
    let target = if kind == 'l' { Some(node.readlink()?) } else { None };
    println!(
        "{kind} {:04o} {} {}.{:09} {} {} {}{}",
        attr.permissions,
        attr.size_bytes,
        attr.modified.seconds,
        attr.modified.nanoseconds,
        attr.nlink,
        Hash(hash),
        Escaped("", path),
        Escaped(" -> ", target.as_deref().unwrap_or_default())
    );
    if kind == 'd' {
        // Only the names are kept: a server may hold a file descriptor for every node that lives, and have few of them.
        let entries = fs::ReadDir::from(node.opendir()?);
        let mut names = entries.map(|entry| Ok(entry?.file_name().to_vec())).collect::<Result<Vec<_>, Error>>()?;
        names.sort();
        for name in names {
            let below = if path == b"." { name.clone() } else { [path, &name].join(&b'/') };
            let (child, attr) = node.lookup(&name)?;
            check(&child, &attr, &below, buffer)?;
        }
    }
    Ok(())
}

/// SHA-256 of a file's bytes.
fn hash(node: &Node, buffer: &mut [u8]) -> Result<[u8; 32], Error> {
    let file = node.open()?;
    let (mut sha256, mut offset) = (Sha256::new(), 0);
    loop {
        match file.read_at(offset, buffer)? {
            0 => return Ok(sha256.finalize().into()),
            bytes => {
                sha256.update(&buffer[..bytes]);
                offset += bytes as u64;
            }
        }
    }
}

/// A hash in hexadecimal, or `-`.
struct Hash(Option<[u8; 32]>);

impl Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            None => f.write_str("-"),
        }
    }
}

/// A name, and what stands before it if it is not empty; bytes that could break the line are written as `\xHH`.
struct Escaped<'a>(&'a str, &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(before, bytes) = self;
        if bytes.is_empty() {
            return Ok(());
        }
        f.write_str(before)?;
        bytes.iter().try_for_each(|&byte| match byte {
            b'\\' | ..=0x20 | 0x7f.. => write!(f, "\\x{byte:02x}"),
            _ => write!(f, "{}", byte as char),
        })
    }
}
