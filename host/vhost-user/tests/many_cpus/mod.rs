//! Threads that have a CPU of their choice, and with it a request queue.

use std::cell::Cell;
use std::sync::Arc;
use virtio_fs::{Instant, Platform, Timestamp};
use virtio_fs_vhost_user::NativePlatform;

thread_local! {
    /// That of this thread.
    pub(crate) static CPU: Cell<usize> = const { Cell::new(0) };
}

/// A platform on which each thread has a CPU of its choice.
pub(crate) struct ManyCpus(pub(crate) Arc<NativePlatform>);

// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl Platform for ManyCpus {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall_clock(&self) -> Timestamp {
        self.0.wall_clock()
    }

    fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        self.0.wait_until(deadline, ready)
    }

    fn wake(&self) {
        self.0.wake();
    }

    fn cpu(&self) -> usize {
        CPU.get()
    }
}
