//! A shell on the serial console, over the mounted directory.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, exit, println, read_byte, write_bytes};
use virtio_fs::virtio::pci;
use virtio_fs::{Credentials, Error, MountOptions, VirtioFs};
use virtio_fs_shell::{Shell, Terminal};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    let credentials = Credentials { umask: 0o022, ..Credentials::default() };
    let options = MountOptions { credentials, ..MountOptions::default() };
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;

    let mut console = Console;
    let mut shell = Shell::new(fs.clone(), kernel.platform(), &mut console);
    let status = match kernel.command() {
        Some(commands) => shell.run(commands.as_bytes()),
        None => {
            println!("virtio-fs shell; 'help' lists the commands");
            shell.interact()
        }
    };

    drop(shell);
    fs.unmount()?;
    exit(status)
}

/// The serial console.
struct Console;

impl Terminal for Console {
    fn write(&mut self, bytes: &[u8]) {
        write_bytes(bytes);
    }

    fn read(&mut self) -> Option<u8> {
        // There are no interrupts: the port is asked again and again.
        loop {
            match read_byte() {
                None => core::hint::spin_loop(),
                byte => return byte,
            }
        }
    }
}
