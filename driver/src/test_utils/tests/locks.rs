//! Locks on the fake server.

use super::raw::*;
use super::*;
use crate::test_utils::HeldLock;
use Errno as E;
use std::sync::atomic::AtomicBool;
use std::thread;

const POSIX: u64 = 1 << 1;
const FLOCK: u64 = 1 << 10;
const END: u64 = i64::MAX as u64;
const READ: u32 = 0;
const WRITE: u32 = 1;
const UNLOCK: u32 = 2;

/// `fuse_lk_in`.
fn lock(fh: u64, owner: u64, (start, end): (u64, u64), kind: u32, flags: u32) -> Put {
    put().u64(fh).u64(owner).u64(start).u64(end).u32(kind).u32(owner as u32 + 100).u32(flags).u32(0)
}

fn held(owner: u64, exclusive: bool, start: u64, end: u64) -> HeldLock {
    HeldLock { is_flock: false, owner, exclusive, start, end, pid: owner as u32 + 100 }
}

fn sorted(raw: &Raw) -> Vec<HeldLock> {
    let mut locks = raw.server.locks("d/f");
    locks.sort_by_key(|lock| (lock.owner, lock.start));
    locks
}

/// Two open handles of one file.
fn client() -> (Raw, (u64, u64), (u64, u64)) {
    let mut raw = Raw::new(server(), POSIX | FLOCK);
    let (one, other) = (raw.open("d/f", 2), raw.open("d/f", 2));
    (raw, one, other)
}

/// Sends a SETLKW that has to wait; gives its unique.
fn wait(raw: &mut Raw, nodeid: u64, args: Put) -> u64 {
    match raw.send_extended(opcode::SETLKW, nodeid, args, &[]) {
        Outcome::Later(unique) => unique,
        other => panic!("{other:?}"),
    }
}

fn late(raw: &mut Raw, unique: u64) -> Option<Result<Vec<u8>, Errno>> {
    raw.server.take_late_reply(unique).map(|reply| result(&reply))
}

#[test]
fn record_locks_of_one_owner_replace_split_and_join() {
    let (mut raw, (f, fh), _) = client();
    let mut set = |range, kind| {
        raw.ok(opcode::SETLK, f, lock(fh, 1, range, kind, 0));
        sorted(&raw)
    };
    assert_eq!(set((0, 99), WRITE), [held(1, true, 0, 99)]);
    assert_eq!(set((40, 59), UNLOCK), [held(1, true, 0, 39), held(1, true, 60, 99)]);
    assert_eq!(set((30, 69), READ), [held(1, true, 0, 29), held(1, false, 30, 69), held(1, true, 70, 99)]);
    assert_eq!(set((30, 69), WRITE), [held(1, true, 0, 99)]);
    assert_eq!(set((100, END), WRITE), [held(1, true, 0, END)]);
    assert_eq!(set((0, END), UNLOCK), []);
    raw.no_violations();
}

#[test]
fn record_locks_of_two_owners_conflict_if_one_writes() {
    let (mut raw, (f, fh), _) = client();
    raw.ok(opcode::SETLK, f, lock(fh, 1, (10, 19), READ, 0));
    raw.ok(opcode::SETLK, f, lock(fh, 2, (15, 30), READ, 0));
    assert_eq!(raw.err(opcode::SETLK, f, lock(fh, 2, (19, 19), WRITE, 0)), E::EAGAIN);
    raw.ok(opcode::SETLK, f, lock(fh, 2, (20, 30), WRITE, 0));
    let body = raw.ok(opcode::GETLK, f, lock(fh, 2, (0, 12), WRITE, 0));
    assert_eq!(body, put().u64(10).u64(19).u32(READ).u32(101).0);
    let body = raw.ok(opcode::GETLK, f, lock(fh, 1, (25, END), READ, 0));
    assert_eq!(body, put().u64(20).u64(30).u32(WRITE).u32(102).0);
    let body = raw.ok(opcode::GETLK, f, lock(fh, 1, (31, END), WRITE, 0));
    assert_eq!((body.len(), u32_at(&body, 16)), (24, UNLOCK));
    let reader = raw.open("d/f", 0);
    assert_eq!(raw.err(opcode::SETLK, f, lock(reader.1, 3, (90, 91), WRITE, 0)), E::EBADF);
    raw.ok(opcode::SETLK, f, lock(reader.1, 3, (90, 91), READ, 0));
}

#[test]
fn a_lock_is_waited_for_until_it_is_free() {
    let (mut raw, (f, one), (_, other)) = client();
    raw.ok(opcode::SETLKW, f, lock(one, 1, (0, END), WRITE, 0));
    let second = wait(&mut raw, f, lock(other, 2, (5, 9), READ, 0));
    let third = wait(&mut raw, f, lock(other, 3, (5, 9), WRITE, 0));
    assert_eq!(raw.server.waiting(), [second, third]);
    // Others' requests go on meanwhile.
    raw.read((f, one), 0, 7);
    assert_eq!(late(&mut raw, second), None);
    raw.ok(opcode::SETLK, f, lock(one, 1, (5, 9), UNLOCK, 0));
    assert_eq!(late(&mut raw, second), Some(Ok(vec![])));
    assert_eq!((late(&mut raw, second), late(&mut raw, third)), (None, None));
    raw.ok(opcode::SETLK, f, lock(other, 2, (0, END), UNLOCK, 0));
    assert_eq!(late(&mut raw, third), Some(Ok(vec![])));
    assert_eq!(sorted(&raw)[2], held(3, true, 5, 9));
    raw.no_violations();
}

#[test]
fn an_interrupt_ends_the_wait_it_names() {
    let (mut raw, (f, fh), _) = client();
    raw.server.lock("d/f", held(1, true, 0, END));
    raw.server.fault(opcode::SETLKW, 1, Fault::Error(-9));
    let wanted = lock(fh, 1, (0, 9), WRITE, 0);
    let [one, other] = [wait(&mut raw, f, wanted.clone()), wait(&mut raw, f, wanted)];
    let mut interrupt = |unique| raw.send_extended(opcode::INTERRUPT, 0, put().u64(unique), &[]);
    assert_eq!([interrupt(one), interrupt(one), interrupt(4711)], [const { Outcome::NoReply }; 3]);
    assert_eq!(raw.server.ignored_interrupts(), 2);
    assert_eq!(late(&mut raw, one), Some(Err(E::EINTR)));
    assert_eq!(raw.server.waiting(), [other]);
    raw.server.unlock("d/f");
    assert_eq!(late(&mut raw, other), Some(Err(E::EBADF)), "a fault spoils a late reply, too");
    assert_eq!(raw.server.locks("d/f"), [held(1, true, 0, 9)]);
    raw.no_violations();
}

#[test]
fn flush_ends_the_record_locks_of_its_owner() {
    let (mut raw, (f, fh), _) = client();
    raw.ok(opcode::SETLK, f, lock(fh, 1, (0, 9), READ, 0));
    raw.ok(opcode::SETLK, f, lock(fh, 2, (0, 9), READ, 0));
    raw.ok(opcode::SETLK, f, lock(fh, 1, (0, END), READ, 1));
    let waiting = wait(&mut raw, f, lock(fh, 2, (0, 9), WRITE, 0));
    raw.ok(opcode::FLUSH, f, put().u64(fh).u64(0).u64(1));
    assert_eq!(late(&mut raw, waiting), Some(Ok(vec![])));
    let flock = HeldLock { is_flock: true, ..held(1, false, 0, END) };
    assert_eq!(sorted(&raw), [flock, held(2, true, 0, 9)]);
}

#[test]
fn flock_locks_end_with_their_file() {
    let (mut raw, (f, one), (_, other)) = client();
    raw.ok(opcode::SETLK, f, lock(one, 1, (0, END), READ, 1));
    raw.ok(opcode::SETLK, f, lock(other, 2, (0, END), READ, 1));
    // Both kinds of locks know nothing of each other.
    raw.ok(opcode::SETLK, f, lock(other, 3, (0, END), WRITE, 0));
    let waiting = wait(&mut raw, f, lock(other, 2, (0, END), WRITE, 1));
    raw.violates(opcode::RELEASE, f, put().u64(other).u64(0).u64(2), "in flight");
    raw.ok(opcode::RELEASE, f, put().u64(one).u32(0).u32(2).u64(1));
    assert_eq!(late(&mut raw, waiting), Some(Ok(vec![])));
    raw.violates(opcode::RELEASE, f, put().u64(other).u64(0).u64(2), "leaves the lock of owner 2");
    assert_eq!(sorted(&raw), [held(3, true, 0, END)]);
    assert_eq!(raw.server.open_handles(), 0);
    raw.send_extended(opcode::DESTROY, 0, put(), &[]);
    assert_eq!(raw.server.left_at_destroy()[0].locks, 1);
    assert_eq!(sorted(&raw), []);
}

#[test]
fn a_lock_that_breaks_a_rule_is_a_violation() {
    let (mut raw, (f, fh), _) = client();
    for (range, kind, flags, why) in [
        ((5, 4), READ, 0, "the bytes 5 to 4"),
        ((0, END + 1), READ, 0, "the bytes 0 to"),
        ((0, 5), READ, 1, "the bytes 0 to 5"),
        ((0, 5), 3, 0, "type"),
        ((0, 5), READ, 2, "lk_flags"),
    ] {
        raw.violates(opcode::SETLK, f, lock(fh, 1, range, kind, flags), why);
    }
    raw.violates(opcode::GETLK, f, lock(fh, 1, (0, 5), UNLOCK, 0), "no lock");
    raw.violates(opcode::GETLK, f, lock(fh, 1, (0, END), READ, 1), "flock");
    raw.violates(opcode::SETLKW, f, lock(99, 1, (0, 5), READ, 0), "not open");
    let mut raw = Raw::new(server(), POSIX);
    let (f, fh) = raw.open("d/f", 2);
    raw.violates(opcode::SETLK, f, lock(fh, 1, (0, END), READ, 1), "not negotiated");
    raw.violates(opcode::RELEASE, f, put().u64(fh).u32(0).u32(2).u64(1), "without FLOCK_LOCKS");
    let mut raw = Raw::new(server(), FLOCK);
    let (f, fh) = raw.open("d/f", 2);
    raw.violates(opcode::SETLK, f, lock(fh, 1, (0, END), READ, 0), "not negotiated");
}

#[test]
fn a_session_that_ends_leaves_nobody_waiting() {
    let (mut raw, (f, fh), _) = client();
    raw.server.lock("d/f", held(1, true, 0, END));
    let waiting = wait(&mut raw, f, lock(fh, 1, (0, 9), WRITE, 0));
    raw.violates(opcode::DESTROY, 0, put(), "1 requests are in flight");
    assert_eq!(late(&mut raw, waiting), Some(Err(E::EIO)));
    assert_eq!(raw.server.locks("d/f"), [held(1, true, 0, END)], "others keep theirs");
}

/// A write lock on the first ten bytes.
struct Setlkw(u64);

#[derive(zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct LockArgs([u64; 6]);

impl Operation for Setlkw {
    const OPCODE: crate::wire::Opcode = crate::wire::Opcode(33);
    type Args = LockArgs;
    type Reply = ();

    fn args(&self) -> LockArgs {
        // fh, owner, start, end, type and pid, lk_flags
        LockArgs([self.0, 1, 0, 9, WRITE.into(), 0])
    }
}

/// A client that has "d/f" open, which somebody else has locked.
fn waiting_client() -> (Client, u64, u64) {
    let mut server = server();
    server.options.init_flags |= POSIX;
    server.lock("d/f", held(1, true, 0, END));
    let mut client = Client::new(server);
    let d = client.lookup(1, "d").unwrap();
    let f = client.lookup(d, "f").unwrap();
    let open = Open { flags: crate::wire::OpenFlags::READ_WRITE, kill_suidgid: false };
    let fh = client.call(f, &open, 0).unwrap().0.fh.0;
    (client, f, fh)
}

#[test]
fn the_channel_waits_for_a_late_reply_and_others_go_on() {
    let (mut client, f, fh) = waiting_client();
    let channel = client.channel.clone();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(client.call(f, &Setlkw(fh), 0), Ok(((), vec![])));
            done.store(true, Ordering::SeqCst);
        });
        while channel.server().lock().waiting().is_empty() {
            thread::yield_now();
        }
        let mut other = Client { channel: channel.clone(), unique: 1000 };
        for _ in 0..10 {
            other.call(1, &Getattr { fh: None }, 0).unwrap();
        }
        assert!(!done.load(Ordering::SeqCst));
        channel.server().lock().unlock("d/f");
    });
    assert_eq!(channel.server().lock().locks("d/f").len(), 1);
    assert!(client.violations().is_empty());
}

#[test]
fn requests_of_one_exchange_overtake_one_that_waits() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        let (mut client, f, fh) = waiting_client();
        client.channel.set_completion(completion);
        let server = client.channel.server();
        // Asked only when nothing but the wait is left.
        client.channel.set_interrupted(move || {
            server.lock().unlock("d/f");
            false
        });
        let mut order = Vec::new();
        let wanted = Setlkw(fh);
        let mut requests = vec![client.request(f, &wanted, &mut [])];
        requests.extend((0..2).map(|_| client.request(f, &Getattr { fh: None }, &mut [])));
        client.channel.exchange(&mut requests.drain(..), &mut |place, reply| order.push((place, reply.is_ok())));
        assert_eq!(order[2], (0, true), "{order:?}");
        assert!(client.violations().is_empty());
    }
}

#[test]
fn who_waits_is_asked_whether_to_give_up() {
    let (mut client, f, fh) = waiting_client();
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    client.channel.set_interrupted(|| ASKED.fetch_add(1, Ordering::SeqCst) >= 3);
    assert_eq!(client.call(f, &Setlkw(fh), 0), Err(Error::Refused(E::EINTR)));
    assert_eq!(ASKED.load(Ordering::SeqCst), 4);
    let server = client.channel.server();
    assert_eq!(server.lock().count(opcode::INTERRUPT), 1);
    assert_eq!(server.lock().ignored_interrupts(), 0);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn a_reset_ends_a_wait() {
    let (mut client, f, fh) = waiting_client();
    let channel = client.channel.clone();
    client.channel.set_interrupted(move || {
        channel.shut_down();
        false
    });
    assert_eq!(client.call(f, &Setlkw(fh), 0), Err(Error::Device("the device was reset")));
}
