//! Whole file systems, watched by fanotify: directories, names and inodes are told.

use super::Sink;
use super::handles::Layout;
use super::keys::Keys;
use super::known::Known;
use super::records::{self, Event, Handle, Place};
use nix::sys::fanotify::{EventFFlags, Fanotify as Group, InitFlags, MarkFlags, MaskFlags};
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Changes of content, of attributes, and of names, also where directories are concerned. Not FAN_DELETE_SELF: the name
/// that was removed before is told.
const CHANGES: MaskFlags = MaskFlags::FAN_MODIFY
    .union(MaskFlags::FAN_ATTRIB)
    .union(MaskFlags::FAN_CREATE)
    .union(MaskFlags::FAN_DELETE)
    .union(MaskFlags::FAN_RENAME)
    .union(MaskFlags::FAN_ONDIR);

/// Some hundred events.
const BUFFER_BYTES: usize = 64 << 10;

/// A group with a mark on the file system of the served directory.
pub(crate) struct Fanotify {
    group: Group,
    layout: Layout,
    /// `None` if everything is counted.
    known: Option<Known>,
}

impl Fanotify {
    /// Watches the file system that `shared_dir` is on. What others know is counted as well if the table `is_shared`.
    ///
    /// # Errors
    ///
    /// This user, kernel or file system cannot do it, or how the file system makes handles is not known.
    pub(crate) fn begin(shared_dir: &Path, is_shared: bool) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("no fanotify: {what}: {error}");
        let directory = open(shared_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(|error| failed(&shared_dir.to_string_lossy(), &error))?;
        let magic = fstatfs(&directory).map_err(|error| failed("statfs", &error))?.f_type.cast_unsigned();
        let unknown =
            || format!("no fanotify: inode numbers in handles of this file system ({magic:#x}) are not known");
        let layout = Layout::of(magic).ok_or_else(unknown)?;
        let group = group().map_err(|error| failed("fanotify_init", &error))?;
        let marked =
            group.mark(MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM, CHANGES, &directory, Some(c"."));
        marked.map_err(|error| failed("fanotify_mark", &error))?;
        let is_known = tells(layout, directory.as_fd()).map_err(|error| failed("a trial", &error))?;
        if is_known { Ok(Self { group, layout, known: (!is_shared).then(Known::default) }) } else { Err(unknown()) }
    }

    /// What the guest knows, if nothing else is counted.
    pub(super) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }

    /// Counts all that has come, but for what this process did: that is counted already.
    pub(super) fn count(&self, sink: &dyn Sink) -> io::Result<()> {
        // Not before the sandbox is entered: it has another number in there.
        self.count_others(std::process::id().cast_signed(), sink)
    }

    /// Counts all that has come but for what process `own` did.
    pub(super) fn count_others(&self, own: i32, sink: &dyn Sink) -> io::Result<()> {
        each_read(&self.group, |mut bytes| {
            let mut keys = Keys::of(self.known.as_ref().map(Known::certain));
            let mut is_told = true;
            while !bytes.is_empty() {
                match records::take(&mut bytes) {
                    Some(event) if event.pid == own => {}
                    Some(event) => is_told &= concerned(self.layout, &event, &mut keys).is_some(),
                    None => {
                        is_told = false;
                        break;
                    }
                }
            }
            if !keys.is_empty() {
                sink.changed(&keys.take());
            }
            if !is_told {
                sink.unknown();
            }
        })
    }
}

fn group() -> nix::Result<Group> {
    let told = InitFlags::from_bits_retain(libc::FAN_REPORT_DFID_NAME_TARGET);
    let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | told;
    Group::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC)
}

/// Reads until there is nothing more.
fn each_read(group: &Group, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match rustix::io::read(group, &mut buffer[..]) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(length) => each(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether handles tell inode numbers in this way: tried with the directory itself, which is opened for that.
fn tells(layout: Layout, directory: BorrowedFd<'_>) -> io::Result<bool> {
    let trial = group()?;
    trial.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN | MaskFlags::FAN_ONDIR, directory, Some(c"."))?;
    rustix::fs::openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let expected = fstat(directory)?.st_ino;
    let mut inos = Vec::new();
    each_read(&trial, |mut bytes| {
        while let Some(event) = records::take(&mut bytes) {
            inos.push(event.place.and_then(|place| layout.ino(place.directory)));
        }
    })?;
    // Others may have opened it, too.
    Ok(!inos.is_empty() && inos.iter().all(|ino| *ino == Some(expected)))
}

/// Adds what an event concerns. `None` if that is not known, or not all.
fn concerned(layout: Layout, event: &Event<'_>, keys: &mut Keys<'_>) -> Option<()> {
    let has = |flags: MaskFlags| event.mask & flags.bits() != 0;
    if has(MaskFlags::FAN_Q_OVERFLOW) {
        log::warn!("changes on the host came too fast: nothing that guests keep is believed");
        return None;
    }
    let ino = |handle: Handle<'_>| layout.ino(handle);
    let is_directory = has(MaskFlags::FAN_ONDIR);
    if has(MaskFlags::FAN_CREATE | MaskFlags::FAN_DELETE) {
        let Place { directory, name } = event.place?;
        keys.name(ino(directory)?, name);
        keys.attributes(ino(event.object?)?);
    }
    if has(MaskFlags::FAN_DELETE) && is_directory {
        keys.content(ino(event.object?)?);
    }
    if has(MaskFlags::FAN_RENAME) {
        let (old, new, moved) = (event.old_place?, event.new_place?, ino(event.object?)?);
        keys.name(ino(old.directory)?, old.name);
        keys.name(ino(new.directory)?, new.name);
        keys.attributes(moved);
        if is_directory && old.directory != new.directory {
            keys.parent(moved);
        }
    }
    if has(MaskFlags::FAN_MODIFY | MaskFlags::FAN_ATTRIB) {
        let changed = match (event.object, event.place) {
            (Some(object), _) => object,
            // Of a directory there is nothing else.
            (None, Some(place)) if is_directory => place.directory,
            (None, _) => return None,
        };
        // What was replaced by a rename is told by FAN_ATTRIB only, and a directory then has lost its content.
        if has(MaskFlags::FAN_MODIFY) || is_directory {
            keys.content(ino(changed)?);
        } else {
            keys.attributes(ino(changed)?);
        }
    }
    Some(())
}
