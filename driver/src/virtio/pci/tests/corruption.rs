//! Configuration space with one wrong byte.

use super::super::super::Config;
use super::super::super::fake::pci::FakePci;
use super::super::super::transport::{RingAddresses, Transport};
use super::super::PciTransport;
use super::{HERE, bus_with};
use crate::test_utils::FakePlatform;
use std::vec::Vec;

/// Opens the device and uses every method. The bus insists that what is mapped lies in a BAR, and the registers that
/// what is accessed was mapped; says whether the device could be opened.
fn use_device(pci: &mut FakePci) -> bool {
    let Ok(transport) = PciTransport::new::<FakePci>(pci, HERE) else { return false };
    _ = Config::read(&transport);
    transport.set_driver_features(transport.device_features());
    for queue in 0..4 {
        let rings = RingAddresses { descriptors: 0x1000, available: 0x2000, used: 0x3000 };
        if transport.max_queue_size(queue) > 0 && transport.enable_queue(queue, 16, rings).is_ok() {
            transport.notify(queue);
        }
    }
    _ = transport.reset(&FakePlatform::new());
    pci.take_accesses();
    true
}

/// Gives each byte in `places` each of `values`, one at a time; what was opened and what was refused.
fn corrupt(places: impl Iterator<Item = usize>, values: &[u8]) -> (usize, usize) {
    let (mut opened, mut refused) = (0, 0);
    for place in places {
        for &value in values {
            let mut pci = bus_with(|function| function.config[place] = value);
            if use_device(&mut pci) { opened += 1 } else { refused += 1 }
        }
    }
    (opened, refused)
}

/// From one byte to the next: Miri is thousands of times slower, a sample must do.
const STEP: usize = if cfg!(miri) { 7 } else { 1 };

#[test]
fn a_wrong_byte_in_the_capabilities_harms_nobody() {
    let values: Vec<u8> = (0..=255).step_by(if cfg!(miri) { 0x7f } else { 1 }).collect();
    let (opened, refused) = corrupt((0x40..0xb0).step_by(STEP), &values);
    assert!(opened > 0 && refused > 0);
}

#[test]
fn a_wrong_byte_in_the_header_harms_nobody() {
    let values = [0, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 12, 0x40, 0x7f, 0x80, 0xf0, 0xfe];
    // Backwards, so that a sample has the link to the first capability.
    let (opened, refused) = corrupt((0..0x3c).rev().step_by(STEP), &values[..values.len() / STEP]);
    assert!(opened > 0 && refused > 0);
}
