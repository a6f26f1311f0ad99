//! Mounts two directories of the host side by side, and compares a file of one with a file of the other.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::virtio::pci::{self, PciTransport};
use virtio_fs::{Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let path = kernel.args().next().unwrap_or("hello.txt");

    // Both devices are found before one of them is used: `find` looks at all there are, and disturbs them.
    let one = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("one").unwrap_or("share"))?;
    let two = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("two").unwrap_or("share2"))?;
    let (one, two) = (mount(kernel, one)?, mount(kernel, two)?);

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

fn mount(kernel: &Kernel, device: PciTransport) -> Result<VirtioFs, Error> {
    VirtioFs::mount::<KernelHal>(device, kernel.platform(), &MountOptions::default())
}
