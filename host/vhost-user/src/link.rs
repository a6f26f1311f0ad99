//! The life of the connection to a daemon: noticing its end, and bounding the wait for its answers.
//!
//! A thread, the *monitor*, sleeps on the socket. It notices a hang-up when it happens, although nobody reads the
//! socket then, and rings the bell so that waiting threads look. It is also the watchdog of control messages: crate
//! `vhost` tries again for ever when a socket timeout strikes, so the only way to end its wait is to shut the socket
//! down. What was received up to then is of no use any more anyway.

use crate::bell::Bell;
use crate::event::Event;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a connection stands. It only ever goes from `Alive` to one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LinkState {
    Alive,
    /// The daemon closed its end, or died.
    HungUp,
    /// The daemon did not answer a control message in time; the connection was shut down.
    TimedOut,
    /// The daemon reported an error of a queue.
    QueueError,
    /// This side closed the connection.
    Closed,
}

impl LinkState {
    /// What happened, for an error message.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Alive => "the vhost-user daemon broke the protocol",
            Self::HungUp => "the vhost-user daemon hung up",
            Self::TimedOut => "the vhost-user daemon does not answer",
            Self::QueueError => "the vhost-user daemon reported a broken queue",
            Self::Closed => "the connection to the vhost-user daemon was closed",
        }
    }
}

/// What the monitor and the other threads share.
struct Shared {
    socket: UnixStream,
    state: AtomicU8,
    /// When the control message in flight is overdue.
    overdue: Mutex<Option<Instant>>,
    /// Wakes the monitor after `overdue` or `state` changed.
    nudge: Event,
    /// The error eventfd of every queue.
    queue_error: Event,
    bell: Arc<Bell>,
}

/// A connection that is being monitored. Dropping it closes the connection.
pub(crate) struct Link {
    shared: Arc<Shared>,
    monitor: Option<JoinHandle<()>>,
}

impl Link {
    pub(crate) fn new(socket: UnixStream, bell: Arc<Bell>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            socket,
            state: AtomicU8::new(LinkState::Alive as u8),
            overdue: Mutex::new(None),
            nudge: Event::new()?,
            queue_error: Event::new()?,
            bell,
        });
        let monitor = std::thread::Builder::new().name("vhost-user link".into()).spawn({
            let shared = shared.clone();
            move || shared.monitor()
        })?;
        Ok(Self { shared, monitor: Some(monitor) })
    }

    pub(crate) fn state(&self) -> LinkState {
        self.shared.state()
    }

    /// What made an exchange fail: the socket's end may show there before the monitor sees it.
    pub(crate) fn cause(&self, error: &vhost::Error) -> LinkState {
        use vhost::vhost_user::Error as UserError;
        let ended = matches!(
            error,
            vhost::Error::VhostUserProtocol(
                UserError::SocketBroken(_) | UserError::Disconnected | UserError::PartialMessage
            )
        );
        if ended {
            self.shared.end(LinkState::HungUp);
        }
        self.state()
    }

    /// The error eventfd of every queue.
    pub(crate) fn queue_error(&self) -> &Event {
        &self.shared.queue_error
    }

    /// Runs `exchange`, which talks over the socket, and shuts the socket down if it takes longer than `patience`.
    pub(crate) fn within<T>(&self, patience: Duration, exchange: impl FnOnce() -> T) -> T {
        self.shared.set_overdue(Instant::now().checked_add(patience));
        let result = exchange();
        self.shared.set_overdue(None);
        result
    }

    /// Closes the connection. The daemon sees a hang-up.
    pub(crate) fn close(&self) {
        self.shared.end(LinkState::Closed);
        self.shared.nudge.signal();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
        if let Some(monitor) = self.monitor.take() {
            // It ends within the time of two system calls, and has nothing to say if it panicked.
            let _ = monitor.join();
        }
    }
}

impl Shared {
    fn state(&self) -> LinkState {
        let state = self.state.load(Ordering::Acquire);
        [LinkState::HungUp, LinkState::TimedOut, LinkState::QueueError, LinkState::Closed]
            .into_iter()
            .find(|known| *known as u8 == state)
            .unwrap_or(LinkState::Alive)
    }

    /// Ends the connection for the given reason, unless it has ended already.
    fn end(&self, reason: LinkState) {
        let alive = LinkState::Alive as u8;
        let first = self.state.compare_exchange(alive, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            if reason != LinkState::Closed {
                log::error!("{}", reason.describe());
            }
            // After a broken queue the daemon is still there to be reset.
            if reason != LinkState::QueueError {
                let _ = self.socket.shutdown(Shutdown::Both);
            }
            self.bell.wake();
        } else if reason == LinkState::Closed {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }

    fn set_overdue(&self, overdue: Option<Instant>) {
        *self.overdue.lock().unwrap_or_else(PoisonError::into_inner) = overdue;
        self.nudge.signal();
    }

    fn monitor(&self) {
        loop {
            let overdue = *self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
            let timeout = overdue.map(|overdue| {
                let left = overdue.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            let mut descriptors = [
                PollFd::new(&self.socket, PollFlags::RDHUP),
                PollFd::new(&self.nudge, PollFlags::IN),
                PollFd::new(&self.queue_error, PollFlags::IN),
            ];
            if rustix::event::poll(&mut descriptors, timeout.as_ref()).is_err() {
                continue;
            }
            let [socket, nudge, queue_error] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
            if nudge {
                self.nudge.clear();
            }
            if queue_error {
                self.queue_error.clear();
                self.end(LinkState::QueueError);
            }
            if socket {
                self.end(LinkState::HungUp);
                return;
            }
            let overdue = *self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
            if overdue.is_some_and(|overdue| overdue <= Instant::now()) {
                self.end(LinkState::TimedOut);
                // After a broken queue the first reason stays, but the wait must end all the same.
                let _ = self.socket.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
