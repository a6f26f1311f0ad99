//! Reads and writes a file through the DAX window, maps a part of it, and counts the messages that it takes.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::fs::OpenOptions;
use virtio_fs::virtio::pci;
use virtio_fs::vnode::Access;
use virtio_fs::{Dax, Error, MountOptions, OpenFlags, VirtioFs};

kernel_glue::entry!(main);

const BYTES: usize = 4 << 20;

fn main(kernel: &Kernel) -> Result<(), Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    let options = MountOptions { dax: Dax::Always, ..MountOptions::default() };
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;

    // Only the server can make a file longer: what is mapped ends where the file did.
    fs.write("mapped", vec![b'.'; BYTES])?;
    let file = OpenOptions::new().read(true).write(true).open(&fs, "mapped")?;
    let mut content = vec![0; BYTES];
    count(&fs, "read once", || file.read_at(0, &mut content).map(drop))?;
    count(&fs, "read again", || file.read_at(0, &mut content).map(drop))?;
    count(&fs, "write", || file.write_all_at(BYTES as u64 / 2, b"by the guest"))?;

    // A file that is opened in this way is read and written by requests. So we hear what the host sees, and the host does
    // what we want.
    let on_the_host = OpenOptions::new().read(true).write(true).custom_flags(OpenFlags::DIRECT).open(&fs, "mapped")?;
    let mut seen = [0; 12];
    on_the_host.read_at(BYTES as u64 / 2, &mut seen)?;
    println!("the host sees '{}'", seen.escape_ascii());

    // A mapping is memory that the host and other guests have, too.
    let mapping = file.map(0..8192, Access::READ | Access::WRITE)?;
    on_the_host.write_all_at(100, b"by the host")?;
    let mut seen = [0; 11];
    count(&fs, "look", || mapping.read_at(100, &mut seen))?;
    println!("the guest sees '{}'", seen.escape_ascii());
    mapping.store_u64(4096, 41)?;
    count(&fs, "count", || mapping.fetch_add_u64(4096, 1).map(drop))?;
    let mut number = [0; 8];
    on_the_host.read_at(4096, &mut number)?;
    println!("the host sees {}", u64::from_ne_bytes(number));
    mapping.flush()?;
    drop((mapping, file, on_the_host));
    fs.unmount()
}

/// Does something, and prints how many requests were sent.
fn count(fs: &VirtioFs, what: &str, act: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let before = fs.statistics().all_requests();
    act()?;
    println!("{what}: {} requests", fs.statistics().all_requests() - before);
    Ok(())
}
