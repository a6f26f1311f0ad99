//! Requests that have a reply for which nobody waits.

use super::*;
use crate::wire::{Destroy, Write, WriteFlags};
use std::sync::Mutex;

const MINUTE: Duration = Duration::from_secs(60);
const EVERYTHING: Unique = Unique(u64::MAX);

type Order = Arc<Mutex<Vec<Opcode>>>;

/// A session with a device that notes the order in which it answers, and changes the replies to RELEASE.
fn session<M: DeviceMemory>(build: Build, tamper: fn(&mut Vec<u8>)) -> (Arc<FakeDevice<M>>, Session, Order) {
    let order = Order::default();
    let seen = order.clone();
    let answer = move |request: &[u8], room| {
        let (header, _) = InHeader::read_from_prefix(request).unwrap();
        let mut order = seen.lock().unwrap();
        order.push(Opcode(header.opcode));
        match Opcode(header.opcode) {
            Destroy::OPCODE => Some(Vec::new()),
            // A file that takes all space, until it is closed.
            Write::OPCODE if !order.contains(&Release::OPCODE) => Some(reply(header.unique, -28, &[])),
            Write::OPCODE => Some(reply(header.unique, 0, &5_u64.to_ne_bytes())),
            Release::OPCODE => answer(request, room).map(|mut reply| {
                tamper(&mut reply);
                reply
            }),
            _ => answer(request, room),
        }
    };
    let fake = FakeDevice::new(build, Box::new(answer));
    let session = Session::open(Box::new(start(&fake, &DeviceOptions::default()).unwrap())).unwrap();
    order.lock().unwrap().clear();
    (fake, session, order)
}

fn close(session: &Session) -> Result<(), Error> {
    session.call_detached(&Credentials::DRIVER, NodeId(2), &RELEASE)
}

/// A device with four slots.
fn small<M: DeviceMemory>(build: Build) -> (Arc<FakeDevice<M>>, Device<M>) {
    let fake = FakeDevice::new(build, Box::new(answer));
    let options = DeviceOptions { requests_in_flight: 4, ..DeviceOptions::default() };
    let device = start(&fake, &options).unwrap();
    (fake, device)
}

#[test]
fn a_detached_request_is_sent_at_once_and_its_slot_freed_when_somebody_looks() {
    let (fake, device) = small::<PagedHal<36>>(Build::default());
    let before = PagedHal::<36>::alive();
    let start = fake.now();
    (0..4).for_each(|unique| release(&device, 2 * unique).unwrap());
    assert_eq!((fake.now(), fake.doorbells()), (start, 1), "nobody waited, and one bell was rung for all");
    assert!(device.has_detached());
    device.reap();
    assert!(device.has_detached(), "the device has not answered yet");
    fake.work();
    device.reap();
    assert!(!device.has_detached());
    assert_eq!((fake.now(), fake.requests(1)), (start, 4));
    assert_eq!(PagedHal::<36>::alive(), before, "nothing of the caller's was shared");
}

#[test]
fn calls_go_on_when_detached_requests_have_all_slots() {
    let (fake, device) = small::<PlainHal<37>>(Build::default());
    for round in 0..5 {
        (0..4).for_each(|unique| release(&device, 2 * unique).unwrap());
        assert_eq!(getattr(&device), Ok(()), "round {round}");
    }
    assert_eq!(fake.most_held(), 4);
    // They wait for slots of each other, too.
    (0..50).for_each(|unique| release(&device, 2 * unique).unwrap());
    assert_eq!(device.drain_detached(EVERYTHING), Ok(()));
    assert_eq!(fake.requests(1), 5 * 5 + 50);
}

#[test]
fn nobody_asks_the_device_to_ring_for_a_detached_request() {
    let (fake, device) = small::<PlainHal<38>>(Build { interrupts: true, ..Build::default() });
    assert_eq!(getattr(&device), Ok(()));
    for _ in 0..3 {
        release(&device, 100).unwrap();
        assert!(!fake.would_ring(1));
        fake.work();
        device.reap();
    }
}

#[test]
fn only_earlier_requests_are_waited_for() {
    let (fake, device) = small::<PlainHal<39>>(Build::default());
    release(&device, 100).unwrap();
    fake.work();
    fake.inject(Fault::Swallowed);
    release(&device, 102).unwrap();
    assert_eq!(device.drain_detached(Unique(102)), Ok(()));
    assert!(device.has_detached());
    let start = fake.now();
    assert_eq!(device.drain_detached(Unique(103)), Err(Error::Device("the device was reset")));
    assert!((MINUTE..MINUTE + Duration::from_secs(1)).contains(&(fake.now() - start)));
}

#[test]
fn a_reset_frees_the_slots_of_detached_requests() {
    let before = PagedHal::<45>::alive();
    let (fake, device) = small::<PagedHal<45>>(Build::default());
    fake.inject(Fault::Swallowed);
    (0..4).for_each(|unique| release(&device, 2 * unique).unwrap());
    device.shut_down();
    let lost = Err(Error::Device("the device was reset"));
    assert!(!device.has_detached());
    assert_eq!((device.drain_detached(EVERYTHING), release(&device, 8), getattr(&device)), (lost, lost, lost));
    device.reap();
    drop(device);
    assert_eq!(PagedHal::<45>::alive(), before);
}

#[test]
fn lost_detached_requests_in_all_slots_end_in_a_reset() {
    let (fake, device) = small::<PlainHal<46>>(Build::default());
    (0..4).for_each(|_| fake.inject(Fault::Swallowed));
    (0..4).for_each(|unique| release(&device, 2 * unique).unwrap());
    assert_eq!(getattr(&device), Err(Error::Device("the device was reset")));
    assert!((MINUTE..2 * MINUTE).contains(&fake.now().0));
}

#[test]
fn a_lost_detached_request_hinders_nobody_until_the_end_which_resets_the_device() {
    let (fake, session, order) = session::<PlainHal<47>>(Build::default(), |_| ());
    fake.inject(Fault::Swallowed);
    close(&session).unwrap();
    let start = fake.now();
    for _ in 0..100 {
        session.call(&Credentials::DRIVER, NodeId(2), &Getattr { fh: None }).unwrap();
    }
    session.reap();
    assert!(fake.now() - start < MINUTE);
    let start = fake.now();
    assert_eq!(session.end(), Err(Error::Device("the device was reset")));
    assert!((MINUTE..MINUTE + Duration::from_secs(1)).contains(&(fake.now() - start)));
    assert!(!order.lock().unwrap().contains(&Destroy::OPCODE));
}

#[test]
fn a_hostile_reply_that_nobody_waits_for_costs_the_device() {
    type Tamper = fn(&mut Vec<u8>);
    let tampers: [(&str, Tamper); 7] = [
        ("another unique", |reply| reply[8] ^= 2),
        ("nothing", Vec::clear),
        ("shorter than its header", |reply| reply.truncate(15)),
        ("len too large", |reply| reply[0] += 1),
        ("a positive error", |reply| reply[4] = 1),
        ("an error out of range", |reply| reply[4..8].copy_from_slice(&i32::MIN.to_ne_bytes())),
        ("more than there is room for", |reply| reply.push(0)),
    ];
    let notice: [fn(&Session) -> bool; 3] = [
        |session| session.call(&Credentials::DRIVER, NodeId(2), &Getattr { fh: None }).is_err(),
        |session| {
            session.reap();
            close(session).is_err()
        },
        |session| session.end().is_err(),
    ];
    for (what, tamper) in tampers {
        for notice in notice {
            let (fake, session, _) = session::<PagedHal<48>>(Build::default(), tamper);
            close(&session).unwrap();
            fake.work();
            assert!(notice(&session), "{what} went unnoticed");
            assert_eq!(close(&session), Err(Error::Device("the device was reset")), "{what}");
        }
    }
}

#[test]
fn a_refusal_that_nobody_waits_for_leaves_the_device_in_operation() {
    let refuse = |reply: &mut Vec<u8>| reply[4..8].copy_from_slice(&(-5_i32).to_ne_bytes());
    let (_, session, _) = session::<PlainHal<49>>(Build::default(), refuse);
    for _ in 0..100 {
        close(&session).unwrap();
    }
    assert_eq!(session.end(), Ok(()));
    assert_eq!(session.statistics().requests_of("RELEASE"), 100);
}

/// Nothing is ordered between requests in flight: the device here answers the last one first.
#[test]
fn destroy_waits_for_detached_requests() {
    let (_, session, order) = session::<PlainHal<56>>(Build { reverse: true, ..Build::default() }, |_| ());
    close(&session).unwrap();
    session.end().unwrap();
    assert_eq!(*order.lock().unwrap(), [Release::OPCODE, Destroy::OPCODE]);
}

/// Nothing is ordered between queues: the device here looks at the high-priority queue first.
#[test]
fn a_forget_does_not_overtake_detached_requests() {
    let (_, session, order) = session::<PlainHal<57>>(Build::default(), |_| ());
    close(&session).unwrap();
    session.forget(NodeId(2), 1);
    session.flush_forgets();
    session.end().unwrap();
    assert_eq!(*order.lock().unwrap(), [Release::OPCODE, Forget::OPCODE, Destroy::OPCODE]);
}

#[test]
fn without_space_a_write_is_sent_again_when_files_are_closed() {
    let (_, session, order) = session::<PlainHal<58>>(Build { reverse: true, ..Build::default() }, |_| ());
    let to = crate::session::WriteTo {
        nodeid: NodeId(2),
        fh: FileHandle(1),
        flags: OpenFlags::empty(),
        write_flags: WriteFlags::empty(),
    };
    assert_eq!(session.write(&Credentials::DRIVER, to, 0, b"12345"[..].into()), Err(Error::Refused(Errno::ENOSPC)));
    close(&session).unwrap();
    assert_eq!(session.write(&Credentials::DRIVER, to, 0, b"12345"[..].into()).map(|sent| sent.bytes), Ok(5));
    assert_eq!(*order.lock().unwrap(), [Write::OPCODE, Write::OPCODE, Release::OPCODE, Write::OPCODE]);
}

#[test]
fn threads_close_files_and_read_others_through_few_slots() {
    let fake = FakeDevice::<PagedHal<59>>::new(Build { reverse: true, ..Build::default() }, Box::new(answer));
    // The fake clock runs with every thread that waits.
    let request_timeout = Duration::from_secs(1 << 40);
    let options = DeviceOptions { request_timeout, requests_in_flight: 4, ..DeviceOptions::default() };
    let device = start(&fake, &options).unwrap();
    let rounds = if cfg!(miri) { 3 } else { 200 };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = &device;
            scope.spawn(move || {
                let mut buffer = std::vec![0; 5 * 64];
                for round in 0..rounds {
                    release(device, 100 * round + 2 * thread).unwrap();
                    let results = read_and_check(device, thread * 1_000_003 + round, &mut buffer, 64);
                    assert!(results.iter().all(Result::is_ok));
                    if round % 10 == 0 {
                        assert_eq!(device.drain_detached(Unique(100 * round + 100)), Ok(()));
                    }
                }
            });
        }
    });
    assert_eq!(device.drain_detached(EVERYTHING), Ok(()));
    assert_eq!(fake.requests(1), 4 * rounds * 6);
}
