//! Configuration space, shared between `virtio-drivers` and what it does not know.

use core::cell::RefCell;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// A kernel's configuration access, lent to any number of `PciRoot`s that live on this stack.
pub(super) struct Access<'a, C>(RefCell<&'a mut C>);

/// A loan of an [`Access`], for a `PciRoot`.
pub(super) struct AccessRef<'r, 'a, C>(&'r Access<'a, C>);

impl<'a, C: ConfigurationAccess> Access<'a, C> {
    pub(super) fn new(access: &'a mut C) -> Self {
        Self(RefCell::new(access))
    }

    pub(super) fn by_ref(&self) -> AccessRef<'_, 'a, C> {
        AccessRef(self)
    }

    /// Reads the word at `offset`, a multiple of 4.
    pub(super) fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.0.borrow().read_word(function, offset)
    }
}

impl<C: ConfigurationAccess> ConfigurationAccess for AccessRef<'_, '_, C> {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.0.read_word(function, offset)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        self.0.0.borrow_mut().write_word(function, offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self(self.0)
    }
}
