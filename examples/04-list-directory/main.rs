//! Prints a directory of the host as a tree, with sizes.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::virtio::pci;
use virtio_fs::{Error, FileType, MountOptions, VirtioFs, fs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let path = kernel.args().next().unwrap_or("/");

    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &MountOptions::default())?;
    println!("{path}");
    let mut total = Total::default();
    list(fs.read_dir(path)?, 1, &mut total)?;
    println!("{} entries, {} bytes", total.entries, total.bytes);
    fs.unmount()
}

#[derive(Default)]
struct Total {
    entries: u64,
    bytes: u64,
}

fn list(dir: fs::ReadDir, depth: usize, total: &mut Total) -> Result<(), Error> {
    // The server lists in an order of its own.
    let mut entries = dir.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    for entry in entries {
        // Metadata came with the listing: this sends nothing.
        let metadata = entry.metadata()?;
        let node = entry.node()?;
        let name = entry.file_name().escape_ascii();
        total.entries += 1;
        match metadata.file_type() {
            FileType::Directory => {
                println!("{:12}{:width$}{name}/", "", "", width = 2 * depth);
                list(node.opendir()?.into(), depth + 1, total)?;
            }
            FileType::Symlink => {
                let target = node.readlink()?;
                println!("{:12}{:width$}{name} -> {}", "", "", target.escape_ascii(), width = 2 * depth);
            }
            _ => {
                total.bytes += metadata.len();
                println!("{:12}{:width$}{name}", metadata.len(), "", width = 2 * depth);
            }
        }
    }
    Ok(())
}
