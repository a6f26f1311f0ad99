//! Which capabilities are understood, and which are refused.

use super::super::super::fake::pci::{
    DEVICE, FakePci, Function, IO, MEMORY_64_PREFETCHABLE, MSIX_BAR, NOTIFY, REGISTERS_BAR, WINDOW_BAR, WINDOW_BYTES,
    capabilities, msix_capability, notify_capability, shared_memory_capability, virtio_capability,
};
use super::super::MsixCapability;
use super::super::access::Access;
use super::super::capability::{Capabilities, Region};
use super::{HERE, broken_rule, bus_with};
use crate::Error;
use std::vec::Vec;

/// Where the BARs are.
const MSIX_ADDRESS: u64 = 0xfe00_0000;
const REGISTERS_ADDRESS: u64 = 0x8_0000_0000;
const WINDOW_ADDRESS: u64 = 0x40_0000_0000;

const CUT_SHORT: &str = "a capability is cut short";
const BEYOND: &str = "a capability reaches beyond its BAR";

fn read(pci: &mut FakePci) -> Result<Capabilities, Error> {
    Capabilities::read(&Access::new(pci), HERE)
}

/// Reads the capabilities of a device with these.
fn read_list(list: &[Vec<u8>]) -> Result<Capabilities, Error> {
    read(&mut bus_with(|function| function.set_capabilities(list)))
}

/// Reads the capabilities of a device with `first` before all others.
fn read_with(first: Vec<u8>) -> Result<Capabilities, Error> {
    read_list(&[std::vec![first], capabilities()].concat())
}

/// The list without capabilities of one kind.
fn without(cfg_type: u8) -> Vec<Vec<u8>> {
    capabilities().into_iter().filter(|capability| capability[0] != 9 || capability[3] != cfg_type).collect()
}

fn region(address: u64, length: u64) -> Region {
    Region { address, length }
}

fn assert_usual(found: &Capabilities) {
    assert_eq!(found.common, region(REGISTERS_ADDRESS, 0x1000));
    assert_eq!(found.notify, region(REGISTERS_ADDRESS + 0x3000, 0x1000));
    assert_eq!(found.notify_multiplier, 4);
    assert_eq!(found.device, region(REGISTERS_ADDRESS + 0x2000, 0x1000));
    assert_eq!(found.shared_memory, [(0, region(WINDOW_ADDRESS, WINDOW_BYTES))]);
    assert_eq!(found.msix, Some(MsixCapability { vectors: 2, table_address: MSIX_ADDRESS }));
}

#[test]
fn all_capabilities_are_found_in_any_order() {
    let mut list = capabilities();
    for _ in 0..list.len() {
        list.rotate_left(1);
        assert_usual(&read_list(&list).unwrap());
    }
    list.reverse();
    assert_usual(&read_list(&list).unwrap());
}

#[test]
fn the_size_of_bars_is_found_without_a_trace() {
    let mut pci = bus_with(|function| {
        function.set_bar(0, IO, 0xc040, 0x40);
        function.set_word(4, 0x0010_0507);
    });
    let before = pci.with(HERE, |function| function.config);
    read(&mut pci).unwrap();
    assert_eq!(pci.with(HERE, |function| function.config), before);
}

#[test]
fn of_two_of_one_kind_the_first_counts() {
    let seconds = [
        virtio_capability(1, REGISTERS_BAR, 0x10, 0x10),
        notify_capability(REGISTERS_BAR, 0x10, 0x10, 8),
        virtio_capability(3, REGISTERS_BAR, 0x10, 0x10),
        virtio_capability(4, REGISTERS_BAR, 0x10, 0x10),
        shared_memory_capability(0, WINDOW_BAR, 0x10, 0x10),
        msix_capability(MSIX_BAR, 0x10, 1),
    ];
    for second in seconds {
        assert_usual(&read_list(&[capabilities(), std::vec![second]].concat()).unwrap());
    }
}

#[test]
fn unknown_capabilities_are_ignored() {
    for cfg_type in [0, 5, 6, 7, 9, 100, 255] {
        assert_usual(&read_with(virtio_capability(cfg_type, 255, u32::MAX, u32::MAX)).unwrap());
        assert_usual(&read_with(std::vec![9, 0, 4, cfg_type]).unwrap());
    }
    // As many as there is room for.
    assert_usual(&read_list(&[std::vec![std::vec![0; 4]; 20], capabilities()].concat()).unwrap());
    // Power management, MSI, PCI Express, enhanced allocation, and what there is not.
    for id in [0x01, 0x05, 0x10, 0x14, 0x00, 0xff] {
        let mut other = virtio_capability(1, REGISTERS_BAR, 0x10, 0x10);
        other[0] = id;
        assert_usual(&read_with(other).unwrap());
    }
}

#[test]
fn a_list_that_runs_in_a_circle_ends() {
    let last = |function: &Function| {
        (0x40..=0xff).find(|&at| function.config[at..at + 4] == [9, 0, 24, 8]).expect("the shared memory is the last")
    };
    for target in [0x40, 0x4c] {
        assert_usual(&read(&mut bus_with(|function| function.config[last(function) + 1] = target)).unwrap());
    }
    assert_usual(&read(&mut bus_with(|function| function.config[last(function) + 1] = last(function) as u8)).unwrap());
    // The first capability leads to itself.
    assert_eq!(
        broken_rule(read(&mut bus_with(|function| function.config[0x41] = 0x40))),
        "the device has no notification capability"
    );
}

#[test]
fn a_list_that_leads_astray_ends() {
    for target in (1..=255).step_by(if cfg!(miri) { 31 } else { 1 }) {
        // What is read there is whatever is there; it must end, and within bounds.
        _ = read(&mut bus_with(|function| function.config[0x34] = target));
        _ = read(&mut bus_with(|function| function.config[0x41] = target));
    }
    let unlisted = bus_with(|function| function.config[6] = 0);
    assert_eq!(broken_rule(read(&mut { unlisted })), "the device has no notification capability");
}

#[test]
fn a_capability_that_configuration_space_cuts_short_is_refused() {
    let cases = [
        (virtio_capability(1, REGISTERS_BAR, 0, 0x100), 0xf4),
        (virtio_capability(4, REGISTERS_BAR, 0, 0x100), 0xf4),
        (notify_capability(REGISTERS_BAR, 0, 0x100, 4), 0xf0),
        (shared_memory_capability(1, WINDOW_BAR, 0, 0x100), 0xec),
    ];
    for (capability, first) in cases {
        for at in (first..=0xfc_usize).step_by(4) {
            let mut pci = bus_with(|function| {
                let room = (256 - at).min(capability.len());
                function.config[at..at + room].copy_from_slice(&capability[..room]);
                function.config[at + 1] = 0x40;
                function.config[0x34] = at as u8;
            });
            assert_eq!(broken_rule(read(&mut pci)), CUT_SHORT, "{capability:x?} at {at:#x}");
        }
    }
}

#[test]
fn a_capability_may_be_the_last_of_configuration_space() {
    let mut pci = bus_with(|function| {
        function.set_capabilities(&without(1));
        function.config[0xf0..].copy_from_slice(&virtio_capability(1, REGISTERS_BAR, 0, 0x1000));
        function.config[0xf1] = 0x40;
        function.config[0x34] = 0xf0;
    });
    assert_usual(&read(&mut pci).unwrap());
}

#[test]
fn a_cap_len_that_is_too_short_is_refused_and_a_longer_one_accepted() {
    // The ISR status is not looked at.
    for capability in capabilities().into_iter().filter(|capability| capability[0] == 9 && capability[3] != 3) {
        let (cfg_type, right) = (capability[3], capability[2]);
        for cap_len in 0..right {
            let mut short = capability.clone();
            short[2] = cap_len;
            assert_eq!(broken_rule(read_with(short)), CUT_SHORT, "cfg_type {cfg_type}, {cap_len} bytes");
        }
        for cap_len in [right + 1, right + 4, 255] {
            let mut long = capability.clone();
            long[2] = cap_len;
            assert_usual(&read_with(long).unwrap());
        }
    }
}

/// QEMU with `modern-pio-notify=on` lists a notification capability in an I/O BAR before the one in memory; and of
/// reserved BARs the specification says to ignore their capabilities.
#[test]
fn a_capability_in_a_bar_that_cannot_be_used_is_passed_over() {
    // Reserved numbers; one that is not there; the upper half of a 64-bit one; I/O space.
    for bar in [6, 7, 8, 128, 255, 3, 5, 0] {
        let unusable = [
            virtio_capability(1, bar, 0, 4),
            notify_capability(bar, 0, 4, 0),
            virtio_capability(3, bar, 0, 4),
            virtio_capability(4, bar, 0, 4),
            shared_memory_capability(0, bar, 0, 4),
        ];
        let with = |list: &[Vec<u8>]| {
            bus_with(|function| {
                function.set_bar(0, IO, 0xc040, 0x40);
                function.set_capabilities(list);
            })
        };
        for capability in unusable {
            let cfg_type = capability[3];
            let first = [std::vec![capability.clone()], capabilities()].concat();
            assert_usual(&read(&mut with(&first)).unwrap());
            let only = [std::vec![capability], without(cfg_type)].concat();
            let result = read(&mut with(&only));
            match cfg_type {
                1 => assert_eq!(broken_rule(result), "the device has no common configuration"),
                2 => assert_eq!(broken_rule(result), "the device has no notification capability"),
                4 => assert_eq!(broken_rule(result), "the device has no device configuration"),
                8 => assert_eq!(result.unwrap().shared_memory, []),
                _ => assert_usual(&result.unwrap()),
            }
        }
    }
}

#[test]
fn a_bar_without_an_address_is_an_error_of_its_own() {
    let unassigned = |bar: u8, kind, size| read(&mut bus_with(|function| function.set_bar(bar, kind, 0, size)));
    let error = unassigned(REGISTERS_BAR, MEMORY_64_PREFETCHABLE, 0x4000).err();
    let text = "a BAR of the device has no address: neither firmware nor kernel gave it one";
    assert_eq!(error, Some(Error::Device(text)));
    // Firmware that has no room for the window need not keep the driver from the files.
    let found = unassigned(WINDOW_BAR, MEMORY_64_PREFETCHABLE, WINDOW_BYTES).unwrap();
    assert_eq!((found.shared_memory, found.common.length), (std::vec![], 0x1000));
}

#[test]
fn a_bar_that_reaches_the_end_of_the_address_space_does_not_wrap_around() {
    let last = u64::MAX - 0xffff;
    let mut pci = bus_with(|function| {
        function.set_bar(WINDOW_BAR, MEMORY_64_PREFETCHABLE, last, 0x1_0000);
        function
            .set_capabilities(&[without(8), std::vec![shared_memory_capability(0, WINDOW_BAR, 0, 0xf000)]].concat());
    });
    assert_eq!(read(&mut pci).unwrap().shared_memory, [(0, region(last, 0xf000))]);
    let mut pci = bus_with(|function| function.set_bar(WINDOW_BAR, MEMORY_64_PREFETCHABLE, last, 0x1_0000));
    assert_eq!(broken_rule(read(&mut pci)), BEYOND);
}

#[test]
fn a_range_beyond_its_bar_is_refused() {
    let ranges = [
        (0x3000, 0x1001),
        (0x3fff, 2),
        (0x4000, 1),
        (0, 0x4001),
        (0, u32::MAX),
        (u32::MAX, 1),
        (u32::MAX, u32::MAX),
        (0x8000_0000, 0x8000_0000),
        // Nothing at all, within the BAR and beyond.
        (0, 0),
        (0x4000, 0),
        (u32::MAX, 0),
    ];
    for (offset, length) in ranges {
        for cfg_type in [1, 4] {
            let result = read_with(virtio_capability(cfg_type, REGISTERS_BAR, offset, length));
            assert_eq!(broken_rule(result), BEYOND, "{offset:#x}, {length:#x}");
        }
        let result = read_with(notify_capability(REGISTERS_BAR, offset, length, 4));
        assert_eq!(broken_rule(result), BEYOND, "{offset:#x}, {length:#x}");
    }
    let whole = read_with(virtio_capability(1, REGISTERS_BAR, 0, 0x4000)).unwrap();
    assert_eq!(whole.common, region(REGISTERS_ADDRESS, 0x4000));
    let last = read_with(virtio_capability(4, REGISTERS_BAR, 0x3fff, 1)).unwrap();
    assert_eq!(last.device, region(REGISTERS_ADDRESS + 0x3fff, 1));
}

#[test]
fn shared_memory_has_64_bit_ranges_and_ids() {
    let mut list = without(8);
    list.push(shared_memory_capability(1, WINDOW_BAR, 0xffff_f000, 0x1000));
    list.push(shared_memory_capability(0, WINDOW_BAR, 0, 0xffff_f000));
    list.push(shared_memory_capability(1, WINDOW_BAR, 0, 1));
    let regions = [(1, region(WINDOW_ADDRESS + 0xffff_f000, 0x1000)), (0, region(WINDOW_ADDRESS, 0xffff_f000))];
    assert_eq!(read_list(&list).unwrap().shared_memory, regions);
    let large = |offset, length| {
        read(&mut bus_with(|function| {
            function.set_bar(WINDOW_BAR, MEMORY_64_PREFETCHABLE, 1 << 44, 1 << 40);
            let shared = shared_memory_capability(255, WINDOW_BAR, offset, length);
            function.set_capabilities(&[without(8), std::vec![shared]].concat());
        }))
    };
    let found = large(0x12_3456_7000, 0x80_0000_1000).unwrap().shared_memory;
    assert_eq!(found, [(255, region((1 << 44) + 0x12_3456_7000, 0x80_0000_1000))]);
    let ranges = [
        (0, (1 << 40) + 1),
        (1 << 40, 1),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (0, 0),
        (1 << 63, 1 << 63),
    ];
    for (offset, length) in ranges {
        assert_eq!(broken_rule(large(offset, length)), BEYOND, "{offset:#x}, {length:#x}");
    }
}

#[test]
fn the_vector_table_of_msix_lies_within_its_bar() {
    let msix = |bar, table, vectors| read_with(msix_capability(bar, table, vectors)).map(|found| found.msix);
    let found = |vectors, table_address| Ok(Some(MsixCapability { vectors, table_address }));
    assert_eq!(msix(MSIX_BAR, 0x800, 1), found(1, MSIX_ADDRESS + 0x800));
    assert_eq!(msix(MSIX_BAR, 0, 256), found(256, MSIX_ADDRESS));
    assert_eq!(msix(WINDOW_BAR, 0x1000, 2048), found(2048, WINDOW_ADDRESS + 0x1000));
    for (table, vectors) in [(0, 257), (8, 256), (0xff8, 1), (0x1000, 1), (0xffff_fff8, 1), (0xffff_fff8, 2048)] {
        // The driver does without, and takes the next.
        assert_eq!(msix(MSIX_BAR, table, vectors), found(2, MSIX_ADDRESS));
    }
    // Enable, function mask and reserved bits are no part of the number of vectors.
    let mut enabled = msix_capability(MSIX_BAR, 0, 2);
    enabled[3] |= 0xf8;
    assert_usual(&read_with(enabled).unwrap());
    // A second capability counts where the first cannot be used.
    for bar in [0, 3, 6, 7] {
        assert_eq!(msix(bar, 0, 4), found(2, MSIX_ADDRESS));
    }
    let list: Vec<_> = capabilities().into_iter().filter(|capability| capability[0] == 9).collect();
    assert_eq!(read_list(&list).unwrap().msix, None);
}

#[test]
fn a_capability_that_is_missing_is_named() {
    assert_eq!(broken_rule(read_list(&without(1))), "the device has no common configuration");
    assert_eq!(broken_rule(read_list(&without(2))), "the device has no notification capability");
    assert_eq!(broken_rule(read_list(&without(4))), "the device has no device configuration");
    // The driver polls and needs no ISR status, and shared memory is an option.
    assert_usual(&read_list(&without(3)).unwrap());
    assert_eq!(read_list(&without(8)).unwrap().shared_memory, []);
}

#[test]
fn a_bar_of_an_impossible_type_is_refused() {
    // Neither 32 nor 64 bits wide; 64 bits, and no BAR left for the upper half.
    for (bar, kind) in [(0, 0b110), (5, 0b100)] {
        let mut pci = bus_with(|function| {
            function.set_bar(bar, kind, 0x1000, 0x1000);
            if bar == 5 {
                function.set_bar(REGISTERS_BAR, 0, 0xfd00_0000, 0x4000);
            }
        });
        assert_eq!(broken_rule(read(&mut pci)), "a BAR has an impossible type");
    }
}

#[test]
fn registers_in_32_bit_bars_are_found() {
    let mut list = capabilities();
    list.retain(|capability| capability[0] == 9 && capability[3] == 1 || capability[3] == 8);
    list.push(virtio_capability(4, 0, DEVICE, 0x1000));
    list.push(notify_capability(0, NOTIFY, 0x1000, 0));
    let mut pci = bus_with(|function| {
        function.set_bar(0, 0, 0xfff0_0000, 0x10_0000);
        function.set_capabilities(&list);
    });
    let found = read(&mut pci).unwrap();
    assert_eq!(found.device, region(0xfff0_2000, 0x1000));
    assert_eq!((found.notify, found.notify_multiplier), (region(0xfff0_3000, 0x1000), 0));
}
