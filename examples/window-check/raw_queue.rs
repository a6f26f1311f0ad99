//! One request queue by hand, with one request at a time, so that this kernel says exactly what it wants to say.

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;
use kernel_glue::KernelHal;
use virtio_fs::virtio::{DeviceStatus, RingAddresses, Transport};
use virtio_fs::{BufferDirection, Error, Hal, PhysAddr, Platform};

const VERSION_1: u64 = 1 << 32;
const SIZE: u16 = 4;
/// Where the page has the available ring, the used ring, the request and the reply; the descriptors come first.
const AVAILABLE: usize = 128;
const USED: usize = 256;
const REQUEST: usize = 512;
const REPLY: usize = 2048;

/// Queue 1, the first request queue, in one page.
pub(crate) struct RawQueue<'a> {
    transport: &'a dyn Transport,
    platform: &'a dyn Platform,
    address: PhysAddr,
    page: NonNull<u8>,
    requests: u16,
}

impl<'a> RawQueue<'a> {
    /// Resets the device and initialises it (VIRTIO 1.3 §3.1.1), with this queue alone.
    pub(crate) fn start(transport: &'a dyn Transport, platform: &'a dyn Platform) -> Result<Self, Error> {
        transport.reset(platform)?;
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status)?;
        transport.set_driver_features(VERSION_1);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status)?;
        let (address, page) = KernelHal::dma_alloc(1, BufferDirection::Both);
        let rings =
            RingAddresses { descriptors: address, available: address + AVAILABLE as u64, used: address + USED as u64 };
        transport.enable_queue(1, SIZE, rings)?;
        transport.set_status(status | DeviceStatus::DRIVER_OK)?;
        Ok(Self { transport, platform, address, page, requests: 0 })
    }

    /// Sends a request; gives the error number of the reply and what follows its header. An error leaves zeros.
    pub(crate) fn ask<const N: usize>(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) -> (i32, [u8; N]) {
        self.requests += 1;
        let length = 40 + arguments.len();
        self.write(REQUEST, &[0; 40]);
        self.write(REQUEST, &(length as u32).to_le_bytes());
        self.write(REQUEST + 4, &opcode.to_le_bytes());
        self.write(REQUEST + 8, &u64::from(self.requests).to_le_bytes());
        self.write(REQUEST + 16, &nodeid.to_le_bytes());
        self.write(REQUEST + 40, arguments);
        self.write(REPLY, &[0; 256]);
        self.descriptor(0, REQUEST, length, 1, 1);
        self.descriptor(1, REPLY, 2048, 2, 0);
        // Every entry of the available ring is descriptor 0, as the page was zeroed; only the index moves.
        fence(Ordering::SeqCst);
        self.write(AVAILABLE + 2, &self.requests.to_le_bytes());
        fence(Ordering::SeqCst);
        self.transport.notify(1);
        let deadline = self.platform.now() + Duration::from_secs(10);
        let mut is_answered = || u16::from_le_bytes(self.read(USED + 2)) == self.requests;
        assert!(self.platform.wait_until(deadline, &mut is_answered), "no reply to {opcode}");
        fence(Ordering::SeqCst);
        assert_eq!(u64::from_le_bytes(self.read(REPLY + 8)), u64::from(self.requests), "the reply of another request");
        (-i32::from_le_bytes(self.read(REPLY + 4)), self.read(REPLY + 16))
    }

    fn descriptor(&self, index: usize, offset: usize, length: usize, flags: u16, next: u16) {
        self.write(16 * index, &(self.address + offset as u64).to_le_bytes());
        self.write(16 * index + 8, &(length as u32).to_le_bytes());
        self.write(16 * index + 12, &flags.to_le_bytes());
        self.write(16 * index + 14, &next.to_le_bytes());
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= 4096);
        // SAFETY: inside the page, which is this value's own. The fences order this with what the device does.
        unsafe { self.page.add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset + N <= 4096);
        // SAFETY: as in `write`; volatile, because the device writes there.
        unsafe { self.page.add(offset).cast::<[u8; N]>().read_volatile() }
    }
}

impl Drop for RawQueue<'_> {
    fn drop(&mut self) {
        // A device that does not stop keeps the page.
        if self.transport.reset(self.platform).is_ok() {
            // SAFETY: what `dma_alloc` gave, and nobody has it any more.
            unsafe { KernelHal::dma_dealloc(self.address, self.page, 1) };
        }
    }
}
