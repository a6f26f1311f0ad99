//! Registers of a device in memory.

#[cfg(test)]
use super::super::fake::pci as fake;
use core::ptr::NonNull;

/// A range of device registers. Accesses are volatile and have the width of the register.
pub(super) struct Registers {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the registers stay mapped for the life of the program, and each access is a single volatile one. Sequences
// that must not mix are serialized by their user.
unsafe impl Send for Registers {}
// SAFETY: as above.
unsafe impl Sync for Registers {}

impl Registers {
    /// # Safety
    ///
    /// `base` must point to `len` bytes of device registers that stay mapped for the life of the program.
    pub(super) unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Whether there is a register of type `T` at `offset`. Users ask once, when the device's word decides; after that
    /// an access elsewhere is a bug of the driver, and panics.
    pub(super) fn has<T: Register>(&self, offset: usize) -> bool {
        let address = self.base.addr().get().checked_add(offset);
        let inside = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        inside && address.is_some_and(|address| address.is_multiple_of(align_of::<T>()))
    }

    fn register<T: Register>(&self, offset: usize) -> NonNull<T> {
        assert!(self.has::<T>(offset));
        // SAFETY: the offset lies within the range that `new` was promised.
        unsafe { self.base.add(offset) }.cast()
    }

    pub(super) fn read<T: Register>(&self, offset: usize) -> T {
        let register = self.register::<T>(offset);
        #[cfg(test)]
        fake::will_read(register.cast(), size_of::<T>());
        // SAFETY: valid and aligned by `register`; a `Register` is an integer.
        unsafe { register.read_volatile() }
    }

    pub(super) fn write<T: Register>(&self, offset: usize, value: T) {
        let register = self.register::<T>(offset);
        // SAFETY: as for `read`.
        unsafe { register.write_volatile(value) };
        #[cfg(test)]
        fake::did_write(register.cast(), size_of::<T>());
    }
}

/// The integers that registers hold.
pub(super) trait Register: Copy {}
impl Register for u8 {}
impl Register for u16 {}
impl Register for u32 {}
