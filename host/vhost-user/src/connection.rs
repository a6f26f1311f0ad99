//! One connection to a daemon: the handshake, and what the transport says to the daemon afterwards.

use crate::bell::Bell;
use crate::channel::Channel;
use crate::error::ConnectError;
use crate::event::Event;
use crate::link::{Link, LinkState};
use crate::memory::{GuestMemory, Loan, Region};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vhost::vhost_user::message::VhostUserHeaderFlag;
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_fs::virtio::RingAddresses;
use virtio_fs::{Error, PhysAddr};

/// The most queues that there can be: their numbers have 8 bits where an eventfd is sent.
const MOST_QUEUES: u16 = 256;

/// What a daemon must offer to have its shared memory regions filled.
const SHARED_MEMORY: VhostUserProtocolFeatures = VhostUserProtocolFeatures::SHMEM
    .union(VhostUserProtocolFeatures::BACKEND_REQ)
    .union(VhostUserProtocolFeatures::BACKEND_SEND_FD);

/// A connection after the handshake.
///
/// # Locking
///
/// The loan's lock before `frontend`, which is held for the length of one exchange, which the link bounds. `kick` and
/// `state` take no lock.
pub(crate) struct Connection {
    link: Link,
    /// What the daemon asks for its shared memory regions, if it has any.
    channel: Option<Channel>,
    regions: Vec<Arc<Region>>,
    loan: Loan,
    frontend: Mutex<Frontend>,
    offered: u64,
    can_reset: bool,
    kicks: Vec<Event>,
    patience: Duration,
    bell: Arc<Bell>,
}

impl Connection {
    /// Connects to the socket and negotiates what does not depend on the driver. At most `queues` queues are used. A
    /// daemon that takes another one's place must have the same shared memory `regions`.
    pub(crate) fn open(
        path: &Path,
        memory: &'static GuestMemory,
        bell: Arc<Bell>,
        patience: Duration,
        queues: u16,
        regions: Option<&[Arc<Region>]>,
    ) -> Result<Self, ConnectError> {
        let refused = |source| ConnectError::Socket { path: path.into(), source };
        let socket = dial(path, patience).map_err(refused)?;
        let clone = socket.try_clone().map_err(ConnectError::Resources)?;
        let link = Link::new(clone, bell.clone()).map_err(ConnectError::Resources)?;
        let mut frontend = Frontend::from_stream(socket, MOST_QUEUES.into());

        let mut say = |message, exchange: &mut dyn FnMut(&mut Frontend) -> vhost::Result<u64>| {
            link.within(patience, || exchange(&mut frontend)).map_err(|error| ConnectError::Handshake {
                path: path.into(),
                message,
                reason: match link.cause(&error) {
                    LinkState::Alive => error.to_string(),
                    LinkState::TimedOut => format!("no answer within {patience:?}"),
                    state => state.describe().into(),
                },
            })
        };
        let unsupported = |missing| Err(ConnectError::Unsupported { path: path.into(), missing });

        say("SET_OWNER", &mut |frontend| frontend.set_owner().map(|()| 0))?;
        let offered = say("GET_FEATURES", &mut |frontend| frontend.get_features())?;
        if offered & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
            return unsupported("protocol features");
        }
        let protocol = say("GET_PROTOCOL_FEATURES", &mut |frontend| {
            frontend.get_protocol_features().map(|features| features.bits())
        })?;
        let protocol = VhostUserProtocolFeatures::from_bits_truncate(protocol);
        // A queue is only known to be stopped, and memory to be known, when the daemon says so.
        if !protocol.contains(VhostUserProtocolFeatures::REPLY_ACK) {
            return unsupported("acknowledged messages (REPLY_ACK)");
        }
        // One queue for high priority and one for requests are the least.
        if !protocol.contains(VhostUserProtocolFeatures::MQ) {
            return unsupported("several queues (MQ)");
        }
        // CONFIG is not taken even if offered: as with QEMU, the configuration space is the front end's.
        let accepted = protocol
            & (VhostUserProtocolFeatures::REPLY_ACK
                | VhostUserProtocolFeatures::MQ
                | VhostUserProtocolFeatures::RESET_DEVICE
                | if protocol.contains(SHARED_MEMORY) { SHARED_MEMORY } else { VhostUserProtocolFeatures::empty() });
        say("SET_PROTOCOL_FEATURES", &mut |frontend| {
            frontend.set_protocol_features(accepted)?;
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
            Ok(0)
        })?;
        let offered_queues = say("GET_QUEUE_NUM", &mut |frontend| frontend.get_queue_num())?;
        if offered_queues < 2 {
            return unsupported("a request queue beside the high-priority queue");
        }
        let mut lengths = Vec::new();
        if accepted.contains(SHARED_MEMORY) {
            say("GET_SHMEM_CONFIG", &mut |frontend| {
                let config = frontend.get_shmem_config()?;
                let all = (0..=u8::MAX).zip(config.memory_sizes);
                lengths = all.filter(|(_, length)| *length > 0).collect();
                Ok(0)
            })?;
        }
        let regions = match regions {
            None => lengths.iter().map(|&(id, length)| Region::new(id, length)).collect::<io::Result<Vec<_>>>(),
            Some(regions) if regions.iter().map(|region| (region.id(), region.length())).eq(lengths) => {
                Ok(regions.into())
            }
            Some(_) => return unsupported("the shared memory regions of the daemon before it"),
        };
        let regions = regions.map_err(ConnectError::Resources)?;
        let channel = match &regions[..] {
            [] => None,
            all => Some(Channel::open(all.into(), |end| {
                say("SET_BACKEND_REQ_FD", &mut |frontend| frontend.set_backend_request_fd(&end).map(|()| 0)).map(drop)
            })?),
        };
        let kicks = (0..offered_queues.min(queues.min(MOST_QUEUES).into()))
            .map(|_| Event::new())
            .collect::<io::Result<_>>()
            .map_err(ConnectError::Resources)?;
        Ok(Self {
            link,
            channel,
            regions,
            loan: Loan::new(memory),
            frontend: Mutex::new(frontend),
            offered,
            can_reset: accepted.contains(VhostUserProtocolFeatures::RESET_DEVICE),
            kicks,
            patience,
            bell,
        })
    }

    pub(crate) fn state(&self) -> LinkState {
        self.link.state()
    }

    /// Whether messages can still be exchanged.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state(), LinkState::Alive | LinkState::QueueError)
    }

    /// The virtio features the daemon offers, without those that belong to vhost-user itself.
    pub(crate) fn features(&self) -> u64 {
        self.offered & !VhostUserVirtioFeatures::all().bits()
    }

    pub(crate) fn queues(&self) -> u16 {
        self.kicks.len() as u16
    }

    /// Rings the doorbell of a queue.
    pub(crate) fn kick(&self, queue: u16) {
        if let Some(kick) = self.kicks.get(usize::from(queue)) {
            kick.signal();
        }
    }

    /// Whether the daemon has not yet looked at the doorbell of a queue.
    pub(crate) fn kick_pending(&self, queue: u16) -> bool {
        self.kicks.get(usize::from(queue)).is_some_and(Event::is_signalled)
    }

    pub(crate) fn close(&self) {
        self.link.close();
        if let Some(channel) = &self.channel {
            channel.close();
        }
    }

    /// The daemon's shared memory regions.
    pub(crate) fn regions(&self) -> &[Arc<Region>] {
        &self.regions
    }

    /// Whether nobody has the memory any more that was given over this connection, now or within `patience`. It can be
    /// given to nobody from then on, so this is for a connection that was closed.
    ///
    /// A hang-up alone does not say as much: a daemon may shut its connection down while other threads of it, or other
    /// processes, are still at work.
    pub(crate) fn memory_is_returned(&self, patience: Duration) -> bool {
        self.loan.is_returned(patience)
    }

    /// Tells the daemon the features and the memory.
    pub(crate) fn set_features_and_memory(&self, features: u64) -> Result<(), Error> {
        let features = features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.say("SET_FEATURES", |frontend| frontend.set_features(features))?;
        let memory = self.loan.memory();
        let region = |file: BorrowedFd<'_>| VhostUserMemoryRegionInfo {
            guest_phys_addr: memory.first_address(),
            memory_size: memory.length_bytes() as u64,
            userspace_addr: memory.first_pointer().addr().get() as u64,
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        };
        let sent = self
            .loan
            .lend(|file| self.say("SET_MEM_TABLE", |frontend| frontend.set_mem_table(&[region(file)]).map(drop)));
        sent.unwrap_or(Err(Error::Device(LinkState::Closed.describe())))
    }

    /// Gives the daemon a queue and lets it start.
    pub(crate) fn start_queue(
        &self,
        queue: u16,
        size: u16,
        rings: RingAddresses,
        memory: &GuestMemory,
    ) -> Result<(), Error> {
        let index = usize::from(queue);
        let kick = self.kicks.get(index).ok_or(Error::Protocol("no such queue"))?;
        self.say("SET_VRING_NUM", |frontend| frontend.set_vring_num(index, size))?;
        self.place_queue(queue, size, rings, memory)?;
        self.say("SET_VRING_BASE", |frontend| frontend.set_vring_base(index, 0))?;
        self.say("SET_VRING_ERR", |frontend| frontend.set_vring_err(index, self.link.queue_error().for_vhost()))?;
        self.say("SET_VRING_CALL", |frontend| frontend.set_vring_call(index, self.bell.event().for_vhost()))?;
        self.say("SET_VRING_KICK", |frontend| frontend.set_vring_kick(index, kick.for_vhost()))?;
        self.say("SET_VRING_ENABLE", |frontend| frontend.set_vring_enable(index, true))
    }

    /// Tells the daemon where a queue lies.
    pub(crate) fn place_queue(
        &self,
        queue: u16,
        size: u16,
        rings: RingAddresses,
        memory: &GuestMemory,
    ) -> Result<(), Error> {
        // vhost-user wants the front end's virtual addresses here, and guest physical ones in the rings.
        let user = |address: PhysAddr| {
            let pointer = memory.pointer(address, 1).ok_or(Error::Protocol("a ring outside guest memory"))?;
            Ok::<_, Error>(pointer.addr().get() as u64)
        };
        let place = VringConfigData {
            queue_max_size: size,
            queue_size: size,
            flags: 0,
            desc_table_addr: user(rings.descriptors)?,
            used_ring_addr: user(rings.used)?,
            avail_ring_addr: user(rings.available)?,
            log_addr: None,
        };
        self.say("SET_VRING_ADDR", |frontend| frontend.set_vring_addr(queue.into(), &place))
    }

    /// Stops a queue: afterwards the daemon takes no more buffers from it. Returns how many it took since the start,
    /// modulo 2^16.
    pub(crate) fn stop_queue(&self, queue: u16) -> Result<u16, Error> {
        let taken = self.say("GET_VRING_BASE", |frontend| frontend.get_vring_base(queue.into()))?;
        Ok(taken as u16)
    }

    /// Resets the daemon's device, if it offers that.
    pub(crate) fn reset_device(&self) -> Result<(), Error> {
        if !self.can_reset {
            return Ok(());
        }
        self.say("RESET_DEVICE", |frontend| frontend.reset_device())
    }

    fn say<T>(
        &self,
        message: &'static str,
        exchange: impl FnOnce(&mut Frontend) -> vhost::Result<T>,
    ) -> Result<T, Error> {
        let mut frontend = self.frontend.lock().unwrap_or_else(PoisonError::into_inner);
        self.link.within(self.patience, || exchange(&mut frontend)).map_err(|error| {
            log::error!("{message}: {error}");
            match self.link.cause(&error) {
                LinkState::Alive => Error::Protocol("the vhost-user daemon refused a message"),
                state => Error::Device(state.describe()),
            }
        })
    }
}

/// Connects to a socket that somebody listens on, now or within `patience`. A daemon that is about to start has no
/// socket, or one that does not listen yet; one that was stopped does not accept, and a full backlog blocks.
fn dial(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    use rustix::io::Errno;
    let start = Instant::now();
    let address = SocketAddrUnix::new(path)?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let error = match rustix::net::connect(&socket, &address) {
            Ok(()) => {
                let socket = UnixStream::from(socket);
                socket.set_nonblocking(false)?;
                return Ok(socket);
            }
            Err(error) => error,
        };
        let may_change = matches!(error, Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN | Errno::INTR);
        if !may_change || start.elapsed() >= patience {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
