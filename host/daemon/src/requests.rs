//! One FUSE request after the other: counted, perhaps hit by a fault, and served by whom it concerns.
//!
//! Most are served by `virtiofsd`. What concerns the window is served here: SETUPMAPPING, REMOVEMAPPING, and what the
//! replies to INIT say of it.

use crate::bridge::Request;
use crate::faults::{self, Action, Fault};
use crate::files::Files;
use crate::mapping::{self, Descriptors, Limits};
use crate::opcodes::{self, DESTROY, INIT, READ, REMOVEMAPPING, SETUPMAPPING, WRITE};
use crate::statistics::Statistics;
use crate::version_table::VersionTable;
use crate::window::Window;
use rustix::io::Errno;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use virtiofsd::filesystem::Context;
use virtiofsd::fuse::{InHeader, InitInCompat, RemovemappingIn, RemovemappingOne, SetupmappingIn};

/// The length of `fuse_out_header`.
const OUT_HEADER: usize = 16;
/// FUSE_MAP_ALIGNMENT, which `virtiofsd` does not know as a flag.
const MAP_ALIGNMENT: u32 = 1 << 26;
/// Where the reply to INIT has `flags` and `map_alignment` (`fuse_init_out`), behind the header.
const INIT_FLAGS: usize = OUT_HEADER + 12;
const INIT_MAP_ALIGNMENT: usize = OUT_HEADER + 30;
/// More ranges than these do not fit into a request of Linux.
const MOST_RANGES: usize = 4096;
/// The exit status of a daemon that a fault ended: that of a program that SIGKILL ended, for a shell.
const KILLED: i32 = 137;

/// What requests need.
pub(crate) struct Requests {
    pub(crate) files: Box<dyn Files>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) statistics: Arc<Statistics>,
    /// What holds for mappings, if there is a window.
    pub(crate) limits: Option<Limits>,
    pub(crate) descriptors: Descriptors,
    pub(crate) table: Option<Arc<VersionTable>>,
    /// See [`crate::window::Rules::past_eof`].
    pub(crate) sizes: Option<Arc<RwLock<()>>>,
    /// Whether a queue was stopped since the last session began. QEMU stops the queues when the guest resets the device,
    /// and does not say more; it has unmapped everything then, and complains of who unmaps it again. It also stops them
    /// when it pauses the machine, but no session begins then.
    pub(crate) was_stopped: AtomicBool,
    /// The window of the front end that is connected, if it has one.
    pub(crate) window: Mutex<Option<Arc<Window>>>,
}

impl Requests {
    pub(crate) fn window(&self) -> Option<Arc<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves one request. Returns how many bytes of the reply were written; `None` if it is never to be answered.
    pub(crate) fn serve(&self, request: &Request) -> Option<usize> {
        let header = request.reader().and_then(|mut reader| reader.read_obj::<InHeader>().ok());
        let Some(header) = header else {
            log::warn!("a request has no header, or lies outside guest memory");
            return Some(0);
        };
        let opcode = header.opcode;
        self.statistics.message(opcode);
        let room = request.writer().map_or(0, |writer| writer.available_bytes());
        // DESTROY has a reply in some guests.
        if room < OUT_HEADER && !opcodes::has_no_reply(opcode) && opcode != DESTROY {
            log::warn!("the request {} has no room for a reply", opcodes::name(opcode));
            return Some(0);
        }
        match faults::strike(&self.faults, opcode).inspect(|action| self.injected(*action, opcode)) {
            None => {}
            Some(Action::Delay(time)) => std::thread::sleep(time),
            Some(Action::Error(errno)) if room >= OUT_HEADER => {
                self.statistics.error(opcode);
                return Some(reply(request, &header, Err(errno)));
            }
            Some(Action::Error(_)) => return Some(0),
            Some(Action::Drop) => return None,
            Some(Action::Kill) => std::process::exit(KILLED),
        }
        let written = self.dispatch(request, &header);
        self.count(request, opcode, written);
        Some(written)
    }

    fn injected(&self, action: Action, opcode: u32) {
        self.statistics.injected.fetch_add(1, Relaxed);
        log::info!("injects {action:?} into {}", opcodes::name(opcode));
    }

    fn dispatch(&self, request: &Request, header: &InHeader) -> usize {
        match (header.opcode, self.window(), &self.limits) {
            (SETUPMAPPING, Some(window), Some(limits)) => {
                let result = self.set_up_mapping(&window, limits, request, header);
                self.mapped(request, header, result)
            }
            (REMOVEMAPPING, Some(window), Some(limits)) => {
                let result = ranges(request).and_then(|ranges| mapping::remove(&window, limits, &ranges));
                self.mapped(request, header, result)
            }
            (INIT, window, limits) => {
                self.descriptors.clear();
                if let Some(window) = &window {
                    self.begin(window);
                }
                let written = self.by_virtiofsd(request, header);
                if error_of(request) == Some(0) {
                    self.statistics.sessions.fetch_add(1, Relaxed);
                    if let (Some(_), Some(limits)) = (window, limits) {
                        announce(request, limits);
                    }
                }
                written
            }
            (DESTROY, Some(window), _) => {
                let _ = window.unmap_all();
                self.by_virtiofsd(request, header)
            }
            _ => self.by_virtiofsd(request, header),
        }
    }

    /// Sees to it that a session begins with an empty window, and with the version table.
    fn begin(&self, window: &Window) {
        if self.was_stopped.swap(false, Relaxed) {
            window.forget();
        } else if let Err(error) = window.unmap_all() {
            log::warn!("what the last session has mapped may still be there: {error}");
        }
        if let Err(error) = window.show_table() {
            log::warn!("the guest has no version table: {error}");
        }
    }

    fn set_up_mapping(
        &self,
        window: &Window,
        limits: &Limits,
        request: &Request,
        header: &InHeader,
    ) -> Result<(), Errno> {
        let arguments = argument::<SetupmappingIn>(request, |reader| reader.read_obj().ok())?;
        let who = (Context::from(*header), header.nodeid);
        let table = self.table.as_ref();
        mapping::set_up(window, limits, &*self.files, &self.descriptors, table, who, &arguments)
    }

    /// Answers a request that concerns a mapping.
    fn mapped(&self, request: &Request, header: &InHeader, result: Result<(), Errno>) -> usize {
        if let Err(error) = result {
            log::debug!("{} is refused: {error}", opcodes::name(header.opcode));
            self.statistics.maps_refused.fetch_add(1, Relaxed);
        }
        reply(request, header, result)
    }

    fn by_virtiofsd(&self, request: &Request, header: &InHeader) -> usize {
        // Not while a file is longer than it is.
        let _sizes = self.sizes.as_ref().map(|sizes| sizes.read().unwrap_or_else(PoisonError::into_inner));
        let (Some(reader), Some(writer)) = (request.reader(), request.writer()) else {
            log::warn!("the request {} lies outside guest memory", opcodes::name(header.opcode));
            return 0;
        };
        match self.files.serve(reader, writer) {
            Some(written) => written,
            None if opcodes::has_no_reply(header.opcode) => 0,
            None => reply(request, header, Err(Errno::INVAL)),
        }
    }

    /// Counts what came of a request that was served.
    fn count(&self, request: &Request, opcode: u32, written: usize) {
        if written < OUT_HEADER {
            return;
        }
        if error_of(request) != Some(0) {
            self.statistics.error(opcode);
        } else if opcode == READ {
            self.statistics.bytes_read.fetch_add((written - OUT_HEADER) as u64, Relaxed);
        } else if opcode == WRITE {
            // `size` of `fuse_write_out`.
            let size = request.reply(OUT_HEADER).map_or(0, u32::from_le_bytes);
            self.statistics.bytes_written.fetch_add(size.into(), Relaxed);
        }
    }
}

/// Adds to a reply to INIT what mappings are aligned to, if the guest has said that it wants to know.
fn announce(request: &Request, limits: &Limits) {
    let asked = argument::<InitInCompat>(request, |reader| reader.read_obj().ok());
    if asked.is_ok_and(|asked| asked.flags & MAP_ALIGNMENT != 0) {
        let flags = request.reply(INIT_FLAGS).map(|flags| (u32::from_le_bytes(flags) | MAP_ALIGNMENT).to_le_bytes());
        let patched = flags.and_then(|flags| {
            request.patch_reply(INIT_FLAGS, &flags)?;
            request.patch_reply(INIT_MAP_ALIGNMENT, &limits.alignment.log2().to_le_bytes())
        });
        if patched.is_none() {
            log::warn!("the reply to INIT has no room for `map_alignment`");
        }
    }
}

/// What follows the header of a request.
fn argument<T>(
    request: &Request,
    read: impl FnOnce(&mut virtiofsd::descriptor_utils::Reader<'_>) -> Option<T>,
) -> Result<T, Errno> {
    let mut reader = request.reader().ok_or(Errno::INVAL)?;
    reader.read_obj::<InHeader>().map_err(|_| Errno::INVAL)?;
    read(&mut reader).ok_or(Errno::INVAL)
}

/// The ranges of a REMOVEMAPPING.
fn ranges(request: &Request) -> Result<Vec<RemovemappingOne>, Errno> {
    argument(request, |reader| {
        let RemovemappingIn { count } = reader.read_obj().ok()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_RANGES)?;
        let ranges: Option<Vec<_>> = (0..count).map(|_| reader.read_obj().ok()).collect();
        // What follows the last one was not understood.
        let is_all = reader.read(&mut [0]).ok()? == 0;
        ranges.filter(|_| is_all)
    })
}

/// Writes a reply without content; returns its length.
fn reply(request: &Request, header: &InHeader, result: Result<(), Errno>) -> usize {
    let error = -result.err().map_or(0, Errno::raw_os_error);
    let mut bytes = [0; OUT_HEADER];
    bytes[..4].copy_from_slice(&(OUT_HEADER as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&error.to_le_bytes());
    bytes[8..].copy_from_slice(&header.unique.to_le_bytes());
    let written = request.writer().and_then(|mut writer| writer.write_all(&bytes).ok());
    if written.is_some() { OUT_HEADER } else { 0 }
}

/// `error` of the reply's header.
fn error_of(request: &Request) -> Option<i32> {
    request.reply(4).map(i32::from_le_bytes)
}
