//! Maps a file that another guest maps, too: both see at once what the other one writes, and count together.

#![no_std]
#![no_main]

use core::time::Duration;
use kernel_glue::{Kernel, KernelHal, println};
use virtio_fs::fs::OpenOptions;
use virtio_fs::virtio::pci;
use virtio_fs::vnode::{Access, Mapping};
use virtio_fs::{CacheMode, CacheOptions, Dax, Errno, Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

const ADDITIONS: u64 = 200_000;
/// Where in the file the numbers are: how many guests have come, how many have counted, and what they count. Behind
/// them each guest has a place for its text.
const COME: u64 = 0;
const DONE: u64 = 8;
const COUNT: u64 = 16;
const TEXTS: u64 = 64;

fn main(kernel: &Kernel) -> Result<(), Error> {
    let number = |key| kernel.arg(key).and_then(|word| word.parse().ok()).filter(|&number: &u64| number > 0);
    let (me, guests) = (number("guest").unwrap_or(1), number("guests").unwrap_or(1));
    let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
    // What is mapped is the same for all, even where a mount believes that nobody else changes anything.
    let cache = CacheOptions { mode: CacheMode::Always, ..CacheOptions::default() };
    let options = MountOptions { cache, dax: Dax::Always, ..MountOptions::default() };
    let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;

    // Only the server makes a file longer. For the guest that comes later it is long enough.
    let file = OpenOptions::new().read(true).write(true).create(true).open(&fs, "shared")?;
    file.set_len(4096)?;
    let shared = file.map(0..4096, Access::READ | Access::WRITE)?;
    shared.write_at(TEXTS * me, b"by guest ")?;
    shared.write_at(TEXTS * me + 9, &[b'0' + me as u8])?;
    let before = fs.statistics().all_requests();
    meet(kernel, &shared, COME, guests)?;

    let other = me % guests + 1;
    let mut text = [0; 10];
    shared.read_at(TEXTS * other, &mut text)?;
    println!("guest {me} sees '{}'", text.escape_ascii());
    let (mut last, mut together) = (None, false);
    for _ in 0..ADDITIONS {
        let now = shared.fetch_add_u64(COUNT, 1)?;
        together |= last.is_some_and(|last| now != last + 1);
        last = Some(now);
    }
    println!("added {ADDITIONS}; at the same time as others: {together}");

    meet(kernel, &shared, DONE, guests)?;
    let (all, count) = (shared.load_u64(COME)? * ADDITIONS, shared.load_u64(COUNT)?);
    println!("all have added {count}, lost {}", all - count);
    println!("requests: {}", fs.statistics().all_requests() - before);
    shared.flush()?;
    drop((shared, file));
    fs.unmount()
}

/// Waits until all guests are here, by a number that each of them raises. If the file was counted in before, it was by
/// all.
fn meet(kernel: &Kernel, shared: &Mapping, number: u64, guests: u64) -> Result<(), Error> {
    shared.fetch_add_u64(number, 1)?;
    let platform = kernel.platform();
    let deadline = platform.now() + Duration::from_secs(30);
    let all_are_here = &mut || shared.load_u64(number).is_ok_and(|come| come.is_multiple_of(guests));
    if platform.wait_until(deadline, all_are_here) { Ok(()) } else { Err(Error::Refused(Errno::ETIMEDOUT)) }
}
