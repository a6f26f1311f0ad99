//! A server or device that breaks the protocol: every call ends, with an error or with something that could be true.

use super::*;
use crate::test_utils::{self, FakeChannel, XorShift};
use crate::{CacheMode, CacheOptions, MountOptions, Permissions};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

mod changing;
mod reading;

/// What a mount is used for.
struct Life {
    /// The kinds of request that have a reply.
    opcodes: &'static [u32],
    tree: fn(&mut FakeServer),
    /// Uses the mount in every way, and goes on after errors. Gives how many steps went well.
    use_all: fn(&VirtioFs) -> usize,
}

const LIVES: [Life; 2] = [reading::LIFE, changing::LIFE];

/// By which rules a life caches.
type Rules = fn() -> CacheOptions;

const NOTHING: Rules = || crate::test_utils::uncached().cache;
const RULES: [Rules; 4] = [
    NOTHING,
    || CacheOptions { mode: CacheMode::Auto, ..CacheOptions::default() },
    || CacheOptions { mode: CacheMode::Always, max_entries: 3, max_data_bytes: 16 << 10, ..CacheOptions::default() },
    || CacheOptions { mode: CacheMode::Always, writeback: true, ..CacheOptions::default() },
];

/// A kind of request, and one of them in a life.
#[derive(Clone, Copy)]
struct Place<'l> {
    life: &'l Life,
    rules: Rules,
    opcode: u32,
    skip: usize,
    /// The longest reply to this kind of request.
    longest: usize,
}

/// No listing of these trees is longer; one that does not end is given up.
const STEPS_MAX: usize = 50;

impl Place<'_> {
    /// A server with the tree of the life, which leads to this kind of request.
    fn server(&self) -> FakeServer {
        let mut server = FakeServer::new();
        (self.life.tree)(&mut server);
        server.options.readdirplus = self.opcode != opcode::READDIR;
        if self.opcode == opcode::COPY_FILE_RANGE {
            server.options.refused.insert(opcode::COPY_FILE_RANGE_64, Errno::ENOSYS);
        }
        server
    }

    /// How a life with a fault at this place ends.
    fn ends(&self, fault: Fault) -> Result<(), Error> {
        let mut server = self.server();
        server.fault(self.opcode, self.skip, fault);
        self.life.live(server, self.rules)
    }

    /// The shortest good reply: those with data may have none.
    fn shortest(&self) -> usize {
        use opcode::*;
        let body_bytes = match self.opcode {
            INIT => 64,
            LOOKUP | MKNOD | MKDIR | SYMLINK | LINK => 128,
            CREATE | TMPFILE => 144,
            GETATTR | SETATTR => 104,
            STATX => 288,
            OPEN | OPENDIR => 16,
            WRITE | LSEEK | COPY_FILE_RANGE | COPY_FILE_RANGE_64 => 8,
            GETLK => 24,
            STATFS => 80,
            _ => 0,
        };
        16 + body_bytes
    }

    /// How many requests of this kind a life without faults has, and the longest reply to one.
    fn replies_without_faults(&self) -> (usize, usize) {
        let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (counted, opcode) = (seen.clone(), self.opcode);
        let mut server = self.server();
        server.tamper(move |one, reply| {
            if one == opcode {
                counted[0].fetch_add(1, Ordering::Relaxed);
                counted[1].fetch_max(reply.len(), Ordering::Relaxed);
            }
        });
        assert_eq!(self.life.live(server, self.rules), Ok(()));
        (seen[0].load(Ordering::Relaxed), seen[1].load(Ordering::Relaxed))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {}", opcode::name(self.opcode), self.skip)
    }
}

impl Life {
    fn server(&self) -> FakeServer {
        let mut server = FakeServer::new();
        (self.tree)(&mut server);
        server
    }

    /// Mounts, uses and unmounts. Gives how mounting or unmounting went.
    fn live(&self, server: FakeServer, rules: Rules) -> Result<(), Error> {
        let channel = FakeChannel::new(server);
        let mounted = mount(channel.clone(), rules)?;
        (self.use_all)(&mounted.fs);
        let result = mounted.fs.unmount();
        assert!(channel.is_reset(), "the session has ended");
        if let Err(Error::Invalid(errno)) = result {
            panic!("unmounting is not the caller's mistake: {errno}");
        }
        result
    }
}

/// Mounts, and leaves permissions to the server.
fn mount(channel: FakeChannel, rules: Rules) -> Result<Mounted, Error> {
    let options = MountOptions { permissions: Permissions::Server, cache: rules(), ..MountOptions::default() };
    Ok(Mounted { fs: test_utils::mount(channel.clone(), &options)?, channel })
}

/// Runs `test` for every kind of request, for the first and the last of its kind in a life.
fn everywhere(test: impl Fn(Place<'_>)) {
    RULES.iter().for_each(|&rules| by_rules(rules, &test));
}

/// As [`everywhere`], by these rules alone.
fn by_rules(rules: Rules, test: impl Fn(Place<'_>)) {
    let is_seen = rules().mode == CacheMode::None;
    for life in &LIVES {
        for &opcode in life.opcodes {
            let first = Place { life, rules, opcode, skip: 0, longest: 0 };
            let (count, longest) = first.replies_without_faults();
            assert!(count > 0 || !is_seen, "{first} is not used");
            if count > 0 {
                test(Place { longest, ..first });
            }
            if count > 1 {
                test(Place { skip: count - 1, longest, ..first });
            }
        }
    }
}

/// As [`everywhere`], for tests of every byte: without caches, and in the longer life, where they take long, only for the
/// first of a kind.
fn everywhere_bytewise(test: impl Fn(Place<'_>)) {
    by_rules(NOTHING, |place| {
        if place.skip == 0 || place.life.opcodes.len() < 20 {
            test(place);
        }
    });
}

#[test]
fn a_reply_may_be_cut_short_anywhere() {
    everywhere_bytewise(|place| {
        for bytes in 0..place.longest {
            let ended = place.ends(Fault::Cut(bytes));
            // Replies of a kind differ in length; one that is shorter is not cut at all.
            assert!(ended.is_err() || bytes >= place.shortest(), "{place} after {bytes} bytes");
        }
    });
}

#[test]
fn a_body_may_be_cut_short_anywhere() {
    everywhere_bytewise(|place| {
        for bytes in 0..place.longest - 16 {
            let _ = place.ends(Fault::CutBody(bytes));
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
    everywhere(|place| {
        for fault in faults(place.longest) {
            let ended = place.ends(fault.clone());
            let may_be_true = matches!(fault, Fault::Len(len) if len as usize >= place.shortest());
            assert!(ended.is_err() || may_be_true, "{place}: {fault:?}");
        }
    });
}

#[test]
fn a_server_may_refuse_anything() {
    everywhere(|place| {
        for errno in [1, 2, 4, 5, 11, 12, 13, 20, 22, 38, 40, 95, 116, 133, 511].map(Errno) {
            let ended = place.ends(Fault::Refuse(errno));
            let expected = if place.opcode == opcode::INIT { Err(Error::Refused(errno)) } else { Ok(()) };
            assert_eq!(ended, expected, "{place}");
        }
    });
}

#[test]
fn a_body_may_be_anything_of_the_right_length() {
    everywhere(|place| {
        for byte in [0, 1, 0x2e, 0x2f, 0x7f, 0x80, 0xff] {
            let _ = place.ends(Fault::Body(vec![byte; place.longest - 16]));
        }
    });
}

#[test]
fn a_body_may_be_of_any_length() {
    everywhere(|place| {
        for bytes in [0, 1, 16, 64, place.longest, place.longest + 1, 4096, 4097, 1 << 16] {
            for byte in [0, 0xff] {
                let _ = place.ends(Fault::Body(vec![byte; bytes]));
            }
        }
    });
}

#[test]
fn every_field_of_every_reply_may_be_wrong() {
    everywhere_bytewise(|place| {
        for at in (16..place.longest).step_by(4) {
            for value in [0, 1, u32::MAX, 1 << 31] {
                let (mut server, opcode, skip) = (place.server(), place.opcode, place.skip);
                let mut seen = 0;
                server.tamper(move |one, reply| {
                    seen += usize::from(one == opcode);
                    if let (true, Some(field)) = (one == opcode && seen == skip + 1, reply.get_mut(at..at + 4)) {
                        field.copy_from_slice(&value.to_ne_bytes());
                    }
                });
                let _ = place.life.live(server, place.rules);
            }
        }
    });
}

#[test]
fn replies_with_random_bytes_never_make_the_driver_panic() {
    for (seed, life) in (0..1600).zip(LIVES.iter().cycle()) {
        let mut server = life.server();
        server.options.readdirplus = seed % 4 < 2;
        let mut random = XorShift::new(seed + 1);
        server.tamper(move |opcode, reply| {
            // The header stays good, so that the body is looked at.
            if opcode != opcode::INIT && reply.len() > 16 && random.below(3) == 0 {
                let at = 16 + random.below(reply.len() - 16);
                let until = (at + 1 + random.below(8)).min(reply.len());
                random.fill(&mut reply[at..until]);
            }
        });
        let _ = life.live(server, RULES[(seed / 2 % 4) as usize]);
    }
}

#[test]
fn a_listing_that_never_ends_takes_no_more_than_its_reader_asks_for() {
    let mut server = reading::LIFE.server();
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
    everywhere(|place| {
        if matches!(place.opcode, opcode::INIT | opcode::RELEASE | opcode::RELEASEDIR) {
            return;
        }
        let mut server = place.server();
        server.fault(place.opcode, place.skip, Fault::Refuse(Errno::EIO));
        let mounted = mount(FakeChannel::new(server), place.rules).unwrap();
        (place.life.use_all)(&mounted.fs);
        mounted.unmount();
    });
}

#[test]
fn a_device_may_fail_at_any_request() {
    for (life, rules) in LIVES.iter().flat_map(|life| RULES.map(|rules| (life, rules))) {
        let channel = FakeChannel::new(life.server());
        let mounted = mount(channel.clone(), rules).unwrap();
        let all_good = (life.use_all)(&mounted.fs);
        mounted.unmount();
        let requests = channel.server().lock().opcodes().len();
        for carried in 0..requests {
            let channel = FakeChannel::new(life.server());
            channel.fail_after(carried);
            match mount(channel.clone(), rules) {
                Ok(mounted) => {
                    let good = (life.use_all)(&mounted.fs);
                    assert!(good <= all_good, "after {carried} requests");
                    assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))), "after {carried} requests");
                }
                Err(error) => assert!(carried == 0 && matches!(error, Error::Device(_))),
            }
            assert!(channel.is_reset());
            assert_eq!(channel.server().lock().violations(), [""; 0]);
        }
    }
}

#[test]
fn without_faults_every_step_goes_well() {
    for (life, steps) in LIVES.iter().zip([18, 37]) {
        for rules in RULES {
            let mounted = mount(FakeChannel::new(life.server()), rules).unwrap();
            assert_eq!((life.use_all)(&mounted.fs), steps, "{:?}", rules());
            mounted.unmount();
        }
    }
}
