//! What the driver sees, as a file system of the host.

use crate::handles::Handles;
use crate::inodes::Inodes;
use crate::listing::{Entry, Listing};
use crate::mount::Event;
use crate::options::Options;
use crate::{caller, convert};
use fuser::{FileAttr, FileHandle, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig};
use fuser::{ReplyEntry, ReplyXattr, Request};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use virtio_fs::vnode::{self, Access, Lock, Node, OpenFile, OpenFlags};
use virtio_fs::{Attr, Credentials, Errno, Error, Platform, VirtioFs};

/// Gives the result of a call to the kernel.
macro_rules! answer {
    ($faults:expr, $reply:ident, $result:expr, $value:pat => $good:expr) => {
        match $result {
            Ok($value) => $good,
            Err(error) => $reply.error($faults.errno(error)),
        }
    };
}

mod operations;

/// Nodeids are not used again while the kernel knows them.
const GENERATION: Generation = Generation(0);
/// The kernel's sign, among the flags of OPEN, that a program is to be executed (`__FMODE_EXEC`).
const FOR_EXECUTION: u32 = 0x20;

/// One mount of the driver, re-exported.
///
/// # Locking
///
/// The locks of the tables are held for memory accesses only. That of a listing is held while the driver lists, and
/// taken before theirs.
pub(crate) struct Export {
    /// `None` at the end.
    fs: Option<VirtioFs>,
    inodes: Inodes<Node>,
    files: Handles<OpenFile>,
    listings: Handles<Mutex<Listing>>,
    /// How long the kernel believes what it was told.
    believed: Duration,
    file_flags: FopenFlags,
    faults: Arc<Faults>,
    /// `None` at the end.
    maintenance: Option<Maintenance>,
}

/// Error numbers, and what else comes of an error.
struct Faults {
    events: Sender<Event>,
    is_lost: AtomicBool,
}

/// A thread that lets the driver do what waits for a quiet moment, or must not wait any longer.
struct Maintenance {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the kernel leaves to the driver, as far as it can.
const DELEGATED: InitFlags = InitFlags::FUSE_ATOMIC_O_TRUNC
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV)
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_PARALLEL_DIROPS)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_AUTO_INVAL_DATA)
    .union(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);

impl Export {
    /// Re-exports `fs`, and says by `events` when its device is lost, and when its session ends.
    /// `platform` is the one that it was mounted with.
    pub(crate) fn new(fs: VirtioFs, platform: Arc<dyn Platform>, options: &Options, events: Sender<Event>) -> Self {
        let file_flags = match options.kernel_cache {
            Duration::ZERO => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES,
            _ => FopenFlags::empty(),
        };
        Self {
            maintenance: Some(Maintenance::start(fs.clone(), platform)),
            fs: Some(fs),
            inodes: Inodes::new(),
            files: Handles::new(),
            listings: Handles::new(),
            believed: options.kernel_cache,
            file_flags,
            faults: Arc::new(Faults { events, is_lost: AtomicBool::new(false) }),
        }
    }

    fn fs(&self) -> &VirtioFs {
        self.fs.as_ref().expect("no request comes behind DESTROY")
    }

    /// Tells the kernel what it may leave to the driver.
    fn configure(&self, config: &mut KernelConfig) {
        let negotiated = self.fs().negotiated();
        let mut wanted = DELEGATED;
        // Else the kernel has locks of its own, which are good enough for programs on this host. The locks of `flock`
        // are always its own: `fuser` 0.18 does not say which of the two kinds a request is about.
        if negotiated.flags.contains(virtio_fs::InitFlags::POSIX_LOCKS) {
            wanted |= InitFlags::FUSE_POSIX_LOCKS;
        }
        let can = config.capabilities();
        config.add_capabilities(wanted & can).expect("the kernel has said that it can");
        if let Ok(bytes) = u32::try_from(negotiated.max_transfer_bytes) {
            // It is never 0, and what is too large is left at the largest.
            let _ = config.set_max_write(bytes);
        }
    }

    /// The inode that the kernel means, on behalf of who asks.
    fn node(&self, request: &Request, ino: INodeNo) -> Result<Node, Error> {
        self.node_to_create_in(request, ino, 0)
    }

    /// The directory in which something is made under `umask`, on behalf of who asks.
    fn node_to_create_in(&self, request: &Request, ino: INodeNo, umask: u32) -> Result<Node, Error> {
        let node = match ino {
            INodeNo::ROOT => self.fs().root().clone(),
            _ => self.inodes.get(ino).ok_or(Error::Invalid(Errno::ESTALE))?,
        };
        Ok(node.with_credentials(&caller::credentials(request, umask)))
    }

    /// Counts a lookup that the kernel is about to be told of.
    fn remember(&self, node: Node, attr: &Attr) -> FileAttr {
        let nodeid = node.nodeid();
        convert::attr(self.inodes.remember(node, nodeid, attr.ino), attr)
    }

    fn file(&self, fh: FileHandle) -> Result<Arc<OpenFile>, Error> {
        self.files.get(fh).ok_or(Error::Invalid(Errno::EBADF))
    }

    fn listing(&self, fh: FileHandle) -> Result<Arc<Mutex<Listing>>, Error> {
        self.listings.get(fh).ok_or(Error::Invalid(Errno::EBADF))
    }

    fn entry(&self, found: Result<(Node, Attr), Error>, reply: ReplyEntry) {
        answer!(self.faults, reply, found, (node, attr) => {
            reply.entry(&self.believed, &self.remember(node, &attr), GENERATION);
        });
    }

    /// Hands entries to `add`, from behind the one with the cookie `offset` on, until it is full.
    fn list(
        &self,
        fh: FileHandle,
        offset: u64,
        with_nodes: bool,
        mut add: impl FnMut(&Entry) -> bool,
    ) -> Result<(), Error> {
        let listing = self.listing(fh)?;
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        listing.go_to(offset);
        let mut is_empty = true;
        loop {
            match listing.next(with_nodes) {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) if add(&entry) => {
                    listing.put_back(entry);
                    return Ok(());
                }
                Ok(Some(_)) => is_empty = false,
                // The kernel asks again behind what it has got.
                Err(_) if !is_empty => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers with what `get` writes into a buffer of the size that the kernel has, or with its size.
    fn xattr(&self, size: u32, reply: ReplyXattr, get: impl FnOnce(&mut [u8]) -> Result<usize, Error>) {
        let mut buffer = vec![0; size as usize];
        answer!(self.faults, reply, get(&mut buffer), bytes => match size {
            0 => reply.size(bytes as u32),
            _ => reply.data(&buffer[..bytes]),
        });
    }
}

fn open(node: Node, flags: u32) -> Result<OpenFile, Error> {
    if flags & FOR_EXECUTION == 0 {
        return node.open(OpenFlags::from_bits_retain(flags));
    }
    // Who may execute a program need not be able to read it: the kernel does that.
    node.access(Access::EXECUTE)?;
    node.with_credentials(&Arc::new(Credentials::default())).open(OpenFlags::from_bits_retain(flags & !FOR_EXECUTION))
}

fn sync(data_only: bool) -> vnode::Durability {
    if data_only { vnode::Durability::Data } else { vnode::Durability::All }
}

fn lock(kind: i32, start: u64, end: u64, pid: u32) -> Result<Lock, Error> {
    let kind = convert::lock_kind(kind).ok_or(Error::Invalid(Errno::EINVAL))?;
    Ok(Lock { kind, start, end, pid })
}

impl Drop for Export {
    /// Gives everything back and ends the driver's session.
    fn drop(&mut self) {
        // Before the daemon is let go, which may end then.
        self.faults.tell(Event::Ending);
        if let Some(maintenance) = self.maintenance.take() {
            maintenance.stop();
        }
        drop(self.listings.drain());
        drop(self.files.drain());
        drop(self.inodes.drain());
        let Some(fs) = self.fs.take() else { return };
        if let Err(error) = fs.unmount() {
            log::warn!("the session did not end well: {error}");
        }
    }
}

impl Faults {
    /// Nobody listens any more when the program ends.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The error number for the kernel.
    fn errno(&self, error: Error) -> fuser::Errno {
        match error {
            Error::Device(what) => {
                if !self.is_lost.swap(true, Ordering::Relaxed) {
                    self.tell(Event::Lost(what));
                }
                fuser::Errno::EIO
            }
            Error::Protocol(_) => {
                log::error!("{error}");
                fuser::Errno::EIO
            }
            _ => fuser::Errno::from_i32(error.errno().0.into()),
        }
    }
}

impl Maintenance {
    /// FORGETs that are collected meanwhile are in nobody's way for so long.
    const PAUSE: Duration = Duration::from_secs(1);

    fn start(fs: VirtioFs, platform: Arc<dyn Platform>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut pause = Self::PAUSE;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = fs.maintain().map_or(Self::PAUSE, |due| Self::PAUSE.min(due - platform.now()));
            }
        });
        Self { stop, thread }
    }

    /// Lets go of the driver.
    fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("maintenance panicked");
        }
    }
}
