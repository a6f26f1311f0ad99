//! Keeps what the host has said until somebody changes it: a guest sees what another one changes at its next call, and
//! asks for nothing else.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use core::{fmt::Display, ops::Range, time::Duration};
use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::virtio::pci;
use virtio_fs::{Errno, Error, VirtioFs};

kernel_glue::entry!(main);

const FILES: u64 = 1000;

fn main(kernel: &Kernel) -> Result<(), Error> {
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &kernel.mount_options()?)?;
    match kernel.arg("guest") {
        Some("2") => look(kernel, &fs)?,
        _ => change(kernel, &fs)?,
    }
    fs.unmount()
}

fn change(kernel: &Kernel, fs: &VirtioFs) -> Result<(), Error> {
    fs.create_dir("files")?;
    (0..FILES).try_for_each(|number| fs.write(format!("files/{number}"), "old"))?;
    fs.write("made", "")?;
    wait_for(kernel, fs, "known")?;

    fs.write("files/7", "new!")?;
    fs.set_permissions("files/8", 0o600)?;
    fs.rename("files/9", "files/nine")?;
    fs.write("changed", "")?;
    println!("has changed content, mode and name");

    wait_for(kernel, fs, "seen")?;
    ["made", "known", "changed", "seen"].iter().try_for_each(|name| fs.remove_file(name))?;
    fs.remove_dir_all("files")
}

fn look(kernel: &Kernel, fs: &VirtioFs) -> Result<(), Error> {
    let read = |number| fs.read_to_string(format!("files/{number}"));
    let read_all_but = |range: Range<u64>| {
        let mut numbers = (0..FILES).filter(|number| !range.contains(number));
        numbers.try_fold(0, |files, number| read(number).map(|_| files + 1))
    };
    wait_for(kernel, fs, "made")?;
    count(fs, "files read", || read_all_but(0..0))?;
    count(fs, "files read", || read_all_but(0..0))?;
    count(fs, "'changed' is there", || fs.exists("changed"))?;
    // The other guest waits for this name, and changes things then.
    fs.write("known", "")?;
    count(fs, "'changed' is there", || wait_for(kernel, fs, "changed").map(|()| true))?;
    count(fs, "files/7 holds", || read(7))?;
    count(fs, "files/8 has the mode", || Ok(format!("{:o}", fs.metadata("files/8")?.permissions())))?;
    count(fs, "files/9 is there", || fs.exists("files/9"))?;
    count(fs, "other files read", || read_all_but(7..10))?;
    fs.write("seen", "")
}

/// Looks for a name again and again, until it is there.
fn wait_for(kernel: &Kernel, fs: &VirtioFs, name: &str) -> Result<(), Error> {
    let platform = kernel.platform();
    let deadline = platform.now() + Duration::from_secs(30);
    let is_there = platform.wait_until(deadline, &mut || fs.exists(name).is_ok_and(|is_there| is_there));
    if is_there { Ok(()) } else { Err(Error::Refused(Errno::ETIMEDOUT)) }
}

/// Does something, and prints what came of it, and how many requests that took.
fn count<T: Display>(fs: &VirtioFs, what: &str, act: impl FnOnce() -> Result<T, Error>) -> Result<(), Error> {
    let before = fs.statistics().all_requests();
    let seen = act()?;
    println!("{what}: {seen}; requests: {}", fs.statistics().all_requests() - before);
    Ok(())
}
