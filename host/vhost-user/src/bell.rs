//! How threads sleep until something happened, and how they are woken.
//!
//! There is one eventfd, the *bell*. The daemon rings it as the call eventfd of every queue, and the link's monitor
//! rings it when the daemon hung up. So whatever may make a waiting thread's condition true rings the bell afterwards.
//!
//! Several threads may wait, and a ring must reach all of them, although reading the eventfd takes the ring away. So
//! only one of them, the *leader*, sleeps on the eventfd; the others, the *followers*, sleep on a condition variable.
//! A leader that was rung counts a new *round* and wakes all followers; a leader that leaves makes room, and a follower
//! takes its place. A thread that waits alone is always the leader, and is woken by the daemon without a detour.
//!
//! # Why no ring is lost
//!
//! A thread notes the round, then checks its condition, and sleeps only if the round is still the same. Take a change
//! that the check did not see: it happened after the check began, and its ring comes after it. Either that ring has not
//! been read when the thread goes to sleep: then the eventfd is readable, and whoever is or becomes the leader returns
//! from its sleep at once and counts a round. Or it has been read: by a leader that then counts a round under the lock.
//! If that was before this thread noted the round, the ring, and with it the change, came before the check, which
//! contradicts the assumption; so it is after, and the thread either finds another round or is woken.
//!
//! A ring may still be missing altogether: with the event index, the daemon does not ring for a buffer that another
//! thread has already taken from the used ring. So no sleep is longer than [`LONGEST_NAP`].

use crate::event::Event;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread spins before it sleeps. A served request takes some 12 us, falling asleep and waking 50 us and
/// more.
const SPIN: Duration = Duration::from_micros(40);
const SHORTEST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(8);

/// The place where threads wait.
///
/// # Locking
///
/// The mutex is held for a few instructions, never while a condition is asked or a thread sleeps.
pub(crate) struct Bell {
    event: Event,
    queue: Mutex<Queue>,
    next_round: Condvar,
    /// Threads that spin. More than the machine has processors to spare would keep the daemon from working.
    spinning: AtomicUsize,
    most_spinning: usize,
}

#[derive(Default)]
struct Queue {
    round: u64,
    has_leader: bool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            event: Event::new()?,
            queue: Mutex::default(),
            next_round: Condvar::new(),
            spinning: AtomicUsize::new(0),
            most_spinning: processors - 1,
        })
    }

    /// The eventfd that rings the bell.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Wakes all waiting threads.
    pub(crate) fn ring(&self) {
        self.event.signal();
    }

    /// Waits until `ready` answers true, at most until `deadline`; returns its last answer.
    pub(crate) fn wait_until(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        if ready() || self.spin(deadline, ready) {
            return true;
        }
        let mut nap = SHORTEST_NAP;
        let answer = loop {
            let round = self.queue().round;
            if ready() {
                break true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            self.sleep(round, nap.min(left));
            nap = LONGEST_NAP.min(nap * 2);
        };
        // The leader's place may be free, with followers asleep: one of them must take it.
        self.next_round.notify_one();
        answer
    }

    fn spin(&self, deadline: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        let mut answer = false;
        if self.spinning.fetch_add(1, Ordering::Relaxed) < self.most_spinning {
            let end = deadline.min(Instant::now() + SPIN);
            while !answer && Instant::now() < end {
                for _ in 0..4 {
                    std::hint::spin_loop();
                }
                answer = ready();
            }
        }
        self.spinning.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// Sleeps until the round is another than `round`, or the leader's place is free, or `nap` is over.
    fn sleep(&self, round: u64, nap: Duration) {
        let mut queue = self.queue();
        if queue.round != round {
            return;
        }
        if queue.has_leader {
            let asleep = |queue: &mut Queue| queue.round == round && queue.has_leader;
            drop(self.next_round.wait_timeout_while(queue, nap, asleep));
            return;
        }
        queue.has_leader = true;
        drop(queue);
        let rung = self.listen(nap);
        let mut queue = self.queue();
        queue.has_leader = false;
        if rung {
            queue.round += 1;
            drop(queue);
            self.next_round.notify_all();
        }
    }

    /// Sleeps until the bell rings, and silences it.
    fn listen(&self, nap: Duration) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(nap.subsec_nanos()) };
        // A signal ends the sleep early, which does no harm.
        let _ = rustix::event::poll(&mut [PollFd::new(&self.event, PollFlags::IN)], Some(&timeout));
        self.event.clear()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

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

    /// The naps would wake the sleepers anyway; that they are woken 500 times in a row sooner than that shows the
    /// rings.
    #[test]
    fn one_ring_wakes_every_sleeper() {
        const THREADS: usize = 4;
        const TURNS: usize = 500;
        let bell = Arc::new(Bell::new().unwrap());
        let turn = Arc::new(AtomicUsize::new(0));
        let passed = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (bell, turn, passed) = (bell.clone(), turn.clone(), passed.clone());
                std::thread::spawn(move || {
                    for next in 1..=TURNS {
                        assert!(bell.wait_until(soon(), &mut || turn.load(Ordering::Acquire) >= next));
                        passed.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        for next in 1..=TURNS {
            turn.store(next, Ordering::Release);
            bell.ring();
            assert!(bell.wait_until(soon(), &mut || passed.load(Ordering::Acquire) == THREADS * next));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_change_without_a_ring_is_noticed_within_a_nap() {
        let bell = Arc::new(Bell::new().unwrap());
        let changed = Arc::new(AtomicBool::new(false));
        let waiter = std::thread::spawn({
            let (bell, changed) = (bell.clone(), changed.clone());
            move || bell.wait_until(soon(), &mut || changed.load(Ordering::Acquire))
        });
        std::thread::sleep(Duration::from_millis(30));
        changed.store(true, Ordering::Release);
        let start = Instant::now();
        assert!(waiter.join().unwrap());
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
