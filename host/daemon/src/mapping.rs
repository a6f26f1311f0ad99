//! SETUPMAPPING and REMOVEMAPPING (`fuse.h`; VIRTIO 1.3 §5.11.6.4): what is asked for, and what is wrong with it.

use crate::files::Files;
use crate::regions::MapAlignment;
use crate::version_table::{Mark, VersionTable};
use crate::window::{Extent, Mapped, Window};
use rustix::fs::{OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use virtiofsd::filesystem::Context;
use virtiofsd::fuse::{RemovemappingOne, SetupmappingFlags, SetupmappingIn};

/// In place of a handle: the file is named by its nodeid alone.
const NO_HANDLE: u64 = u64::MAX;

/// The window's shape, and what is allowed there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) window_bytes: u64,
    pub(crate) alignment: MapAlignment,
    pub(crate) past_eof: bool,
    pub(crate) readonly: bool,
}

impl Limits {
    /// # Errors
    ///
    /// `EINVAL`: empty, not aligned, or not in the window.
    fn check_range(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let unit = self.alignment.bytes();
        let is_inside = offset.checked_add(length).is_some_and(|end| end <= self.window_bytes);
        let is_aligned = offset.is_multiple_of(unit) && length.is_multiple_of(unit);
        if length > 0 && is_inside && is_aligned { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// What the arguments of a SETUPMAPPING say by themselves: whether it is for writing.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a wrong range, of the window or the file, unknown flags, or no reading (VIRTIO 1.3 §5.11.6.4 has no
    /// mappings that are for writing only). `EACCES`: writing to what cannot be changed.
    fn check_arguments(&self, arguments: &SetupmappingIn) -> Result<bool, Errno> {
        self.check_range(arguments.moffset, arguments.len)?;
        let flags = SetupmappingFlags::from_bits(arguments.flags).ok_or(Errno::INVAL)?;
        // A file's offsets are signed.
        let end = arguments.foffset.checked_add(arguments.len).filter(|end| i64::try_from(*end).is_ok());
        let is_aligned = arguments.foffset.is_multiple_of(self.alignment.bytes());
        if end.is_none() || !is_aligned || !flags.contains(SetupmappingFlags::READ) {
            return Err(Errno::INVAL);
        }
        let writable = flags.contains(SetupmappingFlags::WRITE);
        if writable && self.readonly { Err(Errno::ACCESS) } else { Ok(writable) }
    }
}

/// The descriptors that live mappings have, one for each file and kind of access.
#[derive(Default)]
pub(crate) struct Descriptors(Mutex<HashMap<(u64, bool), Weak<File>>>);

impl Descriptors {
    /// A new session has other nodeids.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, files: &dyn Files, context: Context, nodeid: u64, access: OFlags) -> Result<Arc<File>, Errno> {
        let key = (nodeid, access == OFlags::RDWR);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = Arc::new(files.open(context, nodeid, access)?);
        known.retain(|_, file| file.strong_count() > 0);
        known.insert(key, Arc::downgrade(&file));
        Ok(file)
    }
}

/// Maps a part of a file, which is marked in `table` for as long as it is mapped for writing.
///
/// # Errors
///
/// `EINVAL`: see [`Limits::check_arguments`]. `EBADF`: no such inode, or not open by this handle. `ENODEV`: no regular
/// file. `EACCES`: writing by a handle that is not for writing, or to what cannot be changed. `ENXIO`: not wholly
/// before the last unit of the file that is complete. Those of [`Window::map`] and of `open`.
pub(crate) fn set_up(
    window: &Window,
    limits: &Limits,
    files: &dyn Files,
    descriptors: &Descriptors,
    table: Option<&Arc<VersionTable>>,
    (context, nodeid): (Context, u64),
    arguments: &SetupmappingIn,
) -> Result<(), Errno> {
    let writable = limits.check_arguments(arguments)?;
    files.check_regular(context, nodeid)?;
    if arguments.fh != NO_HANDLE {
        let opened = files.opened(context, nodeid, arguments.fh)?;
        let access = fcntl_getfl(&opened)? & OFlags::RWMODE;
        if access == OFlags::WRONLY || (writable && access != OFlags::RDWR) {
            return Err(Errno::ACCESS);
        }
    }
    // QEMU 11.1 maps for writing whatever it is told, and so cannot map what is open for reading only. A guest that may
    // change the file by other means gains nothing by that; where nothing may be changed, such a descriptor never
    // leaves this process.
    let get = |access| descriptors.get(files, context, nodeid, access);
    let file = match (writable, limits.readonly) {
        (true, _) => get(OFlags::RDWR)?,
        (false, false) => get(OFlags::RDWR).or_else(|_| get(OFlags::RDONLY))?,
        (false, true) => get(OFlags::RDONLY)?,
    };
    if !limits.past_eof {
        let size = u64::try_from(fstat(&*file)?.st_size).map_err(|_| Errno::IO)?;
        let complete = size - size % limits.alignment.bytes();
        // Checked before that there is no overflow.
        if arguments.foffset + arguments.len > complete {
            return Err(Errno::NXIO);
        }
    }
    let mark = match table.filter(|_| writable) {
        Some(table) => Some(Arc::new(Mark::new(table, fstat(&*file)?.st_ino))),
        None => None,
    };
    let file = Mapped { file, mark };
    let extent = Extent { length: arguments.len, file, file_offset: arguments.foffset, writable };
    window.map(arguments.moffset, extent)
}

/// Unmaps ranges. What is not mapped is no error.
///
/// # Errors
///
/// `EINVAL`: no ranges, or a wrong one; then nothing was unmapped. Those of [`Window::unmap`].
pub(crate) fn remove(window: &Window, limits: &Limits, ranges: &[RemovemappingOne]) -> Result<(), Errno> {
    if ranges.is_empty() {
        return Err(Errno::INVAL);
    }
    let ranges: Vec<_> = ranges.iter().map(|range| (range.moffset, range.len)).collect();
    ranges.iter().try_for_each(|(offset, length)| limits.check_range(*offset, *length))?;
    window.unmap(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { window_bytes: 16 << 12, alignment: MapAlignment::PAGE, past_eof: false, readonly: false };
    const RIGHT: SetupmappingIn = SetupmappingIn { fh: NO_HANDLE, foffset: 4096, len: 8192, flags: 3, moffset: 4096 };

    #[test]
    fn arguments_are_aligned_within_limits_and_for_reading() {
        assert_eq!(LIMITS.check_arguments(&RIGHT), Ok(true));
        assert_eq!(LIMITS.check_arguments(&SetupmappingIn { flags: 2, ..RIGHT }), Ok(false));
        let whole = SetupmappingIn { moffset: 0, len: 16 << 12, ..RIGHT };
        assert_eq!(LIMITS.check_arguments(&whole), Ok(true));
        for wrong in [
            SetupmappingIn { len: 0, ..RIGHT },
            SetupmappingIn { len: 4097, ..RIGHT },
            SetupmappingIn { len: 16 << 12, ..RIGHT },
            SetupmappingIn { len: u64::MAX - 4095, ..RIGHT },
            SetupmappingIn { moffset: 1, ..RIGHT },
            SetupmappingIn { moffset: 15 << 12, ..RIGHT },
            SetupmappingIn { moffset: u64::MAX - 4095, ..RIGHT },
            SetupmappingIn { foffset: 512, ..RIGHT },
            SetupmappingIn { foffset: u64::MAX - 4095, ..RIGHT },
            SetupmappingIn { foffset: 1 << 63, ..RIGHT },
            SetupmappingIn { foffset: (1 << 63) - 8192, ..RIGHT },
            SetupmappingIn { flags: 0, ..RIGHT },
            SetupmappingIn { flags: 1, ..RIGHT },
            SetupmappingIn { flags: 7, ..RIGHT },
        ] {
            assert_eq!(LIMITS.check_arguments(&wrong), Err(Errno::INVAL), "{wrong:?}");
        }
        let large = Limits { alignment: MapAlignment::new(8192).unwrap(), ..LIMITS };
        assert_eq!(large.check_arguments(&RIGHT), Err(Errno::INVAL));
    }

    #[test]
    fn what_is_read_only_is_not_mapped_for_writing() {
        let readonly = Limits { readonly: true, ..LIMITS };
        assert_eq!(readonly.check_arguments(&RIGHT), Err(Errno::ACCESS));
        assert_eq!(readonly.check_arguments(&SetupmappingIn { flags: 2, ..RIGHT }), Ok(false));
    }
}
