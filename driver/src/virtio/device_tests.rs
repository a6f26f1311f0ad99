//! The device and its queues against a fake device that keeps the rules, and one that breaks them.

use super::fake::{Build, DeviceMemory, FakeDevice, FakeTransport, Fault, PagedHal, PlainHal, allocations};
use super::{Device, DeviceOptions};
use crate::session::{Channel, Credentials, Request, Session};
use crate::virtio::DeviceStatus;
use crate::wire::{
    BatchForget, FileHandle, Forget, Getattr, InHeader, NodeId, Opcode, Operation, OutHeader, Read, Unique,
};
use crate::{Errno, Error, Platform};
use core::cell::Cell;
use core::time::Duration;
use std::boxed::Box;
use std::string::ToString;
use std::sync::Arc;
use std::vec::Vec;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The byte at `offset` of every file.
fn byte_at(offset: u64) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16) as u8
}

fn reply(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let len = (OutHeader::BYTES + body.len()) as u32;
    [OutHeader { len, error, unique }.as_bytes(), body].concat()
}

/// Answers READ with the bytes asked for, GETATTR with the attributes of a file, INIT, and FORGET with nothing.
fn answer(request: &[u8], room: usize) -> Option<Vec<u8>> {
    let (header, args) = InHeader::read_from_prefix(request).unwrap();
    assert_eq!(header.len as usize, request.len());
    let number = |at: usize| u64::read_from_bytes(&args[at..at + 8]).unwrap();
    Some(match Opcode(header.opcode) {
        Forget::OPCODE | BatchForget::OPCODE => return None,
        Read::OPCODE => {
            let size = number(16) as u32;
            assert_eq!(room, OutHeader::BYTES + size as usize);
            let data: Vec<u8> = (number(8)..).take(size as usize).map(byte_at).collect();
            reply(header.unique, 0, &data)
        }
        Getattr::OPCODE => {
            let mut body = [0; 104];
            // mode: a regular file.
            body[16 + 60..16 + 64].copy_from_slice(&0o100_644_u32.to_ne_bytes());
            reply(header.unique, 0, &body)
        }
        Init::OPCODE => {
            let init = InitReply {
                major: 7,
                minor: 38,
                flags: InitFlags::MAX_PAGES.bits() as u32,
                max_write: 1 << 20,
                max_pages: 256,
                ..InitReply::new_zeroed()
            };
            reply(header.unique, 0, init.as_bytes())
        }
        _ => reply(header.unique, -38, &[]),
    })
}

fn header<O: Operation>(unique: u64) -> InHeader {
    InHeader::new(O::OPCODE, NodeId(2), Unique(unique))
}

fn start<M: DeviceMemory>(fake: &Arc<FakeDevice<M>>, options: &DeviceOptions) -> Result<Device<M>, Error> {
    Device::new(Box::new(FakeTransport(fake.clone())), fake.clone(), options)
}

fn device<M: DeviceMemory>(build: Build) -> (Arc<FakeDevice<M>>, Device<M>) {
    let fake = FakeDevice::new(build, Box::new(answer));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    (fake, device)
}

/// Reads `buffer` from `offset` on in requests of `unit` bytes, and checks what comes.
fn read_and_check(device: &dyn Channel, offset: u64, buffer: &mut [u8], unit: usize) -> Vec<Result<usize, Error>> {
    buffer.fill(0xee);
    let count = buffer.len().div_ceil(unit);
    let mut results = std::vec![Err(Error::Invalid(Errno::EAGAIN)); count];
    let mut requests = buffer.chunks_mut(unit).enumerate().map(|(place, chunk)| {
        let at = offset + (place * unit) as u64;
        let read = Read { fh: FileHandle(1), offset: at, size_bytes: chunk.len() as u32, flags: 0 };
        Request::new(header::<Read>(2 + 2 * place as u64), &read, &[], chunk)
    });
    device.exchange(&mut requests, &mut |place, reply| results[place] = reply.map(|reply| reply.data_bytes));
    for (place, (chunk, result)) in buffer.chunks(unit).zip(&results).enumerate() {
        if let Ok(bytes) = result {
            assert_eq!(*bytes, chunk.len());
            let expected = (offset + (place * unit) as u64..).map(byte_at);
            assert!(chunk.iter().copied().zip(expected).all(|(a, b)| a == b), "wrong bytes in request {place}");
        }
    }
    results
}

/// One GETATTR.
fn getattr(device: &dyn Channel) -> Result<(), Error> {
    let mut result = Err(Error::Invalid(Errno::EAGAIN));
    let request = Request::new(header::<Getattr>(2), &Getattr { fh: None }, &[], &mut []);
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|_| ()));
    result
}

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
    let (_, device) = device::<PagedHal<2>>(Build { queue_sizes: std::vec![128, 16], ..Build::default() });
    let before = PagedHal::<2>::alive();
    assert_eq!(device.limits().max_data_bytes, 13 * 4096);
    let mut buffer = std::vec![0; 20 * 4096];
    assert_eq!(read_and_check(&device, 0, &mut buffer, 20 * 4096), [Err(Error::Invalid(Errno::EINVAL))]);
    assert_eq!(PagedHal::<2>::alive(), before);
    let limit = device.limits().max_data_bytes;
    let results = read_and_check(&device, 0, &mut buffer, limit);
    assert!(results.iter().all(Result::is_ok));
}

/// Sends batches of 1 to 40 reads, until well past the point where the 16-bit ring indices wrap.
fn sends_more_requests_than_the_indices_count<M: DeviceMemory>(features: u64) {
    let total = if cfg!(miri) { 300 } else { 70_000 };
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
    let mut buffer = std::vec![0; 1000 * 16];
    assert!(read_and_check(&device, 0, &mut buffer, 16).iter().all(Result::is_ok));
    assert_eq!(fake.most_held(), 4);
}

#[test]
fn replies_in_any_order_reach_their_requests() {
    let (_, device) = device::<PagedHal<8>>(Build { reverse: true, ..Build::default() });
    let mut buffer = std::vec![0; 100 * 33];
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

/// A large file arrives in as many requests as it has units, as many of them in flight as there are slots.
#[test]
#[cfg_attr(miri, ignore = "64 MiB byte by byte take Miri an hour")]
fn a_64_mib_read_is_64_requests_of_which_32_are_in_flight() {
    let (fake, device) = device::<PlainHal<25>>(Build { queue_sizes: std::vec![128, 1024], ..Build::default() });
    let session = Session::open(Box::new(device), Credentials::default()).unwrap();
    let before = fake.requests(1);
    let mut buffer = std::vec![0; 64 << 20];
    assert_eq!(session.read(NodeId(2), FileHandle(1), 0, 0, &mut buffer), Ok(64 << 20));
    assert_eq!(fake.most_held(), 32);
    assert_eq!(fake.requests(1) - before, 64);
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

fn start_error(build: Build) -> Error {
    let fake = FakeDevice::<PlainHal<20>>::new(build, Box::new(answer));
    start(&fake, &DeviceOptions::default()).err().unwrap()
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

#[test]
fn no_request_allocates_after_warm_up() {
    let fake = FakeDevice::<PlainHal<23>>::new(Build::default(), Box::new(answer));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    let session = Session::open(Box::new(device), Credentials::default()).unwrap();
    let mut buffer = std::vec![0; 1 << 20];
    let rounds = Cell::new(0);
    let mut round = || {
        for _ in 0..10 {
            session.call(NodeId(2), &Getattr { fh: None }).unwrap();
            assert_eq!(session.read(NodeId(2), FileHandle(1), 0, 7, &mut buffer), Ok(1 << 20));
            (2..600).for_each(|nodeid| session.forget(NodeId(nodeid), 1));
            session.flush_forgets();
        }
        rounds.set(rounds.get() + 1);
    };
    round();
    assert_eq!(allocations::count(round), 0);
    assert_eq!(rounds.get(), 2);
}
