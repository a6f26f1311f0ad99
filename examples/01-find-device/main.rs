//! Finds every virtio-fs device on the PCI bus and tells what it offers.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::Error;
use virtio_fs::virtio::pci::{self, PciTransport};
use virtio_fs::virtio::{Config, Transport};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let mut pci = kernel.pci();
    let functions = pci::enumerate(&mut pci);
    println!("virtio-fs devices: {}", functions.len());

    for function in functions {
        // Reads the capabilities, and switches memory access and bus mastering on.
        let device = PciTransport::new::<KernelHal>(&mut pci, function)?;
        let config = Config::read(&device)?;
        println!("{function}: tag {:?}, request queues: {}", config.tag, config.request_queues);

        // Queue 0 is the high-priority queue, the request queues follow.
        for queue in 0..=config.request_queues.min(8) as u16 {
            println!("  queue {queue}: at most {} descriptors", device.max_queue_size(queue));
        }
        match device.msix() {
            Some(msix) => println!("  MSI-X: {} vectors at {:#x}", msix.vectors, msix.table_address),
            None => println!("  MSI-X: none"),
        }
        // Region 0 is the DAX window, region 1 the metadata version table; the device may have neither.
        for (id, name) in [(0, "DAX window"), (1, "metadata version table")] {
            match device.shared_memory(id) {
                Some(region) => println!("  {name}: {} bytes at {:#x}", region.length_bytes, region.address),
                None => println!("  {name}: none"),
            }
        }
    }
    Ok(())
}
