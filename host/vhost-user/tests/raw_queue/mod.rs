//! A split virtqueue made by hand, for tests of the transport without the driver's queues.

use crate::common::Folder;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;
use virtio_fs::virtio::{DeviceStatus, RingAddresses, Transport};
use virtio_fs::{BufferDirection, Hal, PhysAddr, Platform};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, NativePlatform, VhostUserTransport, connect};

/// A daemon on an empty folder, and a connection to it. A machine without virtiofsd fails here, with the remedy.
pub(crate) fn served(options: &DaemonOptions) -> (Folder, Daemon, VhostUserTransport, Arc<NativePlatform>) {
    let folder = Folder::new();
    let daemon = Daemon::start(folder.path(), options).unwrap_or_else(|error| panic!("{error}"));
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    (folder, daemon, transport, platform)
}

const SIZE: u16 = 4;
const REQUEST: usize = 1024;
const REPLY: usize = 2048;

/// Queue 1, the first request queue, with room for one request: one page with rings, request and reply.
pub(crate) struct RawQueue<'a> {
    transport: &'a dyn Transport,
    platform: &'a dyn Platform,
    address: PhysAddr,
    page: *mut u8,
    requests: u16,
    event_index: bool,
}

const VERSION_1: u64 = 1 << 32;
const EVENT_INDEX: u64 = 1 << 29;

impl<'a> RawQueue<'a> {
    /// A queue of the simplest kind.
    pub(crate) fn start(transport: &'a dyn Transport, platform: &'a dyn Platform) -> Self {
        Self::with_features(transport, platform, VERSION_1)
    }

    /// A queue with the event index, as the driver has it.
    pub(crate) fn start_with_event_index(transport: &'a dyn Transport, platform: &'a dyn Platform) -> Self {
        Self::with_features(transport, platform, VERSION_1 | EVENT_INDEX)
    }

    /// Initialises the device as VIRTIO 1.3 §3.1.1 says.
    fn with_features(transport: &'a dyn Transport, platform: &'a dyn Platform, features: u64) -> Self {
        let (address, page) = GuestHal::dma_alloc(1, BufferDirection::Both);
        assert_ne!(address, 0);
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status).unwrap();
        assert_eq!(transport.device_features() & features, features);
        transport.set_driver_features(features);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status).unwrap();
        assert!(transport.status().contains(DeviceStatus::FEATURES_OK));
        let rings = RingAddresses { descriptors: address, available: address + 128, used: address + 256 };
        transport.enable_queue(1, SIZE, rings).unwrap();
        transport.set_status(status | DeviceStatus::DRIVER_OK).unwrap();
        Self {
            transport,
            platform,
            address,
            page: page.as_ptr(),
            requests: 0,
            event_index: features & EVENT_INDEX != 0,
        }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= 4096);
        // SAFETY: inside the page, which this value took from `dma_alloc`. The fences around the use of the ring order
        // this with what the device does.
        unsafe { self.page.add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset + N <= 4096);
        // SAFETY: as in `write`. Every bit pattern is bytes; volatile, because the device writes them.
        unsafe { self.page.add(offset).cast::<[u8; N]>().read_volatile() }
    }

    fn used_index(&self) -> u16 {
        u16::from_le_bytes(self.read(256 + 2))
    }

    /// Sends a request: header and arguments.
    pub(crate) fn send(&mut self, opcode: u32, nodeid: u64, arguments: &[u8]) {
        let length = 40 + arguments.len();
        self.write(REQUEST, &(length as u32).to_le_bytes());
        self.write(REQUEST + 4, &opcode.to_le_bytes());
        self.write(REQUEST + 8, &u64::from(self.requests + 1).to_le_bytes());
        self.write(REQUEST + 16, &nodeid.to_le_bytes());
        self.write(REQUEST + 40, arguments);
        // Two descriptors: the readable part with NEXT, and the writable part.
        self.descriptor(0, REQUEST, length, 1, 1);
        self.descriptor(1, REPLY, 2048, 2, 0);
        // Every entry of the available ring is descriptor 0, as it was zeroed; only the index moves.
        self.requests = self.requests.wrapping_add(1);
        self.offer();
    }

    fn offer(&self) {
        let before = self.requests.wrapping_sub(1).to_le_bytes();
        if self.event_index {
            // A call when the used index passes what it is now.
            self.write(128 + 4 + 2 * usize::from(SIZE), &before);
        }
        fence(Ordering::SeqCst);
        self.write(128 + 2, &self.requests.to_le_bytes());
        fence(Ordering::SeqCst);
        if !self.event_index || self.read(256 + 4 + 8 * usize::from(SIZE)) == before {
            self.transport.notify(1);
        }
    }

    fn descriptor(&self, index: usize, offset: usize, length: usize, flags: u16, next: u16) {
        self.write(16 * index, &(self.address + offset as u64).to_le_bytes());
        self.write(16 * index + 8, &(length as u32).to_le_bytes());
        self.write(16 * index + 12, &flags.to_le_bytes());
        self.write(16 * index + 14, &next.to_le_bytes());
    }

    /// FUSE_GETATTR of the root with nothing around it: a new header, the doorbell, the wait, and the reply's bytes.
    pub(crate) fn round_trip(&mut self) -> [u8; 120] {
        self.send(3, 1, &[0; 16]);
        let deadline = self.platform.now() + Duration::from_secs(5);
        assert!(self.platform.wait_until(deadline, &mut || self.used_index() == self.requests), "no reply");
        fence(Ordering::SeqCst);
        let reply: [u8; 120] = self.read(REPLY);
        assert_eq!(reply[8..16], u64::from(self.requests).to_le_bytes());
        reply
    }

    /// Waits for the request in flight; says whether it was answered before the device was lost or the time was over.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let lost = || self.transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET);
        let deadline = self.platform.now() + patience;
        self.platform.wait_until(deadline, &mut || self.used_index() == self.requests || lost());
        self.used_index() == self.requests
    }

    /// The reply: error number and what follows the header.
    pub(crate) fn reply<const N: usize>(&self) -> (i32, [u8; N]) {
        fence(Ordering::SeqCst);
        let unique = u64::from_le_bytes(self.read(REPLY + 8));
        assert_eq!(unique, u64::from(self.requests), "the reply of another request");
        (i32::from_le_bytes(self.read(REPLY + 4)), self.read(REPLY + 16))
    }

    /// Gives the page back, after the device was reset.
    pub(crate) fn free(self) {
        let page = std::ptr::NonNull::new(self.page).unwrap();
        // SAFETY: these are the values that `dma_alloc` returned, and nobody uses the page after this.
        assert_eq!(unsafe { GuestHal::dma_dealloc(self.address, page, 1) }, 0);
    }

    /// FUSE_INIT; returns the minor version of the server.
    pub(crate) fn init(&mut self) -> u32 {
        let mut arguments = [0; 64];
        arguments[..4].copy_from_slice(&7_u32.to_le_bytes());
        arguments[4..8].copy_from_slice(&38_u32.to_le_bytes());
        self.send(26, 0, &arguments);
        assert!(self.wait(Duration::from_secs(5)), "no reply to FUSE_INIT");
        let (error, reply) = self.reply::<8>();
        assert_eq!(error, 0);
        assert_eq!(reply[..4], 7_u32.to_le_bytes(), "the major version");
        u32::from_le_bytes([reply[4], reply[5], reply[6], reply[7]])
    }

    /// FUSE_GETATTR of the root; returns its inode number and mode.
    pub(crate) fn getattr_root(&mut self) -> (u64, u32) {
        self.send(3, 1, &[0; 16]);
        assert!(self.wait(Duration::from_secs(5)), "no reply to FUSE_GETATTR");
        let (error, reply) = self.reply::<104>();
        assert_eq!(error, 0);
        // fuse_attr_out: 16 bytes of validity, then fuse_attr with `ino` first and `mode` at 60.
        let ino = u64::from_le_bytes(reply[16..24].try_into().unwrap());
        (ino, u32::from_le_bytes(reply[76..80].try_into().unwrap()))
    }
}
