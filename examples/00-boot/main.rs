//! A kernel that boots, looks around, and ends.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, println};
use virtio_drivers::transport::pci::bus::{PciError, PciRoot};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), PciError> {
    println!("memory: {} MiB", kernel.memory_bytes() >> 20);
    for region in kernel.memory_map() {
        let last = region.address + (region.length_bytes - 1);
        println!("  {:#014x} to {last:#014x} {}", region.address, if region.usable { "usable" } else { "reserved" });
    }

    println!("PCI:");
    let mut root = PciRoot::new(kernel.pci());
    for (function, info) in root.enumerate_bus(0) {
        println!("  {function} {info}");
        for (number, bar) in root.bars(function)?.iter().enumerate() {
            if let Some(bar) = bar {
                println!("    BAR {number}: {bar}");
            }
        }
    }

    let platform = kernel.platform();
    println!("since boot: {:?}", platform.now().0);
    println!("since 1970: {} s", platform.wall_clock().seconds);

    println!("command line: {:?}", kernel.command_line());
    match kernel.arg("name") {
        Some(name) => println!("hello, {name}"),
        None => println!("hello; boot me with -append name=YOURS"),
    }
    Ok(())
}
