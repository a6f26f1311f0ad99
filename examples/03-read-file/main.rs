//! Mounts the host's directory and reads a file.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, print, println};
use virtio_fs::virtio::pci;
use virtio_fs::{Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let path = kernel.args().next().unwrap_or("hello.txt");

    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &MountOptions::default())?;

    // As with std::fs: in one call ...
    print!("{}", fs.read_to_string(path)?);

    // ... or piece by piece.
    let mut file = fs.open(path)?;
    let mut start = [0; 16];
    let bytes = file.read(&mut start)?;
    println!("first {bytes} bytes of {}: \"{}\"", file.metadata()?.len(), start[..bytes].escape_ascii());

    drop(file);
    fs.unmount()
}
