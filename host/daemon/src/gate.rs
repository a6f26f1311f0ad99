//! Who stops a queue waits until the request that was taken from it is answered (vhost-user: after the reply to
//! GET_VRING_BASE no buffer is touched any more).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One queue's gate.
#[derive(Default)]
pub(crate) struct Gate {
    busy: Mutex<bool>,
    idle: Condvar,
}

impl Gate {
    /// The queue's thread is about to take requests, until the value is dropped.
    pub(crate) fn enter(&self) -> Busy<'_> {
        *self.busy() = true;
        Busy(self)
    }

    /// Waits until the queue's thread is not at work, or has seen that the queue is stopped.
    pub(crate) fn wait_until_idle(&self) {
        let mut busy = self.busy();
        while *busy {
            busy = self.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn busy(&self) -> MutexGuard<'_, bool> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Gate::enter`].
pub(crate) struct Busy<'a>(&'a Gate);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.busy() = false;
        self.0.idle.notify_all();
    }
}
