//! Files.

use super::*;

const CONTENT: &[u8] = b"0123456789";

fn mount() -> Mounted {
    Mounted::new(|server| {
        server.file("f", CONTENT).file("empty", "").file("dir/latin1", b"caf\xe9").special("fifo", FileType::Fifo);
    })
}

fn read(file: &mut File, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; bytes];
    let filled = file.read(&mut buffer).unwrap();
    buffer.truncate(filled);
    buffer
}

#[test]
fn reading_moves_the_position_and_read_at_does_not() {
    let mounted = mount();
    let mut file = mounted.fs.open("f").unwrap();
    assert_eq!(read(&mut file, 3), b"012");
    assert_eq!(file.read_at(8, &mut [0; 5]), Ok(2));
    assert_eq!(read(&mut file, 0), b"");
    assert_eq!(read(&mut file, 5), b"34567");
    assert_eq!(read(&mut file, 5), b"89");
    assert_eq!(read(&mut file, 5), b"");
    assert_eq!(file.seek(SeekFrom::Current(0)), Ok(10));
    drop(file);
    mounted.unmount();
}

#[test]
fn a_seek_goes_from_the_start_the_end_or_the_position() {
    let mounted = mount();
    let mut file = mounted.fs.open("f").unwrap();
    let largest = i64::MAX as u64;
    let bad = Err(Error::Invalid(Errno::EINVAL));
    for (to, expected) in [
        (SeekFrom::Start(4), Ok(4)),
        (SeekFrom::Current(3), Ok(7)),
        (SeekFrom::Current(-7), Ok(0)),
        (SeekFrom::Current(-1), bad),
        (SeekFrom::Current(i64::MIN), bad),
        (SeekFrom::End(0), Ok(10)),
        (SeekFrom::End(-10), Ok(0)),
        (SeekFrom::End(-11), bad),
        (SeekFrom::End(i64::MIN), bad),
        (SeekFrom::End(i64::MAX), bad),
        (SeekFrom::End(5), Ok(15)),
        (SeekFrom::Start(largest), Ok(largest)),
        (SeekFrom::Current(1), bad),
        (SeekFrom::Current(i64::MAX), bad),
        (SeekFrom::Start(largest + 1), bad),
        (SeekFrom::Start(u64::MAX), bad),
        (SeekFrom::Current(0), Ok(largest)),
    ] {
        assert_eq!(file.seek(to), expected, "{to:?}");
    }
    file.seek(SeekFrom::Start(7)).unwrap();
    file.seek(SeekFrom::End(-100)).unwrap_err();
    assert_eq!(read(&mut file, 9), b"789", "an error does not move the position");
    drop(file);
    mounted.unmount();
}

#[test]
fn behind_the_end_there_is_nothing_to_read() {
    let mounted = mount();
    let mut file = mounted.fs.open("f").unwrap();
    for position in [10, 11, 1 << 40, i64::MAX as u64 - 5] {
        file.seek(SeekFrom::Start(position)).unwrap();
        assert_eq!(read(&mut file, 5), b"");
        assert_eq!(file.seek(SeekFrom::Current(0)), Ok(position));
    }
    drop(file);
    mounted.unmount();
}

#[test]
fn only_a_seek_from_the_end_asks_the_server() {
    let mounted = mount();
    let mut file = mounted.fs.open("f").unwrap();
    let (_, sent) = mounted.sent_by(|| {
        file.seek(SeekFrom::Start(5)).unwrap();
        file.seek(SeekFrom::Current(5)).unwrap();
    });
    assert_eq!(sent, [0; 0]);
    mounted.server(|server| {
        server.fault(opcode::GETATTR, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(file.seek(SeekFrom::End(0)), Err(Error::Refused(Errno::EIO)));
    assert_eq!(file.seek(SeekFrom::Current(0)), Ok(10));
    drop(file);
    mounted.unmount();
}

#[test]
fn an_open_file_tells_its_metadata_also_without_a_name() {
    let mounted = mount();
    let file = mounted.fs.open("f").unwrap();
    mounted.server(|server| {
        server.remove("f");
    });
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.is_file(), metadata.attr().nlink), (10, true, 0));
    assert_eq!(file.as_open_file().read_at(9, &mut [0; 9]), Ok(1));
    drop(file);
    mounted.unmount();
}

#[test]
fn a_whole_file_is_read_with_one_read_of_its_size() {
    let mounted = mount();
    let (content, sent) = mounted.sent_by(|| mounted.fs.read("f").unwrap());
    assert_eq!(content, CONTENT);
    assert_eq!(sent, [opcode::LOOKUP, opcode::OPEN, opcode::READ, opcode::RELEASE], "LOOKUP told the size");
    assert_eq!(mounted.fs.read("empty").unwrap(), b"");
    mounted.unmount();
}

#[test]
fn a_file_whose_size_says_0_is_read_to_its_end() {
    let content: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    for bytes in [1, 65_535, 65_536, 65_537, 200_000] {
        let mounted = Mounted::new(|server| {
            server.file("proc", &content[..bytes]).attr_mut("proc").size_bytes = 0;
        });
        assert!(mounted.fs.read("proc").unwrap() == content[..bytes]);
        mounted.unmount();
    }
}

#[test]
fn a_file_whose_size_says_0_may_come_in_short_replies() {
    let mounted = Mounted::new(|server| {
        server.file("proc", CONTENT).attr_mut("proc").size_bytes = 0;
        for read in 0..3 {
            server.fault(opcode::READ, read, Fault::CutBody(2));
        }
    });
    assert_eq!(mounted.fs.read("proc").unwrap(), CONTENT);
    mounted.unmount();
}

#[test]
fn a_file_that_shrank_is_read_to_its_end_and_one_that_grew_to_its_old_size() {
    for (size_bytes, expected) in [(11, CONTENT), (1 << 20, CONTENT), (9, &CONTENT[..9]), (1, b"0")] {
        let mounted = mount();
        mounted.server(|server| server.attr_mut("f").size_bytes = size_bytes);
        assert_eq!(mounted.fs.read("f").unwrap(), expected);
        mounted.unmount();
    }
}

#[test]
fn a_short_reply_does_not_make_a_whole_file_longer_than_its_size() {
    let mounted = mount();
    mounted.server(|server| {
        server.attr_mut("f").size_bytes = 6;
        server.fault(opcode::READ, 0, Fault::CutBody(4));
    });
    assert_eq!(mounted.fs.read("f").unwrap(), &CONTENT[..6]);
    mounted.unmount();
}

#[test]
fn an_error_in_the_middle_of_a_whole_file_is_not_its_end() {
    let mounted = mount();
    mounted.server(|server| {
        server.fault(opcode::READ, 0, Fault::CutBody(4)).fault(opcode::READ, 1, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.read("f"), Err(Error::Refused(Errno::EIO)));
    mounted.unmount();
}

#[test]
fn a_size_that_lies_costs_no_memory() {
    let mounted = mount();
    for size_bytes in [1 << 32, 1 << 50, i64::MAX as u64] {
        mounted.server(|server| server.attr_mut("f").size_bytes = size_bytes);
        assert_eq!(mounted.fs.read("f").unwrap(), CONTENT);
    }
    mounted.unmount();
}

#[test]
fn a_file_larger_than_what_is_believed_at_once_is_read_whole() {
    let content: Vec<u8> = (0..40_u32 << 20).map(|at| (at ^ at >> 11) as u8).collect();
    let mounted = Mounted::new(|server| {
        server.file("large", &content);
    });
    assert!(mounted.fs.read("large").unwrap() == content);
    assert_eq!(mounted.count(opcode::READ), 40, "1 MiB each");
    mounted.unmount();
}

#[test]
fn text_has_to_be_utf8() {
    let mounted = mount();
    assert_eq!(mounted.fs.read_to_string("f").unwrap(), "0123456789");
    assert_eq!(mounted.fs.read_to_string("dir/latin1"), Err(Error::Invalid(Errno::EINVAL)));
    assert_eq!(mounted.fs.read("dir/latin1").unwrap(), b"caf\xe9");
    mounted.unmount();
}

#[test]
fn what_is_no_file_is_not_opened() {
    let mounted = mount();
    assert_eq!(mounted.fs.open("dir").err(), Some(Error::Invalid(Errno::EISDIR)));
    assert_eq!(mounted.fs.read("fifo").err(), Some(Error::Invalid(Errno::EOPNOTSUPP)));
    assert_eq!(mounted.fs.read_dir("f").err(), Some(Error::Invalid(Errno::ENOTDIR)));
    assert_eq!(mounted.count(opcode::OPEN) + mounted.count(opcode::OPENDIR), 0);
    mounted.unmount();
}

#[cfg(feature = "embedded-io")]
mod embedded {
    use super::*;
    use embedded_io::{Error as _, ErrorKind, Read, ReadExactError, Seek, SeekFrom};

    #[test]
    fn embedded_io_reads_and_seeks() {
        let mounted = mount();
        let mut file = mounted.fs.open("f").unwrap();
        let mut buffer = [0; 4];
        Read::read_exact(&mut file, &mut buffer).unwrap();
        assert_eq!((&buffer, file.stream_position()), (b"0123", Ok(4)));
        assert_eq!(Seek::seek(&mut file, SeekFrom::End(-4)), Ok(6));
        Read::read_exact(&mut file, &mut buffer).unwrap();
        assert_eq!(&buffer, b"6789");
        assert_eq!(Seek::seek(&mut file, SeekFrom::Current(-2)), Ok(8));
        assert_eq!(Read::read_exact(&mut file, &mut buffer), Err(ReadExactError::UnexpectedEof));
        file.rewind().unwrap();
        assert_eq!(Read::read(&mut file, &mut buffer), Ok(4));
        assert_eq!(Seek::seek(&mut file, SeekFrom::Start(u64::MAX)).unwrap_err().kind(), ErrorKind::InvalidInput);
        drop(file);
        mounted.unmount();
    }

    #[test]
    fn errors_have_the_kinds_of_embedded_io() {
        for (errno, kind) in [
            (Errno::ENOENT, ErrorKind::NotFound),
            (Errno::EACCES, ErrorKind::PermissionDenied),
            (Errno::EINTR, ErrorKind::Interrupted),
            (Errno::EIO, ErrorKind::Other),
            (Errno(511), ErrorKind::Other),
        ] {
            assert_eq!(Error::Refused(errno).kind(), kind);
        }
        assert_eq!(Error::NoMemory.kind(), ErrorKind::OutOfMemory);
    }
}
