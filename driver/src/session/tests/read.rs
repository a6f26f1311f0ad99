//! Large reads.

use super::*;
use crate::Errno;
use crate::fs::File;
use crate::test_utils::{Completion, FakeServer, Fault};
use alloc::vec;

const MIB: usize = 1 << 20;

/// Bytes of which no two pages are alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// A file in pieces of 4096 bytes, so that small files make many requests.
fn small_pieces(bytes: usize) -> FakeChannel {
    let mut server = FakeServer::new();
    server.file("f", pattern(bytes));
    let channel = FakeChannel::new(server);
    channel.set_max_data_bytes(4096);
    channel
}

/// The offset and the size of each READ.
fn pieces(requests: &Requests) -> Vec<(u64, u32)> {
    of_kind(requests, opcode::READ).iter().map(|read| (u64_at(read, 48), u32_at(read, 56))).collect()
}

/// Reads from byte `offset` on; gives what was read.
fn read(file: &File, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0xee; bytes];
    let filled = file.read_at(offset, &mut buffer)?;
    buffer.truncate(filled);
    Ok(buffer)
}

#[test]
fn a_file_of_64_mib_is_read_with_64_requests_of_which_8_are_in_flight() {
    let content = pattern(64 * MIB);
    let mut server = FakeServer::new();
    server.file("f", &content);
    let (mounted, requests) = record(FakeChannel::new(server), &crate::test_utils::uncached());
    let file = mounted.fs.open("f").unwrap();
    assert!(read(&file, 0, 64 * MIB).unwrap() == content);
    let expected: Vec<_> = (0..64).map(|piece| (piece * MIB as u64, MIB as u32)).collect();
    assert_eq!(pieces(&requests), expected);
    assert_eq!(mounted.channel.most_in_flight(), 8);
    drop(file);
    mounted.unmount();
}

#[test]
fn the_last_piece_is_as_short_as_the_buffer_asks() {
    let (mounted, requests) = record(small_pieces(100_000), &crate::test_utils::uncached());
    let file = mounted.fs.open("f").unwrap();
    assert!(read(&file, 10, 10_000).unwrap() == pattern(100_000)[10..10_010]);
    assert_eq!(pieces(&requests), [(10, 4096), (4106, 4096), (8202, 1808)]);
    drop(file);
    mounted.unmount();
}

#[test]
fn replies_may_come_in_any_order() {
    for window in [1, 2, 3, 8, 100] {
        let channel = small_pieces(100_000);
        channel.set_completion(Completion::Reversed);
        channel.set_window(window);
        let mounted = Mounted::over(channel).unwrap();
        let file = mounted.fs.open("f").unwrap();
        assert!(read(&file, 0, 100_000).unwrap() == pattern(100_000));
        assert!(read(&file, 0, 200_000).unwrap() == pattern(100_000), "the end in the middle of the buffer");
        assert_eq!(mounted.channel.most_in_flight(), window.min(49));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn behind_the_end_of_the_file_nothing_more_is_asked_for() {
    let channel = small_pieces(10_000);
    channel.set_window(2);
    let mounted = Mounted::over(channel).unwrap();
    let file = mounted.fs.open("f").unwrap();
    assert_eq!(read(&file, 0, 1_000_000).unwrap().len(), 10_000);
    assert!(mounted.count(opcode::READ) <= 4, "three pieces, and one that was in flight with the last");
    assert_eq!(read(&file, 10_000, 100).unwrap(), b"");
    assert_eq!(read(&file, 1 << 40, 100).unwrap(), b"");
    drop(file);
    mounted.unmount();
}

#[test]
fn a_short_reply_in_the_middle_ends_the_read_there() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        for (place, bytes) in [(0, 0), (0, 1), (1, 0), (3, 4095), (9, 7)] {
            let channel = small_pieces(10 * 4096);
            channel.set_completion(completion);
            channel.server().lock().fault(opcode::READ, place, Fault::CutBody(bytes));
            let mounted = Mounted::over(channel).unwrap();
            let file = mounted.fs.open("f").unwrap();
            let filled = place * 4096 + bytes;
            assert!(read(&file, 0, 10 * 4096).unwrap() == pattern(10 * 4096)[..filled], "piece {place}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn of_several_short_replies_the_first_in_the_file_counts() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        let channel = small_pieces(10 * 4096);
        channel.set_completion(completion);
        let faults = [(2, Fault::CutBody(5)), (4, Fault::Refuse(Errno::EIO)), (6, Fault::CutBody(3))];
        for (place, fault) in faults {
            channel.server().lock().fault(opcode::READ, place, fault);
        }
        let mounted = Mounted::over(channel).unwrap();
        let file = mounted.fs.open("f").unwrap();
        assert_eq!(read(&file, 0, 10 * 4096).unwrap().len(), 2 * 4096 + 5);
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn an_error_in_the_middle_gives_the_bytes_before_it_and_the_next_read_meets_the_error() {
    for completion in [Completion::InOrder, Completion::Reversed] {
        let channel = small_pieces(10 * 4096);
        channel.set_completion(completion);
        channel.set_window(100);
        for read in [4, 10] {
            channel.server().lock().fault(opcode::READ, read, Fault::Refuse(Errno::EIO));
        }
        let mounted = Mounted::over(channel).unwrap();
        let file = mounted.fs.open("f").unwrap();
        assert!(read(&file, 0, 10 * 4096).unwrap() == pattern(4 * 4096));
        let again = mounted.count(opcode::READ);
        assert!(again <= 10);
        // The second fault meets the first piece of the next read.
        for _ in again..10 {
            read(&file, 0, 1).unwrap();
        }
        assert_eq!(read(&file, 4 * 4096, 6 * 4096), Err(Error::Refused(Errno::EIO)));
        assert!(read(&file, 4 * 4096, 6 * 4096).unwrap() == pattern(10 * 4096)[4 * 4096..]);
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn an_error_of_the_first_piece_is_the_error_of_the_read() {
    let channel = small_pieces(10 * 4096);
    channel.server().lock().fault(opcode::READ, 0, Fault::Refuse(Errno::EACCES));
    let mounted = Mounted::over(channel).unwrap();
    let file = mounted.fs.open("f").unwrap();
    assert_eq!(read(&file, 0, 10 * 4096), Err(Error::Refused(Errno::EACCES)));
    drop(file);
    mounted.unmount();
}

#[test]
fn a_device_that_fails_in_the_middle_gives_what_came_before_and_then_its_error() {
    let channel = small_pieces(10 * 4096);
    channel.set_window(2);
    let mounted = Mounted::over(channel).unwrap();
    let file = mounted.fs.open("f").unwrap();
    mounted.channel.fail_after(5);
    let filled = read(&file, 0, 10 * 4096).unwrap();
    assert!(filled == pattern(filled.len()) && filled.len() < 10 * 4096);
    assert!(matches!(read(&file, filled.len() as u64, 10), Err(Error::Device(_))));
    drop(file);
    assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))));
}

#[test]
fn a_reply_that_breaks_the_protocol_in_the_middle_ends_the_session() {
    let channel = small_pieces(10 * 4096);
    channel.server().lock().fault(opcode::READ, 3, Fault::Unique(1));
    let mounted = Mounted::over(channel).unwrap();
    let file = mounted.fs.open("f").unwrap();
    assert!(read(&file, 0, 10 * 4096).unwrap() == pattern(3 * 4096));
    assert!(matches!(read(&file, 3 * 4096, 10), Err(Error::Device(_))));
    drop(file);
    assert!(mounted.fs.unmount().is_err());
}

#[test]
fn no_message_is_sent_for_an_impossible_range_or_an_empty_buffer() {
    let mounted = Mounted::over(small_pieces(10)).unwrap();
    let file = mounted.fs.open("f").unwrap();
    let largest = i64::MAX as u64;
    let (_, sent) = mounted.sent_by(|| {
        for (offset, bytes) in [(u64::MAX, 1), (u64::MAX - 5, 10), (largest + 1, 0)] {
            assert_eq!(read(&file, offset, bytes), Err(Error::Invalid(Errno::EINVAL)), "{bytes} at {offset}");
        }
        assert_eq!(read(&file, largest, 10), Ok(vec![]), "no byte has a larger offset");
        assert_eq!(read(&file, 0, 0), Ok(vec![]));
        assert_eq!(read(&file, largest, 0), Ok(vec![]));
    });
    assert_eq!(sent, [0; 0]);
    // As much of the buffer as can have an offset is asked for.
    assert_eq!(read(&file, largest - 10, 10), Ok(vec![]));
    assert_eq!(read(&file, largest - 10, 1000), Ok(vec![]));
    drop(file);
    mounted.unmount();
}
