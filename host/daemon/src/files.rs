//! The served tree: what answers FUSE requests, and what gives the descriptors that are mapped.

use crate::dax_rule::DaxRule;
use crate::marked_fs::MarkedFs;
use crate::mode::is_regular;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use virtiofsd::descriptor_utils::{Reader, Writer};
use virtiofsd::filesystem::{Context, FileSystem, ZeroCopyWriter};
use virtiofsd::oslib::ReadvFlags;
use virtiofsd::server::Server;

thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });

/// Whether this thread is where a panic is caught.
pub(crate) fn is_guarded() -> bool {
    GUARDED.get()
}

/// A tree, whether it can be changed or not.
pub(crate) trait Files: Send + Sync {
    /// Serves one request; returns how many bytes were written to the reply. `None` if it cannot be served at all.
    fn serve(&self, reader: Reader<'_>, writer: Writer<'_>) -> Option<usize>;

    /// Forgets inodes and open files of the session.
    fn end_session(&self);

    /// Checks that an inode is a regular file.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such inode in this session, `ENODEV` if it is something else.
    fn check_regular(&self, context: Context, nodeid: u64) -> Result<(), Errno>;

    /// A descriptor of what a guest has open, only to look at: its rights are those of the guest's `open`.
    ///
    /// # Errors
    ///
    /// `EBADF` if the inode is not open by this handle.
    fn opened(&self, context: Context, nodeid: u64, handle: u64) -> Result<File, Errno>;

    /// Opens a regular file anew.
    ///
    /// # Errors
    ///
    /// Those of `open`.
    fn open(&self, context: Context, nodeid: u64, access: OFlags) -> Result<File, Errno>;
}

/// A file system of `virtiofsd`, served by its server.
pub(crate) struct Tree<F: FileSystem + Send + Sync> {
    inner: Arc<F>,
    server: Server<MarkedFs<F>>,
}

impl<F: FileSystem + Send + Sync> Tree<F> {
    /// `window` is true while a front end has the window.
    pub(crate) fn new(file_system: F, rule: DaxRule, window: Arc<AtomicBool>) -> Self {
        let inner = Arc::new(file_system);
        let server = Server::new(MarkedFs::new(inner.clone(), rule, window));
        Self { inner, server }
    }
}

impl<F: FileSystem + Send + Sync> Files for Tree<F> {
    fn serve(&self, reader: Reader<'_>, writer: Writer<'_>) -> Option<usize> {
        // virtiofsd panics at some numbers that no guest sends but one that means it: at an offset beyond 2^63, say. It
        // holds no lock for writing then.
        GUARDED.set(true);
        let serve = AssertUnwindSafe(|| self.server.handle_message(reader, writer, None::<&mut ()>));
        let served = catch_unwind(serve);
        GUARDED.set(false);
        match served {
            Ok(Ok(written)) => Some(written),
            Ok(Err(error)) => {
                log::warn!("a request is malformed: {error}");
                None
            }
            // It was reported already.
            Err(_) => None,
        }
    }

    fn end_session(&self) {
        self.server.destroy();
    }

    fn check_regular(&self, context: Context, nodeid: u64) -> Result<(), Errno> {
        let (attr, _) = self.inner.getattr(context, nodeid.into(), None).map_err(|error| errno(&error))?;
        if is_regular(attr.mode) { Ok(()) } else { Err(Errno::NODEV) }
    }

    fn opened(&self, context: Context, nodeid: u64, handle: u64) -> Result<File, Errno> {
        opened(&*self.inner, context, nodeid, handle)
    }

    fn open(&self, context: Context, nodeid: u64, access: OFlags) -> Result<File, Errno> {
        open(&*self.inner, context, nodeid, access)
    }
}

/// See [`Files::opened`].
fn opened<F: FileSystem>(inner: &F, context: Context, nodeid: u64, handle: u64) -> Result<File, Errno> {
    let mut taken = None;
    // `virtiofsd` shows a file to nobody but who reads from it into a reply.
    let read = inner.read(context, nodeid.into(), handle.into(), Take(&mut taken), 0, 0, None, 0);
    read.map_err(|error| errno(&error))?;
    taken.ok_or(Errno::BADF)
}

/// See [`Files::open`]; also for directories.
pub(crate) fn open<F: FileSystem>(inner: &F, context: Context, nodeid: u64, access: OFlags) -> Result<File, Errno> {
    let result = inner.open(context, nodeid.into(), false, access.bits());
    let (handle, _) = result.map_err(|error| errno(&error))?;
    let handle: u64 = handle.ok_or(Errno::BADF)?.into();
    let file = opened(inner, context, nodeid, handle);
    let released = inner.release(context, nodeid.into(), access.bits(), handle.into(), false, false, None);
    released.map_err(|error| errno(&error))?;
    file
}

/// Takes a duplicate of the file that it is asked to read from, and reads nothing.
struct Take<'a>(&'a mut Option<File>);

impl ZeroCopyWriter for Take<'_> {
    fn read_from_file_at(&mut self, file: &File, _: usize, _: u64, _: Option<ReadvFlags>) -> io::Result<usize> {
        *self.0 = Some(file.try_clone()?);
        Ok(0)
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
