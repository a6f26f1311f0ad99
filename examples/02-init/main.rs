//! Opens a FUSE session, tells what was negotiated, and ends the session.

#![no_std]
#![no_main]

use core::time::Duration;
use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::virtio::pci;
use virtio_fs::{Errno, Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let tag = kernel.arg("tag").unwrap_or("share");
    let device = pci::find::<KernelHal>(&mut kernel.pci(), tag)?;

    let mut options = MountOptions::default();
    if let Some(seconds) = kernel.arg("timeout") {
        let seconds = seconds.parse().map_err(|_| Error::Invalid(Errno::EINVAL))?;
        options.device.request_timeout = Duration::from_secs(seconds);
    }

    // Resets the device, negotiates virtio features, sets up the queues, then sends FUSE_INIT and waits for its reply.
    let start = kernel.platform().now();
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;
    println!("mounted \"{tag}\" in {:?}", kernel.platform().now() - start);

    let negotiated = fs.negotiated();
    println!("FUSE 7.{}", negotiated.minor);
    println!("flags: {:?}", negotiated.flags);
    println!("largest transfer: {} KiB", negotiated.max_transfer_bytes >> 10);
    println!("granularity of timestamps: {} ns", negotiated.time_granularity_ns);

    // The root needs no lookup: its nodeid is always 1.
    let root = fs.root().getattr()?;
    println!("root: inode {}, mode {:o}, {} links", root.ino, root.permissions, root.nlink);
    let room = fs.statvfs("/")?;
    println!("free: {} of {} blocks of {} bytes", room.blocks_free, room.blocks, room.fragment_size_bytes);

    // Sends FUSE_DESTROY and resets the device.
    fs.unmount()?;
    println!("unmounted");
    Ok(())
}
