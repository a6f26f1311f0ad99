//! Mappings of files that programs hold.

use super::handle::Handle;
use super::window::Mappable;
use super::{Durability, Node, OpenFile};
use crate::data::{FileData, Place, Reclaim, Window};
use crate::wire::{Access, Setupmapping};
use crate::{Errno, Error};
use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often it is found out where a file ends, while others make it longer.
const END_ATTEMPTS: usize = 16;

/// How often dirty pages are written back that are in the way of a mapping, while others write into them.
const PIN_ATTEMPTS: usize = 1000;

/// A range of a file that is mapped into the DAX window for as long as this lives, as `mmap` with `MAP_SHARED` has it: the
/// host, other guests and other mappings of the file see at once what is stored here, and the other way round.
///
/// Offsets are those in the mapping, in bytes.
///
/// # Locking
///
/// Accesses wait for nobody, unless it is not known where the file ends. What the driver knows to be cut off is an error;
/// when the host cuts a mapped file off and the guest looks there before it is known, the host may end the guest.
pub struct Mapping {
    node: Node,
    handle: Arc<Handle>,
    window: Arc<Window>,
    data: Arc<FileData>,
    /// Whole units: the range may begin and end within.
    mapped: Range<u64>,
    place: Place,
    range: Range<u64>,
    is_writable: bool,
}

impl OpenFile {
    /// Maps a range of this file for reading, or for reading and writing. It has to be in whole alignment units
    /// ([`Negotiated::map_alignment_bytes`](crate::Negotiated)) before the end of the file.
    ///
    /// # Errors
    ///
    /// `EBADF` if the file is not open for reading, or not for writing as wanted; `ENODEV` if the device has no DAX window or
    /// this file does not use it; `EINVAL` for no bytes; `ENXIO` if the range goes beyond the last whole unit of the file;
    /// [`Error::NoMemory`] if the window has no room for it; the server's.
    pub fn map(&self, range: Range<u64>, access: Access) -> Result<Mapping, Error> {
        self.expect(access | Access::READ)?;
        let is_writable = access.contains(Access::WRITE);
        let mappable = self.mappable().ok_or(Error::Invalid(Errno::ENODEV))?;
        let Mappable { window, data } = mappable;
        let unit = window.unit_bytes();
        let end = range.end.checked_next_multiple_of(unit).ok_or(Error::Invalid(Errno::ENXIO))?;
        let mapped = range.start - range.start % unit..end;
        if range.is_empty() {
            return Err(Error::Invalid(Errno::EINVAL));
        }
        let told = self.node.find_end(data, self.open_fh())?;
        if !data.reaches(mapped.end, told) {
            return Err(Error::Invalid(Errno::ENXIO));
        }
        if is_writable {
            self.note_change()?;
        }
        let handle = self.handle()?;
        let length = mapped.end - mapped.start;
        let place = window.take(length, Reclaim::Unused).ok_or(Error::NoMemory)?;
        let setup = Setupmapping { offset: mapped.start, length, window_offset: place.start, writable: is_writable };
        self.node.write_back();
        data.about_to_map(window);
        self.node.call(&setup).inspect_err(|_| window.release(place))?;
        // Others may write into pages meanwhile; or there is no memory to write them back with.
        let mut attempts = 0;
        while !data.pin(window, &mapped) {
            attempts += 1;
            if attempts == PIN_ATTEMPTS {
                window.release(place);
                return Err(Error::NoMemory);
            }
            self.node.write_back();
        }
        window.pin(place);
        let (node, window, data) = (self.node.clone(), window.clone(), data.clone());
        Ok(Mapping { node, handle, window, data, mapped, place, range, is_writable })
    }
}

impl Mapping {
    /// The range of the file that is mapped, in bytes.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Where the range begins in the kernel's memory: to put it into a page table. It is valid until this is dropped or the
    /// device reset; the program must look at it as at memory that others change, and not behind the end of the file.
    pub fn as_ptr(&self) -> NonNull<u8> {
        let start = self.place.start + (self.range.start - self.mapped.start);
        // The place is in the window, unless there is none any more: then the pointer is of no use.
        self.window.memory().pointer(start).unwrap_or(NonNull::dangling())
    }

    /// Copies from byte `offset` on into `buffer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that is not all in the mapping; `ENXIO` if it is known to be cut off; [`Error::Device`] if the device is
    /// gone.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.access(offset, buffer.len(), |at| self.window.memory().read(at, buffer))
    }

    /// Copies `data` to byte `offset` and the next.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_at`]; `EBADF` if this is not for writing.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.expect_writable()?;
        self.access(offset, data.len(), |at| self.window.memory().write(at, data))?;
        self.node.inode().note_change();
        Ok(())
    }

    /// What `operation` gives for the number at byte `offset`.
    fn number_32<T>(&self, offset: u64, operation: impl FnOnce(&AtomicU32) -> T) -> Result<T, Error> {
        self.expect_multiple(offset, size_of::<u32>())?;
        self.access(offset, size_of::<u32>(), |at| self.window.memory().with_u32(at, operation))
    }

    fn number_64<T>(&self, offset: u64, operation: impl FnOnce(&AtomicU64) -> T) -> Result<T, Error> {
        self.expect_multiple(offset, size_of::<u64>())?;
        self.access(offset, size_of::<u64>(), |at| self.window.memory().with_u64(at, operation))
    }

    /// The number at byte `offset`, in the processor's byte order. Atomic, as are the next ones: in one order for all who
    /// look.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_at`]; `EINVAL` if it is not at a multiple of 4 bytes in the file.
    pub fn load_u32(&self, offset: u64) -> Result<u32, Error> {
        self.number_32(offset, |number| number.load(Ordering::SeqCst))
    }

    /// As [`Self::load_u32`], of 8 bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::load_u32`].
    pub fn load_u64(&self, offset: u64) -> Result<u64, Error> {
        self.number_64(offset, |number| number.load(Ordering::SeqCst))
    }

    /// Stores a number of 4 bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::load_u32`] and [`Self::write_at`].
    pub fn store_u32(&self, offset: u64, value: u32) -> Result<(), Error> {
        self.expect_writable()?;
        self.number_32(offset, |number| number.store(value, Ordering::SeqCst))
    }

    /// Stores a number of 8 bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::store_u32`].
    pub fn store_u64(&self, offset: u64, value: u64) -> Result<(), Error> {
        self.expect_writable()?;
        self.number_64(offset, |number| number.store(value, Ordering::SeqCst))
    }

    /// Adds to a number of 4 bytes, and gives what it was.
    ///
    /// # Errors
    ///
    /// Those of [`Self::store_u32`].
    pub fn fetch_add_u32(&self, offset: u64, more: u32) -> Result<u32, Error> {
        self.expect_writable()?;
        self.number_32(offset, |number| number.fetch_add(more, Ordering::SeqCst))
    }

    /// Adds to a number of 8 bytes, and gives what it was.
    ///
    /// # Errors
    ///
    /// Those of [`Self::store_u32`].
    pub fn fetch_add_u64(&self, offset: u64, more: u64) -> Result<u64, Error> {
        self.expect_writable()?;
        self.number_64(offset, |number| number.fetch_add(more, Ordering::SeqCst))
    }

    /// Stores `new` if the number of 4 bytes is `current`; gives what it was, as `Ok` if that was `current`.
    ///
    /// # Errors
    ///
    /// Those of [`Self::store_u32`].
    pub fn compare_exchange_u32(&self, offset: u64, current: u32, new: u32) -> Result<Result<u32, u32>, Error> {
        self.expect_writable()?;
        self.number_32(offset, |number| number.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst))
    }

    /// As [`Self::compare_exchange_u32`], of 8 bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::store_u32`].
    pub fn compare_exchange_u64(&self, offset: u64, current: u64, new: u64) -> Result<Result<u64, u64>, Error> {
        self.expect_writable()?;
        self.number_64(offset, |number| number.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst))
    }

    /// Waits until what was stored is durable (`msync`).
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn flush(&self) -> Result<(), Error> {
        self.handle.sync(Durability::Data)
    }

    fn expect_writable(&self) -> Result<(), Error> {
        if self.is_writable { Ok(()) } else { Err(Error::Invalid(Errno::EBADF)) }
    }

    fn expect_multiple(&self, offset: u64, bytes: usize) -> Result<(), Error> {
        // Places in the window are multiples of more.
        let is_multiple = self.range.start.wrapping_add(offset).is_multiple_of(bytes as u64);
        if is_multiple { Ok(()) } else { Err(Error::Invalid(Errno::EINVAL)) }
    }

    /// Calls `copy` with the place in the window of `bytes` bytes of the mapping.
    fn access<T>(&self, offset: u64, bytes: usize, copy: impl FnOnce(u64) -> Result<T, Error>) -> Result<T, Error> {
        let start = self.range.start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(bytes as u64)).filter(|&end| end <= self.range.end);
        let (Some(start), Some(end)) = (start, end) else { return Err(Error::Invalid(Errno::EINVAL)) };
        self.node.heed_changes();
        let copy = || copy(self.place.start + (start - self.mapped.start));
        let mut copy = match self.data.while_it_reaches(end, None, copy)? {
            Ok(copied) => return Ok(copied),
            Err(copy) => copy,
        };
        for _ in 0..END_ATTEMPTS {
            self.node.write_back();
            let told = self.node.find_end(&self.data, self.handle.fh)?;
            copy = match self.data.while_it_reaches(end, Some(told), copy)? {
                Ok(copied) => return Ok(copied),
                // Others have written meanwhile.
                Err(copy) => copy,
            };
        }
        // What makes the file that long cannot be written.
        Err(Error::Invalid(Errno::ENXIO))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.is_writable {
            // Nobody knows when it was stored to.
            self.node.inode().note_change();
        }
        self.data.unpin(&self.mapped);
        self.window.release(self.place);
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("node", &self.node).field("range", &self.range).finish()
    }
}
