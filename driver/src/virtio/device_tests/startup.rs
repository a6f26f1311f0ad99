//! How a device is set up.

use super::*;
use crate::virtio::Transport;
use std::string::ToString;

fn start_error(build: Build) -> Error {
    let fake = FakeDevice::<PlainHal<20>>::new(build, Box::new(answer));
    let error = start(&fake, &DeviceOptions::default()).err().unwrap();
    assert_eq!(FakeTransport(fake).status(), DeviceStatus::FAILED);
    error
}

#[test]
fn a_device_that_does_not_play_its_part_is_refused_at_the_start() {
    let legacy = Build { features: 1 << 28, ..Build::default() };
    assert!(start_error(legacy).to_string().contains("older than virtio 1.0"));
    let stubborn = Build { accepts_features: false, ..Build::default() };
    assert!(start_error(stubborn).to_string().contains("did not accept the features"));
    let restless = Build { restless: true, ..Build::default() };
    assert!(start_error(restless).to_string().contains("never stands still"));
    let mut short = Build::default();
    short.config.truncate(39);
    assert!(start_error(short).to_string().contains("cut short"));
    let mut queueless = Build::default();
    queueless.config[36..].fill(0);
    assert!(start_error(queueless).to_string().contains("no request queue"));
    for queue_sizes in [std::vec![0, 128], std::vec![128, 0], std::vec![128], std::vec![128, 2]] {
        let build = Build { queue_sizes, ..Build::default() };
        assert!(matches!(start_error(build), Error::Protocol(_)));
    }
}

#[test]
fn queue_sizes_that_are_no_power_of_two_are_rounded_down() {
    let (_, device) = device::<PlainHal<21>>(Build { queue_sizes: std::vec![3, 65_535], ..Build::default() });
    assert_eq!(getattr(&device), Ok(()));
}

#[test]
fn features_the_driver_does_not_know_are_not_accepted() {
    let (fake, _device) = device::<PlainHal<22>>(Build { features: u64::MAX, ..Build::default() });
    assert_eq!(fake.driver_features(), 1 << 28 | 1 << 29 | 1 << 32 | 1 << 33);
}
