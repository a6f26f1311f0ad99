//! Requests that are served.

use super::*;
use core::cell::Cell;

#[test]
fn a_buffer_is_split_at_page_boundaries_and_shared_page_by_page() {
    let (fake, device) = device::<PagedHal<0>>(Build::default());
    let before = PagedHal::<0>::alive();
    let mut memory = std::vec![0; 6 * 4096];
    let start = memory.as_ptr().align_offset(4096) + 100;
    // 100 bytes into a page, up to 8 bytes into the fifth: five pieces.
    let length = 4 * 4096 - 100 + 8;
    let results = read_and_check(&device, 12_345, &mut memory[start..start + length], length);
    assert_eq!(results, [Ok(length)]);
    assert_eq!(fake.longest_chain(), 2 + 5);
    assert_eq!(PagedHal::<0>::alive(), before, "all that was shared was unshared");
}

#[test]
fn neighbouring_pages_become_one_descriptor() {
    let (fake, device) = device::<PlainHal<1>>(Build::default());
    let before = PlainHal::<1>::alive();
    let mut buffer = std::vec![0; 5 * 4096 + 17];
    let length = buffer.len();
    assert_eq!(read_and_check(&device, 0, &mut buffer, length), [Ok(length)]);
    assert_eq!(fake.longest_chain(), 3);
    assert_eq!(PlainHal::<1>::alive(), before);
}

#[test]
fn a_request_that_fits_no_chain_is_refused_and_others_go_on() {
    let (_, device) = device::<PagedHal<2>>(Build { queue_sizes: std::vec![128, 4], ..Build::default() });
    let before = PagedHal::<2>::alive();
    assert_eq!(device.limits().max_data_bytes, 4096);
    let mut buffer = std::vec![0; 4 * 4096];
    assert_eq!(read_and_check(&device, 0, &mut buffer, 4 * 4096), [Err(Error::Invalid(Errno::EINVAL))]);
    assert_eq!(PagedHal::<2>::alive(), before);
    let limit = device.limits().max_data_bytes;
    let results = read_and_check(&device, 0, &mut buffer, limit);
    assert!(results.iter().all(Result::is_ok));
}

/// Sends batches of 1 to 40 reads, until well past the point where the 16-bit ring indices wrap.
fn sends_more_requests_than_the_indices_count<M: DeviceMemory>(features: u64) {
    let total = if cfg!(miri) { 100 } else { 70_000 };
    let build = Build { features, queue_sizes: std::vec![64, 1024], ..Build::default() };
    let (fake, device) = device::<M>(build);
    let mut buffer = [0; 40 * 8];
    let (mut sent, mut batches) = (0, 0);
    while sent < total {
        let batch = 1 + batches % 40;
        let results = read_and_check(&device, sent as u64, &mut buffer[..8 * batch], 8);
        assert!(results.iter().all(Result::is_ok), "after {sent} requests");
        sent += batch;
        batches += 1;
    }
    assert_eq!(fake.requests(1), sent as u64);
    assert!(fake.doorbells() <= 2 * batches as u64, "{} doorbells for {batches} batches", fake.doorbells());
    let traffic = device.traffic();
    let most = batches.min(32) as u64;
    assert_eq!((traffic.doorbells, traffic.most_in_flight), (fake.doorbells(), most));
}

#[test]
fn ring_indices_wrap_around_with_event_index_and_indirect_tables() {
    sends_more_requests_than_the_indices_count::<PlainHal<3>>(1 << 28 | 1 << 29 | 1 << 32);
}

#[test]
fn ring_indices_wrap_around_without_event_index() {
    sends_more_requests_than_the_indices_count::<PlainHal<4>>(1 << 28 | 1 << 32);
}

#[test]
fn ring_indices_wrap_around_without_indirect_tables() {
    sends_more_requests_than_the_indices_count::<PlainHal<5>>(1 << 29 | 1 << 32);
}

#[test]
fn a_batch_needs_one_doorbell() {
    let (fake, device) = device::<PlainHal<6>>(Build::default());
    let mut buffer = [0; 32 * 8];
    assert!(read_and_check(&device, 0, &mut buffer, 8).iter().all(Result::is_ok));
    assert_eq!((fake.requests(1), fake.doorbells()), (32, 1));
}

#[test]
fn as_many_requests_are_in_flight_as_there_are_slots() {
    let fake = FakeDevice::<PlainHal<7>>::new(Build::default(), Box::new(answer));
    let options = DeviceOptions { requests_in_flight: 4, ..DeviceOptions::default() };
    let device = start(&fake, &options).unwrap();
    let mut buffer = std::vec![0; if cfg!(miri) { 20 } else { 1000 } * 16];
    assert!(read_and_check(&device, 0, &mut buffer, 16).iter().all(Result::is_ok));
    assert_eq!(fake.most_held(), 4);
}

#[test]
fn replies_in_any_order_reach_their_requests() {
    let (_, device) = device::<PagedHal<8>>(Build { reverse: true, ..Build::default() });
    let mut buffer = std::vec![0; if cfg!(miri) { 40 } else { 100 } * 33];
    assert!(read_and_check(&device, 5, &mut buffer, 33).iter().all(Result::is_ok));
}

#[test]
fn forgets_are_posted_without_waiting_and_never_lost() {
    let (fake, device) = device::<PlainHal<9>>(Build::default());
    for nlookup in 1..=100 {
        device.post(&Request::new(header::<Forget>(2 * nlookup), &Forget { nlookup }, &[], &mut [])).unwrap();
    }
    fake.work();
    assert_eq!(fake.requests(0), 100);
    let long = std::vec![0; 5000];
    let request = Request::new(header::<Forget>(2), &Forget { nlookup: 1 }, &long, &mut []);
    assert_eq!(device.post(&request), Err(Error::Invalid(Errno::EINVAL)));
}

/// A thread that found no free slot must hear of one that another thread frees before it begins to wait.
#[test]
fn threads_share_a_queue() {
    let fake = FakeDevice::<PagedHal<10>>::new(Build { reverse: true, ..Build::default() }, Box::new(answer));
    // The fake clock runs with every thread that waits.
    let options = DeviceOptions { request_timeout: Duration::from_secs(1 << 40), ..DeviceOptions::default() };
    let device = start(&fake, &options).unwrap();
    let rounds = if cfg!(miri) { 3 } else { 200 };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = &device;
            scope.spawn(move || {
                let mut buffer = std::vec![0; 20 * 64];
                for round in 0..rounds {
                    let results = read_and_check(device, thread * 1_000_003 + round, &mut buffer, 64);
                    assert!(results.iter().all(Result::is_ok));
                }
            });
        }
    });
}

/// A large file arrives in as many requests as it has units, as many of them in flight as there are slots.
#[test]
#[cfg_attr(miri, ignore = "64 MiB byte by byte take Miri an hour")]
fn a_64_mib_read_is_64_requests_of_which_32_are_in_flight() {
    let (fake, device) = device::<PlainHal<25>>(Build { queue_sizes: std::vec![128, 1024], ..Build::default() });
    let session = Session::open(Box::new(device)).unwrap();
    let before = fake.requests(1);
    let mut buffer = std::vec![0; 64 << 20];
    let filled = session.read(&Credentials::DRIVER, FROM, 0, buffer[..].as_mut().into());
    assert_eq!(filled, Ok(Filled { bytes: 64 << 20, stopped: None }));
    assert_eq!(fake.most_held(), 32);
    assert_eq!(fake.requests(1) - before, 64);
}

#[test]
fn no_request_allocates_after_warm_up() {
    let fake = FakeDevice::<PlainHal<23>>::new(Build::default(), Box::new(answer));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    let session = Session::open(Box::new(device)).unwrap();
    let bytes = if cfg!(miri) { 1 << 10 } else { 1 << 20 };
    let mut buffer = std::vec![0; bytes];
    let rounds = Cell::new(0);
    let mut round = || {
        for _ in 0..if cfg!(miri) { 1 } else { 10 } {
            session.call(&Credentials::DRIVER, NodeId(2), &Getattr { fh: None }).unwrap();
            let filled = session.read(&Credentials::DRIVER, FROM, 7, buffer[..].as_mut().into());
            assert_eq!(filled, Ok(Filled { bytes, stopped: None }));
            session.call_detached(&Credentials::DRIVER, NodeId(2), &RELEASE).unwrap();
            (2..600).for_each(|nodeid| session.forget(NodeId(nodeid), 1));
            session.flush_forgets();
        }
        rounds.set(rounds.get() + 1);
    };
    round();
    assert_eq!(allocations::count(round), 0);
    assert_eq!(rounds.get(), 2);
}
