//! A shell on the serial console, over the mounted directory.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use kernel_glue::{Kernel, KernelHal, exit, idle_until, println, read_byte, write_bytes};
use virtio_fs::virtio::pci;
use virtio_fs::{Credentials, Error, MountOptions, Platform, VirtioFs};
use virtio_fs_shell::{Shell, Terminal};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    let credentials = Credentials { umask: 0o022, ..Credentials::default() };
    let options = MountOptions { credentials, ..kernel.mount_options()? };
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;

    let mut console = Console { fs: fs.clone(), platform: kernel.platform() };
    let mut shell = Shell::new(fs.clone(), kernel.platform(), &mut console);
    let status = match kernel.command() {
        Some(commands) => shell.run(commands.as_bytes()),
        None => {
            println!("virtio-fs shell; 'help' lists the commands");
            shell.interact()
        }
    };

    // Who else knows the mount lets go of it.
    drop(shell);
    drop(console);
    fs.unmount()?;
    exit(status)
}

/// The serial console.
struct Console {
    fs: VirtioFs,
    platform: Arc<dyn Platform>,
}

impl Terminal for Console {
    fn write(&mut self, bytes: &[u8]) {
        write_bytes(bytes);
    }

    fn read(&mut self) -> Option<u8> {
        Some(idle_until(&self.fs, &*self.platform, read_byte))
    }
}
