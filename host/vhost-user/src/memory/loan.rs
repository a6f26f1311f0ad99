//! Guest memory in the hands of one daemon, and how to know that it is there no more.
//!
//! A daemon that died or hung up says nothing about who still has the memory mapped. Its process id does not tell
//! either: virtiofsd in namespaces is three processes over time, of which the one that listened is not the one that
//! serves; a socket may have been inherited from a supervisor; and any process may have forked. So it is the memory
//! file that is asked, not the processes.
//!
//! Each daemon gets an *open file description* of its own of the memory file: one more `open` of it. The descriptor
//! that is sent, its duplicates in whatever processes, and every mapping made through them refer to this one
//! description, and the kernel closes it when the last of them is gone, or the last message that carries it. It carries
//! a mark that goes with it at that moment: an open file description lock (`fcntl(2)`, F_OFD_SETLK) on one byte of the
//! file, a different one for each loan. Whether that byte is locked can be asked at any time. A mapping lets go of its
//! file after its pages were taken out of all address spaces and all translation caches, so nobody can write through it
//! any more when the mark is gone.
//!
//! A daemon that means harm can take the mark away, or open the memory file anew and so keep it unmarked. It could as
//! well confirm a stop and go on writing: see the safety of the whole layer in the parent module for what it reaches.
//! One that locks bytes which are not its own only makes others' loans look as if they were never returned.

use super::GuestMemory;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The memory as it is lent to one daemon.
pub(crate) struct Loan {
    memory: &'static GuestMemory,
    /// The byte of the memory file that is locked as long as anybody has the memory by this loan. Without it, the
    /// daemon gets the description that this process itself uses, and nobody can say when it is done with it.
    mark: Option<libc::off_t>,
    /// This process's own descriptor of the marked description; `None` when the loan is called in.
    file: Mutex<Option<OwnedFd>>,
}

impl Loan {
    pub(crate) fn new(memory: &'static GuestMemory) -> Self {
        match marked(memory) {
            Ok((file, mark)) => Self { memory, mark: Some(mark), file: Mutex::new(Some(file)) },
            Err(error) => {
                log::warn!("if the vhost-user daemon ends, nobody can say whether it still has guest memory: {error}");
                Self { memory, mark: None, file: Mutex::new(None) }
            }
        }
    }

    pub(crate) fn memory(&self) -> &'static GuestMemory {
        self.memory
    }

    /// Calls `send` with the descriptor that the daemon may have; `None` after the loan was called in.
    pub(crate) fn lend<T>(&self, send: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*file, self.mark) {
            (Some(file), _) => Some(send(file.as_fd())),
            (None, None) => Some(send(self.memory.descriptor())),
            (None, Some(_)) => None,
        }
    }

    /// Calls the loan in. Says whether nobody has the memory by it any more, now or within `patience`; if so, it stays
    /// so.
    pub(crate) fn is_returned(&self, patience: Duration) -> bool {
        let Some(mark) = self.mark else { return false };
        // Ours must not be the one that is left. From here on nothing can be lent again.
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
        let deadline = Instant::now() + patience;
        loop {
            if matches!(is_marked(self.memory.descriptor(), mark), Ok(false)) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // Nothing can be waited for here that has a bound.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A new description of the memory file, and the byte that it has locked.
fn marked(memory: &GuestMemory) -> io::Result<(OwnedFd, libc::off_t)> {
    // 2^63 loans are more than there can be.
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let mark = libc::off_t::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).map_err(io::Error::other)?;
    // A memory file has no name but this one.
    let path = format!("/proc/self/fd/{}", memory.descriptor().as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    lock_command(file.as_fd(), libc::F_OFD_SETLK, mark)?;
    // Where such locks mean nothing (or /proc shows another file), the answer would be "not lent" at all times.
    if !is_marked(memory.descriptor(), mark)? {
        return Err(io::Error::other("a lock on the memory file is not seen"));
    }
    Ok((file, mark))
}

/// Whether another description than `file`'s own has the byte locked.
fn is_marked(file: BorrowedFd<'_>, byte: libc::off_t) -> io::Result<bool> {
    let lock = lock_command(file, libc::F_OFD_GETLK, byte)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Sets a write lock on one byte, or asks what stands against it. The byte need not be there.
fn lock_command(file: BorrowedFd<'_>, command: libc::c_int, byte: libc::off_t) -> io::Result<libc::flock> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        // The kernel asks for 0 here.
        l_pid: 0,
    };
    // SAFETY: the descriptor is open as long as it is borrowed. Both commands take a pointer to a `flock`, which is
    // valid for reads and writes here, and do not keep it.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(lock) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    const SOON: Duration = Duration::from_secs(10);
    const NOW: Duration = Duration::from_millis(20);

    fn loan() -> Loan {
        let loan = Loan::new(GuestMemory::global().unwrap());
        assert!(loan.mark.is_some(), "this machine's kernel has the locks, and /proc is there");
        loan
    }

    /// A process that has the loan's descriptor, and nothing else of it, as its standard input.
    fn borrower(loan: &Loan, script: &str) -> Child {
        let input = loan.lend(|file| file.try_clone_to_owned()).unwrap().unwrap();
        Command::new("sh").args(["-c", script]).stdin(Stdio::from(input)).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn what_was_lent_to_nobody_is_returned_and_not_lent_again() {
        let (loan, other) = (loan(), loan());
        assert!(loan.is_returned(Duration::ZERO));
        assert!(loan.lend(|_| ()).is_none());
        assert!(other.lend(|_| ()).is_some(), "each has a mark of its own");
        assert!(other.is_returned(Duration::ZERO));
    }

    #[test]
    fn a_loan_ends_with_the_process_that_has_it() {
        let loan = loan();
        let mut child = borrower(&loan, "exec sleep 60");
        assert!(!loan.is_returned(NOW));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(loan.is_returned(SOON));
    }

    #[test]
    fn a_mapping_without_a_descriptor_is_a_loan() {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        let loan = loan();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let mapping = loan.lend(|file| {
            // SAFETY: the address is the kernel's choice, so nothing is replaced.
            unsafe { mmap(std::ptr::null_mut(), 4096, protection, MapFlags::SHARED, file, 0) }.unwrap()
        });
        assert!(!loan.is_returned(NOW));
        // SAFETY: the mapping was made above, and nobody ever used it.
        unsafe { munmap(mapping.unwrap(), 4096).unwrap() };
        assert!(loan.is_returned(Duration::ZERO));
    }

    #[test]
    fn the_end_of_a_process_that_left_a_child_behind_ends_no_loan() {
        let loan = loan();
        // Standard input of a background process would be /dev/null; the child leaves when its standard output does.
        let mut parent = borrower(&loan, "{ sleep 60 <&3 & } 3<&0; echo $!; exec sleep 60 </dev/null");
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
        let child = rustix::process::Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(!loan.is_returned(Duration::from_millis(100)));
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
        assert!(loan.is_returned(SOON));
    }
}
