//! Writes files so that they survive: an ordinary file, a log, and a file that is replaced as a whole.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, print, println};
use virtio_fs::fs::OpenOptions;
use virtio_fs::virtio::pci;
use virtio_fs::vnode::Durability;
use virtio_fs::{Credentials, Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    // Whose the new files are, and which permissions they do not get.
    let credentials = Credentials { uid: 0, gid: 0, umask: 0o022, ..Credentials::default() };
    let options = MountOptions { credentials, ..MountOptions::default() };
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;
    fs.create_dir_all("written/by/guest")?;

    // When `write` returns, the host has the data: everybody there sees it, and it outlives this kernel. Whether it
    // outlives the host's power is another question: `sync_all` waits until it does.
    let mut file = fs.create("written/by/guest/numbers")?;
    for number in 1..=10_u64 {
        file.write_all(&number.to_le_bytes())?;
    }
    file.sync_all()?;
    // Some servers tell of an error only when the file is closed: dropping it would leave that unheard.
    file.close()?;
    println!("numbers: {} bytes", fs.metadata("written/by/guest/numbers")?.len());

    // What is appended goes to the end, wherever that is by then: several writers do not overwrite each other.
    let mut log = OpenOptions::new().append(true).create(true).open(&fs, "written/log")?;
    log.write_all(b"booted\n")?;
    // The content, and what is needed to find it; not the times.
    log.sync_data()?;
    log.close()?;
    print!("log:\n{}", fs.read_to_string("written/log")?);

    // A file that others read is replaced by a new one of the same name. Whoever opens it finds the old content or the
    // new, also after a crash: the data is durable before the name is, and the directory is where the name is.
    let mut file = fs.create("written/config.new")?;
    file.write_all(b"answer = 42\n")?;
    file.sync_all()?;
    file.close()?;
    fs.rename("written/config.new", "written/config")?;
    let directory = fs.node("written")?.opendir()?;
    directory.fsync(Durability::All)?;
    directory.close()?;
    print!("config: {}", fs.read_to_string("written/config")?);

    fs.unmount()
}
