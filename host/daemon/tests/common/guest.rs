//! A guest that says exactly what the test wants to be said: FUSE requests on one queue, and looks into the window.

use super::raw_queue::RawQueue;
use super::{Daemon, PATIENCE};
use std::io::Result;
use std::sync::Arc;
use std::time::Duration;
use virtio_fs::Hal;
use virtio_fs::virtio::{SharedMemoryRegion, Transport};
use virtio_fs_vhost_user::{ConnectOptions, GuestHal, NativePlatform, VhostUserTransport, connect_with};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const MAP_ALIGNMENT: u32 = 1 << 26;
/// FUSE_INIT_EXT: there is a second word of flags.
const INIT_EXT: u32 = 1 << 30;
/// FUSE_HAS_INODE_DAX, in the second word.
pub(crate) const HAS_INODE_DAX: u32 = 1 << 1;
/// FUSE_ATTR_DAX.
const ATTR_DAX: u32 = 1 << 1;
pub(crate) const READ: u64 = 2;
pub(crate) const WRITE: u64 = 1;
pub(crate) const NO_HANDLE: u64 = u64::MAX;

/// A device that a guest may drive.
pub(crate) struct Machine {
    pub(crate) transport: VhostUserTransport,
    pub(crate) platform: Arc<NativePlatform>,
}

impl Machine {
    pub(crate) fn connect(daemon: &Daemon) -> Self {
        Self::connect_with_patience(daemon, PATIENCE)
    }

    /// `patience` is how long a reset waits for requests in flight.
    pub(crate) fn connect_with_patience(daemon: &Daemon, patience: Duration) -> Self {
        let options = ConnectOptions { patience, ..ConnectOptions::default() };
        let (transport, platform) = connect_with(daemon.socket(), "test", options).unwrap();
        Self { transport, platform }
    }

    /// Initialises the device and the session, with all flags that concern mappings.
    pub(crate) fn boot(&self) -> Guest<'_> {
        let mut guest = self.boot_without_session();
        guest.init(MAP_ALIGNMENT, HAS_INODE_DAX);
        guest
    }

    pub(crate) fn boot_without_session(&self) -> Guest<'_> {
        let queue = RawQueue::start(&self.transport, &*self.platform);
        Guest { queue, window: self.transport.shared_memory(0) }
    }

    /// Resets the device, as firmware or the next driver does.
    pub(crate) fn reset(&self, guest: Guest<'_>) {
        self.transport.reset(&*self.platform).unwrap();
        guest.queue.free();
    }
}

/// The arguments of a SETUPMAPPING.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) handle: u64,
    pub(crate) file_offset: u64,
    pub(crate) length: u64,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
}

impl Setup {
    /// Pages for reading and writing: `pages` of the file, from `file_page` on, at `page` of the window.
    pub(crate) fn pages(page: u64, pages: u64, file_page: u64) -> Self {
        let [offset, length, file_offset] = [page, pages, file_page].map(|number| number * PAGE);
        Self { handle: NO_HANDLE, file_offset, length, flags: READ | WRITE, offset }
    }
}

/// What the reply to LOOKUP says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) nodeid: u64,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) is_marked: bool,
}

pub(crate) struct Guest<'a> {
    pub(crate) queue: RawQueue<'a>,
    window: Option<SharedMemoryRegion>,
}

impl Guest<'_> {
    /// Sends a request and waits; gives error number and the reply's beginning.
    pub(crate) fn ask<const N: usize>(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) -> (i32, [u8; N]) {
        self.queue.send(opcode, nodeid, arguments);
        assert!(self.queue.wait(PATIENCE), "no reply to {opcode}");
        let (error, reply) = self.queue.reply();
        (-error, reply)
    }

    pub(crate) fn ask_for_nothing(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) -> Result<()> {
        match self.ask::<0>(opcode, nodeid, arguments).0 {
            0 => Ok(()),
            error => Err(std::io::Error::from_raw_os_error(error)),
        }
    }

    /// FUSE_INIT; gives both words of flags and `map_alignment`.
    pub(crate) fn init(&mut self, flags: u32, flags2: u32) -> (u32, u32, u16) {
        let mut arguments = [0; 64];
        for (place, word) in [7_u32, 38, 0, flags | INIT_EXT, flags2].into_iter().enumerate() {
            arguments[4 * place..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let (error, reply) = self.ask::<64>(26, 0, &arguments);
        assert_eq!(error, 0, "INIT failed");
        let word = |offset: usize| u32::from_le_bytes(reply[offset..][..4].try_into().unwrap());
        (word(12), word(32), u16::from_le_bytes([reply[30], reply[31]]))
    }

    /// In the root.
    pub(crate) fn lookup(&mut self, name: &str) -> Found {
        self.lookup_in(1, name)
    }

    pub(crate) fn lookup_in(&mut self, directory: u64, name: &str) -> Found {
        self.entry(1, directory, format!("{name}\0").as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A request whose reply tells of an inode first.
    pub(crate) fn entry(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) -> Result<Found> {
        let (error, reply) = self.ask::<128>(opcode, nodeid, arguments);
        if error != 0 {
            return Err(std::io::Error::from_raw_os_error(error));
        }
        // fuse_entry_out: 40 bytes, then fuse_attr with `flags` at 84.
        let [nodeid, ino, size] = [0, 40, 48].map(|at| u64::from_le_bytes(reply[at..at + 8].try_into().unwrap()));
        Ok(Found { nodeid, ino, size, is_marked: u32::from_le_bytes(reply[124..].try_into().unwrap()) & ATTR_DAX != 0 })
    }

    /// FUSE_OPEN with the flags of Linux; gives the handle.
    pub(crate) fn open(&mut self, nodeid: u64, flags: u32) -> u64 {
        let arguments = u64::from(flags).to_le_bytes();
        let (error, reply) = self.ask::<8>(14, nodeid, &arguments);
        assert_eq!(error, 0, "OPEN failed");
        u64::from_le_bytes(reply)
    }

    pub(crate) fn set_up(&mut self, nodeid: u64, setup: Setup) -> Result<()> {
        let words = [setup.handle, setup.file_offset, setup.length, setup.flags, setup.offset];
        let arguments: Vec<_> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.ask_for_nothing(48, nodeid, &arguments)
    }

    /// FUSE_REMOVEMAPPING of offsets and lengths in bytes.
    pub(crate) fn remove(&mut self, ranges: &[(u64, u64)]) -> Result<()> {
        let mut arguments = (ranges.len() as u32).to_le_bytes().to_vec();
        ranges.iter().for_each(|range| arguments.extend([range.0, range.1].into_iter().flat_map(u64::to_le_bytes)));
        self.ask_for_nothing(49, 0, &arguments)
    }

    fn window(&self, offset: u64) -> std::ptr::NonNull<u8> {
        let window = self.window.expect("a window");
        assert!(offset < window.length_bytes);
        // SAFETY: inside the region, whose transport the queue borrows.
        unsafe { GuestHal::mmio_phys_to_virt(window.address + offset, 1) }
    }

    /// A byte of the window. Where nothing is mapped, it is 0.
    pub(crate) fn see(&self, offset: u64) -> u8 {
        // SAFETY: `window` gives a place inside the region. Where something is mapped that has no page, the process ends.
        unsafe { self.window(offset).read_volatile() }
    }

    /// The first bytes of the first pages.
    pub(crate) fn see_pages(&self, pages: u64) -> Vec<u8> {
        (0..pages).map(|page| self.see(page * PAGE)).collect()
    }

    pub(crate) fn store(&self, offset: u64, byte: u8) {
        // SAFETY: as in `see`; what is mapped is mapped for writing, or the process ends.
        unsafe { self.window(offset).write_volatile(byte) }
    }

    pub(crate) fn window_bytes(&self) -> Option<u64> {
        self.window.map(|window| window.length_bytes)
    }
}

/// The error's number.
pub(crate) fn errno(result: Result<()>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}
