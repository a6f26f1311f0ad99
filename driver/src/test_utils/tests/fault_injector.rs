//! The injector of faults.

use super::*;
use crate::VirtioFs;
use crate::session::Payload;
use crate::test_utils::{FaultInjector, FaultRates, Injected, Mounted, uncached};
use crate::wire::{Write, WriteFlags};
use alloc::sync::Arc;

const NONE: FaultRates = FaultRates { errors: 0, write_errors: 0, short_writes: 0, delays: 0 };

/// A mounted server with a file, and what is between.
fn faulty() -> (Mounted, FaultInjector) {
    let channel = FakeChannel::new(server());
    let faults = FaultInjector::new(|| {});
    let fs = VirtioFs::mount_channel(faults.between(Box::new(channel.clone())), &uncached()).unwrap();
    (Mounted { fs, channel }, faults)
}

#[test]
fn a_refused_request_is_not_sent() {
    let (mounted, faults) = faulty();
    faults.start(1, FaultRates { errors: 1000, ..NONE });
    let (result, sent) = mounted.sent_by(|| mounted.fs.root().lookup("d"));
    assert_eq!(sent, []);
    let injected = faults.stop();
    let [Injected::Error { opcode: opcode::LOOKUP, nodeid: NodeId::ROOT, errno }] = injected[..] else {
        panic!("{injected:?}")
    };
    assert_eq!(result.err(), Some(Error::Refused(errno)));
    assert!(mounted.fs.root().lookup("d").is_ok());
    assert_eq!(faults.stop(), []);
    mounted.unmount();
}

#[test]
fn what_would_leave_something_open_or_has_no_reply_is_sent_all_the_same() {
    let (mounted, faults) = faulty();
    let file = mounted.fs.root().lookup("d").unwrap().0.lookup("f").unwrap().0.open(OpenFlags::READ_ONLY).unwrap();
    let mut dir = mounted.fs.root().opendir().unwrap();
    dir.next_entry().unwrap();
    faults.start(2, FaultRates { errors: 1000, write_errors: 1000, ..NONE });
    drop((file, dir));
    mounted.fs.maintain();
    assert_eq!(faults.stop(), []);
    faults.start(3, FaultRates { errors: 1000, ..NONE });
    // DESTROY, too.
    mounted.unmount();
}

#[test]
fn a_short_write_is_one_at_the_server() {
    let (mounted, faults) = faulty();
    let file = mounted.fs.create("new").unwrap();
    faults.start(4, FaultRates { short_writes: 1000, ..NONE });
    let written = file.write_at(0, b"0123456789").unwrap();
    let injected = faults.stop();
    let [Injected::ShortWrite { nodeid, sent_bytes, asked_bytes: 10 }] = injected[..] else { panic!("{injected:?}") };
    assert_eq!((written, nodeid), (sent_bytes, file.as_open_file().node().nodeid()));
    assert_eq!(mounted.fs.read("new").unwrap(), b"0123456789"[..written]);
    file.close().unwrap();
    mounted.unmount();
}

/// The order in which `count` requests are done, and what went wrong.
fn order(client: &mut Client, faults: &FaultInjector, seed: u64, rates: FaultRates) -> (Vec<(usize, bool)>, usize) {
    let channel = faults.between(Box::new(client.channel.clone()));
    let mut order = Vec::new();
    let mut requests: Vec<_> = (0..8).map(|_| client.request(1, &Getattr { fh: None }, &mut [])).collect();
    faults.start(seed, rates);
    channel.exchange(&mut requests.drain(..), &mut |place, reply| order.push((place, reply.is_ok())));
    (order, faults.stop().len())
}

#[test]
fn each_request_is_done_once_by_the_order_of_the_seed_and_late_replies_come_last() {
    let mut client = Client::new(server());
    let pauses = Arc::new(AtomicUsize::new(0));
    let counted = pauses.clone();
    let faults = FaultInjector::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    for seed in 0..100 {
        let (mut done, _) = order(&mut client, &faults, seed, FaultRates { errors: 200, delays: 200, ..NONE });
        assert_eq!(order(&mut client, &faults, seed, FaultRates { errors: 200, delays: 200, ..NONE }).0, done);
        done.sort();
        assert!(done.iter().map(|&(place, _)| place).eq(0..8), "{done:?}");
    }
    assert!(pauses.load(Ordering::Relaxed) > 100);
    assert_eq!(order(&mut client, &faults, 5, FaultRates { errors: 1000, ..NONE }).1, 8);
    assert!(order(&mut client, &faults, 5, FaultRates { delays: 1000, ..NONE }).0.is_sorted_by(|one, two| one > two));
    assert!(client.violations().is_empty());
}

#[test]
fn a_request_that_is_cut_says_so_itself() {
    let payload: [&[u8]; 2] = [b"abc", b"defg"];
    let write = Write {
        fh: FileHandle(1),
        offset: 2,
        size_bytes: 7,
        write_flags: WriteFlags::empty(),
        lock_owner: None,
        flags: OpenFlags::READ_WRITE,
    };
    let bytes = |write: &Write, payload| {
        let header = InHeader::new(Write::OPCODE, NodeId(3), Unique(4));
        Request::scattered(header, write, payload, Default::default())
    };
    let short = bytes(&write, Payload::from(&payload[..])).of_first(4);
    let whole = bytes(&Write { size_bytes: 4, ..write }, Payload::from(&b"abcd"[..]));
    assert_eq!(crate::test_utils::request_bytes(&short), crate::test_utils::request_bytes(&whole));
}
