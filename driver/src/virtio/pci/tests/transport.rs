//! What the transport does to the registers.

use super::super::super::fake::pci::Access::{Read, Write};
use super::super::super::fake::pci::{
    COMMON, DEVICE, FakePci, NOTIFY, REGISTERS_BAR, WINDOW_BAR, WINDOW_BYTES, capabilities, notify_capability,
    shared_memory_capability, virtio_capability,
};
use super::super::super::transport::{DeviceStatus, RingAddresses, Transport};
use super::super::super::{Config, Tag};
use super::super::{PciTransport, find as find_any};
use super::{HERE, broken_rule, bus_with};
use crate::test_utils::FakePlatform;
use crate::{Error, Instant, Platform, Timestamp};
use core::time::Duration;

const RINGS: RingAddresses =
    RingAddresses { descriptors: 0x1111_1111_2222_2222, available: 0x3333_3333_4444_4444, used: 0x5555_5555_6666_6666 };

fn open(pci: &mut FakePci) -> Result<PciTransport, Error> {
    let transport = PciTransport::new::<FakePci>(pci, HERE);
    pci.take_accesses();
    transport
}

fn find(pci: &mut FakePci, tag: &str) -> Result<PciTransport, Error> {
    find_any::<FakePci>(pci, tag)
}

/// A device with queues of these sizes and `queue_notify_off`s.
fn with_queues(queues: &[(u16, u16)]) -> (FakePci, PciTransport) {
    let mut pci = bus_with(|function| function.queues = queues.to_vec());
    let transport = open(&mut pci).unwrap();
    (pci, transport)
}

/// A device whose capability of the given kind is another one.
fn with_capability(capability: std::vec::Vec<u8>) -> FakePci {
    bus_with(|function| function.set_capabilities(&[std::vec![capability], capabilities()].concat()))
}

#[test]
fn opening_enables_memory_decoding_and_bus_mastering_and_nothing_else() {
    for before in [0, 0x0001, 0x0002, 0x0146, 0x0547] {
        let mut pci = bus_with(|function| function.set_word(4, 0x0010_0000 | before));
        PciTransport::new::<FakePci>(&mut pci, HERE).unwrap();
        assert_eq!(pci.with(HERE, |function| function.word(4)), 0x0010_0000 | before | 0x0406);
        // Not a single register is written.
        assert!(pci.take_accesses().iter().all(|access| matches!(access, Read(..))));
    }
}

#[test]
fn the_transport_tells_what_the_capabilities_told() {
    let mut pci = with_capability(shared_memory_capability(1, WINDOW_BAR, 0x1000, 0x2000));
    let transport = open(&mut pci).unwrap();
    assert_eq!(transport.function(), HERE);
    assert_eq!(transport.msix().map(|msix| msix.vectors), Some(2));
    assert!(transport.shared_memory_ids().eq([1, 0]));
    let metadata = transport.shared_memory(1).unwrap();
    assert_eq!((metadata.address, metadata.length_bytes), (0x40_0000_1000, 0x2000));
    assert_eq!(transport.shared_memory(0).unwrap().length_bytes, WINDOW_BYTES);
    assert!(transport.shared_memory(2).is_none());
    assert!(!transport.interrupts());
}

#[test]
fn a_doorbell_is_one_write_of_the_queues_number_to_its_place() {
    let (pci, transport) = with_queues(&[(128, 0), (128, 7), (128, 0x3ff)]);
    for queue in 0..3 {
        transport.enable_queue(queue, 128, RINGS).unwrap();
    }
    for (queue, notify_off) in [(0, 0), (1, 7), (2, 0x3ff), (1, 7)] {
        pci.take_accesses();
        transport.notify(queue);
        assert_eq!(pci.take_accesses(), [Write(NOTIFY + 4 * notify_off, 2, queue.into())]);
    }
}

#[test]
fn without_a_multiplier_all_queues_share_a_doorbell() {
    let mut pci = with_capability(notify_capability(REGISTERS_BAR, NOTIFY, 2, 0));
    pci.with(HERE, |function| function.queues = std::vec![(128, 0xffff); 2]);
    let transport = open(&mut pci).unwrap();
    for queue in 0..2 {
        transport.enable_queue(queue, 128, RINGS).unwrap();
        pci.take_accesses();
        transport.notify(queue);
        assert_eq!(pci.take_accesses(), [Write(NOTIFY, 2, queue.into())]);
    }
}

#[test]
fn a_queue_that_is_not_enabled_has_no_doorbell() {
    let (pci, transport) = with_queues(&[(128, 0), (128, 0x400)]);
    assert!(transport.enable_queue(1, 128, RINGS).is_err());
    pci.take_accesses();
    for queue in [0, 1, 2, 0xffff] {
        transport.notify(queue);
    }
    assert_eq!(pci.take_accesses(), []);
}

#[test]
fn a_doorbell_outside_its_capability_is_refused_before_the_queue_is_enabled() {
    // Multiplier, queue_notify_off, length of the capability.
    let cases = [
        (4, 0x400, 0x1000),
        (2, 0x800, 0x1000),
        (0x10_0000, 0x1000, 0x1000),
        (u32::MAX, 1, 0x1000),
        (u32::MAX, 0xffff, 0x1000),
    ];
    // Half outside; not aligned; no room at all.
    let cases = [&cases[..], &[(4, 1, 5), (1, 1, 0x1000), (2, 0, 1)]].concat();
    for (multiplier, notify_off, length) in cases {
        let mut pci = with_capability(notify_capability(REGISTERS_BAR, NOTIFY, length, multiplier));
        pci.with(HERE, |function| function.queues = std::vec![(128, notify_off)]);
        let transport = open(&mut pci).unwrap();
        let error = broken_rule(transport.enable_queue(0, 128, RINGS));
        assert_eq!(error, "a queue's doorbell lies outside its capability");
        assert_eq!(pci.take_accesses(), [Write(22, 2, 0), Read(30, 2)]);
    }
    let (_, transport) = with_queues(&[(128, 0x3ff)]);
    assert_eq!(transport.enable_queue(0, 128, RINGS), Ok(()));
}

#[test]
fn a_queue_is_selected_described_in_32_bit_halves_and_enabled_last() {
    let (pci, transport) = with_queues(&[(128, 0), (64, 1)]);
    assert_eq!(transport.enable_queue(1, 32, RINGS), Ok(()));
    let expected = [
        Write(22, 2, 1),
        Read(30, 2),
        Write(24, 2, 32),
        Write(26, 2, 0xffff),
        Write(32, 4, 0x2222_2222),
        Write(36, 4, 0x1111_1111),
        Write(40, 4, 0x4444_4444),
        Write(44, 4, 0x3333_3333),
        Write(48, 4, 0x6666_6666),
        Write(52, 4, 0x5555_5555),
        Write(28, 2, 1),
    ];
    assert_eq!(pci.take_accesses(), expected);
}

#[test]
fn a_queue_beyond_num_queues_does_not_exist() {
    let (pci, transport) = with_queues(&[(128, 0), (64, 1)]);
    assert_eq!([0, 1].map(|queue| transport.max_queue_size(queue)), [128, 64]);
    assert_eq!(pci.take_accesses(), [Write(22, 2, 0), Read(24, 2), Write(22, 2, 1), Read(24, 2)]);
    for queue in [2, 3, 0x7fff, 0xffff] {
        assert_eq!(transport.max_queue_size(queue), 0);
        assert_eq!(broken_rule(transport.enable_queue(queue, 128, RINGS)), "the queue does not exist");
    }
    assert_eq!(pci.take_accesses(), []);
    let (_, without) = with_queues(&[]);
    assert_eq!(without.max_queue_size(0), 0);
}

#[test]
fn more_queues_than_anybody_needs_are_not_kept_count_of() {
    let (_, transport) = with_queues(&std::vec![(16, 0); 0xffff]);
    assert_eq!([1023, 1024, 0xfffe].map(|queue| transport.max_queue_size(queue)), [16, 0, 0]);
}

#[test]
fn features_are_read_and_written_in_halves() {
    let mut pci = bus_with(|function| function.features = 0x0123_4567_89ab_cdef);
    let transport = open(&mut pci).unwrap();
    assert_eq!(transport.device_features(), 0x0123_4567_89ab_cdef);
    assert_eq!(pci.take_accesses(), [Write(0, 4, 0), Read(4, 4), Write(0, 4, 1), Read(4, 4)]);
    transport.set_driver_features(0xfedc_ba98_7654_3210);
    let halves = [Write(8, 4, 0), Write(12, 4, 0x7654_3210), Write(8, 4, 1), Write(12, 4, 0xfedc_ba98)];
    assert_eq!(pci.take_accesses(), halves);
}

#[test]
fn the_status_is_one_byte_with_all_its_bits() {
    let (pci, transport) = with_queues(&[]);
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER).unwrap();
    assert_eq!(transport.status(), DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    assert_eq!(pci.take_accesses(), [Write(20, 1, 3), Read(20, 1)]);
    pci.with(HERE, |function| function.poke(COMMON + 20, &[0x7f]));
    assert_eq!(transport.status().bits(), 0x7f);
}

#[test]
fn configuration_is_read_in_the_width_of_its_fields() {
    let (pci, transport) = with_queues(&[]);
    pci.with(HERE, |function| {
        function.poke(COMMON + 21, &[0xa5]);
        function.poke(DEVICE + 36, &0x1234_5678_u32.to_le_bytes());
    });
    assert_eq!(transport.config_generation(), 0xa5);
    pci.take_accesses();
    let mut word = [0; 4];
    transport.read_config(36, &mut word).unwrap();
    assert_eq!((u32::from_le_bytes(word), pci.take_accesses()), (0x1234_5678, std::vec![Read(DEVICE + 36, 4)]));
    let mut tag = [0; 5];
    transport.read_config(1, &mut tag).unwrap();
    assert_eq!(&tag, b"ag\0\0\0");
    assert_eq!(pci.take_accesses(), [1, 2, 3, 4, 5].map(|at| Read(DEVICE + at, 1)));
    // A word that is not aligned must not be read as one.
    transport.read_config(37, &mut word).unwrap();
    assert_eq!(pci.take_accesses(), [37, 38, 39, 40].map(|at| Read(DEVICE + at, 1)));
    assert_eq!(Config::read(&transport).map(|config| config.request_queues), Ok(0x1234_5678));
}

#[test]
fn configuration_that_ends_early_is_refused() {
    for length in 1..40 {
        let mut pci = with_capability(virtio_capability(4, REGISTERS_BAR, DEVICE, length));
        let transport = open(&mut pci).unwrap();
        assert_eq!(broken_rule(Config::read(&transport)), "the device configuration is cut short");
        let end = length as usize;
        assert!(transport.read_config(end - 1, &mut [0]).is_ok());
        for (offset, count) in [(end, 1), (end - 1, 2), (end, 4), (end + 3, 4), (1 << 31, 4), (usize::MAX - 3, 4)] {
            assert!(transport.read_config(offset, &mut [0; 4][..count]).is_err());
        }
        assert!(transport.read_config(end + 1, &mut []).is_ok());
    }
    let mut pci = with_capability(virtio_capability(4, REGISTERS_BAR, DEVICE, 40));
    assert_eq!(Config::read(&open(&mut pci).unwrap()).unwrap().tag.as_bytes(), b"tag");
}

#[test]
fn a_tag_may_fill_its_field() {
    let mut pci = bus_with(|function| function.set_tag(&[b'x'; Tag::MAX_BYTES]));
    let config = Config::read(&open(&mut pci).unwrap()).unwrap();
    assert_eq!((config.tag.as_bytes(), config.request_queues), (&[b'x'; Tag::MAX_BYTES][..], 1));
}

#[test]
fn a_common_configuration_that_is_too_short_or_not_aligned_is_refused() {
    let common = |offset, length| {
        let mut pci = with_capability(virtio_capability(1, REGISTERS_BAR, offset, length));
        // Bus mastering is on: no status is asked, which at these places is none.
        pci.with(HERE, |function| function.set_word(4, 0x0010_0006));
        open(&mut pci)
    };
    for (offset, length) in [(0, 1), (0, 52), (0, 55), (1, 0x100), (2, 0x100), (3, 0x100), (0x3ffe, 2)] {
        assert_eq!(broken_rule(common(offset, length)), "the common configuration is too short, or not aligned");
    }
    // Later versions of the specification append fields.
    for (offset, length) in [(0, 56), (4, 56), (0, 64), (0x3fc8, 56)] {
        assert!(common(offset, length).is_ok());
    }
}

#[test]
fn a_reset_writes_zero_and_waits_until_it_reads_zero() {
    let (pci, transport) = with_queues(&[]);
    pci.with(HERE, |function| function.poke(COMMON + 20, &[0x0f]));
    let platform = FakePlatform::new();
    assert_eq!(transport.reset(&platform), Ok(()));
    // The register is asked once more than the platform asks.
    assert_eq!(pci.take_accesses(), [Write(20, 1, 0), Read(20, 1), Read(20, 1)]);
    assert_eq!(platform.dma_revocations(), 0);
}

#[test]
fn a_reset_that_is_not_confirmed_ends_within_bounds() {
    let (pci, transport) = with_queues(&[]);
    for gone in [false, true] {
        pci.with(HERE, |function| (function.ignores_reset, function.is_gone) = (true, gone));
        let platform = FakePlatform::new();
        platform.set_step(Duration::from_millis(50));
        assert_eq!(transport.reset(&platform), Err(Error::Device("it does not confirm its reset")));
        let waited = platform.time().0;
        assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(3), "waited for {waited:?}");
        assert_eq!(platform.dma_revocations(), 1);
        // Once the device cannot reach memory it may be in what state it likes.
        platform.set_revokes_dma(true);
        assert_eq!(transport.reset(&platform), Ok(()));
    }
}

#[test]
fn a_device_that_was_unplugged_reads_all_ones_and_harms_nobody() {
    let (pci, transport) = with_queues(&[(128, 0)]);
    pci.with(HERE, |function| function.is_gone = true);
    assert_eq!(transport.status().bits(), 0xff);
    assert_eq!((transport.device_features(), transport.max_queue_size(0)), (u64::MAX, 0xffff));
    assert!(transport.enable_queue(0, 128, RINGS).is_err());
    transport.notify(0);
    let config = Config::read(&transport).unwrap();
    assert_eq!((config.tag.as_bytes(), config.request_queues), (&[0xff; 36][..], u32::MAX));
    drop(transport);
    // It is gone before its registers are looked at, or before its configuration space is.
    assert!(open(&mut { pci }).is_ok());
    let mut pci = bus_with(|function| function.config.fill(0xff));
    assert!(open(&mut pci).is_err());
}

/// A platform that answers whatever it likes.
struct Liar;

// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl Platform for Liar {
    fn now(&self) -> Instant {
        Instant(Duration::ZERO)
    }

    fn wall_clock(&self) -> Timestamp {
        Timestamp::default()
    }

    fn wait_until(&self, _deadline: Instant, _ready: &mut dyn FnMut() -> bool) -> bool {
        true
    }
}

#[test]
fn a_reset_is_confirmed_by_the_register_and_not_by_the_platform() {
    let (pci, transport) = with_queues(&[]);
    pci.with(HERE, |function| (function.ignores_reset, _) = (true, function.poke(COMMON + 20, &[0x0f])));
    assert!(transport.reset(&Liar).is_err());
}

#[test]
#[cfg_attr(miri, ignore = "reads a register 100,000 times")]
fn a_device_that_was_cut_off_gets_no_access_to_memory_before_it_confirms_a_reset() {
    let (mut pci, transport) = with_queues(&[]);
    drop(transport);
    pci.with(HERE, |function| {
        function.ignores_reset = true;
        function.poke(COMMON + 20, &[0x0f]);
        function.set_word(4, 0x0010_0002);
    });
    assert_eq!(find(&mut pci, "another tag").err().unwrap(), Error::Device("it does not confirm its reset"));
    assert_eq!(pci.with(HERE, |function| function.word(4)) & 4, 0, "bus mastering is off");
    pci.with(HERE, |function| function.ignores_reset = false);
    assert!(open(&mut pci).is_ok());
    assert_eq!(pci.with(HERE, |function| function.word(4)) & 4, 4);
}

#[test]
fn a_device_in_operation_is_left_in_operation_when_another_is_looked_for() {
    let (mut pci, _transport) = with_queues(&[]);
    pci.with(HERE, |function| function.poke(COMMON + 20, &[0x0f]));
    pci.take_accesses();
    assert!(find(&mut pci, "another tag").is_err());
    assert!(pci.take_accesses().iter().all(|access| matches!(access, Read(..))));
}
