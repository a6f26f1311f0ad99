//! A back end in this process: the driver's fake server behind as many virtqueues as a test wants, and shared memory
//! regions that a test fills. virtiofsd has one request queue and no region.

use crate::common::Folder;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost::vhost_user::{Backend, Listener};
use vhost_user_backend::{ShutdownHandle, VhostUserBackend, VhostUserDaemon, VringRwLock, VringT};
use virtio_fs::test_utils::FakeServer;
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// The back end, and what a test may look at.
pub(crate) struct FakeBackend {
    folder: Folder,
    server: Mutex<FakeServer>,
    /// How many requests came by each queue.
    requests: Vec<AtomicU64>,
    /// The lengths of the shared memory regions, by their ids.
    regions: Mutex<Vec<u64>>,
    connection: Mutex<Option<ShutdownHandle>>,
    memory: Mutex<Option<Memory>>,
    channel: Mutex<Option<Backend>>,
    event_index: AtomicBool,
}

/// What crate `vhost-user-backend` clones.
#[derive(Clone)]
struct Handle(Arc<FakeBackend>);

impl FakeBackend {
    /// Starts a back end that serves one connection after the other, for as long as the process lives.
    pub(crate) fn start(request_queues: usize, regions: &[u64], server: FakeServer) -> Arc<Self> {
        let backend = Arc::new(Self {
            folder: Folder::new(),
            server: Mutex::new(server),
            requests: (0..=request_queues).map(|_| AtomicU64::new(0)).collect(),
            regions: Mutex::new(regions.into()),
            connection: Mutex::default(),
            memory: Mutex::default(),
            channel: Mutex::default(),
            event_index: AtomicBool::new(false),
        });
        let mut listener = Listener::new(backend.socket(), true).unwrap();
        let handle = Handle(backend.clone());
        std::thread::spawn(move || {
            loop {
                let memory = Memory::new(GuestMemoryMmap::new());
                let mut daemon = VhostUserDaemon::new("back end".into(), handle.clone(), memory).unwrap();
                daemon.start(&mut listener).unwrap();
                *handle.0.connection.lock().unwrap() = daemon.shutdown_handle();
                // It ends with the connection.
                let _ = daemon.wait();
                *handle.0.channel.lock().unwrap() = None;
            }
        });
        backend
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, FakeServer> {
        self.server.lock().unwrap()
    }

    /// How many requests came by each request queue.
    pub(crate) fn requests(&self) -> Vec<u64> {
        self.requests[1..].iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Ends the connection. The next one will have other shared memory regions.
    pub(crate) fn hang_up(&self, regions: &[u64]) {
        *self.regions.lock().unwrap() = regions.into();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(connection) = self.connection.lock().unwrap().take() {
                return connection.shutdown();
            }
            assert!(Instant::now() < deadline, "there is no connection");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The way to ask the front end for maps.
    pub(crate) fn channel(&self) -> Backend {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(channel) = self.channel.lock().unwrap().clone() {
                return channel;
            }
            assert!(Instant::now() < deadline, "the front end gave no channel");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Serves what is in a queue; says whether anything was.
    fn serve(&self, number: usize, vring: &VringRwLock) -> bool {
        let memory = self.memory.lock().unwrap().clone().unwrap();
        let memory = memory.memory();
        let mut any = false;
        loop {
            let Some(chain) = vring.get_mut().get_queue_mut().pop_descriptor_chain(memory.clone()) else { break };
            let mut request = Vec::new();
            chain.clone().reader(&memory).unwrap().read_to_end(&mut request).unwrap();
            let mut writer = chain.clone().writer(&memory).unwrap();
            // No test here takes locks, which alone are answered later.
            let outcome = self.server().handle(&request, writer.available_bytes());
            let reply = outcome.into_reply().unwrap_or_default();
            writer.write_all(&reply).unwrap();
            self.requests[number].fetch_add(1, Ordering::Relaxed);
            vring.add_used(chain.head_index(), reply.len() as u32).unwrap();
            any = true;
        }
        any
    }
}

impl VhostUserBackend for Handle {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        self.0.requests.len()
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    /// VERSION_1, EVENT_IDX, INDIRECT_DESC.
    fn features(&self) -> u64 {
        1 << 32 | 1 << 29 | 1 << 28 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        let mut features = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
        if !self.0.regions.lock().unwrap().is_empty() {
            features |= VhostUserProtocolFeatures::SHMEM
                | VhostUserProtocolFeatures::BACKEND_REQ
                | VhostUserProtocolFeatures::BACKEND_SEND_FD;
        }
        features
    }

    fn set_event_idx(&self, enabled: bool) {
        self.0.event_index.store(enabled, Ordering::Relaxed);
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        *self.0.memory.lock().unwrap() = Some(memory);
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Backend) {
        *self.0.channel.lock().unwrap() = Some(channel);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        let regions = self.0.regions.lock().unwrap();
        Ok(VhostUserShMemConfig::new(regions.len() as u32, &regions))
    }

    /// A thread for each queue.
    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.num_queues()).map(|number| 1 << number).collect()
    }

    /// Ends the threads with the connection.
    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK).ok()
    }

    fn handle_event(&self, _: u16, _: EventSet, vrings: &[VringRwLock], thread: usize) -> io::Result<()> {
        let vring = &vrings[0];
        loop {
            vring.disable_notification().unwrap();
            if self.0.serve(thread, vring) && vring.needs_notification().unwrap() {
                vring.signal_used_queue()?;
            }
            if !vring.enable_notification().unwrap() || !self.0.event_index.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
}
