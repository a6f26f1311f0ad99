//! Reads into several buffers, and writes from several.

use super::*;
use crate::session::{Credentials, ReadFrom, Session, WriteTo};
use crate::test_utils::{Completion, FakeServer, Fault};
use crate::wire::{FileHandle, LookedUp, Lookup, Name, NodeId, Open, OpenFlags, Release, WriteFlags};
use crate::{Errno, InitFlags};
use alloc::vec;

/// Lengths of buffers: with pieces of 4096 bytes some requests cover several, and some buffers several requests.
const LENGTHS: [&[usize]; 6] = [
    &[20_000],
    &[4096, 4096, 4096],
    &[1, 4095, 0, 4097, 3, 10_000, 8192],
    &[0, 0, 12_288, 0],
    &[100; 200],
    &[5000, 5000, 5000, 1],
];

const COMPLETIONS: [Completion; 2] = [Completion::InOrder, Completion::Reversed];

/// An open file "f".
struct File {
    channel: FakeChannel,
    session: Session,
    requests: Requests,
    nodeid: NodeId,
    fh: FileHandle,
    flags: OpenFlags,
}

impl File {
    /// Opens a file, which is read and written in pieces of 4096 bytes.
    fn open(content: &[u8], completion: Completion, flags: OpenFlags) -> Self {
        let mut server = FakeServer::new();
        server.options.init_flags |= InitFlags::BIG_WRITES.bits();
        server.file("f", content);
        let channel = FakeChannel::new(server);
        channel.set_max_data_bytes(4096);
        channel.set_completion(completion);
        let requests = Requests::default();
        let recorder = Recorder { channel: channel.clone(), requests: requests.clone() };
        let session = Session::open(Box::new(recorder)).unwrap();
        let who = &Credentials::DRIVER;
        let name = Name::new(b"f").unwrap();
        let LookedUp::Found(entry) = session.call(who, NodeId::ROOT, &Lookup { name }).unwrap() else { panic!() };
        let nodeid = entry.nodeid;
        let flags = OpenFlags::READ_WRITE | flags;
        let fh = session.call(who, nodeid, &Open { flags, kill_suidgid: false }).unwrap().fh;
        Self { channel, session, requests, nodeid, fh, flags }
    }

    fn fault(&self, opcode: u32, place: usize, fault: Fault) {
        self.channel.server().lock().fault(opcode, place, fault);
    }

    /// Reads into buffers of these lengths; gives what was read.
    fn read(&self, offset: u64, lengths: &[usize]) -> Result<Vec<u8>, Error> {
        let mut memory = vec![0xee; lengths.iter().sum()];
        let mut rest = &mut memory[..];
        let mut buffers: Vec<&mut [u8]> = lengths.iter().map(|&length| rest.split_off_mut(..length).unwrap()).collect();
        let &Self { ref session, nodeid, fh, flags, .. } = self;
        let from = ReadFrom { nodeid, fh, flags };
        let filled = session.read(&Credentials::DRIVER, from, offset, buffers[..].as_mut().into())?;
        memory.truncate(filled.bytes);
        Ok(memory)
    }

    /// Writes `data` from buffers of these lengths.
    fn write(&self, offset: u64, mut data: &[u8], lengths: &[usize]) -> Result<usize, Error> {
        let buffers: Vec<&[u8]> = lengths.iter().map(|&length| data.split_off(..length).unwrap()).collect();
        let &Self { nodeid, fh, flags, .. } = self;
        let to = WriteTo { nodeid, fh, flags, write_flags: WriteFlags::CACHE };
        self.session.write(&Credentials::DRIVER, to, offset, buffers[..].into()).map(|sent| sent.bytes)
    }

    fn content(&self) -> Vec<u8> {
        self.channel.server().lock().content("f")
    }

    /// The offset and the size of each READ or WRITE.
    fn pieces(&self, opcode: u32) -> Vec<(u64, u32)> {
        of_kind(&self.requests, opcode).iter().map(|request| (u64_at(request, 48), u32_at(request, 56))).collect()
    }

    fn close(self) {
        let Self { channel, session, nodeid, fh, flags, .. } = self;
        session.call(&Credentials::DRIVER, nodeid, &Release { fh, flags, flock_owner: None }).unwrap();
        session.forget(nodeid, 1);
        session.end().unwrap();
        assert_eq!(channel.server().lock().violations(), [""; 0]);
    }
}

/// Bytes of which no two pages are alike.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

/// A range in pieces of 4096 bytes.
fn cut(offset: usize, bytes: usize) -> Vec<(u64, u32)> {
    (0..bytes).step_by(4096).map(|at| ((offset + at) as u64, (bytes - at).min(4096) as u32)).collect()
}

#[test]
fn what_is_read_fills_buffers_of_any_length_in_order() {
    for lengths in LENGTHS {
        for completion in COMPLETIONS {
            let file = File::open(&pattern(30_000), completion, OpenFlags::empty());
            let total: usize = lengths.iter().sum();
            let read = file.read(7, lengths).unwrap();
            assert!(read == pattern(30_000)[7..][..total.min(29_993)], "{lengths:?}");
            assert_eq!(file.pieces(opcode::READ), cut(7, total));
            assert_eq!(file.read(40_000, lengths), Ok(vec![]), "behind the end of the file");
            file.close();
        }
    }
}

#[test]
fn what_is_written_comes_from_buffers_of_any_length_in_order() {
    for lengths in LENGTHS {
        for completion in COMPLETIONS {
            let file = File::open(b"1234567", completion, OpenFlags::empty());
            let data = pattern(lengths.iter().sum());
            assert_eq!(file.write(7, &data, lengths), Ok(data.len()));
            assert!(file.content() == [b"1234567", &data[..]].concat(), "{lengths:?}");
            assert_eq!(file.pieces(opcode::WRITE), cut(7, data.len()));
            // FUSE_WRITE_CACHE
            assert!(of_kind(&file.requests, opcode::WRITE).iter().all(|write| u32_at(write, 60) == 1));
            file.close();
        }
    }
}

#[test]
fn several_buffers_are_appended_piece_by_piece() {
    for lengths in LENGTHS {
        let file = File::open(b"old", Completion::InOrder, OpenFlags::APPEND);
        let data = pattern(lengths.iter().sum());
        assert_eq!(file.write(0, &data, lengths), Ok(data.len()));
        assert!(file.content() == [b"old", &data[..]].concat(), "{lengths:?}");
        assert_eq!(file.channel.most_in_flight(), 1);
        file.close();
    }
}

#[test]
fn a_short_reply_ends_a_read_wherever_its_buffer_ends() {
    for lengths in LENGTHS {
        let total: usize = lengths.iter().sum();
        for completion in COMPLETIONS {
            for place in 0..total / 4096 {
                for bytes in [0, 1, 99, 100, 3999, 4095] {
                    let file = File::open(&pattern(30_000), completion, OpenFlags::empty());
                    file.fault(opcode::READ, place, Fault::CutBody(bytes));
                    let read = file.read(0, lengths).unwrap();
                    assert!(read == pattern(30_000)[..place * 4096 + bytes], "{lengths:?}, {bytes} of piece {place}");
                    file.close();
                }
            }
        }
    }
}

#[test]
fn a_short_reply_ends_a_write_wherever_its_buffer_ends() {
    for lengths in LENGTHS {
        let data = pattern(lengths.iter().sum());
        for (completion, flags) in COMPLETIONS
            .map(|one| (one, OpenFlags::empty()))
            .into_iter()
            .chain([(Completion::InOrder, OpenFlags::APPEND)])
        {
            for place in 0..data.len() / 4096 {
                for bytes in [1_u32, 99, 100, 3999, 4095] {
                    let file = File::open(b"", completion, flags);
                    let body = [bytes.to_ne_bytes(), [0; 4]].concat();
                    file.fault(opcode::WRITE, place, Fault::Body(body));
                    let written = place * 4096 + bytes as usize;
                    assert_eq!(file.write(0, &data, lengths), Ok(written), "{lengths:?}, {flags:?}");
                    file.close();
                }
            }
        }
    }
}

#[test]
fn an_error_in_the_middle_of_several_buffers_tells_how_much_came_before_it() {
    for lengths in LENGTHS {
        let data = pattern(lengths.iter().sum());
        for completion in COMPLETIONS {
            for place in 0..data.len() / 4096 {
                let file = File::open(&pattern(30_000), completion, OpenFlags::empty());
                file.channel.set_window(100);
                for opcode in [opcode::READ, opcode::WRITE] {
                    file.fault(opcode, place, Fault::Refuse(Errno::EIO));
                }
                let (read, written) = (file.read(0, lengths), file.write(0, &data, lengths));
                if place == 0 {
                    assert_eq!((read, written), (Err(Error::Refused(Errno::EIO)), Err(Error::Refused(Errno::EIO))));
                } else {
                    assert!(read.unwrap() == pattern(30_000)[..place * 4096], "{lengths:?}");
                    assert_eq!(written, Ok(place * 4096), "{lengths:?}");
                }
                file.close();
            }
        }
    }
}

#[test]
fn nothing_is_sent_for_no_buffers_or_empty_ones() {
    let file = File::open(b"content", Completion::InOrder, OpenFlags::empty());
    let largest = i64::MAX as u64;
    for lengths in [&[][..], &[0], &[0, 0, 0]] {
        for offset in [0, largest] {
            assert_eq!((file.read(offset, lengths), file.write(offset, b"", lengths)), (Ok(vec![]), Ok(0)));
        }
    }
    assert_eq!(file.read(largest + 1, &[1, 1]), Err(Error::Invalid(Errno::EINVAL)));
    assert_eq!(file.read(largest, &[1, 1]), Ok(vec![]), "no byte has a larger offset");
    assert_eq!(file.write(largest, b"ab", &[1, 1]), Err(Error::Invalid(Errno::EFBIG)));
    assert_eq!((file.pieces(opcode::READ), file.pieces(opcode::WRITE)), (vec![], vec![]));
    assert_eq!(file.read(largest - 3, &[2, 2, 2]), Ok(vec![]));
    assert_eq!(file.pieces(opcode::READ), [(largest - 3, 3)], "as much is asked for as can have an offset");
    file.close();
}
