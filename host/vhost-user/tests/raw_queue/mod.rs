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
}

impl<'a> RawQueue<'a> {
    /// Initialises the device as VIRTIO 1.3 §3.1.1 says.
    pub(crate) fn start(transport: &'a dyn Transport, platform: &'a dyn Platform) -> Self {
        let (address, page) = GuestHal::dma_alloc(1, BufferDirection::Both);
        assert_ne!(address, 0);
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status).unwrap();
        let version_1 = 1 << 32;
        assert_ne!(transport.device_features() & version_1, 0);
        transport.set_driver_features(version_1);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status).unwrap();
        assert!(transport.status().contains(DeviceStatus::FEATURES_OK));
        let rings = RingAddresses { descriptors: address, available: address + 128, used: address + 256 };
        transport.enable_queue(1, SIZE, rings).unwrap();
        transport.set_status(status | DeviceStatus::DRIVER_OK).unwrap();
        Self { transport, platform, address, page: page.as_ptr(), requests: 0 }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= 4096);
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: inside the page, which this value took from `dma_alloc` and never frees.
            unsafe { self.page.add(offset + index).write_volatile(*byte) };
        }
    }

    fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset + N <= 4096);
        // SAFETY: as in `write`.
        std::array::from_fn(|index| unsafe { self.page.add(offset + index).read_volatile() })
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
        self.requests += 1;
        fence(Ordering::SeqCst);
        self.write(128 + 2, &self.requests.to_le_bytes());
        fence(Ordering::SeqCst);
        self.transport.notify(1);
    }

    fn descriptor(&self, index: usize, offset: usize, length: usize, flags: u16, next: u16) {
        self.write(16 * index, &(self.address + offset as u64).to_le_bytes());
        self.write(16 * index + 8, &(length as u32).to_le_bytes());
        self.write(16 * index + 12, &flags.to_le_bytes());
        self.write(16 * index + 14, &next.to_le_bytes());
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
