//! What `main` is given.

use crate::args::Wrong;
use crate::boot_info::{BootInfo, MemoryRegion};
use crate::{KernelPlatform, PciConfiguration, args, exit, println};
use alloc::sync::Arc;
use core::fmt::Display;
use spin::Once;
use virtio_fs::{Errno, Error, MountOptions, Platform};

/// The kernel: what the driver and an example ask for.
pub struct Kernel {
    boot_info: &'static BootInfo,
    platform: Arc<KernelPlatform>,
}

impl Kernel {
    pub(crate) fn init(boot_info: &'static BootInfo) -> &'static Self {
        static KERNEL: Once<Kernel> = Once::new();
        KERNEL.call_once(|| Self { boot_info, platform: Arc::new(KernelPlatform::new()) })
    }

    /// The value of the word `key=value` on the command line; of several, the last.
    pub fn arg(&self, key: &str) -> Option<&'static str> {
        args::value(self.command_line(), key)
    }

    /// The words of the command line without `=`, in order.
    pub fn args(&self) -> impl Iterator<Item = &'static str> {
        args::positional(self.command_line())
    }

    /// The text behind the word `-c` of the command line, as it stands: its words are none of those that
    /// [`arg`](Self::arg) and [`args`](Self::args) see.
    pub fn command(&self) -> Option<&'static str> {
        args::command(self.command_line())
    }

    /// How to mount, by the words `cache=none`, `cache=auto` or `cache=always`, `writeback`, and
    /// `mount=NAME=VALUE[,NAME=VALUE...]` of the command line; `qemu-scripts/run --help` has the names.
    ///
    /// # Errors
    ///
    /// `EINVAL` for what is not understood, which is logged as an error.
    pub fn mount_options(&self) -> Result<MountOptions, Error> {
        args::mount(self.command_line()).map_err(|Wrong { option, why }| {
            log::error!("mount option '{option}': {why}");
            Error::Invalid(Errno::EINVAL)
        })
    }

    /// The whole command line.
    pub fn command_line(&self) -> &'static str {
        self.boot_info.command_line()
    }

    /// The firmware's memory map.
    pub fn memory_map(&self) -> &'static [MemoryRegion] {
        self.boot_info.regions()
    }

    /// The size of usable memory.
    pub fn memory_bytes(&self) -> u64 {
        self.boot_info.usable().map(|region| region.length_bytes).sum()
    }

    /// PCI configuration space. All values of this type access the same space under one lock.
    pub fn pci(&self) -> PciConfiguration {
        PciConfiguration::new()
    }

    /// The clock and the way to wait, for the driver.
    pub fn platform(&self) -> Arc<dyn Platform> {
        self.platform.clone()
    }
}

/// Turns what `main` returned into the kernel's status.
#[doc(hidden)]
pub fn _finish<E: Display>(result: Result<(), E>) -> u8 {
    match result {
        Ok(()) => exit::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            exit::FAILURE
        }
    }
}
