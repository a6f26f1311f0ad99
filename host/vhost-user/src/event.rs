//! An eventfd that both `vhost` and `rustix` take.

use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// A counter in the kernel that can be polled: readable while it is not 0.
///
/// It never blocks, as long as nobody changes that. The flags are those of the open file description, which a daemon
/// that was sent the eventfd shares: one that means harm can make it blocking and full, and then
/// [`signal`](Self::signal) waits for it. The kernel offers no write to an eventfd that is bounded whatever the flags.
pub(crate) struct Event(EventFd);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(Self)
    }

    /// Makes it readable.
    pub(crate) fn signal(&self) {
        // It fails only if the counter is full, and then it is readable anyway.
        let _ = self.0.write(1);
    }

    /// Makes it unreadable; says whether it was readable.
    pub(crate) fn clear(&self) -> bool {
        self.0.read().is_ok()
    }

    /// Whether it is readable.
    pub(crate) fn is_signalled(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&now)), Ok(1..))
    }

    pub(crate) fn for_vhost(&self) -> &EventFd {
        &self.0
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the `EventFd` owns its descriptor, never gives it away through a shared reference, and lives as long
        // as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
