//! From the guest memory and queues of `vhost-user-backend`, which has shared memory regions, to those of `virtiofsd`,
//! which is a version behind. With `version_table::memory` the only `unsafe` code.
//!
//! - [`View`]: the same guest memory, as `virtiofsd` knows it.
//! - [`take`]: the next request of a queue, as a descriptor chain in that memory.
//! - [`ExitEvents`]: gives back what `vhost-user-backend` 0.24 forgets to close.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use vhost_user_backend::VringState;
use virtio_queue::QueueT as _;
use virtio_queue_of_virtiofsd::{DescriptorChain, Queue, QueueState, QueueT as _};
use virtiofsd::descriptor_utils::{Reader, Writer};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryLoadGuard, GuestMemoryMmap};
use vm_memory::{GuestMemoryRegion as _, MemoryRegionAddress};
use vm_memory_of_virtiofsd as old;
use vm_memory_of_virtiofsd::Bytes as _;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

/// The memory that the vrings are in. Dirty pages are not tracked, since nothing is migrated.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
/// A vring's state.
pub(crate) type State = VringState<Memory>;

/// The type of bitmap that `virtiofsd` builds its readers with, which it does not name.
pub(crate) trait BitmapOf {
    type Bitmap;
}

impl<B> BitmapOf for Reader<'_, B> {
    type Bitmap = B;
}

type OldMemory = old::GuestMemoryMmap<<Reader<'static> as BitmapOf>::Bitmap>;

/// The guest memory at one time. It stays mapped for as long as this lives.
struct View {
    /// Before its owner, though it unmaps nothing.
    memory: OldMemory,
    _owner: GuestMemoryLoadGuard<GuestMemoryMmap>,
}

/// Guest memory, shared by all that use it.
#[derive(Clone)]
pub(crate) struct SharedView(Arc<View>);

impl SharedView {
    /// The memory as it is now.
    pub(crate) fn new(memory: &Memory) -> io::Result<Self> {
        let owner = memory.memory();
        let mut regions = Vec::new();
        for region in owner.iter() {
            let length = usize::try_from(region.len()).map_err(io::Error::other)?;
            let start = region.get_host_address(MemoryRegionAddress(0)).map_err(io::Error::other)?;
            let (protection, flags) = (region.prot(), region.flags());
            // SAFETY: `start` and `length` are those of a mapping of this process, which `region` owns. `owner` keeps
            // all regions alive, and `View` drops it after the view. The view does not unmap (it is no owner), and
            // makes no references into the memory: like `region` it copies, by volatile accesses or system calls.
            let view = unsafe { old::MmapRegion::build_raw(start, length, protection, flags) };
            let address = old::GuestAddress(region.start_addr().0);
            let view = old::GuestRegionMmap::new(view.map_err(io::Error::other)?, address);
            regions.push(view.ok_or_else(|| io::Error::other("a memory region ends behind the last address"))?);
        }
        let memory = OldMemory::from_regions(regions).map_err(io::Error::other)?;
        Ok(Self(Arc::new(View { memory, _owner: owner })))
    }
}

impl Deref for SharedView {
    type Target = OldMemory;

    fn deref(&self) -> &OldMemory {
        &self.0.memory
    }
}

/// A request that was taken from a queue.
pub(crate) struct Request {
    memory: SharedView,
    chain: DescriptorChain<SharedView>,
}

/// Takes the next request, if there is one, and the queue may be used.
pub(crate) fn take(vring: &mut State, memory: &SharedView) -> Option<Request> {
    if !vring.is_enabled() {
        return None;
    }
    let queue = vring.get_queue_mut();
    let now = queue.state();
    let same = QueueState {
        max_size: now.max_size,
        next_avail: now.next_avail,
        next_used: now.next_used,
        event_idx_enabled: now.event_idx_enabled,
        size: now.size,
        ready: now.ready,
        desc_table: now.desc_table,
        avail_ring: now.avail_ring,
        used_ring: now.used_ring,
    };
    let mut same = match Queue::try_from(same) {
        Ok(same) => same,
        Err(error) => {
            log::error!("a queue cannot be used: {error}");
            return None;
        }
    };
    // It looks at `ready`, and checks the available index.
    let chain = same.pop_descriptor_chain(memory.clone())?;
    queue.set_next_avail(same.next_avail());
    Some(Request { memory: memory.clone(), chain })
}

impl Request {
    /// What the used ring names it by.
    pub(crate) fn head(&self) -> u16 {
        self.chain.head_index()
    }

    /// The part that the device reads, if it lies in guest memory.
    pub(crate) fn reader(&self) -> Option<Reader<'_>> {
        Reader::new(&self.memory, self.chain.clone()).ok()
    }

    /// The part that the device writes, if it lies in guest memory.
    pub(crate) fn writer(&self) -> Option<Writer<'_>> {
        Writer::new(&self.memory, self.chain.clone()).ok()
    }

    /// Reads back a part of the reply. What the guest does to it meanwhile is its own affair.
    pub(crate) fn reply<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut done = 0;
        self.pieces(offset, N, |address, length| {
            let piece = bytes.get_mut(done..done + length)?;
            done += length;
            self.memory.read_slice(piece, address).ok()
        })?;
        Some(bytes)
    }

    /// Overwrites a part of the reply.
    pub(crate) fn patch_reply(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        let mut done = 0;
        self.pieces(offset, bytes.len(), |address, length| {
            let piece = bytes.get(done..done + length)?;
            done += length;
            self.memory.write_slice(piece, address).ok()
        })
    }

    /// Walks over `length` bytes of the device-writable part, from `skip` on; `None` if it has not that many.
    fn pieces(
        &self,
        mut skip: usize,
        mut length: usize,
        mut each: impl FnMut(old::GuestAddress, usize) -> Option<()>,
    ) -> Option<()> {
        for descriptor in self.chain.clone().writable() {
            let long = usize::try_from(descriptor.len()).ok()?;
            let start = skip.min(long);
            skip -= start;
            let piece = (long - start).min(length);
            if piece > 0 {
                each(old::GuestAddress(descriptor.addr().0.checked_add(start as u64)?), piece)?;
                length -= piece;
            }
        }
        (length == 0).then_some(())
    }
}

/// The eventfds that end the worker threads of one connection.
#[derive(Default)]
pub(crate) struct ExitEvents(Mutex<Vec<RawFd>>);

impl ExitEvents {
    /// A pair for `VhostUserBackend::exit_event`, and for nothing else.
    pub(crate) fn create(&self) -> Option<(EventConsumer, EventNotifier)> {
        let pair = new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC);
        let (consumer, notifier) = pair.map_err(|error| log::error!("no eventfd: {error}")).ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(consumer.as_raw_fd());
        Some((consumer, notifier))
    }

    /// Closes the consuming ends, which is due when the `VhostUserDaemon` of the connection was made and is gone.
    ///
    /// `_gone` is what became of it, as a reminder.
    pub(crate) fn close(&self, _gone: Gone) {
        for descriptor in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // SAFETY: nobody else owns or uses the descriptor. `VringEpollHandler::new` of `vhost-user-backend` 0.24,
            // which the workspace pins, took it out of its `EventConsumer` (`into_raw_fd`), gave the number to its
            // epoll instance, and keeps it nowhere. That handler is gone, as `Gone` testifies, and its threads with it.
            // Each descriptor is closed once, since it is taken out of the list.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
}

/// Testifies that a `VhostUserDaemon` was made successfully and dropped.
pub(crate) struct Gone(());

impl Gone {
    /// Drops a daemon, which waits for its threads.
    pub(crate) fn wait_for<T: vhost_user_backend::VhostUserBackend>(
        daemon: vhost_user_backend::VhostUserDaemon<T>,
    ) -> Self {
        drop(daemon);
        Self(())
    }
}
