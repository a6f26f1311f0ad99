//! Which devices are found.

use super::super::super::Config;
use super::super::super::fake::pci::{FakePci, Function};
use super::super::{enumerate, find};
use super::{at, broken_rule, bus_with};
use crate::Error;
use std::vec::Vec;

#[test]
fn every_virtio_fs_function_is_found() {
    let mut pci = FakePci::new();
    let places = [at(0, 0, 0), at(0, 2, 1), at(0, 2, 7), at(0, 31, 7), at(1, 0, 0), at(1, 31, 0), at(7, 5, 3)];
    for place in places {
        pci.add_virtio_fs(place, b"tag");
    }
    pci.add(at(0, 2, 0), Function::new(0x1af4, 0x1041));
    pci.add_bridge(at(0, 4, 0), 1);
    pci.add_bridge(at(1, 1, 0), 7);
    assert_eq!(enumerate(&mut pci), places);
}

#[test]
fn other_devices_are_ignored() {
    let mut pci = FakePci::new();
    // Network, block, socket; a transitional device; the right number of another vendor; a vendor's number swapped.
    let ids =
        [(0x1af4, 0x1041), (0x1af4, 0x1042), (0x1af4, 0x1053), (0x1af4, 0x1009), (0x8086, 0x105a), (0x105a, 0x1af4)];
    for (device, (vendor, id)) in (0..).zip(ids) {
        pci.add(at(0, device, 0), Function::new(vendor, id));
    }
    assert_eq!(enumerate(&mut pci), []);
    pci.add_virtio_fs(at(0, 9, 4), b"tag");
    assert_eq!(enumerate(&mut pci), [at(0, 9, 4)]);
}

#[test]
fn a_bus_is_looked_at_once_wherever_bridges_lead() {
    let mut pci = FakePci::new();
    pci.add_bridge(at(0, 1, 0), 1);
    pci.add_bridge(at(0, 2, 0), 1);
    pci.add_bridge(at(0, 3, 0), 255);
    // Bridges back to the root, to themselves and to each other.
    pci.add_bridge(at(1, 1, 0), 0);
    pci.add_bridge(at(1, 2, 0), 1);
    pci.add_bridge(at(255, 1, 0), 1);
    let places = [at(0, 4, 0), at(1, 4, 0), at(255, 4, 0)];
    for place in places {
        pci.add_virtio_fs(place, b"tag");
    }
    assert_eq!(enumerate(&mut pci), places);
}

#[test]
fn a_bridge_that_was_not_set_up_leads_nowhere() {
    let mut pci = FakePci::new();
    pci.add_bridge(at(0, 1, 0), 0);
    pci.add_virtio_fs(at(0, 2, 0), b"tag");
    pci.add_virtio_fs(at(1, 2, 0), b"tag");
    assert_eq!(enumerate(&mut pci), [at(0, 2, 0)]);
}

#[test]
fn devices_are_found_by_their_tags() {
    let mut pci = FakePci::new();
    let longest = [b'x'; 36];
    let tags: [&[u8]; 5] = [b"one", b"two", b"on", b"", &longest];
    for (device, tag) in (0..).zip(tags) {
        pci.add_virtio_fs(at(0, device, 0), tag);
    }
    for (device, tag) in (0..).zip(tags) {
        let transport = find::<FakePci>(&mut pci, tag).unwrap();
        assert_eq!(transport.function(), at(0, device, 0));
        assert_eq!(Config::read(&transport).unwrap().tag.as_bytes(), tag);
    }
}

#[test]
fn of_two_devices_with_one_tag_the_first_counts() {
    let mut pci = FakePci::new();
    pci.add_virtio_fs(at(0, 2, 0), b"tag");
    pci.add_virtio_fs(at(0, 1, 0), b"tag");
    assert_eq!(find::<FakePci>(&mut pci, "tag").unwrap().function(), at(0, 1, 0));
}

#[test]
fn no_device_and_no_such_tag_are_different_errors() {
    let none = find::<FakePci>(&mut FakePci::new(), "tag").err();
    assert_eq!(none, Some(Error::Device("there is no virtio-fs device on the PCI bus")));
    let unknown: Vec<&[u8]> = std::vec![b"", b"ta", b"tag\0", b"tags", b"TAG", &[b'x'; 37]];
    for tag in unknown {
        let error = find::<FakePci>(&mut bus_with(|_| {}), tag).err();
        assert_eq!(error, Some(Error::Device("no virtio-fs device has this tag")));
    }
}

#[test]
fn a_broken_device_does_not_hide_a_good_one() {
    for (broken, good) in [(1, 2), (2, 1)] {
        let mut pci = FakePci::new();
        pci.add_virtio_fs(at(0, broken, 0), b"broken");
        pci.add_virtio_fs(at(0, good, 0), b"good");
        pci.with(at(0, broken, 0), |function| function.set_capabilities(&[]));
        assert_eq!(find::<FakePci>(&mut pci, "good").unwrap().function(), at(0, good, 0));
        // Perhaps the broken one is what was looked for.
        assert_eq!(broken_rule(find::<FakePci>(&mut pci, "broken")), "the device has no notification capability");
    }
}
