//! A started program with all its descendants.
//!
//! In a sandbox of namespaces virtiofsd forks: the process that was started waits for its child, which serves. A signal
//! to the first one alone does nothing to the second, which has the guest memory mapped.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long processes may take to stop, to continue, and to be gone. A process can be in a system call that takes long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The processes. Each that was seen once is remembered, as the end of its parent takes it out of the tree.
pub(crate) struct Processes {
    child: Child,
    /// Everything below `child` that had not ended when it was last looked at; parents before their children.
    descendants: Vec<Process>,
}

/// A process that is not waited for by this one, but by its parent.
struct Process {
    pid: Pid,
    /// Means this process even after its number went to another one.
    handle: OwnedFd,
}

impl Processes {
    pub(crate) fn new(child: Child) -> Self {
        Self { child, descendants: Vec::new() }
    }

    /// How the process that was started ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process that was started, or in its place the youngest one below it.
    pub(crate) fn youngest(&mut self) -> u32 {
        self.look();
        self.descendants.last().map_or(self.child.id(), |process| process.pid.as_raw_pid() as u32)
    }

    /// Looks for new descendants; says whether there were any.
    pub(crate) fn look(&mut self) -> bool {
        self.descendants.retain(|process| !process.has_ended(Duration::ZERO));
        let before = self.descendants.len();
        if self.ended().is_none() {
            self.look_below(Pid::from_child(&self.child));
        }
        // The vector grows meanwhile.
        let mut index = 0;
        while let Some(process) = self.descendants.get(index) {
            self.look_below(process.pid);
            index += 1;
        }
        self.descendants.len() > before
    }

    fn look_below(&mut self, parent: Pid) {
        for pid in children(parent) {
            if self.descendants.iter().any(|process| process.pid == pid) {
                continue;
            }
            let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            let process = Process { pid, handle };
            // The number may have gone to another process before the handle was there. While the handle's process has
            // not ended, the number is its own, so what was read of it in between is true.
            let mine = children(parent).contains(&pid);
            if mine && !process.has_ended(Duration::ZERO) {
                self.descendants.push(process);
            }
        }
    }

    /// Stops all with SIGSTOP, and waits until all of their threads have stopped.
    pub(crate) fn stop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look();
            self.signal(Signal::STOP);
            self.wait_until(deadline, |threads| threads.iter().copied().all(is_stopped));
            // One of them may have had a child before it stopped.
            if !self.look() || Instant::now() >= deadline {
                return;
            }
        }
    }

    /// Continues all, and waits until they do.
    pub(crate) fn resume(&mut self) {
        self.look();
        self.signal(Signal::CONT);
        self.wait_until(Instant::now() + PATIENCE, |threads| !threads.iter().copied().any(is_stopped));
    }

    /// Kills all with SIGKILL, and waits until they are gone.
    pub(crate) fn kill(&mut self) {
        // A process that is stopped has no further child that would escape.
        self.stop();
        for process in self.descendants.iter().rev() {
            let _ = rustix::process::pidfd_send_signal(&process.handle, Signal::KILL);
        }
        // `Child` knows whether it was waited for, so this never hits another process.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.descendants.drain(..) {
            if !process.has_ended(PATIENCE) {
                log::error!("process {} does not end", process.pid.as_raw_pid());
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        for process in &self.descendants {
            let _ = rustix::process::pidfd_send_signal(&process.handle, signal);
        }
        // While it was not waited for, the number is its own.
        if self.ended().is_none() {
            let _ = rustix::process::kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Waits until `done` answers true for the states of the threads of each process that has not ended.
    fn wait_until(&mut self, deadline: Instant, done: impl Fn(&[u8]) -> bool) {
        loop {
            let first = self.ended().is_none().then(|| Pid::from_child(&self.child));
            self.descendants.retain(|process| !process.has_ended(Duration::ZERO));
            let mut all = first.into_iter().chain(self.descendants.iter().map(|process| process.pid));
            if all.all(|pid| done(&thread_states(pid))) || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Process {
    /// Whether it ended, or does so within `patience`.
    fn has_ended(&self, patience: Duration) -> bool {
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        let mut descriptors = [PollFd::new(&self.handle, PollFlags::IN)];
        matches!(rustix::event::poll(&mut descriptors, Some(&timeout)), Ok(1..))
    }
}

/// The children of a process, of whichever thread; none if the process is gone.
fn children(parent: Pid) -> Vec<Pid> {
    threads(parent)
        .filter_map(|thread| fs::read_to_string(thread.join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .filter_map(Pid::from_raw)
        .collect()
}

/// The state of each thread, a letter as in `ps`.
fn thread_states(pid: Pid) -> Vec<u8> {
    threads(pid).filter_map(|thread| state(&fs::read(thread.join("stat")).ok()?)).collect()
}

fn threads(pid: Pid) -> impl Iterator<Item = std::path::PathBuf> {
    let folder = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid()));
    folder.into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The state in a line such as `123 (name) S 1 ...`, in which the name may have any bytes.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}

/// Stopped, by a signal or a debugger, or dead.
fn is_stopped(state: u8) -> bool {
    matches!(state, b'T' | b't' | b'Z' | b'X')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A process that has a child that has a child.
    fn family() -> Processes {
        let script = "sh -c 'sleep 60 & wait' & wait";
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        let mut processes = Processes::new(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while processes.descendants.len() < 2 {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
            processes.look();
        }
        processes
    }

    fn states(processes: &Processes) -> Vec<Vec<u8>> {
        let first = Pid::from_child(&processes.child);
        let pids = [first].into_iter().chain(processes.descendants.iter().map(|process| process.pid));
        pids.map(thread_states).collect()
    }

    #[test]
    fn all_generations_are_stopped_continued_and_killed() {
        let mut processes = family();
        processes.stop();
        assert_eq!(states(&processes), [b"T", b"T", b"T"]);
        processes.resume();
        assert!(!states(&processes).concat().contains(&b'T'));
        let pids: Vec<_> = processes.descendants.iter().map(|process| process.pid).collect();
        assert_eq!(processes.youngest(), pids[1].as_raw_pid() as u32);
        processes.kill();
        assert!(processes.ended().is_some());
        for pid in pids {
            assert!(thread_states(pid).into_iter().all(is_stopped), "process {} still runs", pid.as_raw_pid());
        }
    }

    #[test]
    fn those_whose_parent_died_are_killed_too() {
        let mut processes = family();
        processes.child.kill().unwrap();
        processes.child.wait().unwrap();
        let pids: Vec<_> = processes.descendants.iter().map(|process| process.pid).collect();
        assert_eq!(pids.len(), 2);
        processes.kill();
        for pid in pids {
            assert!(thread_states(pid).into_iter().all(is_stopped), "process {} still runs", pid.as_raw_pid());
        }
    }

    #[test]
    fn the_state_stands_behind_the_name() {
        assert_eq!(state(b"12 (a) b) c) S 1 2"), Some(b'S'));
        assert_eq!(state(b"12 (a)"), None);
        assert_eq!(state(b""), None);
    }
}
