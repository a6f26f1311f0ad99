//! Data in several buffers.

use super::*;
use crate::session::{Payload, Room};
use crate::wire::{Write, WriteFlags};
use std::sync::Mutex;

const PAGE: usize = 4096;

/// The first `count` whole pages in `memory`, in the reverse of their order: no two that follow each other are
/// neighbours.
fn pages(memory: &mut [u8], count: usize) -> Vec<&mut [u8]> {
    memory.fill(0xee);
    let start = memory.as_ptr().align_offset(PAGE);
    memory[start..].chunks_exact_mut(PAGE).take(count).rev().collect()
}

/// Leaves out the first and the last so many bytes.
fn trim(slices: &mut [&mut [u8]], first: usize, last: usize) {
    if let Some(slice) = slices.first_mut() {
        slice.split_off_mut(..first).unwrap();
    }
    if let Some(slice) = slices.last_mut() {
        slice.split_off_mut(slice.len() - last..).unwrap();
    }
}

/// One READ from byte 1000 on.
fn read(device: &dyn Channel, slices: &mut [&mut [u8]]) -> Result<usize, Error> {
    let room = Room::from(slices);
    let read = Read { fh: FileHandle(1), offset: 1000, size_bytes: room.len() as u32, flags: OpenFlags::empty() };
    let request = Request::scattered(header::<Read>(2), &read, Payload::default(), room);
    let mut result = Err(Error::Invalid(Errno::EAGAIN));
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|reply| reply.data_bytes));
    result
}

/// One WRITE.
fn write(device: &dyn Channel, slices: &[&[u8]]) -> Result<(), Error> {
    let payload = Payload::from(slices);
    let write = Write {
        fh: FileHandle(1),
        offset: 0,
        size_bytes: payload.len() as u32,
        write_flags: WriteFlags::CACHE,
        lock_owner: None,
        flags: OpenFlags::empty(),
    };
    let request = Request::scattered(header::<Write>(2), &write, payload, Room::default());
    let mut result = Err(Error::Invalid(Errno::EAGAIN));
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|_| ()));
    result
}

#[test]
fn a_reply_fills_slices_in_order_and_nothing_between_them() {
    let (fake, device) = device::<PagedHal<26>>(Build::default());
    let before = PagedHal::<26>::alive();
    let mut memory = std::vec![0; 8 * PAGE];
    let mut slices = pages(&mut memory, 6);
    trim(&mut slices, 100, 4000);
    slices.insert(2, &mut []);
    let length = 6 * PAGE - 4100;
    assert_eq!(read(&device, &mut slices), Ok(length));
    assert_eq!(fake.longest_chain(), 2 + 6);
    assert_eq!(PagedHal::<26>::alive(), before, "all that was shared was unshared");
    assert!(slices.iter().flat_map(|slice| slice.iter().copied()).eq((1000..).map(byte_at).take(length)));
    let is_left_alone = |range: core::ops::Range<usize>, memory: &[u8]| memory[range].iter().all(|&byte| byte == 0xee);
    let start = memory.as_ptr().align_offset(PAGE);
    assert!(is_left_alone(0..start, &memory) && is_left_alone(start + 96..start + PAGE, &memory));
    assert!(is_left_alone(start + 5 * PAGE..start + 5 * PAGE + 100, &memory));
    assert!(is_left_alone(start + 6 * PAGE..8 * PAGE, &memory));
}

#[test]
fn a_slice_of_several_pages_is_one_descriptor_where_they_are_neighbours() {
    let (fake, device) = device::<PlainHal<27>>(Build::default());
    let before = PlainHal::<27>::alive();
    let (mut one, mut other) = (std::vec![0; 3 * PAGE], std::vec![0; 2 * PAGE]);
    assert_eq!(read(&device, &mut [&mut one, &mut other]), Ok(5 * PAGE));
    assert_eq!(fake.longest_chain(), 2 + 2);
    assert!(one.iter().chain(&other).copied().eq((1000..).map(byte_at).take(5 * PAGE)));
    assert_eq!(PlainHal::<27>::alive(), before);
}

#[test]
fn the_device_reads_the_slices_of_a_payload_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let keep = move |request: &[u8], _| {
        let (header, args) = InHeader::read_from_prefix(request).unwrap();
        *kept.lock().unwrap() = args[40..].to_vec();
        Some(reply(header.unique, 0, &[0; 8]))
    };
    let fake = FakeDevice::<PagedHal<28>>::new(Build::default(), Box::new(keep));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    let before = PagedHal::<28>::alive();
    let mut memory = std::vec![0; 6 * PAGE];
    let mut slices = pages(&mut memory, 5);
    trim(&mut slices, 4000, 1);
    let mut bytes = 0_u64..;
    slices.iter_mut().flat_map(|slice| slice.iter_mut()).for_each(|byte| *byte = bytes.next().map_or(0, byte_at));
    let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
    assert_eq!(write(&device, &slices), Ok(()));
    assert_eq!(*seen.lock().unwrap(), slices.concat());
    assert_eq!(PagedHal::<28>::alive(), before);
}

#[test]
fn as_many_slices_as_a_chain_has_room_for_are_carried_and_one_more_is_refused() {
    let (fake, device) = device::<PagedHal<29>>(Build { queue_sizes: std::vec![128, 8], ..Build::default() });
    let before = PagedHal::<29>::alive();
    let limit = device.limits().max_data_bytes;
    assert_eq!(limit, 5 * PAGE);
    let mut memory = std::vec![0; 9 * PAGE];
    for (first, last) in [(1, PAGE - 1), (PAGE - 1, 1)] {
        // As many bytes as a request carries, in one page more.
        let mut slices = pages(&mut memory, 6);
        trim(&mut slices, first, last);
        assert_eq!(read(&device, &mut slices), Ok(limit));
        assert!(slices.iter().flat_map(|slice| slice.iter().copied()).eq((1000..).map(byte_at).take(limit)));
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        assert_eq!(write(&device, &slices), Err(Error::Refused(Errno::ENOSYS)), "it was carried");
    }
    assert_eq!(fake.longest_chain(), 8);
    let mut slices = pages(&mut memory, 7);
    assert_eq!(read(&device, &mut slices), Err(Error::Invalid(Errno::EINVAL)));
    assert_eq!(write(&device, &[&b"x"[..]; 7]), Err(Error::Invalid(Errno::EINVAL)));
    assert_eq!(PagedHal::<29>::alive(), before, "what was shared before there was no room was unshared");
    assert_eq!(read(&device, &mut slices[..5]), Ok(limit), "others go on");
    assert_eq!(PagedHal::<29>::alive(), before);
}

#[test]
fn requests_of_several_slices_are_in_flight_together_and_allocate_nothing() {
    let build = Build { reverse: true, queue_sizes: std::vec![128, 8], ..Build::default() };
    let (fake, device) = device::<PlainHal<35>>(build);
    let session = Session::open(Box::new(device)).unwrap();
    let mut memory = std::vec![0; if cfg!(miri) { 13 } else { 101 } * PAGE];
    let count = memory.len() / PAGE - 1;
    let mut slices = pages(&mut memory, count);
    trim(&mut slices, 96, 8);
    let length = count * PAGE - 104;
    let mut read = || session.read(&Credentials::DRIVER, FROM, 1000, slices[..].as_mut().into());
    let all = Ok(Filled { bytes: length, stopped: None });
    assert_eq!(read(), all);
    assert_eq!(allocations::count(|| assert_eq!(read(), all)), 0);
    assert!(fake.most_held() > 1);
    assert!(slices.iter().flat_map(|slice| slice.iter().copied()).eq((1000..).map(byte_at).take(length)));
}
