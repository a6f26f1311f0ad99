//! Large writes.

use super::*;
use crate::Errno;
use crate::session::{Credentials, Run, WriteTo};
use crate::test_utils::{Completion, FakeServer, Fault};
use crate::vnode::{OpenFile, OpenFlags};
use crate::wire::{Open, WriteFlags};
use alloc::vec;

const LARGEST: u64 = i64::MAX as u64;

/// Bytes of which no two pages are alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// An empty file "f", which is written in pieces of 4096 bytes, so that small writes make many requests.
fn small_pieces() -> FakeChannel {
    let mut server = FakeServer::new();
    server.file("f", "");
    let channel = FakeChannel::new(server);
    channel.set_max_data_bytes(4096);
    channel
}

fn open(mounted: &Mounted, flags: OpenFlags) -> OpenFile {
    mounted.fs.root().lookup("f").unwrap().0.open(OpenFlags::WRITE_ONLY | flags).unwrap()
}

/// The offset and the size of each WRITE.
fn pieces(requests: &Requests) -> Vec<(u64, u32)> {
    of_kind(requests, opcode::WRITE).iter().map(|write| (u64_at(write, 48), u32_at(write, 56))).collect()
}

fn content(mounted: &Mounted) -> Vec<u8> {
    mounted.server(|server| server.content("f"))
}

fn size(bytes: u32) -> Fault {
    Fault::Body([bytes.to_ne_bytes(), [0; 4]].concat())
}

#[test]
fn a_write_of_16_mib_is_16_requests_of_which_8_are_in_flight() {
    let mut server = FakeServer::new();
    server.file("f", "");
    let (mounted, requests) = record(FakeChannel::new(server), &crate::test_utils::uncached());
    let file = open(&mounted, OpenFlags::empty());
    let data = pattern(16 << 20);
    assert_eq!(file.write_at(0, &data), Ok(data.len()));
    assert_eq!(pieces(&requests), (0..16).map(|piece| (piece << 20, 1 << 20)).collect::<Vec<_>>());
    assert_eq!(mounted.channel.most_in_flight(), 8);
    assert!(content(&mounted) == data);
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn the_last_piece_is_as_short_as_the_data() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        let channel = small_pieces();
        channel.set_completion(completion);
        let (mounted, requests) = record(channel, &crate::test_utils::uncached());
        let file = open(&mounted, OpenFlags::empty());
        assert_eq!(file.write_at(10, &pattern(10_000)), Ok(10_000));
        assert_eq!(pieces(&requests), [(10, 4096), (4106, 4096), (8202, 1808)]);
        assert!(content(&mounted) == [vec![0; 10], pattern(10_000)].concat());
        file.close().unwrap();
        mounted.unmount();
    }
}

#[test]
fn what_is_appended_is_sent_piece_by_piece() {
    let channel = small_pieces();
    channel.server().lock().file("f", "old");
    let (mounted, _) = record(channel, &crate::test_utils::uncached());
    let file = open(&mounted, OpenFlags::APPEND);
    assert_eq!(file.write_at(0, &pattern(20_000)), Ok(20_000));
    assert_eq!((mounted.count(opcode::WRITE), mounted.channel.most_in_flight()), (5, 1));
    assert!(content(&mounted) == [&b"old"[..], &pattern(20_000)].concat());
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn a_short_reply_ends_a_write_there() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        for flags in [OpenFlags::empty(), OpenFlags::APPEND] {
            for (place, bytes) in [(0, 1), (1, 0), (3, 4095), (9, 7)] {
                let channel = small_pieces();
                channel.set_completion(completion);
                channel.server().lock().fault(opcode::WRITE, place, size(bytes));
                let mounted = Mounted::over(channel).unwrap();
                let file = open(&mounted, flags);
                let written = place * 4096 + bytes as usize;
                assert_eq!(file.write_at(0, &pattern(10 * 4096)), Ok(written), "{flags:?} {place}");
                if flags.contains(OpenFlags::APPEND) {
                    assert_eq!(mounted.count(opcode::WRITE), place + 1, "nothing is appended behind a gap");
                }
                file.close().unwrap();
                mounted.unmount();
            }
        }
    }
}

#[test]
fn a_server_that_writes_nothing_and_does_not_say_why_is_eio() {
    for flags in [OpenFlags::empty(), OpenFlags::APPEND] {
        let mounted = Mounted::over(small_pieces()).unwrap();
        mounted.server(|server| {
            server.fault(opcode::WRITE, 0, size(0));
        });
        let file = open(&mounted, flags);
        assert_eq!(file.write_at(0, &pattern(10_000)), Err(Error::Refused(Errno::EIO)));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_server_that_writes_more_than_asked_for_breaks_the_protocol() {
    for (place, bytes, expected) in [(0, 4097, 0), (0, u32::MAX, 0), (1, 4097, 4096), (2, 1809, 8192)] {
        let mounted = Mounted::over(small_pieces()).unwrap();
        mounted.server(|server| {
            server.fault(opcode::WRITE, place, size(bytes));
        });
        let file = open(&mounted, OpenFlags::empty());
        match file.write_at(0, &pattern(10_000)) {
            Err(Error::Protocol(_)) if expected == 0 => {}
            result => assert_eq!(result, Ok(expected)),
        }
        assert_eq!(file.write_at(0, b"more"), Ok(4), "a field without meaning does not end the session");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn an_error_in_the_middle_tells_how_much_came_before_it() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        for flags in [OpenFlags::empty(), OpenFlags::APPEND] {
            let channel = small_pieces();
            channel.set_completion(completion);
            channel.set_window(100);
            channel.server().lock().fault(opcode::WRITE, 4, Fault::Refuse(Errno::EDQUOT));
            let mounted = Mounted::over(channel).unwrap();
            let file = open(&mounted, flags);
            assert_eq!(file.write_at(0, &pattern(10 * 4096)), Ok(4 * 4096));
            assert!(content(&mounted)[..4 * 4096] == pattern(4 * 4096));
            mounted.server(|server| {
                server.fault(opcode::WRITE, 0, Fault::Refuse(Errno::EDQUOT));
            });
            assert_eq!(file.write_at(4 * 4096, b"x"), Err(Error::Refused(Errno::EDQUOT)));
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn of_several_errors_the_first_in_the_file_counts() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        let channel = small_pieces();
        channel.set_completion(completion);
        for (place, fault) in [(0, Fault::Refuse(Errno::EFBIG)), (1, Fault::Refuse(Errno::EIO)), (2, size(5))] {
            channel.server().lock().fault(opcode::WRITE, place, fault);
        }
        let mounted = Mounted::over(channel).unwrap();
        let file = open(&mounted, OpenFlags::empty());
        assert_eq!(file.write_at(0, &pattern(3 * 4096)), Err(Error::Refused(Errno::EFBIG)));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_full_file_system_takes_what_fits_and_then_says_so() {
    let channel = small_pieces();
    channel.server().lock().options.space_bytes = 3 * 4096;
    let mounted = Mounted::over(channel).unwrap();
    let file = open(&mounted, OpenFlags::empty());
    assert_eq!(file.write_at(0, &pattern(10 * 4096)), Ok(3 * 4096));
    assert_eq!(file.write_at(3 * 4096, b"x"), Err(Error::Refused(Errno::ENOSPC)));
    assert!(content(&mounted) == pattern(3 * 4096));
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn a_server_without_big_writes_gets_4_kib_at_a_time() {
    let mut server = FakeServer::new();
    server.options.init_flags &= !(1 << 5);
    server.file("f", "");
    let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
    let negotiated = mounted.fs.negotiated();
    assert_eq!((negotiated.max_write_bytes, negotiated.max_transfer_bytes), (4096, 1 << 20));
    let file = open(&mounted, OpenFlags::empty());
    assert_eq!(file.write_at(0, &pattern(100_000)), Ok(100_000));
    assert_eq!(mounted.count(opcode::WRITE), 25);
    assert!(content(&mounted) == pattern(100_000));
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn no_message_is_sent_for_an_impossible_offset_or_nothing() {
    let mounted = Mounted::over(small_pieces()).unwrap();
    let file = open(&mounted, OpenFlags::empty());
    let (_, sent) = mounted.sent_by(|| {
        for offset in [LARGEST + 1, u64::MAX] {
            assert_eq!(file.write_at(offset, b"x"), Err(Error::Invalid(Errno::EINVAL)), "{offset}");
        }
        assert_eq!(file.write_at(LARGEST, b"x"), Err(Error::Invalid(Errno::EFBIG)));
        assert_eq!(file.write_at(0, b""), Ok(0));
        assert_eq!(file.write_at(LARGEST, b""), Ok(0));
    });
    assert_eq!(sent, [0; 0]);
    drop(file);
    mounted.unmount();
}

#[test]
fn as_much_is_written_as_can_have_an_offset() {
    let (mounted, requests) = record(small_pieces(), &crate::test_utils::uncached());
    mounted.server(|server| server.options.max_file_bytes = u64::MAX);
    let file = open(&mounted, OpenFlags::empty());
    assert_eq!(file.write_at(LARGEST - 5, &[1; 10]), Ok(5));
    assert_eq!(pieces(&requests), [(LARGEST - 5, 5)]);
    drop(file);
    mounted.unmount();
}

#[test]
fn a_device_that_fails_in_the_middle_gives_what_came_before_and_then_its_error() {
    for flags in [OpenFlags::empty(), OpenFlags::APPEND] {
        let channel = small_pieces();
        channel.set_window(2);
        let mounted = Mounted::over(channel).unwrap();
        let file = open(&mounted, flags);
        mounted.channel.fail_after(5);
        let written = file.write_at(0, &pattern(10 * 4096)).unwrap();
        assert!(written < 10 * 4096);
        assert!(content(&mounted)[..written] == pattern(written));
        assert!(matches!(file.write_at(0, b"x"), Err(Error::Device(_))));
        assert!(matches!(file.close(), Err(Error::Device(_))));
        assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))));
    }
}

#[test]
fn a_write_says_how_the_file_was_opened() {
    let (mounted, requests) = record(small_pieces(), &crate::test_utils::uncached());
    let flags = OpenFlags::WRITE_ONLY | OpenFlags::APPEND | OpenFlags::DSYNC;
    let file = open(&mounted, flags);
    file.write_at(0, b"x").unwrap();
    let write = &of_kind(&requests, opcode::WRITE)[0];
    assert_eq!((u32_at(write, 60), u64_at(write, 64), u32_at(write, 72)), (0, 0, flags.bits()));
    drop(file);
    mounted.unmount();
}

#[test]
fn what_was_not_sent_is_not_said_to_be_written() {
    let channel = small_pieces();
    channel.set_window(2);
    let mounted = Mounted::over(channel).unwrap();
    let node = mounted.fs.root().lookup("f").unwrap().0;
    let (session, nodeid, flags) = (mounted.fs.root().session(), node.nodeid(), OpenFlags::WRITE_ONLY);
    let who = Credentials::default();
    let opened = session.call(&who, nodeid, &Open { flags, kill_suidgid: false }).unwrap();
    let to = WriteTo { nodeid, fh: opened.fh, flags, write_flags: WriteFlags::empty() };
    let data = pattern(4096);
    let runs: Vec<_> = (0..10).map(|run| Run::new(run * 8192, data[..].into())).collect();
    mounted.channel.fail_after(5);
    session.write_runs(&who, to, &runs);
    let written: Vec<_> = runs.iter().map(|run| run.result() == Ok(4096)).collect();
    assert!(written[..3] == [true; 3] && written[5..] == [false; 5], "{written:?}");
    drop((runs, node));
    assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))));
}
