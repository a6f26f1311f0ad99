//! A server or device that breaks the protocol: every call ends, with an error or with something that could be true.

use super::*;
use crate::test_utils::{FakeChannel, XorShift, opcode};

/// Every kind of request that has a reply.
const OPCODES: [u32; 13] = [
    opcode::INIT,
    opcode::LOOKUP,
    opcode::GETATTR,
    opcode::STATX,
    opcode::READLINK,
    opcode::OPEN,
    opcode::READ,
    opcode::RELEASE,
    opcode::OPENDIR,
    opcode::READDIRPLUS,
    opcode::READDIR,
    opcode::RELEASEDIR,
    opcode::STATFS,
];

/// No listing of this tree is longer; one that does not end is given up.
const STEPS_MAX: usize = 50;

fn tree(server: &mut FakeServer) {
    server.options.minor = 45;
    server.options.statx = true;
    server.options.destroy_replies = true;
    // The room for replies and the buffers are small, so that thousands of rounds take no time.
    server.options.max_pages = 1;
    server.file("d/f", "content of the file").dir("d/e").symlink("l", "d").symlink("d/m", "/l/f");
}

/// Uses the mount in every way, and goes on after errors. Gives how many of its steps went well.
fn use_all(fs: &VirtioFs) -> usize {
    let mut good = 0;
    let mut note = |is_good: bool| good += usize::from(is_good);
    note(fs.metadata("/").is_ok());
    note(fs.metadata("l/m").is_ok());
    note(fs.read("d/f").is_ok());
    note(fs.read_link("l").is_ok());
    note(fs.statvfs().is_ok());
    note(fs.root().statx().is_ok());
    for path in ["/", "l"] {
        let entries = fs.read_dir(path).into_iter().flatten().take(STEPS_MAX);
        entries.flatten().for_each(|entry| {
            note(entry.metadata().is_ok());
            note(entry.file_type().is_ok());
        });
    }
    if let Ok(mut file) = fs.open("d/f") {
        note(file.seek(SeekFrom::End(-3)).is_ok());
        note(file.read(&mut [0; 10]).is_ok());
    }
    fs.maintain();
    good
}

/// Mounts, uses and unmounts. Gives how mounting or unmounting went.
fn live(mut server: FakeServer, readdirplus: bool) -> Result<(), Error> {
    server.options.readdirplus = readdirplus;
    let channel = FakeChannel::new(server);
    let mounted = Mounted::over(channel.clone())?;
    use_all(&mounted.fs);
    let result = mounted.fs.unmount();
    assert!(channel.is_reset(), "the session has ended");
    if let Err(Error::Invalid(errno)) = result {
        panic!("unmounting is not the caller's mistake: {errno}");
    }
    result
}

/// [`live`], where how it ends is open.
fn survive(server: FakeServer, readdirplus: bool) {
    let _ = live(server, readdirplus);
}

fn hostile_server(opcode: u32, skip: usize, fault: Fault) -> FakeServer {
    let mut server = FakeServer::new();
    tree(&mut server);
    server.fault(opcode, skip, fault);
    server
}

/// How many requests of a kind a life without faults has, and the longest reply to one.
fn replies_without_faults(opcode: u32, readdirplus: bool) -> (usize, usize) {
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicUsize, Ordering};
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut server = FakeServer::new();
    tree(&mut server);
    let counted = seen.clone();
    server.tamper(move |one, reply| {
        if one == opcode {
            counted[0].fetch_add(1, Ordering::Relaxed);
            counted[1].fetch_max(reply.len(), Ordering::Relaxed);
        }
    });
    assert_eq!(live(server, readdirplus), Ok(()));
    (seen[0].load(Ordering::Relaxed), seen[1].load(Ordering::Relaxed))
}

/// The shortest good reply to a kind of request: those with data may have none.
fn shortest(opcode: u32) -> usize {
    let body_bytes = match opcode {
        opcode::INIT => 64,
        opcode::LOOKUP => 128,
        opcode::GETATTR => 104,
        opcode::STATX => 288,
        opcode::OPEN | opcode::OPENDIR => 16,
        opcode::STATFS => 80,
        _ => 0,
    };
    16 + body_bytes
}

/// Runs `test` for every kind of request and every place in the life of the mount.
fn everywhere(test: impl Fn(u32, usize, usize, bool)) {
    for opcode in OPCODES {
        let readdirplus = opcode != opcode::READDIR;
        let (count, longest) = replies_without_faults(opcode, readdirplus);
        assert!(count > 0, "{} is not used", opcode::name(opcode));
        // The first and the last of its kind.
        for skip in if count > 1 { vec![0, count - 1] } else { vec![0] } {
            test(opcode, skip, longest, readdirplus);
        }
    }
}

#[test]
fn a_reply_may_be_cut_short_anywhere() {
    everywhere(|opcode, skip, longest, readdirplus| {
        for bytes in 0..longest {
            let ended = live(hostile_server(opcode, skip, Fault::Cut(bytes)), readdirplus);
            // Replies of a kind differ in length; one that is shorter is not cut at all.
            assert!(ended.is_err() || bytes >= shortest(opcode), "{} after {bytes} bytes", opcode::name(opcode));
        }
    });
}

#[test]
fn a_body_may_be_cut_short_anywhere() {
    everywhere(|opcode, skip, longest, readdirplus| {
        for bytes in 0..longest - 16 {
            survive(hostile_server(opcode, skip, Fault::CutBody(bytes)), readdirplus);
        }
    });
}

#[test]
fn a_header_may_say_anything() {
    let faults = |longest: usize| {
        let lens = [0, 1, 15, 16, 17, longest as u32 + 1, 1 << 20, 1 << 31, u32::MAX].map(Fault::Len);
        let uniques = [0, 1, 3, 1 << 40, u64::MAX].map(Fault::Unique);
        let errors = [1, 2, i32::MAX, -512, -4096, i32::MIN].map(Fault::Error);
        lens.into_iter().chain(uniques).chain(errors)
    };
    everywhere(|opcode, skip, longest, readdirplus| {
        for fault in faults(longest) {
            let ended = live(hostile_server(opcode, skip, fault.clone()), readdirplus);
            let may_be_true = matches!(fault, Fault::Len(len) if len as usize >= shortest(opcode));
            assert!(ended.is_err() || may_be_true, "{}: {fault:?}", opcode::name(opcode));
        }
    });
}

#[test]
fn a_server_may_refuse_anything() {
    everywhere(|opcode, skip, _, readdirplus| {
        for errno in [1, 2, 4, 5, 11, 12, 13, 20, 22, 38, 40, 95, 116, 133, 511].map(Errno) {
            let ended = live(hostile_server(opcode, skip, Fault::Refuse(errno)), readdirplus);
            let expected = if opcode == opcode::INIT { Err(Error::Refused(errno)) } else { Ok(()) };
            assert_eq!(ended, expected, "{}", opcode::name(opcode));
        }
    });
}

#[test]
fn a_body_may_be_anything_of_the_right_length() {
    everywhere(|opcode, skip, longest, readdirplus| {
        for byte in [0, 1, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
            survive(hostile_server(opcode, skip, Fault::Body(vec![byte; longest - 16])), readdirplus);
        }
    });
}

#[test]
fn a_body_may_be_of_any_length() {
    everywhere(|opcode, skip, longest, readdirplus| {
        for bytes in [0, 1, 16, 64, longest, longest + 1, 4096, 4097, 1 << 16] {
            for byte in [0, 0xff] {
                survive(hostile_server(opcode, skip, Fault::Body(vec![byte; bytes])), readdirplus);
            }
        }
    });
}

#[test]
fn every_field_of_every_reply_may_be_wrong() {
    everywhere(|opcode, skip, longest, readdirplus| {
        for at in (16..longest).step_by(4) {
            for value in [0, 1, u32::MAX, 1 << 31] {
                let mut server = FakeServer::new();
                tree(&mut server);
                let mut seen = 0;
                server.tamper(move |one, reply| {
                    seen += usize::from(one == opcode);
                    if let (true, Some(field)) = (one == opcode && seen == skip + 1, reply.get_mut(at..at + 4)) {
                        field.copy_from_slice(&value.to_ne_bytes());
                    }
                });
                survive(server, readdirplus);
            }
        }
    });
}

#[test]
fn replies_with_random_bytes_never_make_the_driver_panic() {
    for seed in 0..300 {
        let mut server = FakeServer::new();
        tree(&mut server);
        let mut random = XorShift::new(seed + 1);
        server.tamper(move |opcode, reply| {
            // The header stays good, so that the body is looked at.
            if opcode != opcode::INIT && reply.len() > 16 && random.below(3) == 0 {
                let at = 16 + random.below(reply.len() - 16);
                let until = (at + 1 + random.below(8)).min(reply.len());
                random.fill(&mut reply[at..until]);
            }
        });
        survive(server, seed % 2 == 0);
    }
}

#[test]
fn a_listing_that_never_ends_takes_no_more_than_its_reader_asks_for() {
    let mut server = FakeServer::new();
    tree(&mut server);
    server.tamper(|opcode, reply| {
        if opcode == opcode::READDIRPLUS && reply.len() > 16 + 160 {
            // Every cookie is that of the start.
            for at in (16 + 128 + 8..reply.len()).step_by(160) {
                reply[at..at + 8].fill(0);
            }
        }
    });
    let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
    assert_eq!(mounted.fs.read_dir("/").unwrap().take(1000).filter(Result::is_ok).count(), 1000);
    mounted.unmount();
}

#[test]
fn the_books_are_kept_whatever_the_server_refuses() {
    everywhere(|opcode, skip, _, readdirplus| {
        if matches!(opcode, opcode::INIT | opcode::RELEASE | opcode::RELEASEDIR) {
            return;
        }
        let mut server = hostile_server(opcode, skip, Fault::Refuse(Errno::EIO));
        server.options.readdirplus = readdirplus;
        let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
        use_all(&mounted.fs);
        mounted.unmount();
    });
}

#[test]
fn a_device_may_fail_at_any_request() {
    let mut server = FakeServer::new();
    tree(&mut server);
    let channel = FakeChannel::new(server);
    let mounted = Mounted::over(channel.clone()).unwrap();
    let all_good = use_all(&mounted.fs);
    mounted.unmount();
    let requests = channel.server().lock().opcodes().len();
    for carried in 0..requests {
        let mut server = FakeServer::new();
        tree(&mut server);
        let channel = FakeChannel::new(server);
        channel.fail_after(carried);
        match Mounted::over(channel.clone()) {
            Ok(mounted) => {
                let good = use_all(&mounted.fs);
                assert!(good <= all_good, "after {carried} requests");
                assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))), "after {carried} requests");
            }
            Err(error) => assert!(carried == 0 && matches!(error, Error::Device(_))),
        }
        assert!(channel.is_reset());
        assert_eq!(channel.server().lock().violations(), [""; 0]);
    }
}
