//! A device that breaks the rules.

use super::*;

/// Lets the device commit `fault`: the request fails or, if the fault harms a later one, that one does; then the device
/// is given up, and everything that was shared is back.
fn survives<const TEST: usize>(fault: Fault) {
    let before = PagedHal::<TEST>::alive();
    let (fake, device) = device::<PagedHal<TEST>>(Build::default());
    assert_eq!(getattr(&device), Ok(()));
    fake.inject(fault);
    let mut buffer = std::vec![0; 8 * 500];
    let results = read_and_check(&device, 0, &mut buffer, 500);
    let failed = results.iter().any(Result::is_err) || getattr(&device).is_err();
    assert!(failed, "{fault:?} went unnoticed");
    assert!(matches!(getattr(&device), Err(Error::Device(_))), "{fault:?}: the device was not given up");
    drop(device);
    assert_eq!(PagedHal::<TEST>::alive(), before, "{fault:?}: memory was lost");
}

#[test]
fn a_used_id_that_does_not_exist_is_refused() {
    survives::<11>(Fault::UsedId(128));
    survives::<11>(Fault::UsedId(65_536));
    survives::<11>(Fault::UsedId(u32::MAX));
}

#[test]
fn a_used_id_that_is_not_in_flight_is_refused() {
    survives::<12>(Fault::UsedId(20));
    survives::<12>(Fault::UsedTwice);
}

#[test]
fn a_used_length_beyond_the_room_is_refused() {
    survives::<13>(Fault::UsedLen(517));
    survives::<13>(Fault::UsedLen(u32::MAX));
}

#[test]
fn a_used_length_that_is_not_the_replys_is_refused() {
    survives::<14>(Fault::UsedLen(0));
    survives::<14>(Fault::UsedLen(15));
    survives::<14>(Fault::UsedLen(16));
    survives::<14>(Fault::UsedLen(515));
}

#[test]
fn a_used_index_that_runs_ahead_is_refused() {
    survives::<15>(Fault::UsedIndexAhead(9));
    survives::<15>(Fault::UsedIndexAhead(40_000));
    survives::<15>(Fault::UsedIndexAhead(u16::MAX));
}

#[test]
fn a_request_that_is_never_answered_ends_in_a_reset() {
    survives::<16>(Fault::Swallowed);
}

#[test]
fn a_device_that_says_it_failed_is_given_up_long_before_the_timeout() {
    for status in
        [DeviceStatus::DEVICE_NEEDS_RESET | DeviceStatus::DRIVER_OK, DeviceStatus::empty(), DeviceStatus::all()]
    {
        let (fake, device) = device::<PagedHal<24>>(Build::default());
        fake.inject(Fault::Swallowed);
        fake.set_status(status);
        let start = fake.now();
        assert_eq!(getattr(&device), Err(Error::Device("the device was reset")));
        assert!(fake.now() - start < Duration::from_secs(1), "{status:?}");
    }
}

#[test]
fn a_hostile_reply_header_is_refused() {
    type Tamper = fn(&mut Vec<u8>);
    let tampers: [(&str, Tamper); 7] = [
        ("len too large", |reply| reply[0] += 1),
        ("len too small", |reply| reply[0] -= 1),
        ("len is huge", |reply| reply[..4].fill(0xff)),
        ("another unique", |reply| reply[8] ^= 2),
        ("a positive error", |reply| reply[4] = 1),
        ("an error with a body", |reply| reply[4..8].copy_from_slice(&(-5_i32).to_ne_bytes())),
        ("an error out of range", |reply| reply[4..8].copy_from_slice(&i32::MIN.to_ne_bytes())),
    ];
    for (what, tamper) in tampers {
        let tampered = move |request: &[u8], room| {
            let mut reply = answer(request, room)?;
            tamper(&mut reply);
            Some(reply)
        };
        let fake = FakeDevice::<PagedHal<17>>::new(Build::default(), Box::new(tampered));
        let device = start(&fake, &DeviceOptions::default()).unwrap();
        assert!(matches!(getattr(&device), Err(Error::Protocol(_))), "{what}");
        assert!(matches!(getattr(&device), Err(Error::Device(_))), "{what}: the device was not given up");
    }
}

#[test]
fn a_reply_cut_short_anywhere_is_refused() {
    for length in 0..OutHeader::BYTES + 104 {
        let cut = move |request: &[u8], room| {
            let mut reply = answer(request, room)?;
            reply.truncate(length);
            if length >= 4 {
                reply[..4].copy_from_slice(&(length as u32).to_ne_bytes());
            }
            Some(reply)
        };
        let fake = FakeDevice::<PlainHal<18>>::new(Build::default(), Box::new(cut));
        let device = start(&fake, &DeviceOptions::default()).unwrap();
        assert!(matches!(getattr(&device), Err(Error::Protocol(_))), "{length} bytes");
    }
}

#[test]
fn a_refusal_leaves_the_device_in_operation() {
    let refuse = |request: &[u8], _| Some(reply(InHeader::read_from_prefix(request).unwrap().0.unique, -13, &[]));
    let fake = FakeDevice::<PlainHal<19>>::new(Build::default(), Box::new(refuse));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(getattr(&device), Err(Error::Refused(Errno::EACCES)));
    }
}
