//! What a daemon asks of this side: to map parts of files into shared memory regions, and to unmap them.
//!
//! The daemon is given one end of a pair of sockets for that. A thread serves the other end, apart from all else, so
//! that a daemon may ask in the middle of whatever it does for us. Each request is acknowledged after it was carried
//! out: the driver sees it then.

use crate::error::ConnectError;
use crate::memory::{Part, Region};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use vhost::vhost_user::{Error, FrontendReqHandler, HandlerResult, VhostUserFrontendReqHandler};

/// A channel that is being served. Dropping it closes it.
pub(crate) struct Channel {
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Channel {
    /// Makes a channel for what concerns `regions`, and gives the daemon's end of it to `send`, which must not keep it.
    pub(crate) fn open(
        regions: Vec<Arc<Region>>,
        send: impl FnOnce(RawFd) -> Result<(), ConnectError>,
    ) -> Result<Self, ConnectError> {
        let mut handler = FrontendReqHandler::new(Arc::new(Regions(regions))).map_err(io::Error::other)?;
        handler.set_reply_ack_flag(true);
        let socket = borrowed(&handler).try_clone_to_owned()?.into();
        send(handler.get_tx_raw_fd())?;
        let builder = std::thread::Builder::new().name("vhost-user channel".into());
        let thread = builder.spawn(move || serve(&mut handler))?;
        Ok(Self { socket, thread: Some(thread) })
    }

    /// Serves nothing any more, from some time soon on.
    pub(crate) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            // Whatever it does takes a few system calls, and it has nothing to say if it panicked.
            let _ = thread.join();
        }
    }
}

fn serve(handler: &mut FrontendReqHandler<Regions>) {
    loop {
        // The handler itself has the daemon's end open, too: the daemon's death is not seen here, but `close` is.
        let _ = rustix::event::poll(&mut [PollFd::new(&borrowed(handler), PollFlags::IN)], None);
        match handler.handle_request() {
            Ok(_) => {}
            Err(Error::ReqHandlerError(error)) => log::warn!("refused to the vhost-user daemon: {error}"),
            Err(Error::Disconnected | Error::SocketBroken(_)) => return,
            Err(error) => {
                log::error!("the vhost-user daemon is not listened to any more: {error}");
                // It finds that out by itself when it waits for an acknowledgement.
                let socket = borrowed(handler);
                let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
                return;
            }
        }
    }
}

struct Regions(Vec<Arc<Region>>);

impl Regions {
    fn find(&self, request: &VhostUserMMap) -> io::Result<&Region> {
        let region = self.0.iter().find(|region| region.id() == request.shmid);
        region.map(|region| &**region).ok_or_else(|| rustix::io::Errno::INVAL.into())
    }
}

impl VhostUserFrontendReqHandler for Regions {
    fn shmem_map(&self, request: &VhostUserMMap, file: &dyn AsRawFd) -> HandlerResult<u64> {
        let part = Part {
            offset: request.shm_offset,
            length: request.len,
            file_offset: request.fd_offset,
            writable: request.flags & VhostUserMMapFlags::WRITABLE.bits() != 0,
        };
        self.find(request)?.map(&part, borrowed(file)).map(|()| 0)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        self.find(request)?.unmap(request.shm_offset, request.len).map(|()| 0)
    }
}

fn borrowed<T: AsRawFd + ?Sized>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the types that come here, `FrontendReqHandler` and the `File` of a request, own their descriptor and do
    // not give it away through a shared reference; the borrow ends before they do.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
