//! The device as a vhost-user back end: queues, features, configuration space, shared memory regions.

use crate::bridge::{self, ExitEvents, Memory, SharedView, State};
use crate::gate::Gate;
use crate::regions::Regions;
use crate::requests::Requests;
use crate::window::{Rules, Window};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringMutex, VringT};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventNotifier};

/// VIRTIO_F_RING_INDIRECT_DESC, VIRTIO_F_RING_EVENT_IDX and VIRTIO_F_VERSION_1 (VIRTIO 1.3 §6).
const FEATURES: u64 = 1 << 28 | 1 << 29 | 1 << 32;
/// The largest queue, in descriptors: QEMU's limit.
const QUEUE_SIZE: usize = 1024;
/// `tag`, `num_request_queues` and `notify_buf_size` (VIRTIO 1.3 §5.11.4).
const CONFIG_BYTES: usize = 44;
const TAG_BYTES: usize = 36;

/// The device, for all connections one after the other.
pub(crate) struct Device {
    requests: Requests,
    config: [u8; CONFIG_BYTES],
    /// One for each queue: the high-priority queue, then the request queues.
    gates: Vec<Gate>,
    regions: Option<Regions>,
    rules: Rules,
    memory: Mutex<Option<SharedView>>,
    /// The front end has asked for the regions, which it does if it has SHMEM.
    asked_for_regions: AtomicBool,
    /// The window behind the channel that the front end has given, also if it has not asked for the regions (yet).
    opened: Mutex<Option<Arc<Window>>>,
    /// Whether the window is there: what [`crate::marked_fs::MarkedFs`] looks at.
    has_window: Arc<AtomicBool>,
    event_index: AtomicBool,
    exit_events: ExitEvents,
}

impl Device {
    pub(crate) fn new(
        requests: Requests,
        tag: &str,
        request_queues: usize,
        regions: Option<Regions>,
        rules: Rules,
        has_window: Arc<AtomicBool>,
    ) -> Self {
        Self {
            requests,
            config: config(tag, request_queues),
            gates: (0..=request_queues).map(|_| Gate::default()).collect(),
            regions,
            rules,
            memory: Mutex::default(),
            asked_for_regions: AtomicBool::new(false),
            opened: Mutex::default(),
            has_window,
            event_index: AtomicBool::new(false),
            exit_events: ExitEvents::default(),
        }
    }

    pub(crate) fn exit_events(&self) -> &ExitEvents {
        &self.exit_events
    }

    /// The front end has hung up: what waits for it must not. To be called before its threads are waited for.
    pub(crate) fn front_end_is_gone(&self) {
        self.asked_for_regions.store(false, Ordering::Relaxed);
        self.open_window(None);
    }

    /// Gives back all that belongs to a connection, when its threads have ended.
    pub(crate) fn clean_up(&self) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.end_session();
    }

    fn end_session(&self) {
        self.requests.descriptors.clear();
        self.requests.files.end_session();
    }

    /// Opens a window in place of the one there was.
    fn open_window(&self, window: Option<Arc<Window>>) {
        let old = std::mem::replace(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner), window);
        if let Some(old) = old {
            old.close();
        }
        self.show_window();
    }

    /// Lets requests use the window when the front end has given both the channel and room for the regions. QEMU gives
    /// the channel first, others last.
    fn show_window(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = opened.filter(|_| self.asked_for_regions.load(Ordering::Relaxed));
        let has_window = shown.is_some() && self.regions.is_some_and(|regions| regions.window().is_some());
        self.has_window.store(has_window, Ordering::Relaxed);
        *self.requests.window.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// The next request, in the memory as it is now: front ends may change it at any time.
    fn take(&self, vring: &VringMutex<Memory>) -> Option<bridge::Request> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        bridge::take(&mut vring.get_mut(), &memory)
    }

    /// Serves what there is in a queue.
    fn serve(&self, number: usize, vring: &VringMutex<Memory>) -> io::Result<()> {
        alone_with_the_working_directory()?;
        let gate = self.gates.get(number).ok_or_else(|| io::Error::other("no such queue"))?;
        let event_index = self.event_index.load(Ordering::Relaxed);
        let _busy = gate.enter();
        // A queue that is stopped from here on is stopped when this is done. One that was stopped before is not touched.
        while is_running(vring) {
            if event_index {
                vring.disable_notification().map_err(io::Error::other)?;
            }
            // The lock is not held while a request is served: its queue can be stopped then.
            while let Some(request) = self.take(vring) {
                if let Some(written) = self.requests.serve(&request) {
                    give_back(&mut vring.get_mut(), request.head(), written, event_index)?;
                }
            }
            // Without the event index a doorbell follows each request.
            if !event_index || !vring.enable_notification().map_err(io::Error::other)? {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the threads of these queues have answered what they have taken.
    fn wait_until_idle<'a>(&self, gates: impl IntoIterator<Item = &'a Gate>) {
        // The front end waits for us, and answers nothing meanwhile.
        let window = self.requests.window();
        let _no_waiting = window.as_ref().map(|window| window.stop_waiting());
        gates.into_iter().for_each(Gate::wait_until_idle);
    }
}

fn is_running(vring: &VringMutex<Memory>) -> bool {
    use virtio_queue::QueueT;
    let vring = vring.get_ref();
    vring.is_enabled() && vring.get_queue().ready()
}

fn give_back(vring: &mut State, head: u16, written: usize, event_index: bool) -> io::Result<()> {
    let written = u32::try_from(written).map_err(io::Error::other)?;
    vring.add_used(head, written).map_err(io::Error::other)?;
    if !event_index || vring.needs_notification().map_err(io::Error::other)? {
        vring.signal_used_queue()?;
    }
    Ok(())
}

/// `virtiofsd` changes the working directory and the umask for moments. They belong to all threads of a process, unless
/// each asks for its own.
pub(crate) fn alone_with_the_working_directory() -> io::Result<()> {
    thread_local!(static ALONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    if !ALONE.get() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
        ALONE.set(true);
    }
    Ok(())
}

fn config(tag: &str, request_queues: usize) -> [u8; CONFIG_BYTES] {
    let mut config = [0; CONFIG_BYTES];
    // The options allow no longer tag.
    let length = tag.len().min(TAG_BYTES);
    config[..length].copy_from_slice(&tag.as_bytes()[..length]);
    config[TAG_BYTES..TAG_BYTES + 4].copy_from_slice(&(request_queues as u32).to_le_bytes());
    config
}

impl VhostUserBackend for Device {
    type Bitmap = ();
    type Vring = VringMutex<Memory>;

    fn num_queues(&self) -> usize {
        self.gates.len()
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        FEATURES | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        use VhostUserProtocolFeatures as Feature;
        // Not CONFIGURE_MEM_SLOTS: QEMU would count mappings against the 509 slots that `vhost-user-backend` has, and
        // end at the next.
        let always = Feature::MQ | Feature::REPLY_ACK | Feature::CONFIG | Feature::RESET_DEVICE;
        // SHARED_OBJECT is for the barrier behind maps.
        let regions = Feature::SHMEM | Feature::BACKEND_REQ | Feature::BACKEND_SEND_FD | Feature::SHARED_OBJECT;
        if self.regions.is_some() { always | regions } else { always }
    }

    fn reset_device(&self) {
        log::debug!("the device is reset");
        // The queues are disabled.
        self.wait_until_idle(&self.gates);
        if let Some(window) = self.requests.window() {
            window.forget();
        }
        self.end_session();
    }

    fn set_event_idx(&self, enabled: bool) {
        self.event_index.store(enabled, Ordering::Relaxed);
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        // What lies behind the end is zeros.
        let (offset, size) = (offset as usize, size as usize);
        (offset..offset.saturating_add(size)).map(|place| self.config.get(place).copied().unwrap_or(0)).collect()
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        let view = SharedView::new(&memory)?;
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        Ok(())
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        let regions = self.regions.ok_or_else(|| io::Error::other("there are no shared memory regions"))?;
        self.asked_for_regions.store(true, Ordering::Relaxed);
        self.show_window();
        Ok(regions.config())
    }

    fn set_backend_req_fd(&self, front_end: Backend) {
        if self.regions.is_none() {
            return;
        }
        match Window::open(front_end, self.rules.clone()) {
            Ok(window) => self.open_window(Some(Arc::new(window))),
            Err(error) => log::error!("there is no window: {error}"),
        }
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        (0..self.gates.len()).map(|number| 1 << number).collect()
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        self.exit_events.create()
    }

    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        self.requests.was_stopped.store(true, Ordering::Relaxed);
        self.wait_until_idle(usize::try_from(queue).ok().and_then(|queue| self.gates.get(queue)));
        Ok(())
    }

    fn handle_event(
        &self,
        event: u16,
        _events: EventSet,
        vrings: &[VringMutex<Memory>],
        thread: usize,
    ) -> io::Result<()> {
        let Some(vring) = vrings.get(usize::from(event)) else {
            return Ok(());
        };
        // Each thread has one queue, of the same number. An error would end the thread, and the queue with it.
        self.serve(thread, vring).unwrap_or_else(|error| log::error!("queue {thread}: {error}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_space_has_tag_and_queues() {
        let config = config("share", 3);
        assert_eq!(&config[..6], b"share\0");
        assert!(config[6..36].iter().all(|byte| *byte == 0));
        assert_eq!(config[36..], [3, 0, 0, 0, 0, 0, 0, 0]);
        let longest = "0123456789012345678901234567890123456789";
        assert_eq!(&super::config(longest, 1)[..36], &longest.as_bytes()[..36]);
    }
}
