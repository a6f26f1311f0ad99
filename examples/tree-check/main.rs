//! Walks the whole mount and prints a line for every entry, as `sample-tree manifest` does on the host.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;
use kernel_glue::{Kernel, KernelHal, print, println};
use sha2::{Digest, Sha256};
use virtio_fs::virtio::pci;
use virtio_fs::vnode::Node;
use virtio_fs::{Attr, Errno, Error, FileType, OpenFlags, Timestamp, VirtioFs, fs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;
    let mut options = kernel.mount_options()?;
    if let Some(seconds) = kernel.arg("timeout") {
        let seconds = seconds.parse().map_err(|_| Error::Invalid(Errno::EINVAL))?;
        options.device.request_timeout = Duration::from_secs(seconds);
    }
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;
    let mut buffer = alloc::vec![0; 4 << 20];
    check(fs.root(), &fs.root().getattr()?, b".", &mut buffer)?;
    fs.unmount()
}

/// Prints the line of `node`, then those of all below it.
fn check(node: &Node, attr: &Attr, path: &[u8], buffer: &mut [u8]) -> Result<(), Error> {
    let kind = match attr.file_type {
        FileType::Regular => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::BlockDevice => 'b',
        FileType::CharDevice => 'c',
    };
    let Timestamp { seconds, nanoseconds } = attr.modified;
    print!("{kind} {:04o} {} {seconds}.{nanoseconds:09} {} ", attr.permissions, attr.size_bytes, attr.nlink);
    match kind {
        'f' => hash(node, buffer)?.iter().for_each(|byte| print!("{byte:02x}")),
        _ => print!("-"),
    }
    print!(" {}", path.escape_ascii());
    if kind == 'l' {
        print!(" -> {}", node.readlink()?.escape_ascii());
    }
    println!();
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
    let (file, mut sha256, mut offset) = (node.open(OpenFlags::READ_ONLY)?, Sha256::new(), 0);
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
