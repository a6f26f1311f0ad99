//! How threads sleep until something happened, and how they are woken.
//!
//! There is one eventfd, the *bell*, which the daemon rings as the call eventfd of every queue. Only one of the threads
//! that wait, the *leader*, sleeps on it; the others, the *followers*, sleep on a condition variable. A leader that
//! leaves makes room, and a follower takes its place. A thread that waits alone is always the leader, and is woken by
//! the daemon without a detour.
//!
//! A ring wakes the leader alone. If its condition is true now, that is all: the driver then looks for what the others
//! wait for, and calls [`Platform::wake`](virtio_fs::Platform::wake). If not, the ring was for somebody else, and the
//! followers are woken.
//!
//! # Why no wake-up is lost
//!
//! To wake all threads is to count a new *round*. A thread notes the round, then asks its condition, then says that it
//! sleeps, and sleeps only if the round is still the same. Whoever makes a condition true counts a round afterwards and
//! then looks for sleepers. So either the thread's question came after the change, or it finds another round, or it is
//! found asleep: then it is woken under the mutex, a leader by an eventfd of its own.
//!
//! A ring stays in the eventfd until a leader reads it, and that leader asks its own condition, or has all others ask
//! theirs, after that.

use crate::event::Event;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread spins before it sleeps. In a virtual machine it takes 20 us and more to wake a processor that
/// sleeps, and as long again to wake the daemon for the next request; a READ of 1 MiB takes some 100 us.
const SPIN: Duration = Duration::from_micros(200);
/// How long it spins before it lets others run in between: the daemon may have been put on the same processor.
const ALONE: Duration = Duration::from_micros(10);

/// The place where threads wait.
///
/// # Locking
///
/// The mutex is held for a few instructions, never while a condition is asked or a thread sleeps.
pub(crate) struct Bell {
    /// What the daemon rings.
    event: Event,
    /// Wakes the leader for a new round.
    nudge: Event,
    round: AtomicU64,
    /// Threads that sleep or are about to.
    sleepers: AtomicUsize,
    sleep: Mutex<Sleep>,
    /// For the followers: signalled at a new round, and when the leader's place is free.
    changed: Condvar,
    /// Threads that spin. More than the machine has processors to spare would keep the daemon from working.
    spinning: AtomicUsize,
    most_spinning: usize,
}

#[derive(Default)]
struct Sleep {
    has_leader: bool,
    /// Signalling without any costs a system call.
    followers: usize,
}

/// What ended a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awakening {
    /// The daemon rang.
    Rung,
    /// A new round, the end of the time, or nothing.
    Other,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            event: Event::new()?,
            nudge: Event::new()?,
            round: AtomicU64::new(0),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::default(),
            changed: Condvar::new(),
            spinning: AtomicUsize::new(0),
            most_spinning: processors - 1,
        })
    }

    /// The eventfd that rings the bell.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Makes all waiting threads ask their condition.
    pub(crate) fn wake(&self) {
        self.round.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let sleep = self.sleep();
        if sleep.followers > 0 {
            self.changed.notify_all();
        }
        if sleep.has_leader {
            self.nudge.signal();
        }
    }

    /// Waits until `ready` answers true, at most until `deadline`; returns its last answer.
    pub(crate) fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        if ready() || self.spin(deadline, ready) {
            return true;
        }
        let mut awakening = Awakening::Other;
        loop {
            let round = self.round.load(Ordering::SeqCst);
            if ready() {
                return true;
            }
            if awakening == Awakening::Rung {
                self.wake();
                awakening = Awakening::Other;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            awakening = self.sleep_until(round, deadline);
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn spin(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        let mut answer = false;
        if self.spinning.fetch_add(1, Ordering::Relaxed) < self.most_spinning {
            let start = Instant::now();
            let patience = deadline.saturating_duration_since(start).min(SPIN);
            let mut spun = Duration::ZERO;
            while !answer && spun < patience {
                if spun < ALONE {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
                answer = ready();
                spun = start.elapsed();
            }
        }
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// Sleeps until the round is another than `round`, or this thread is the leader and the bell rings, or `deadline`.
    fn sleep_until(&self, round: u64, deadline: Instant) -> Awakening {
        let same_round = || self.round.load(Ordering::SeqCst) == round;
        let mut sleep = self.sleep();
        if sleep.has_leader {
            sleep.followers += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = self.changed.wait_timeout_while(sleep, left, |sleep| same_round() && sleep.has_leader);
            sleep = waited.unwrap_or_else(PoisonError::into_inner).0;
            sleep.followers -= 1;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if sleep.has_leader {
            return Awakening::Other;
        }
        if !same_round() || left.is_zero() {
            // It was perhaps this thread that was told of the free place.
            self.pass_on(&sleep);
            return Awakening::Other;
        }
        sleep.has_leader = true;
        drop(sleep);
        let rung = self.listen(left);
        let mut sleep = self.sleep();
        sleep.has_leader = false;
        self.pass_on(&sleep);
        if rung { Awakening::Rung } else { Awakening::Other }
    }

    /// Tells a follower, if there is one, that the leader's place is free.
    fn pass_on(&self, sleep: &Sleep) {
        if sleep.followers > 0 {
            self.changed.notify_one();
        }
    }

    /// Sleeps until the bell rings, and silences it; says whether it rang. A nudge ends the sleep, too.
    fn listen(&self, left: Duration) -> bool {
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut descriptors = [PollFd::new(&self.event, PollFlags::IN), PollFd::new(&self.nudge, PollFlags::IN)];
        // A signal ends the sleep early, which does no harm.
        let _ = rustix::event::poll(&mut descriptors, Some(&timeout));
        let [rung, nudged] = descriptors.map(|descriptor| !descriptor.revents().is_empty());
        if nudged {
            self.nudge.clear();
        }
        rung && self.event.clear()
    }

    fn sleep(&self) -> MutexGuard<'_, Sleep> {
        // Nothing under the lock can panic half-way.
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_deadline_ends_the_wait_with_the_last_answer() {
        let bell = Bell::new().unwrap();
        let start = Instant::now();
        assert!(!bell.wait_until(start + Duration::from_millis(30), &mut || false));
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(bell.wait_until(start, &mut || true), "a condition that is true needs no time");
    }

    /// Threads that take turns: each waits for its own turn and then wakes the others.
    fn turns(threads: usize, rounds: usize, wake: impl Fn(&Bell) + Copy + Send + 'static) {
        let bell = Arc::new(Bell::new().unwrap());
        let turn = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                let (bell, turn) = (bell.clone(), turn.clone());
                std::thread::spawn(move || {
                    for round in 0..rounds {
                        let mine = round * threads + number;
                        let start = Instant::now();
                        assert!(bell.wait_until(soon(), &mut || turn.load(Ordering::Acquire) == mine));
                        assert!(start.elapsed() < Duration::from_secs(10), "turn {mine} slept on");
                        turn.store(mine + 1, Ordering::Release);
                        wake(&bell);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// Nothing but `wake` ends a sleep before its deadline: one that is lost fails the test.
    #[test]
    fn no_wake_up_is_lost() {
        turns(6, 2000, Bell::wake);
    }

    /// The daemon rings, whoever of those who sleep it is meant for.
    #[test]
    fn a_ring_reaches_the_thread_that_it_is_meant_for() {
        turns(6, 2000, |bell| bell.event().signal());
    }
}
