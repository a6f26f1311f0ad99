//! Callers that give up.

use super::*;
use crate::wire::{Lock, LockKind, LockOwner, Setlkw};

const MINUTE: Duration = Duration::from_secs(60);

/// Waits for a lock.
fn setlkw(device: &dyn Channel) -> Result<(), Error> {
    let mut result = Err(Error::Invalid(Errno::EAGAIN));
    let lock = Lock { kind: LockKind::Write, start: 0, end: 9, pid: 0 };
    let setlkw = Setlkw { fh: FileHandle(1), owner: LockOwner(1), lock, flock: false };
    let request = Request::new(header::<Setlkw>(2), &setlkw, &[], &mut []);
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|_| ()));
    result
}

#[test]
fn a_lock_is_waited_for_longer_than_any_other_reply() {
    let (fake, device) = device::<PlainHal<40>>(Build::default());
    fake.inject(Fault::UntilInterrupted { times: 1 });
    fake.interrupt_at(2 * MINUTE);
    assert_eq!(setlkw(&device), Err(Error::Refused(Errno::EINTR)));
    assert!(fake.now().0 >= 2 * MINUTE);
    assert_eq!(fake.requests(0), 1, "one INTERRUPT");
    fake.interrupt_at(Duration::MAX);
    assert_eq!(getattr(&device), Ok(()), "the device is in operation");
}

#[test]
fn a_server_that_takes_no_notice_of_an_interrupt_is_told_again_and_not_given_up() {
    let (fake, device) = device::<PlainHal<41>>(Build::default());
    fake.inject(Fault::UntilInterrupted { times: 5 });
    fake.interrupt_at(2 * MINUTE);
    assert_eq!(setlkw(&device), Err(Error::Refused(Errno::EINTR)));
    assert_eq!(fake.requests(0), 5);
    assert!((2 * MINUTE + Duration::from_secs(4)..3 * MINUTE).contains(&fake.now().0), "once a second");
}

#[test]
fn an_interrupt_does_not_put_off_the_end_of_a_request_that_waits_for_nobody() {
    let (fake, device) = device::<PlainHal<44>>(Build::default());
    fake.inject(Fault::Swallowed);
    fake.interrupt_at(Duration::from_secs(10));
    assert_eq!(getattr(&device), Err(Error::Device("the device was reset")));
    assert!((MINUTE..2 * MINUTE).contains(&fake.now().0));
}

#[test]
fn every_request_in_flight_is_interrupted_once() {
    let (fake, device) = device::<PagedHal<42>>(Build::default());
    for _ in 0..5 {
        fake.inject(Fault::UntilInterrupted { times: 1 });
    }
    fake.interrupt_at(Duration::from_secs(1));
    let mut buffer = std::vec![0; 5 * 500];
    let results = read_and_check(&device, 0, &mut buffer, 500);
    assert_eq!(results, [Err(Error::Refused(Errno::EINTR)); 5]);
    assert_eq!(fake.requests(0), 5);
}

#[test]
fn nothing_is_sent_before_the_reply_to_init() {
    let (fake, device) = device::<PlainHal<45>>(Build::default());
    fake.inject(Fault::Swallowed);
    fake.interrupt_at(Duration::from_secs(1));
    let init = Init { flags: InitFlags::empty(), max_readahead_bytes: 0 };
    let mut data = [0; Init::REPLY_ROOM_BYTES];
    let request = Request::new(header::<Init>(2), &init, &[], &mut data);
    let mut result = Ok(());
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|_| ()));
    assert_eq!(result, Err(Error::Device("the device was reset")));
    assert!((MINUTE..2 * MINUTE).contains(&fake.now().0));
    assert_eq!(device.traffic().interrupts, 0);
}

#[test]
fn a_request_that_is_answered_at_once_is_not_interrupted() {
    let (fake, device) = device::<PlainHal<43>>(Build::default());
    assert_eq!(getattr(&device), Ok(()));
    assert_eq!(fake.requests(0), 0);
}
