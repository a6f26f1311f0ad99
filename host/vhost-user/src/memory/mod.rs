//! Guest memory: a memfd that the daemon maps too, and the pages of it that are in use.
//!
//! # Safety of the whole layer
//!
//! The daemon has all of guest memory mapped for as long as it lives, so nothing in it is ever lent out as a Rust
//! reference: this module and the driver reach it through raw pointers and copies, and believe nothing that they read.
//! Ordinary memory of the program (heap, stack) is never visible to the daemon: [`GuestHal`] copies it in and out. So
//! whatever a daemon does, and however late, it changes bytes of pages that the page allocator has handed out as
//! device memory, and nothing else.
//!
//! What is left to exclude is that a late write lands in a page that meanwhile means something else. That is the
//! business of [`GuestMemory::abandon`].

mod hal;
mod loan;
mod pages;
mod regions;

pub use hal::GuestHal;
pub(crate) use loan::Loan;
pub(crate) use regions::{Part, Region};

use pages::{Freed, Pages};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use virtio_fs::PhysAddr;

/// The page size of virtio's `Hal`, on every architecture.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The guest physical address of the first page. It lies in the lower half of what a process can address, but no Linux
/// process has anything there unless it asks for it: an address used as the wrong kind is outside the memory, or a
/// fault.
const FIRST_ADDRESS: PhysAddr = 0x40_0000_0000;

/// How much guest memory there is if nobody chose. Pages that were never used take no space.
const DEFAULT_BYTES: usize = 256 << 20;

/// Ends the process where going on would not be safe, or nobody can be told of a failure.
fn fatal(message: &str) -> ! {
    eprintln!("virtio-fs-vhost-user: {message}");
    std::process::abort();
}

/// The process's guest memory. It is one for all mounts, because `Hal` has no `self`.
static GLOBAL: OnceLock<Result<GuestMemory, String>> = OnceLock::new();

/// Guest memory could not be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryError(String);

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no guest memory: {}", self.0)
    }
}

impl std::error::Error for MemoryError {}

/// How many pages of 4 KiB guest memory has, and what has become of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// All pages.
    pub total_pages: usize,
    /// Pages that can be taken.
    pub free_pages: usize,
    /// Pages that are never handed out again, because a daemon that could not be stopped may still write them.
    pub abandoned_pages: usize,
}

/// The memory that the driver shares with the daemon. It lives as long as the process.
///
/// # Locking
///
/// One mutex guards the allocator's books; it is held for a few word operations and never while memory is copied.
pub struct GuestMemory {
    descriptor: OwnedFd,
    base: NonNull<u8>,
    length_bytes: usize,
    pages: Mutex<Pages>,
    /// Threads that wait for pages; changed under the lock of `pages`. Waking nobody would cost a system call.
    waiting: AtomicUsize,
    /// Signalled when pages were given back while somebody waited for some.
    given_back: Condvar,
}

// SAFETY: `base` points to a shared mapping that is never unmapped and is valid in all threads. The struct itself reads
// and writes through it only in pages that its books, guarded by a mutex, assign to the calling thread.
unsafe impl Send for GuestMemory {}
// SAFETY: as above; all methods take `&self` and synchronise by the mutex.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// The process's guest memory; set up, with 256 MiB, if that was not done before.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if the kernel gives no memory file or no room to map it. The answer does not change later.
    pub fn global() -> Result<&'static Self, MemoryError> {
        Self::global_with(DEFAULT_BYTES)
    }

    /// Sets up the process's guest memory with a size of `length_bytes`, rounded up to pages.
    ///
    /// It should be several times what can be in flight at once: queues times requests in flight times the largest
    /// request.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] as for [`global`](Self::global), and if the memory exists already with another size.
    pub fn initialize(length_bytes: usize) -> Result<(), MemoryError> {
        let length_bytes = length_bytes.max(1).next_multiple_of(PAGE_BYTES);
        if Self::global_with(length_bytes)?.length_bytes == length_bytes {
            Ok(())
        } else {
            Err(MemoryError("it is in use already, with another size".into()))
        }
    }

    /// Counts the pages of the process's guest memory.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] as for [`global`](Self::global).
    pub fn usage() -> Result<MemoryUse, MemoryError> {
        let pages = Self::global()?.pages();
        Ok(MemoryUse {
            total_pages: pages.total_pages(),
            free_pages: pages.free_pages(),
            abandoned_pages: pages.leaked_pages(),
        })
    }

    fn global_with(length_bytes: usize) -> Result<&'static Self, MemoryError> {
        GLOBAL
            .get_or_init(|| Self::new(length_bytes).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|text| MemoryError(text.clone()))
    }

    fn new(length_bytes: usize) -> io::Result<Self> {
        let descriptor =
            rustix::fs::memfd_create("virtio-fs guest memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&descriptor, length_bytes as u64)?;
        // Without the seals the daemon could cut the file, and our next access would end this process by SIGBUS.
        rustix::fs::fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: the address is the kernel's choice, so no mapping of this process is replaced; the new mapping is
        // never unmapped; and no Rust reference to it is ever made.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                length_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &descriptor,
                0,
            )?
        };
        Ok(Self {
            descriptor,
            base: NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?,
            length_bytes,
            pages: Mutex::new(Pages::new(length_bytes / PAGE_BYTES)),
            waiting: AtomicUsize::new(0),
            given_back: Condvar::new(),
        })
    }

    /// The memory file. A daemon gets it by a [`Loan`].
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The guest physical address of the first byte.
    pub(crate) fn first_address(&self) -> PhysAddr {
        FIRST_ADDRESS
    }

    /// The virtual address of the first byte.
    pub(crate) fn first_pointer(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// The virtual address of `length_bytes` bytes at a guest physical address, if they lie inside.
    pub(crate) fn pointer(&self, address: PhysAddr, length_bytes: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(address.checked_sub(FIRST_ADDRESS)?).ok()?;
        if offset.checked_add(length_bytes)? > self.length_bytes {
            return None;
        }
        // SAFETY: the offset is within the mapping, or one past its end.
        Some(unsafe { self.base.add(offset) })
    }

    /// The guest physical address of a buffer that starts inside guest memory; `None` for one that starts outside.
    fn address(&self, pointer: NonNull<u8>, length_bytes: usize) -> Option<PhysAddr> {
        let offset = pointer.addr().get().checked_sub(self.base.addr().get())?;
        if offset >= self.length_bytes {
            return None;
        }
        assert!(length_bytes <= self.length_bytes - offset, "a buffer starts inside guest memory and ends outside it");
        Some(FIRST_ADDRESS + offset as PhysAddr)
    }

    /// Reads the little-endian u16 at `address`, which another process may be writing.
    pub(crate) fn read_u16(&self, address: PhysAddr) -> Option<u16> {
        let pointer = self.pointer(address, 2)?.cast::<u16>().as_ptr();
        // SAFETY: inside the mapping, which is never unmapped; aligned, as `is_aligned` says. Volatile, because the
        // daemon may write there.
        pointer.is_aligned().then(|| u16::from_le(unsafe { pointer.read_volatile() }))
    }

    /// Writes a little-endian u16 into a page that the caller took.
    ///
    /// # Panics
    ///
    /// If `address` is odd or not in guest memory.
    pub(crate) fn write_u16(&self, address: PhysAddr, value: u16) {
        let pointer = self.pointer(address, 2).map(|pointer| pointer.cast::<u16>().as_ptr());
        let pointer = pointer.filter(|pointer| pointer.is_aligned());
        let pointer = pointer.expect("an even address in guest memory");
        // SAFETY: inside the mapping, which is never unmapped, and aligned; no reference to guest memory exists.
        // Volatile, because the daemon may read there.
        unsafe { pointer.write_volatile(value.to_le()) };
    }

    /// Marks all pages in use: their owners may go on using them, but once given back they are never handed out again.
    ///
    /// This is what makes it safe to go on after a daemon could not be stopped. Which of the pages that daemon may
    /// still write is not known here, as mounts share the memory, so it is said of all of them. A test process
    /// loses at most what was in use at that moment.
    pub(crate) fn abandon(&self) {
        self.pages().abandon_all();
    }

    /// Takes `count` neighbouring pages with whatever is in them; returns the first one's number.
    fn take(&self, count: usize) -> Option<usize> {
        self.pages().take(count)
    }

    /// Like [`take`](Self::take), but waits until `patience` is over for pages to be given back.
    fn take_waiting(&self, count: usize, patience: Duration) -> Option<usize> {
        let deadline = Instant::now() + patience;
        let mut pages = self.pages();
        loop {
            if let Some(page) = pages.take(count) {
                return Some(page);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || count > pages.total_pages() {
                return None;
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            pages = self.given_back.wait_timeout(pages, left).unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives back what one `take` returned.
    ///
    /// # Panics
    ///
    /// If the pages are not in use: the caller freed them twice, or mixed up addresses, and going on would corrupt
    /// memory that belongs to somebody else.
    fn give_back(&self, page: usize, count: usize) {
        let mut pages = self.pages();
        let freed = pages.give_back(page, count);
        let awaited = self.waiting.load(Ordering::Relaxed) > 0;
        drop(pages);
        match freed {
            Ok(Freed::Reusable) if awaited => self.given_back.notify_all(),
            Ok(_) => {}
            Err(pages::NotInUse) => {
                panic!("{count} pages from page {page} on were given back, but are not in use")
            }
        }
    }

    fn is_abandoned(&self, page: usize) -> bool {
        self.pages().is_abandoned(page)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A panic inside leaves the books consistent enough: pages stay marked as used.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page_address(&self, page: usize) -> PhysAddr {
        FIRST_ADDRESS + (page * PAGE_BYTES) as PhysAddr
    }

    fn page_pointer(&self, page: usize) -> NonNull<u8> {
        assert!(page < self.length_bytes / PAGE_BYTES);
        // SAFETY: checked to be within the mapping.
        unsafe { self.base.add(page * PAGE_BYTES) }
    }

    /// The number of the page that starts at `address`.
    fn page_at(&self, address: PhysAddr) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(FIRST_ADDRESS)?).ok()?;
        (offset.is_multiple_of(PAGE_BYTES) && offset < self.length_bytes).then_some(offset / PAGE_BYTES)
    }
}
