//! PCI configuration space: by memory (ECAM), or by the ports 0xCF8 and 0xCFC.

use crate::acpi_tables::Ecam;
use crate::boot_info::BootInfo;
use crate::{bars, paging};
use core::ptr::with_exposed_provenance_mut;
use spin::Mutex;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_fs::virtio::pci::enumerate;
use x86_64::instructions::port::Port;

/// Where QEMU's `microvm,pcie=on` has its configuration space. It writes no MCFG table.
const MICROVM_ECAM: Ecam = Ecam { base: 0xe000_0000, first_bus: 0, last_bus: 255 };

/// What is read where no function is.
const NOTHING: u32 = u32::MAX;

const COMMAND_REGISTER: u8 = 4;

/// How configuration space is reached. The lock makes each access one, and each read-modify-write of this crate.
static MECHANISM: Mutex<Mechanism> = Mutex::new(Mechanism::None);

#[derive(Clone, Copy, Debug)]
enum Mechanism {
    None,
    Ports,
    Ecam(Ecam),
}

impl Mechanism {
    fn read(self, function: DeviceFunction, register: u8) -> u32 {
        match self {
            Self::Ports if function.valid() => {
                let (mut address, mut data) = ports();
                // SAFETY: these ports are PCI's configuration mechanism #1; reading configuration space has no effect
                // on this program's memory. The caller holds the lock, so address and data belong together.
                unsafe {
                    address.write(port_address(function, register));
                    data.read()
                }
            }
            Self::Ecam(ecam) => match ecam.register(function, register) {
                // SAFETY: `register` gives an aligned address in the configuration space, which is mapped uncached.
                Some(pointer) => unsafe { pointer.read_volatile() },
                None => NOTHING,
            },
            _ => NOTHING,
        }
    }

    fn write(self, function: DeviceFunction, register: u8, value: u32) {
        match self {
            Self::Ports if function.valid() => {
                let (mut address, mut data) = ports();
                // SAFETY: as in `read`. What a device does when it is configured is its driver's responsibility.
                unsafe {
                    address.write(port_address(function, register));
                    data.write(value);
                }
            }
            Self::Ecam(ecam) => {
                if let Some(pointer) = ecam.register(function, register) {
                    // SAFETY: as in `read`, and as above.
                    unsafe { pointer.write_volatile(value) };
                }
            }
            _ => {}
        }
    }

    /// Whether there is a host bridge. Memory that no device answers for reads as 0 or as all ones.
    fn has_host_bridge(self) -> bool {
        let id = self.read(DeviceFunction { bus: 0, device: 0, function: 0 }, 0);
        id != 0 && id != NOTHING
    }
}

impl Ecam {
    fn register(self, function: DeviceFunction, register: u8) -> Option<*mut u32> {
        if !function.valid() || !(self.first_bus..=self.last_bus).contains(&function.bus) {
            return None;
        }
        let offset = u64::from(function.bus) << 20
            | u64::from(function.device) << 15
            | u64::from(function.function) << 12
            | u64::from(register & !3);
        Some(with_exposed_provenance_mut((self.base + offset) as usize))
    }
}

fn ports() -> (Port<u32>, Port<u32>) {
    (Port::new(0xcf8), Port::new(0xcfc))
}

fn port_address(function: DeviceFunction, register: u8) -> u32 {
    1 << 31
        | u32::from(function.bus) << 16
        | u32::from(function.device) << 11
        | u32::from(function.function) << 8
        | u32::from(register & !3)
}

/// PCI configuration space, for the driver and for `virtio_drivers::transport::pci::bus::PciRoot`.
///
/// Without PCI, no function is found.
///
/// # Locking
///
/// Each access takes a spin lock: not to be used by interrupt handlers.
#[derive(Debug)]
pub struct PciConfiguration(());

impl PciConfiguration {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl ConfigurationAccess for PciConfiguration {
    fn read_word(&self, device_function: DeviceFunction, register_offset: u8) -> u32 {
        MECHANISM.lock().read(device_function, register_offset)
    }

    fn write_word(&mut self, device_function: DeviceFunction, register_offset: u8, data: u32) {
        MECHANISM.lock().write(device_function, register_offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self::new()
    }
}

/// Finds configuration space, assigns BARs where no firmware did so, and checks those of the driver's devices.
pub(crate) fn init(boot_info: &BootInfo, ecam: Option<Ecam>) {
    let microvm = Mechanism::Ecam(MICROVM_ECAM);
    let is_ram = |address| boot_info.usable().any(|region| region.pages_within(0..u64::MAX).contains(&address));
    // Only microvm comes without firmware that assigns BARs.
    let mut assigned = true;
    let mechanism = if let Some(ecam) = ecam {
        Mechanism::Ecam(ecam)
    } else if ports_answer() && Mechanism::Ports.has_host_bridge() {
        Mechanism::Ports
    } else if !is_ram(MICROVM_ECAM.base) && microvm.has_host_bridge() {
        assigned = false;
        microvm
    } else {
        Mechanism::None
    };
    log::info!("PCI configuration space: {mechanism:x?}");
    *MECHANISM.lock() = mechanism;
    let mut configuration = PciConfiguration::new();
    let devices = enumerate(&mut configuration);
    let mut root = PciRoot::new(configuration);
    if !assigned {
        bars::assign(&mut root);
    }
    bars::check(&mut root, &devices, boot_info.regions(), paging::limit());
}

/// Whether the address port of configuration mechanism #1 keeps what is written to it.
fn ports_answer() -> bool {
    const ENABLE: u32 = 1 << 31;
    let (mut address, _) = ports();
    // SAFETY: 0xCF8 is the address port or nothing; the enable bit alone starts no access.
    unsafe {
        address.write(ENABLE);
        address.read() == ENABLE
    }
}

/// Takes the right to access memory from a function, and says whether it is gone.
pub(crate) fn disable_bus_master(function: DeviceFunction) -> bool {
    let mechanism = MECHANISM.lock();
    let command = mechanism.read(function, COMMAND_REGISTER);
    if command == NOTHING {
        // The function is gone, and its accesses with it.
        return true;
    }
    // The upper half is the status register, in which ones clear bits: write zeroes.
    let command = Command::from_bits_retain(command as u16) - Command::BUS_MASTER;
    mechanism.write(function, COMMAND_REGISTER, command.bits().into());
    let command = Command::from_bits_retain(mechanism.read(function, COMMAND_REGISTER) as u16);
    !command.contains(Command::BUS_MASTER)
}
