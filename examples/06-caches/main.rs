//! Mounts the same directory in each cache mode, does the same work in each, and counts the messages that it takes.

#![no_std]
#![no_main]

use kernel_glue::{Kernel, KernelHal, print, println};
use virtio_fs::virtio::pci;
use virtio_fs::{CacheMode, CacheOptions, Error, MountOptions, VirtioFs};

kernel_glue::entry!(main);

fn main(kernel: &Kernel) -> Result<(), Error> {
    let path = kernel.args().find(|&word| word != "writeback").unwrap_or("notes/year/june.txt");
    let (directory, _) = path.rsplit_once('/').unwrap_or(("/", path));
    let said = kernel.mount_options()?;
    // The mode of the command line, or one after the other.
    let modes = match kernel.arg("cache") {
        Some(_) => &[said.cache.mode][..],
        None => &[CacheMode::None, CacheMode::Auto, CacheMode::Always],
    };
    for &mode in modes {
        // After `unmount` the device is found again, as if it were the first time.
        let device = pci::find::<KernelHal>(&mut kernel.pci(), kernel.arg("tag").unwrap_or("share"))?;
        let cache = CacheOptions { mode, ..said.cache.clone() };
        let options = MountOptions { cache, ..said.clone() };
        let fs = VirtioFs::mount::<KernelHal>(device, kernel.platform(), &options)?;

        println!("{mode:?}");
        count(&fs, "stat", 3, || fs.metadata(path).map(drop))?;
        count(&fs, "read", 3, || fs.read(path).map(drop))?;
        count(&fs, "list", 2, || fs.read_dir(directory)?.try_for_each(|entry| entry.map(drop)))?;
        count(&fs, "miss", 2, || fs.exists("missing").map(drop))?;
        let known = fs.statistics();
        println!("  names kept: {}, bytes: {}", known.cached_names, known.cached_bytes);
        println!("  names found: {}, reads: {}", known.name_hits, known.data_hits);

        // What is not kept needs the host again.
        fs.drop_caches();
        count(&fs, "read after drop_caches", 1, || fs.read(path).map(drop))?;
        fs.unmount()?;
    }
    Ok(())
}

/// Does something several times, and prints how many requests were sent each time.
fn count(fs: &VirtioFs, what: &str, times: usize, mut act: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    print!("  {what}:");
    for _ in 0..times {
        let before = fs.statistics().all_requests();
        act()?;
        print!(" {}", fs.statistics().all_requests() - before);
    }
    println!();
    Ok(())
}
