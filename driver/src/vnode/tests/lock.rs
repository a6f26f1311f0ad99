//! Locks.

use super::*;
use crate::test_utils::HeldLock;
use crate::vnode::{Lock, LockKind, LockOwner, Wait};
use core::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const END: u64 = Lock::TO_THE_END;
const ONE: LockOwner = LockOwner(1);
const OTHER: LockOwner = LockOwner(2);

fn mount_locks(flags: u64) -> Mounted {
    let mut server = FakeServer::new();
    server.options.init_flags |= flags;
    server.file("f", "content");
    mount_with(server, &crate::test_utils::uncached())
}

fn mount_both() -> Mounted {
    mount_locks(init::POSIX_LOCKS | init::FLOCK_LOCKS)
}

fn open(mounted: &Mounted) -> OpenFile {
    mounted.fs.root().lookup("f").unwrap().0.open(OpenFlags::READ_WRITE).unwrap()
}

fn lock(kind: LockKind, start: u64, end: u64) -> Lock {
    Lock { kind, start, end, pid: 7 }
}

fn locks(mounted: &Mounted) -> Vec<HeldLock> {
    mounted.server(|server| server.locks("f"))
}

/// Somebody else on the host locks the whole file.
fn lock_outside(mounted: &Mounted, is_flock: bool) {
    let held = HeldLock { is_flock, owner: 99, exclusive: true, start: 0, end: END, pid: 5 };
    mounted.server(|server| {
        server.lock("f", held);
    });
}

#[test]
fn a_server_that_keeps_no_locks_is_not_asked() {
    for (flags, posix, flock) in [(0, false, false), (init::POSIX_LOCKS, true, false), (init::FLOCK_LOCKS, false, true)]
    {
        let mounted = mount_locks(flags);
        let file = open(&mounted);
        let (_, sent) = mounted.sent_by(|| {
            let not_supported = Err(Error::Refused(Errno::EOPNOTSUPP));
            if !posix {
                let lock = lock(LockKind::Write, 0, 5);
                assert_eq!(file.setlk(ONE, &lock, Wait::No), not_supported);
                assert_eq!(file.setlk(ONE, &lock, Wait::Yes), not_supported);
                assert_eq!(file.getlk(ONE, &lock), Err(Error::Refused(Errno::EOPNOTSUPP)));
            }
            if !flock {
                assert_eq!(file.flock(LockKind::Write, Wait::No), not_supported);
            }
        });
        assert_eq!(sent, [0; 0]);
        assert_eq!(file.setlk(ONE, &lock(LockKind::Read, 0, 5), Wait::No).is_ok(), posix);
        assert_eq!(file.flock(LockKind::Read, Wait::No).is_ok(), flock);
        file.flush(ONE).unwrap();
        file.close().unwrap();
        mounted.unmount();
    }
}

#[test]
fn posix_locks_belong_to_their_owner() {
    let mounted = mount_both();
    let file = open(&mounted);
    file.setlk(ONE, &lock(LockKind::Write, 10, 19), Wait::No).unwrap();
    file.setlk(ONE, &lock(LockKind::Read, 12, 13), Wait::No).unwrap();
    assert_eq!(file.setlk(OTHER, &lock(LockKind::Write, 15, 30), Wait::No), refused(Errno::EAGAIN));
    assert_eq!(file.setlk(OTHER, &lock(LockKind::Read, 13, 13), Wait::No), Ok(()));
    assert_eq!(file.getlk(OTHER, &lock(LockKind::Read, 0, 10)), Ok(Some(lock(LockKind::Write, 10, 11))));
    assert_eq!(file.getlk(OTHER, &lock(LockKind::Read, 12, 13)), Ok(None));
    assert_eq!(file.getlk(ONE, &lock(LockKind::Write, 0, END)), Ok(Some(lock(LockKind::Read, 13, 13))));
    file.setlk(ONE, &lock(LockKind::Unlock, 0, END), Wait::No).unwrap();
    file.setlk(OTHER, &lock(LockKind::Write, 0, END), Wait::No).unwrap();
    assert_eq!(locks(&mounted).len(), 1);
    file.flush(OTHER).unwrap();
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn an_impossible_range_is_refused_without_a_message() {
    let mounted = mount_both();
    let file = open(&mounted);
    let (_, sent) = mounted.sent_by(|| {
        for (start, end) in [(5, 4), (0, END + 1), (u64::MAX, u64::MAX)] {
            let lock = lock(LockKind::Write, start, end);
            assert_eq!(file.setlk(ONE, &lock, Wait::No), Err(Error::Invalid(Errno::EINVAL)));
            assert_eq!(file.setlk(ONE, &lock, Wait::Yes), Err(Error::Invalid(Errno::EINVAL)));
            assert_eq!(file.getlk(ONE, &lock), Err(Error::Invalid(Errno::EINVAL)));
        }
    });
    assert_eq!(sent, [0; 0]);
    file.setlk(ONE, &lock(LockKind::Write, END, END), Wait::No).unwrap();
    file.flush(ONE).unwrap();
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn flush_gives_up_the_posix_locks_of_an_owner_and_no_others() {
    let mounted = mount_both();
    let file = open(&mounted);
    file.setlk(ONE, &lock(LockKind::Read, 0, 5), Wait::No).unwrap();
    file.setlk(OTHER, &lock(LockKind::Read, 0, 5), Wait::No).unwrap();
    file.flock(LockKind::Read, Wait::No).unwrap();
    file.flush(ONE).unwrap();
    let held = locks(&mounted);
    assert_eq!(held.iter().map(|held| held.is_flock).collect::<Vec<_>>(), [false, true]);
    assert_eq!(held[0].owner, 2);
    file.flush(OTHER).unwrap();
    assert_eq!(locks(&mounted).len(), 1);
    file.close().unwrap();
    assert_eq!(locks(&mounted), []);
    mounted.unmount();
}

#[test]
fn a_flock_belongs_to_an_open_file_and_goes_with_it() {
    let mounted = mount_both();
    let [one, other] = [open(&mounted), open(&mounted)];
    one.flock(LockKind::Read, Wait::No).unwrap();
    other.flock(LockKind::Read, Wait::No).unwrap();
    assert_eq!(one.flock(LockKind::Write, Wait::No), refused(Errno::EAGAIN));
    drop(other);
    one.flock(LockKind::Write, Wait::No).unwrap();
    let held = locks(&mounted);
    assert_eq!((held.len(), held[0].exclusive, held[0].start, held[0].end), (1, true, 0, END));
    let other = open(&mounted);
    assert_eq!(other.flock(LockKind::Read, Wait::No), refused(Errno::EAGAIN));
    one.flock(LockKind::Unlock, Wait::Yes).unwrap();
    assert_eq!(other.flock(LockKind::Read, Wait::No), Ok(()));
    other.close().unwrap();
    one.close().unwrap();
    assert_eq!(locks(&mounted), []);
    mounted.unmount();
}

#[test]
fn a_flock_goes_with_an_open_file_of_which_the_server_knows_nothing() {
    let mounted = mount_both();
    mounted.server(|server| server.options.open = false);
    let closers: [fn(OpenFile); 2] = [|file| file.close().unwrap(), drop];
    for close in closers {
        let [one, other] = [open(&mounted), open(&mounted)];
        one.flock(LockKind::Write, Wait::No).unwrap();
        let (_, sent) = mounted.sent_by(|| close(one));
        assert_eq!(sent, [opcode::SETLK]);
        assert_eq!(locks(&mounted), []);
        assert_eq!(other.flock(LockKind::Write, Wait::No), Ok(()));
        close(other);
        // Who locked nothing has nothing to give up.
        let file = open(&mounted);
        assert_eq!(mounted.sent_by(|| close(file)).1, [0; 0]);
    }
    mounted.unmount();
}

#[test]
fn the_owner_of_a_flock_is_no_owner_that_a_kernel_would_choose() {
    let mounted = mount_both();
    let [one, other] = [open(&mounted), open(&mounted)];
    one.flock(LockKind::Read, Wait::No).unwrap();
    other.flock(LockKind::Read, Wait::No).unwrap();
    let owners = locks(&mounted).iter().map(|held| held.owner).collect::<Vec<_>>();
    assert!(owners[0] != owners[1] && owners.iter().all(|&owner| owner >= 1 << 63), "{owners:?}");
    drop((one, other));
    mounted.unmount();
}

#[test]
fn a_lock_that_is_waited_for_comes_when_the_other_goes() {
    for is_flock in [false, true] {
        let mounted = mount_both();
        lock_outside(&mounted, is_flock);
        let file = open(&mounted);
        let granted = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let locked = match is_flock {
                    true => file.flock(LockKind::Write, Wait::Yes),
                    false => file.setlk(ONE, &lock(LockKind::Write, 0, 9), Wait::Yes),
                };
                assert_eq!(locked, Ok(()));
                granted.store(true, Ordering::SeqCst);
            });
            while mounted.server(|server| server.waiting().is_empty()) {
                thread::yield_now();
            }
            // Others go on meanwhile.
            mounted.fs.root().getattr().unwrap();
            assert!(!granted.load(Ordering::SeqCst));
            mounted.server(|server| {
                server.unlock("f");
            });
        });
        assert_eq!(locks(&mounted).len(), 1);
        file.flush(ONE).unwrap();
        file.close().unwrap();
        mounted.unmount();
    }
}

#[test]
fn who_gives_up_waiting_is_interrupted() {
    for is_flock in [false, true] {
        let mounted = mount_both();
        lock_outside(&mounted, is_flock);
        mounted.channel.set_interrupted(|| true);
        let file = open(&mounted);
        let locked = match is_flock {
            true => file.flock(LockKind::Write, Wait::Yes),
            false => file.setlk(ONE, &lock(LockKind::Write, 0, 9), Wait::Yes),
        };
        assert_eq!(locked, refused(Errno::EINTR));
        assert_eq!(mounted.count(opcode::INTERRUPT), 1);
        assert_eq!(mounted.server(|server| server.waiting()), []);
        file.close().unwrap();
        mounted.unmount();
    }
}

#[test]
fn half_of_the_requests_at_most_wait_for_locks() {
    const WAITERS: usize = 16;
    let mounted = mount_both();
    lock_outside(&mounted, false);
    let file = open(&mounted);
    let wanted = lock(LockKind::Read, 0, 9);
    // If this thread had to wait, it would give up, and not end with the right error.
    let this = thread::current().id();
    mounted.channel.set_interrupted(move || thread::current().id() == this);
    let (waited, did_not) = thread::scope(|scope| {
        for owner in 0..WAITERS as u64 {
            let file = &file;
            scope.spawn(move || file.setlk(LockOwner(owner), &wanted, Wait::Yes).unwrap());
        }
        while mounted.server(|server| server.waiting().len()) < WAITERS {
            thread::yield_now();
        }
        let waited = mounted.sent_by(|| file.setlk(LockOwner(50), &wanted, Wait::Yes));
        let did_not = file.setlk(LockOwner(50), &wanted, Wait::No);
        mounted.server(|server| {
            server.unlock("f");
        });
        (waited, did_not)
    });
    assert_eq!(waited, (Err(Error::Invalid(Errno::ENOLCK)), vec![]));
    assert_eq!(did_not, refused(Errno::EAGAIN), "who does not wait takes no request away");
    assert_eq!(file.setlk(LockOwner(50), &wanted, Wait::Yes), Ok(()), "there is room again");
    for owner in (0..WAITERS as u64).chain([50]) {
        file.flush(LockOwner(owner)).unwrap();
    }
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn an_unlock_never_waits() {
    let mounted = mount_both();
    let file = open(&mounted);
    let (_, sent) = mounted.sent_by(|| {
        file.setlk(ONE, &lock(LockKind::Unlock, 0, END), Wait::Yes).unwrap();
        file.flock(LockKind::Unlock, Wait::Yes).unwrap();
    });
    assert_eq!(sent, [opcode::SETLK; 2]);
    file.close().unwrap();
    mounted.unmount();
}
