//! Mounts two directories of the host side by side, and compares a file of one with a file of the other.

#![no_std]
#![no_main]

extern crate alloc;

use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::virtio::pci;
use virtio_fs::{Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let path = kernel.args().next().unwrap_or("hello.txt");
    let one = mount(kernel, kernel.arg("one").unwrap_or("share"))?;
    let two = mount(kernel, kernel.arg("two").unwrap_or("share2"))?;

    // Both files are open at the same time: each through its own device, session and daemon.
    let files = [one.open(path)?, two.open(path)?];
    let [first, second] = files.each_ref().map(|file| file.metadata().map(|metadata| metadata.len()));
    println!("{path}: {} bytes and {} bytes", first?, second?);
    let same = one.read(path)? == two.read(path)?;
    println!("{}", if same { "the same" } else { "different" });

    // Ending one session leaves the other alone.
    drop(files);
    one.unmount()?;
    println!("still there: {}", two.exists(path)?);
    two.unmount()
}

fn mount(kernel: &Kernel, tag: &str) -> Result<VirtioFs, Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;
    VirtioFs::mount::<KernelHal>(device, kernel.platform(), &MountOptions::default())
}
