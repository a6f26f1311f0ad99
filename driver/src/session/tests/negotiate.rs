//! What FUSE_INIT settles.

use super::*;
use crate::test_utils::{Fault, assert_ended_well};
use crate::wire::{InitFlags, InitReply};
use crate::{Credentials, Errno, Negotiated};
use zerocopy::IntoBytes;

/// A server's reply that allows everything.
fn reply() -> InitReply {
    InitReply {
        major: 7,
        minor: 38,
        max_readahead: 1 << 20,
        flags: u32::MAX,
        max_background: 0,
        congestion_threshold: 0,
        max_write: 1 << 20,
        time_gran: 1,
        max_pages: 256,
        map_alignment: 0,
        flags2: u32::MAX,
        max_stack_depth: 0,
        request_timeout: 0,
        unused: [0; 11],
    }
}

/// What becomes of a reply whose body is `body`.
fn negotiate(body: &[u8]) -> Result<Negotiated, Error> {
    let mounted = Mounted::try_new(|server| {
        server.fault(opcode::INIT, 0, Fault::Body(body.to_vec()));
    })?;
    let negotiated = *mounted.fs.negotiated();
    mounted.unmount();
    Ok(negotiated)
}

fn max_transfer(reply: InitReply) -> usize {
    negotiate(reply.as_bytes()).unwrap().max_transfer_bytes
}

#[test]
fn init_comes_first_alone_and_asks_for_7_45() {
    let (mounted, requests) = record(FakeChannel::new(Default::default()), &crate::test_utils::uncached());
    assert_eq!(mounted.server(|server| server.opcodes().to_vec()), [opcode::INIT]);
    assert_eq!(mounted.channel.most_in_flight(), 1);
    let init = requests.lock()[0].clone();
    assert_eq!(init.len(), 40 + 64, "fuse_in_header and today's fuse_init_in");
    assert_eq!([u32_at(&init, 40), u32_at(&init, 44)], [7, 45]);
    assert_eq!(u64_at(&init, 16), 0, "INIT names no inode");
    let flags = u64::from(u32_at(&init, 52)) | u64::from(u32_at(&init, 56)) << 32;
    let flags = InitFlags::from_bits(flags).expect("no unknown flags");
    assert!(flags.contains(InitFlags::INIT_EXT | InitFlags::MAX_PAGES | InitFlags::DO_READDIRPLUS));
    assert!(!flags.intersects(InitFlags::WRITEBACK_CACHE | InitFlags::MAP_ALIGNMENT));
    mounted.unmount();
}

#[test]
fn requests_carry_the_credentials_and_even_numbers_of_their_own() {
    let credentials = Credentials { uid: 1000, gid: 100, pid: 7, ..Credentials::default() };
    let options = MountOptions { credentials, ..crate::test_utils::uncached() };
    let (mounted, requests) = record(FakeChannel::new(Default::default()), &options);
    mounted.fs.statvfs("/").unwrap();
    mounted.fs.metadata("/").unwrap();
    for request in &requests.lock()[1..] {
        assert_eq!([24, 28, 32].map(|at| u32_at(request, at)), [1000, 100, 7]);
    }
    let uniques: Vec<_> = requests.lock().iter().map(|request| u64_at(request, 8)).collect();
    assert_eq!(uniques, [2, 4, 6]);
    mounted.unmount();
}

#[test]
fn servers_from_7_31_on_are_accepted() {
    for minor in 31..=46 {
        let mounted = Mounted::new(|server| {
            server.options.minor = minor;
            server.file("motd", "hello");
        });
        assert_eq!(mounted.fs.negotiated().minor, minor);
        assert_eq!(mounted.fs.read("motd").unwrap(), b"hello");
        mounted.unmount();
    }
    assert_eq!(negotiate(InitReply { minor: u32::MAX, ..reply() }.as_bytes()).unwrap().minor, u32::MAX);
}

#[test]
fn older_and_other_versions_are_refused_with_the_reason() {
    for (major, minor, reason) in [
        (7, 30, "older than 7.31"),
        (7, 0, "older than 7.31"),
        (6, 38, "another major"),
        (8, 0, "another major"),
        (0, 0, "another major"),
        (u32::MAX, u32::MAX, "another major"),
    ] {
        // A server that is so different may say no more than its version.
        for body_bytes in [8, 24, 64] {
            let reply = InitReply { major, minor, ..reply() };
            match negotiate(&reply.as_bytes()[..body_bytes]) {
                Err(Error::Protocol(why)) => assert!(why.contains(reason), "{major}.{minor}: {why}"),
                other => panic!("{major}.{minor}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_session_that_was_refused_is_not_used() {
    let mut server = crate::test_utils::FakeServer::new();
    server.fault(opcode::INIT, 0, Fault::Refuse(Errno::EPROTO));
    let channel = FakeChannel::new(server);
    assert_eq!(Mounted::over(channel.clone()).err(), Some(Error::Refused(Errno::EPROTO)));
    assert_eq!(channel.server().lock().opcodes(), [opcode::INIT]);
}

#[test]
fn only_flags_that_were_asked_for_are_negotiated() {
    let negotiated = negotiate(reply().as_bytes()).unwrap();
    assert!(negotiated.flags.contains(InitFlags::INIT_EXT | InitFlags::MAX_PAGES));
    assert!(!negotiated.flags.contains(InitFlags::WRITEBACK_CACHE));
    assert_eq!(negotiated.flags, InitFlags::from_bits(negotiated.flags.bits()).unwrap());
    let none = negotiate(InitReply { flags: 0, ..reply() }.as_bytes()).unwrap();
    assert_eq!(none.flags, InitFlags::empty(), "flags2 counts for nothing without INIT_EXT");
}

#[test]
fn the_largest_transfer_is_what_server_and_channel_allow() {
    let no_max_pages = !(InitFlags::MAX_PAGES.bits() as u32);
    assert_eq!(max_transfer(reply()), 1 << 20);
    for (max_write, max_pages, expected) in [
        (1 << 20, 256, 1 << 20),
        (1 << 20, 16, 16 << 12),
        (128 << 10, 256, 128 << 10),
        (10_000, 256, 8192),
        (0, 256, 4096),
        (1, 1, 4096),
        (4095, 2, 4096),
        (u32::MAX, 0, 4096),
        (u32::MAX, u16::MAX, 1 << 20),
    ] {
        let got = max_transfer(InitReply { max_write, max_pages, ..reply() });
        assert_eq!(got, expected, "max_write {max_write}, max_pages {max_pages}");
    }
    let default = InitReply { flags: no_max_pages, max_pages: 1, max_write: u32::MAX, ..reply() };
    assert_eq!(max_transfer(default), 32 << 12, "32 pages where MAX_PAGES is not negotiated");
}

#[test]
fn a_channel_bounds_the_largest_transfer_in_whole_pages() {
    for (channel_bytes, expected) in [(4096, Ok(4096)), (8191, Ok(4096)), (8192, Ok(8192)), (usize::MAX, Ok(1 << 20))] {
        let channel = FakeChannel::new(Default::default());
        channel.set_max_data_bytes(channel_bytes);
        let mounted = Mounted::over(channel).unwrap();
        assert_eq!(Ok::<_, Error>(mounted.fs.negotiated().max_transfer_bytes), expected);
        mounted.unmount();
    }
}

#[test]
fn a_channel_that_carries_less_than_a_page_is_refused_before_init() {
    for channel_bytes in [0, 1, 4095] {
        let channel = FakeChannel::new(Default::default());
        channel.set_max_data_bytes(channel_bytes);
        assert!(matches!(Mounted::over(channel.clone()).err(), Some(Error::Device(_))));
        assert_eq!(channel.server().lock().opcodes(), [0; 0]);
    }
}

#[test]
fn an_init_reply_may_be_longer_than_64_bytes_but_not_shorter() {
    let mut body = reply().as_bytes().to_vec();
    for longer in [64, 65, 80, 256] {
        body.resize(longer, 0xff);
        assert_eq!(negotiate(&body).unwrap().minor, 38);
    }
    for shorter in 0..64 {
        let cut = negotiate(&body[..shorter]);
        assert_eq!(cut.err(), Some(Error::Protocol("the INIT reply is cut short")), "{shorter} bytes");
    }
    body.resize(257, 0);
    assert!(negotiate(&body).is_err(), "longer than the room it was given");
}

#[test]
fn a_server_without_readdirplus_is_never_asked_for_it() {
    let mounted = Mounted::new(|server| {
        server.options.init_flags &= !InitFlags::DO_READDIRPLUS.bits();
        server.file("a", "");
    });
    assert_eq!(mounted.fs.read_dir("/").unwrap().count(), 1);
    assert_eq!(mounted.count(opcode::READDIRPLUS), 0);
    mounted.unmount();
}

#[test]
fn a_server_older_than_7_39_is_never_asked_for_statx() {
    for minor in [31, 38, 39, 45] {
        let mounted = Mounted::new(|server| {
            server.options.minor = minor;
            server.options.statx = true;
        });
        let (_, born) = mounted.fs.root().statx().unwrap();
        assert_eq!(born.is_some(), minor >= 39);
        assert_eq!(mounted.count(opcode::STATX), usize::from(minor >= 39));
        mounted.unmount();
    }
}

#[test]
fn a_session_ends_well_whether_destroy_has_a_reply_or_not() {
    for destroy_replies in [false, true] {
        let mounted = Mounted::new(|server| server.options.destroy_replies = destroy_replies);
        mounted.unmount();
    }
}

#[test]
fn an_error_of_destroy_is_told_and_the_session_has_ended_all_the_same() {
    for (fault, expected) in [
        (Fault::Refuse(Errno::EIO), Error::Refused(Errno::EIO)),
        (Fault::Unique(99), Error::Protocol("a reply answers another request")),
    ] {
        let mounted = Mounted::new(|server| {
            server.options.destroy_replies = true;
            server.fault(opcode::DESTROY, 0, fault);
        });
        let channel = mounted.channel.clone();
        assert_eq!(mounted.fs.unmount(), Err(expected));
        assert!(channel.is_reset());
        assert_eq!(channel.server().lock().count(opcode::DESTROY), 1);
    }
}

#[test]
fn a_mount_that_is_dropped_ends_its_session() {
    let mounted = Mounted::new(|server| {
        server.file("a", "");
    });
    mounted.fs.metadata("a").unwrap();
    drop(mounted.fs);
    assert_ended_well(&mounted.channel);
}
