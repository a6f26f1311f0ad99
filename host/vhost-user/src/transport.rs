//! The virtio transport: the registers of a device that a VMM would show to the guest, kept here and acted on by
//! vhost-user messages.

mod stop;

use crate::bell::Bell;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::link::LinkState;
use crate::memory::{GuestMemory, Region};
use crate::parking::ParkingPlace;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use virtio_fs::virtio::{DeviceStatus, RingAddresses, SharedMemoryRegion, Transport};
use virtio_fs::{Error, Platform};

/// VIRTIO_F_VERSION_1: without it a driver would be a legacy one.
const VERSION_1: u64 = 1 << 32;

/// The length of the tag in the device configuration, in bytes (VIRTIO 1.3 §5.11.4).
const TAG_BYTES: usize = 36;

/// What [`connect`](crate::connect) can be told beyond socket and tag.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How many request queues the device shows at most, up to 255. The daemon may have fewer (virtiofsd 1.13 has 1).
    pub request_queues: u16,
    /// The largest queue size the device allows, in descriptors: a power of two. virtiofsd's limit is 1024.
    pub queue_size: u16,
    /// How long the daemon may take until it listens, to answer a control message, and to finish its requests at a
    /// reset.
    pub patience: Duration,
}

impl Default for ConnectOptions {
    /// One request queue of 1024 descriptors, 2 seconds.
    fn default() -> Self {
        Self { request_queues: 1, queue_size: 1024, patience: Duration::from_secs(2) }
    }
}

/// A virtio-fs device behind a vhost-user socket.
///
/// The part of the VMM is played as QEMU's `vhost-user-fs-pci` plays it: the configuration space is made here from the
/// tag and the number of queues, features are the daemon's, and the daemon learns of memory and queues when the driver
/// sets DRIVER_OK.
///
/// # When the daemon stops answering
///
/// - A daemon that died hangs up. That is noticed within milliseconds: all threads in
///   [`wait_until`](Platform::wait_until) wake, and [`status`](Transport::status) contains `DEVICE_NEEDS_RESET` from
///   then on. [`reset`](Transport::reset) makes sure that no process has the memory any more; then it is the driver's,
///   and the next `set_status(ACKNOWLEDGE)` connects again, to a new daemon at the same path. If some process still has
///   it (a daemon may be several), or if there is no /proc, without which this cannot be known, the memory is abandoned
///   as in the next case.
/// - A daemon that was stopped (SIGSTOP) or hangs does not answer the messages of a reset. After
///   [`patience`](ConnectOptions::patience) the connection is closed. The daemon still has guest memory mapped and may
///   write late replies, so the memory is *abandoned*, see below, and the transport stays dead: every `set_status`
///   fails. Mount again over a new transport.
///
/// # What is safe after memory was abandoned
///
/// - Buffers outside guest memory were bounced: the daemon never saw them. They can be used and freed.
/// - Pages of guest memory that were in use are never handed out again by [`GuestHal`](crate::GuestHal), once freed.
/// - Pages that the driver keeps (its rings and request slots) may still change. As the transport is dead, no request
///   is ever made with them again, and the driver believes nothing it reads there.
/// - Not safe is only what no driver does: to hand out a page from `dma_alloc` as an ordinary `&[u8]` and to share it
///   as the buffer of a request at the same time.
///
/// # Locking
///
/// `device` before `connection`. `device` is held across control messages, which are bounded; `notify` and `status`
/// take `connection` for reading only and never wait for the daemon.
pub struct VhostUserTransport {
    path: PathBuf,
    options: ConnectOptions,
    tag: [u8; TAG_BYTES],
    bell: Arc<Bell>,
    memory: &'static GuestMemory,
    regions: Vec<Arc<Region>>,
    /// What the driver wrote to the device status.
    status: AtomicU8,
    device: Mutex<Device>,
    connection: RwLock<Arc<Connection>>,
}

/// The registers that only matter while the device is set up.
#[derive(Default)]
struct Device {
    driver_features: u64,
    queues: Vec<Queue>,
    /// Where the daemon believes the queues to be since they were stopped.
    parked: Vec<ParkingPlace>,
    /// The daemon was told about memory and queues.
    running: bool,
    /// A daemon that could not be stopped has this memory: the transport is dead.
    abandoned: bool,
}

struct Queue {
    number: u16,
    size: u16,
    rings: RingAddresses,
}

impl VhostUserTransport {
    pub(crate) fn connect(
        path: PathBuf,
        tag: &str,
        options: ConnectOptions,
        bell: Arc<Bell>,
    ) -> Result<Self, ConnectError> {
        let mut padded = [0; TAG_BYTES];
        match padded.get_mut(..tag.len()) {
            Some(start) if !tag.is_empty() && !tag.contains('\0') => start.copy_from_slice(tag.as_bytes()),
            _ => return Err(ConnectError::Options("a tag has 1 to 36 bytes and no NUL")),
        }
        if options.request_queues == 0 {
            return Err(ConnectError::Options("a file system device has at least one request queue"));
        }
        if !options.queue_size.is_power_of_two() {
            return Err(ConnectError::Options("the size of a split virtqueue is a power of two"));
        }
        let memory = GuestMemory::global().map_err(ConnectError::Memory)?;
        let queues = options.request_queues.saturating_add(1);
        let connection = Connection::open(&path, memory, bell.clone(), options.patience, queues, None)?;
        let regions = connection.regions().into();
        Ok(Self {
            path,
            options,
            tag: padded,
            bell,
            memory,
            regions,
            status: AtomicU8::new(0),
            device: Mutex::default(),
            connection: RwLock::new(Arc::new(connection)),
        })
    }

    fn connection(&self) -> Arc<Connection> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        // Nothing under the lock panics half-way through a change.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// High-priority queue and request queues.
    fn queues(&self) -> u16 {
        self.connection().queues()
    }

    /// Makes sure that there is a connection, so that a driver may start over.
    fn reconnect(&self, device: &Device) -> Result<(), Error> {
        if device.abandoned {
            return Err(Error::Device("a vhost-user daemon that did not stop still has the memory"));
        }
        let state = self.connection().state();
        if state == LinkState::Alive {
            return Ok(());
        }
        // A daemon that is still there serves one connection at a time.
        self.connection().close();
        let queues = self.options.request_queues.saturating_add(1);
        let (bell, patience) = (self.bell.clone(), self.options.patience);
        let fresh = Connection::open(&self.path, self.memory, bell, patience, queues, Some(&self.regions));
        let fresh = fresh.map_err(|error| {
            log::error!("{error}");
            Error::Device(state.describe())
        })?;
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// VIRTIO 1.3 §3.1.1 step 8, seen from the device: it goes live.
    fn start(&self, device: &mut Device) -> Result<(), Error> {
        let connection = self.connection();
        // From the first message on, only a stop that the daemon confirms makes the memory ours again.
        device.running = true;
        connection.set_features_and_memory(device.driver_features)?;
        for queue in &device.queues {
            connection.start_queue(queue.number, queue.size, queue.rings, self.memory)?;
        }
        Ok(())
    }

    /// Whether a queue's three parts lie in guest memory, aligned as VIRTIO 1.3 §2.7 asks for.
    fn fits(&self, size: u16, rings: &RingAddresses) -> bool {
        let entries = usize::from(size);
        [(rings.descriptors, 16 * entries, 16), (rings.available, 6 + 2 * entries, 2), (rings.used, 6 + 8 * entries, 4)]
            .into_iter()
            .all(|(address, length_bytes, alignment)| {
                address.is_multiple_of(alignment) && self.memory.pointer(address, length_bytes).is_some()
            })
    }
}

// SAFETY: two promises.
//
// After `reset` returned `Ok`, the device does not access memory it was given before. If nothing was started, it was
// given none. Otherwise one of three holds, see `stop`:
// - The daemon confirmed: it took no more buffers after its reply to GET_VRING_BASE (vhost-user specification, "stop
//   the ring"); all buffers it ever took were returned, as the used index equals the number taken; and SET_VRING_ADDR,
//   acknowledged, moved the rings to pages that nobody reads and that are never freed. So neither buffers nor rings of
//   the driver are written. (A daemon that does not keep to the specification can write to guest memory at any time,
//   which the memory layer is prepared for: see `memory`.)
// - The connection is closed, and nobody has the memory any more by what was sent over it: no process has it mapped or
//   could map it, the kernel says, whatever processes the daemon was made of. See `Loan`, which also says why no write
//   can follow. (The kernel may write on behalf of a process after its end only by asynchronous I/O into memory that is
//   registered for that, as io_uring has it; virtiofsd does not use it, and its system call filter excludes it.)
// - The memory was abandoned: the daemon may write it, but nothing relies on it. Buffers outside guest memory are only
//   reached through bounce pages; freed pages are not handed out again; the driver's own pages are not used for another
//   request, since `set_status` fails for ever.
//
// The memory that `shared_memory` describes is address space that this transport owns, and that it keeps mapped, with
// something or with nothing.
unsafe impl Transport for VhostUserTransport {
    fn reset(&self, _platform: &dyn Platform) -> Result<(), Error> {
        let mut device = self.device();
        self.halt(&mut device);
        // As QEMU does it: what was mapped is not there for the next driver.
        self.regions.iter().for_each(|region| region.clear());
        device.queues.clear();
        device.driver_features = 0;
        self.status.store(0, Ordering::Release);
        Ok(())
    }

    fn status(&self) -> DeviceStatus {
        let mut status = DeviceStatus::from_bits_retain(self.status.load(Ordering::Acquire));
        if self.connection.read().unwrap_or_else(PoisonError::into_inner).state() != LinkState::Alive {
            status |= DeviceStatus::DEVICE_NEEDS_RESET;
        }
        status
    }

    fn set_status(&self, mut status: DeviceStatus) -> Result<(), Error> {
        let mut device = self.device();
        let old = DeviceStatus::from_bits_retain(self.status.load(Ordering::Acquire));
        if old.is_empty() && !status.contains(DeviceStatus::FAILED) {
            self.reconnect(&device)?;
        }
        let connection = self.connection();
        let added = status - old;
        if added.contains(DeviceStatus::FEATURES_OK) {
            let features = device.driver_features;
            if features & !connection.features() != 0 || features & VERSION_1 == 0 {
                // VIRTIO 1.3 §3.1.1 step 6: the driver sees the refusal when it reads the status again.
                status -= DeviceStatus::FEATURES_OK;
            }
        }
        if added.contains(DeviceStatus::DRIVER_OK) {
            if !old.contains(DeviceStatus::FEATURES_OK) {
                return Err(Error::Protocol("DRIVER_OK without FEATURES_OK"));
            }
            self.start(&mut device)?;
        }
        self.status.store(status.bits(), Ordering::Release);
        match connection.state() {
            LinkState::Alive => Ok(()),
            _ if status.contains(DeviceStatus::FAILED) => Ok(()),
            state => Err(Error::Device(state.describe())),
        }
    }

    fn device_features(&self) -> u64 {
        self.connection().features()
    }

    fn set_driver_features(&self, features: u64) {
        self.device().driver_features = features;
    }

    fn config_generation(&self) -> u32 {
        // The configuration never changes.
        0
    }

    fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        let mut config = [0; TAG_BYTES + 4];
        config[..TAG_BYTES].copy_from_slice(&self.tag);
        config[TAG_BYTES..].copy_from_slice(&u32::from(self.queues() - 1).to_le_bytes());
        let end = offset.checked_add(out.len());
        let field = end.and_then(|end| config.get(offset..end));
        out.copy_from_slice(field.ok_or(Error::Protocol("the device configuration has 40 bytes"))?);
        Ok(())
    }

    fn max_queue_size(&self, queue: u16) -> u16 {
        if queue < self.queues() { self.options.queue_size } else { 0 }
    }

    fn enable_queue(&self, queue: u16, size: u16, rings: RingAddresses) -> Result<(), Error> {
        if queue >= self.queues() {
            return Err(Error::Protocol("no such queue"));
        }
        if !size.is_power_of_two() || size > self.options.queue_size {
            return Err(Error::Protocol("the queue size is no power of two up to the largest one"));
        }
        if !self.fits(size, &rings) {
            return Err(Error::Protocol("a ring is not aligned or not in guest memory"));
        }
        let queue = Queue { number: queue, size, rings };
        // Daemons take the used index from memory when they start, and the available index as 0.
        if self.used_index(&queue) != Some(0) {
            return Err(Error::Protocol("the used ring of a queue that starts was not zeroed"));
        }
        let mut device = self.device();
        if device.running || device.queues.iter().any(|other| other.number == queue.number) {
            return Err(Error::Protocol("the queue is enabled already"));
        }
        device.queues.push(queue);
        Ok(())
    }

    fn notify(&self, queue: u16) {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).kick(queue);
    }

    fn interrupts(&self) -> bool {
        true
    }

    fn shared_memory(&self, id: u8) -> Option<SharedMemoryRegion> {
        self.regions.iter().find(|region| region.id() == id).map(|region| region.place())
    }
}

impl Drop for VhostUserTransport {
    fn drop(&mut self) {
        // A driver that freed its memory has reset the device before; this is for one that did not come that far.
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        self.halt(&mut device);
    }
}
