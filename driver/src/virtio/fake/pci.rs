//! A PCI bus: configuration space with BARs, bridges and capabilities, and devices whose registers are memory. Every
//! access to a register is seen, so that a register can depend on another one, and so that tests can tell what was
//! done.

use core::cell::{RefCell, UnsafeCell};
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::vec::Vec;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Type bits of a BAR.
pub(crate) const MEMORY_32: u32 = 0;
pub(crate) const MEMORY_64_PREFETCHABLE: u32 = 0b1100;
pub(crate) const IO: u32 = 1;

/// The BAR with the registers, as QEMU has it, and what is where in it.
pub(crate) const REGISTERS_BAR: u8 = 4;
pub(crate) const COMMON: u32 = 0;
pub(crate) const ISR: u32 = 0x1000;
pub(crate) const DEVICE: u32 = 0x2000;
pub(crate) const NOTIFY: u32 = 0x3000;
pub(crate) const NOTIFY_MULTIPLIER: u32 = 4;
const REGISTERS_BYTES: u64 = 0x4000;

/// The BAR with the MSI-X table.
pub(crate) const MSIX_BAR: u8 = 1;
/// The BAR with the shared memory, 4 GiB.
pub(crate) const WINDOW_BAR: u8 = 2;
pub(crate) const WINDOW_BYTES: u64 = 1 << 32;

const COMMAND_OFFSET: u8 = 4;
const BARS_OFFSET: u8 = 0x10;
const FIRST_CAPABILITY: u8 = 0x40;

/// A page of a device's registers.
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "reached by pointer")] UnsafeCell<[u8; PAGE_SIZE]>);

/// An access to a register in the BAR with the registers: where, how many bytes, which value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read(u32, usize),
    Write(u32, usize, u64),
}

/// One function of a device on the bus.
pub(crate) struct Function {
    pub(crate) config: [u8; 256],
    /// By BAR: the bits that can be written.
    bar_masks: [u32; 6],
    /// By BAR: what is behind it, from its start on. Of a window of gigabytes that is only a part.
    memory: [Vec<Page>; 6],
    /// The features the device offers.
    pub(crate) features: u64,
    /// By queue: its size and its `queue_notify_off`.
    pub(crate) queues: Vec<(u16, u16)>,
    /// Its status stays what it was, whatever is written.
    pub(crate) ignores_reset: bool,
    /// It was unplugged: every register reads all ones.
    pub(crate) is_gone: bool,
}

impl Function {
    pub(crate) fn new(vendor: u16, device: u16) -> Self {
        let mut function = Self {
            config: [0; 256],
            bar_masks: [0; 6],
            memory: Default::default(),
            features: 0,
            queues: Vec::new(),
            ignores_reset: false,
            is_gone: false,
        };
        function.set_word(0, u32::from(device) << 16 | u32::from(vendor));
        function
    }

    /// A virtio-fs device as QEMU builds it; no two with the same `number` share an address.
    fn virtio_fs(number: u64, tag: &[u8]) -> Self {
        let mut function = Self::new(0x1af4, 0x105a);
        function.set_bar(MSIX_BAR, MEMORY_32, 0xfe00_0000 + number * 0x1000, 0x1000);
        function.set_bar(WINDOW_BAR, MEMORY_64_PREFETCHABLE, (0x40 + number) * WINDOW_BYTES, WINDOW_BYTES);
        let registers = 0x8_0000_0000 + number * REGISTERS_BYTES;
        function.set_bar(REGISTERS_BAR, MEMORY_64_PREFETCHABLE, registers, REGISTERS_BYTES);
        function.set_capabilities(&capabilities());
        function.set_tag(tag);
        function.poke(DEVICE + 36, &1_u32.to_le_bytes());
        function.features = 1 << 28 | 1 << 29 | 1 << 32;
        function.queues = std::vec![(128, 0), (128, 1)];
        function
    }

    pub(crate) fn set_tag(&self, tag: &[u8]) {
        self.poke(DEVICE, &[0; 36]);
        self.poke(DEVICE, tag);
    }

    pub(crate) fn word(&self, offset: u8) -> u32 {
        let at = usize::from(offset);
        u32::from_le_bytes(self.config[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn set_word(&mut self, offset: u8, value: u32) {
        let at = usize::from(offset);
        self.config[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Gives the function a BAR of `size` bytes, a power of two.
    pub(crate) fn set_bar(&mut self, bar: u8, kind: u32, address: u64, size: u64) {
        let mask = !(size - 1) & if kind == IO { !3 } else { !15 };
        let offset = BARS_OFFSET + 4 * bar;
        self.set_word(offset, address as u32 | kind);
        self.bar_masks[usize::from(bar)] = mask as u32;
        if kind == MEMORY_64_PREFETCHABLE {
            self.set_word(offset + 4, (address >> 32) as u32);
            self.bar_masks[usize::from(bar) + 1] = (mask >> 32) as u32;
        }
        if kind != IO {
            let pages = (size.min(REGISTERS_BYTES) as usize).div_ceil(PAGE_SIZE);
            self.memory[usize::from(bar)].clear();
            self.memory[usize::from(bar)].resize_with(pages, || Page(UnsafeCell::new([0; PAGE_SIZE])));
        }
    }

    /// Links `capabilities` to a list, in their order, each where the one before ends.
    pub(crate) fn set_capabilities(&mut self, capabilities: &[Vec<u8>]) {
        let mut at = FIRST_CAPABILITY;
        self.config[usize::from(at)..].fill(0);
        // The link to the first, and the status bit that tells of it.
        self.config[0x34] = at;
        self.config[6] |= 1 << 4;
        for (place, capability) in capabilities.iter().enumerate() {
            let end = usize::from(at) + capability.len();
            self.config[usize::from(at)..end].copy_from_slice(capability);
            let next = if place + 1 == capabilities.len() { 0 } else { end.next_multiple_of(4) as u8 };
            self.config[usize::from(at) + 1] = next;
            at = next;
        }
    }

    /// Address and size of memory BAR number `bar`, as configuration space has them at the moment.
    fn memory_bar(&self, bar: u8) -> Option<(u64, u64)> {
        let (place, low) = (usize::from(bar), self.word(BARS_OFFSET + 4 * bar));
        if self.memory[place].is_empty() || low & 1 != 0 {
            return None;
        }
        let is_wide = low & 0b110 == 0b100;
        let (high, mask) =
            if is_wide { (self.word(BARS_OFFSET + 4 * bar + 4), self.bar_masks[place + 1]) } else { (0, !0) };
        let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low & !15);
        Some((wide(high, low), (!wide(mask, self.bar_masks[place])).wrapping_add(1)))
    }

    /// A pointer to `len` bytes at `offset` in BAR number `bar`.
    fn at(&self, bar: u8, offset: usize, len: usize) -> NonNull<u8> {
        let pages = &self.memory[usize::from(bar)];
        assert!(len > 0 && offset + len <= pages.len() * PAGE_SIZE, "there is nothing at {offset:#x} of BAR {bar}");
        // SAFETY: within the pages, as just checked.
        unsafe { NonNull::new(pages.as_ptr().cast_mut()).unwrap().cast::<u8>().add(offset) }
    }

    /// Puts `bytes` at `offset` in the BAR with the registers.
    pub(crate) fn poke(&self, offset: u32, bytes: &[u8]) {
        let register = self.at(REGISTERS_BAR, offset as usize, bytes.len().max(1));
        // SAFETY: `at` checked the range; the driver runs in the same thread, and holds no reference into registers.
        unsafe { register.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// `N` bytes at `offset` in the BAR with the registers.
    pub(crate) fn peek<const N: usize>(&self, offset: u32) -> [u8; N] {
        let register = self.at(REGISTERS_BAR, offset as usize, N);
        // SAFETY: as for `poke`; any bytes are an array of bytes.
        unsafe { register.cast().read() }
    }

    /// The register at `offset` is about to be read.
    fn will_read(&self, offset: u32, width: usize) {
        let queue =
            || self.queues.get(usize::from(u16::from_le_bytes(self.peek(COMMON + 22)))).copied().unwrap_or((0, 0));
        match offset {
            _ if self.is_gone => self.poke(offset, &[0xff; 8][..width]),
            // device_feature, by device_feature_select.
            4 => match u32::from_le_bytes(self.peek(COMMON)) {
                select @ 0..=1 => self.poke(4, &((self.features >> (32 * select)) as u32).to_le_bytes()),
                _ => self.poke(4, &[0; 4]),
            },
            18 => self.poke(18, &(self.queues.len() as u16).to_le_bytes()),
            20 if self.ignores_reset => self.poke(20, &[0x0f]),
            // queue_size and queue_notify_off, by queue_select.
            24 => self.poke(24, &queue().0.to_le_bytes()),
            30 => self.poke(30, &queue().1.to_le_bytes()),
            _ => {}
        }
    }
}

/// The capabilities of a device as QEMU builds it.
pub(crate) fn capabilities() -> Vec<Vec<u8>> {
    std::vec![
        msix_capability(MSIX_BAR, 0, 2),
        virtio_capability(1, REGISTERS_BAR, COMMON, 0x1000),
        virtio_capability(3, REGISTERS_BAR, ISR, 0x1000),
        virtio_capability(4, REGISTERS_BAR, DEVICE, 0x1000),
        notify_capability(REGISTERS_BAR, NOTIFY, 0x1000, NOTIFY_MULTIPLIER),
        shared_memory_capability(0, WINDOW_BAR, 0, WINDOW_BYTES),
    ]
}

/// `virtio_pci_cap`.
pub(crate) fn virtio_capability(cfg_type: u8, bar: u8, offset: u32, length: u32) -> Vec<u8> {
    [&[9, 0, 16, cfg_type, bar, 0, 0, 0][..], &offset.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// `virtio_pci_notify_cap`.
pub(crate) fn notify_capability(bar: u8, offset: u32, length: u32, multiplier: u32) -> Vec<u8> {
    let mut capability = virtio_capability(2, bar, offset, length);
    capability.extend(multiplier.to_le_bytes());
    capability[2] = 20;
    capability
}

/// `virtio_pci_cap64`.
pub(crate) fn shared_memory_capability(id: u8, bar: u8, offset: u64, length: u64) -> Vec<u8> {
    let mut capability = virtio_capability(8, bar, offset as u32, length as u32);
    capability.extend(((offset >> 32) as u32).to_le_bytes());
    capability.extend(((length >> 32) as u32).to_le_bytes());
    (capability[2], capability[5]) = (24, id);
    capability
}

/// The MSI-X capability; nobody looks for its pending bits.
pub(crate) fn msix_capability(bar: u8, table: u32, vectors: u16) -> Vec<u8> {
    [&[0x11, 0][..], &(vectors - 1).to_le_bytes(), &(table | u32::from(bar)).to_le_bytes(), &[0; 4]].concat()
}

std::thread_local! {
    /// The bus of the test that runs in this thread: `Hal` has no `self`.
    static BUS: RefCell<Bus> = const { RefCell::new(Bus { functions: BTreeMap::new(), accesses: Vec::new() }) };
}

struct Bus {
    functions: BTreeMap<DeviceFunction, Function>,
    accesses: Vec<Access>,
}

impl Bus {
    /// Who has the register, and where in its BAR with the registers it is; nothing for other BARs.
    fn register(&self, register: NonNull<u8>) -> Option<(DeviceFunction, u32)> {
        self.functions.iter().find_map(|(&at, function)| {
            let pages = &function.memory[usize::from(REGISTERS_BAR)];
            let offset = register.addr().get().checked_sub(pages.as_ptr().addr())?;
            (offset < pages.len() * PAGE_SIZE).then_some((at, offset as u32))
        })
    }
}

/// The register is about to be read.
pub(crate) fn will_read(register: NonNull<u8>, width: usize) {
    BUS.with_borrow_mut(|bus| {
        let Some((at, offset)) = bus.register(register) else { return };
        bus.accesses.push(Access::Read(offset, width));
        bus.functions[&at].will_read(offset, width);
    });
}

/// The register was written.
pub(crate) fn did_write(register: NonNull<u8>, width: usize) {
    BUS.with_borrow_mut(|bus| {
        let Some((at, offset)) = bus.register(register) else { return };
        let function = &bus.functions[&at];
        let value = (0..width as u32).map(|byte| u64::from(function.peek::<1>(offset + byte)[0]) << (8 * byte)).sum();
        bus.accesses.push(Access::Write(offset, width, value));
    });
}

/// The bus, a kernel's access to its configuration space, and a kernel's mapping of its registers. A thread has one at
/// a time; no transport outlives it.
pub(crate) struct FakePci(());

impl FakePci {
    /// An empty bus.
    pub(crate) fn new() -> Self {
        BUS.with_borrow_mut(|bus| {
            bus.functions.clear();
            bus.accesses.clear();
        });
        Self(())
    }

    pub(crate) fn add(&self, at: DeviceFunction, function: Function) {
        BUS.with_borrow_mut(|bus| assert!(bus.functions.insert(at, function).is_none()));
    }

    /// Adds a bridge to bus number `secondary`.
    pub(crate) fn add_bridge(&self, at: DeviceFunction, secondary: u8) {
        let mut bridge = Function::new(0x1b36, 0x000c);
        // The header type; bus numbers: primary, secondary, subordinate, and the secondary's latency timer.
        bridge.config[0x0e] = 1;
        bridge.config[0x18..0x1c].copy_from_slice(&[at.bus, secondary, 0xff, 0]);
        self.add(at, bridge);
    }

    /// Adds a virtio-fs device as QEMU builds it.
    pub(crate) fn add_virtio_fs(&self, at: DeviceFunction, tag: &[u8]) {
        let number = BUS.with_borrow(|bus| bus.functions.len()) as u64;
        self.add(at, Function::virtio_fs(number, tag));
    }

    /// Looks at a function, or changes it.
    pub(crate) fn with<R>(&self, at: DeviceFunction, work: impl FnOnce(&mut Function) -> R) -> R {
        BUS.with_borrow_mut(|bus| work(bus.functions.get_mut(&at).unwrap()))
    }

    /// The accesses to registers since this was asked last.
    pub(crate) fn take_accesses(&self) -> Vec<Access> {
        BUS.with_borrow_mut(|bus| core::mem::take(&mut bus.accesses))
    }
}

impl ConfigurationAccess for FakePci {
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        assert!(at.valid() && offset.is_multiple_of(4));
        BUS.with_borrow(|bus| bus.functions.get(&at).map_or(!0, |function| function.word(offset)))
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        self.with(at, |function| {
            let old = function.word(offset);
            let writable = match offset {
                // Bits of the status above it are cleared by writing ones.
                COMMAND_OFFSET => 0xffff,
                0x10..0x28 => {
                    assert_eq!(function.word(COMMAND_OFFSET) & 0b11, 0, "a BAR is changed while it is decoded");
                    function.bar_masks[usize::from(offset - BARS_OFFSET) / 4]
                }
                _ => panic!("the driver writes to {offset:#x}"),
            };
            assert!(offset != COMMAND_OFFSET || data >> 16 == 0, "the driver clears bits of the status");
            function.set_word(offset, data & writable | old & !writable);
        });
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self(())
    }
}

// SAFETY: what is mapped are the pages of a function, which nobody refers to, and which live as long as the bus. There
// is no DMA.
unsafe impl Hal for FakePci {
    fn dma_alloc(_pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        unreachable!("the device works with its registers only")
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, _vaddr: NonNull<u8>, _pages: usize) -> i32 {
        unreachable!("the device works with its registers only")
    }

    /// Insists on a range within one memory BAR that is decoded.
    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        BUS.with_borrow(|bus| {
            let bars = bus.functions.values().flat_map(|function| (0..6).map(move |bar| (function, bar)));
            let found = bars.into_iter().find_map(|(function, bar)| {
                let (start, bytes) = function.memory_bar(bar)?;
                let offset = paddr.checked_sub(start)?;
                (offset < bytes).then_some((function, bar, offset, bytes))
            });
            let (function, bar, offset, bytes) = found.expect("what is mapped is in no BAR");
            assert!(size as u64 <= bytes - offset, "what is mapped reaches beyond its BAR");
            assert_eq!(function.word(COMMAND_OFFSET) & 0b10, 0b10, "what is mapped is not decoded");
            function.at(bar, offset as usize, size)
        })
    }

    unsafe fn share(_buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        unreachable!("the device works with its registers only")
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        unreachable!("the device works with its registers only")
    }
}
