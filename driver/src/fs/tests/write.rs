//! Writing: positions, appending, whole files, copies; and what that costs.

use super::*;
use crate::vnode::{AllocateFlags, OpenFlags};

const CONTENT: &[u8] = b"0123456789";

fn mount() -> Mounted {
    Mounted::new(|server| {
        server.options.refused.clear();
        server.file("f", CONTENT).dir("d");
    })
}

fn open(mounted: &Mounted, options: impl FnOnce(&mut OpenOptions) -> &mut OpenOptions) -> File {
    options(OpenOptions::new().read(true)).open(&mounted.fs, "f").unwrap()
}

fn content(mounted: &Mounted) -> Vec<u8> {
    mounted.server(|server| server.content("f"))
}

fn read(file: &mut File, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; bytes];
    let filled = file.read(&mut buffer).unwrap();
    buffer.truncate(filled);
    buffer
}

/// The reply to a WRITE.
fn written(bytes: u32) -> Fault {
    Fault::Body([bytes.to_ne_bytes(), [0; 4]].concat())
}

#[test]
fn writing_moves_the_position_and_write_at_does_not() {
    let mounted = mount();
    let mut file = open(&mounted, |options| options.write(true));
    assert_eq!((file.write(b"ab"), file.seek(SeekFrom::Current(0))), (Ok(2), Ok(2)));
    assert_eq!(read(&mut file, 2), b"23");
    assert_eq!((file.write_at(8, b"XYZ"), file.write(b"")), (Ok(3), Ok(0)));
    file.seek(SeekFrom::End(1)).unwrap();
    file.write_all(b"end").unwrap();
    assert_eq!(content(&mounted), b"ab234567XYZ\0end");
    assert_eq!(file.seek(SeekFrom::Current(0)), Ok(15));
    file.seek(SeekFrom::Start(i64::MAX as u64)).unwrap();
    assert_eq!(file.write(b"x"), Err(Error::Invalid(Errno::EFBIG)));
    assert_eq!(file.seek(SeekFrom::Current(0)), Ok(i64::MAX as u64));
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn what_is_appended_goes_to_the_end_and_the_position_with_it() {
    let mounted = mount();
    let mut file = open(&mounted, |options| options.append(true));
    assert_eq!(read(&mut file, 3), b"012");
    assert_eq!(file.write(b"ab"), Ok(2));
    assert_eq!(read(&mut file, 5), b"", "it is behind what was written");
    assert_eq!(file.seek(SeekFrom::Current(-3)), Ok(9));
    assert_eq!(read(&mut file, 5), b"9ab");
    file.seek(SeekFrom::Start(5)).unwrap();
    assert_eq!(file.write(b""), Ok(0));
    assert_eq!(read(&mut file, 1), b"5", "nothing was written");
    file.write_all(b"cd").unwrap();
    assert_eq!(file.write_at(0, b"ef"), Ok(2), "there is no other place than the end");
    assert_eq!(content(&mounted), b"0123456789abcdef");
    assert_eq!(file.seek(SeekFrom::End(-1)), Ok(15));
    assert_eq!(read(&mut file, 5), b"f");
    file.close().unwrap();
    mounted.unmount();
}

#[test]
fn two_who_append_do_not_overwrite_each_other() {
    let mounted = mount();
    let [mut one, mut other] = [(); 2].map(|()| open(&mounted, |options| options.append(true)));
    for _ in 0..3 {
        one.write_all(b"one").unwrap();
        other.write_all(b"other").unwrap();
    }
    assert_eq!(content(&mounted), [CONTENT, &b"oneother".repeat(3)].concat());
    drop((one, other));
    mounted.unmount();
}

#[test]
fn appending_asks_for_no_size() {
    let mounted = mount();
    let mut file = open(&mounted, |options| options.append(true));
    let (_, sent) = mounted.sent_by(|| {
        file.write_all(b"a").unwrap();
        file.write_all(b"b").unwrap();
    });
    assert_eq!(sent, [opcode::WRITE; 2]);
    drop(file);
    mounted.unmount();
}

#[test]
fn a_failed_write_does_not_move_the_position() {
    let mounted = mount();
    let mut file = open(&mounted, |options| options.write(true));
    file.seek(SeekFrom::Start(4)).unwrap();
    mounted.server(|server| {
        server.fault(opcode::WRITE, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(file.write(b"x"), Err(Error::Refused(Errno::EIO)));
    file.write_all(b"y").unwrap();
    assert_eq!(content(&mounted), b"0123y56789");
    drop(file);
    mounted.unmount();
}

#[test]
fn write_all_goes_on_after_short_replies() {
    for at in [false, true] {
        let mounted = mount();
        mounted.server(|server| {
            server.fault(opcode::WRITE, 0, written(1)).fault(opcode::WRITE, 1, written(3));
        });
        let mut file = open(&mounted, |options| options.write(true));
        match at {
            false => file.write_all(b"abcdef").unwrap(),
            true => file.write_all_at(0, b"abcdef").unwrap(),
        }
        assert_eq!((content(&mounted), mounted.count(opcode::WRITE)), (b"abcdef6789".to_vec(), 3));
        let write = mounted.server(|server| server.last_request(opcode::WRITE).unwrap().to_vec());
        assert_eq!((&write[48..56], &write[80..]), (&4_u64.to_ne_bytes()[..], &b"ef"[..]));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn write_all_ends_with_the_error_behind_what_was_written() {
    let mounted = mount();
    mounted.server(|server| server.options.max_file_bytes = 12);
    let mut file = open(&mounted, |options| options.append(true));
    assert_eq!(file.write_all(b"abcdef"), Err(Error::Refused(Errno::EFBIG)));
    assert_eq!(content(&mounted), b"0123456789ab");
    assert_eq!(file.write_all_at(0, b"x"), Err(Error::Refused(Errno::EFBIG)));
    drop(file);
    mounted.unmount();
}

#[test]
fn write_makes_a_file_or_replaces_its_content() {
    let mounted = mount();
    mounted.fs.write("new", "content").unwrap();
    mounted.fs.write("f", "").unwrap();
    assert_eq!((mounted.fs.read("new").unwrap(), content(&mounted)), (b"content".to_vec(), vec![]));
    mounted.server(|server| {
        server.fault(opcode::FLUSH, 0, Fault::Refuse(Errno::EDQUOT));
    });
    assert_eq!(mounted.fs.write("f", "x"), Err(Error::Refused(Errno::EDQUOT)), "the error of closing");
    mounted.unmount();
}

#[test]
fn nothing_is_asked_that_need_not_be() {
    use opcode::*;
    let mounted = mount();
    let fs = &mounted.fs;
    let costs = |action: &dyn Fn(&VirtioFs) -> Result<(), Error>, expected: &[u32]| {
        let (result, sent) = mounted.sent_by(|| action(fs));
        assert_eq!(result, Ok(()));
        assert_eq!(sent, expected);
    };
    costs(&|fs| fs.write("new", [7; 4096]), &[CREATE, WRITE, FLUSH, RELEASE]);
    costs(&|fs| fs.write("new", [7; 4096]), &[CREATE, LOOKUP, OPEN, WRITE, FLUSH, RELEASE]);
    costs(&|fs| fs.rename("new", "moved"), &[RENAME]);
    costs(&|fs| fs.remove_file("moved"), &[UNLINK]);
    costs(&|fs| fs.create_dir("dir"), &[MKDIR]);
    costs(&|fs| fs.remove_dir("dir"), &[RMDIR]);
    costs(&|fs| fs.symlink("f", "l"), &[SYMLINK]);
    costs(&|fs| fs.hard_link("f", "h"), &[LOOKUP, LINK]);
    costs(&|fs| fs.truncate("f", 3), &[LOOKUP, SETATTR]);
    costs(&|fs| fs.set_permissions("f", 0o600), &[LOOKUP, SETATTR]);
    costs(&|fs| fs.sync(), &[SYNCFS]);
    mounted.unmount();
}

#[test]
fn a_copy_has_the_content_and_the_permissions() {
    let large: Vec<u8> = (0..3 << 20).map(|at: u32| (at ^ at >> 9) as u8).collect();
    let mounted = Mounted::new(|server| {
        server.options.max_copy_bytes = 1 << 20;
        server.file("large", &large).file("old", "longer than nothing").file("empty", "").symlink("link", "old");
        server.attr_mut("large").permissions = 0o4751;
    });
    for (to, found) in [("new", "new"), ("old", "old"), ("link", "old")] {
        assert_eq!(mounted.fs.copy("large", to), Ok(3 << 20));
        mounted.server(|server| {
            assert!(server.content(found) == large);
            assert_eq!(server.attr(found).permissions, 0o4751);
        });
    }
    assert_eq!(mounted.count(opcode::READ) + mounted.count(opcode::WRITE), 0, "the server copies");
    assert_eq!(mounted.fs.copy("empty", "old"), Ok(0));
    assert_eq!(mounted.server(|server| server.content("old")), b"");
    mounted.unmount();
}

#[test]
fn a_server_that_does_not_copy_has_it_done() {
    let large: Vec<u8> = (0..(5 << 19) + 5).map(|at: u32| (at ^ at >> 9) as u8).collect();
    let mounted = Mounted::new(|server| {
        server.options.refused.insert(opcode::COPY_FILE_RANGE, Errno::ENOSYS);
        server.file("large", &large);
    });
    assert_eq!(mounted.fs.copy("large", "new"), Ok(large.len() as u64));
    assert!(mounted.server(|server| server.content("new") == large));
    assert_eq!((mounted.count(opcode::COPY_FILE_RANGE), mounted.count(opcode::WRITE)), (1, 3));
    mounted.unmount();
}

#[test]
fn what_may_be_one_file_by_its_number_is_cut_off_only_behind_the_copy() {
    let mounted = Mounted::new(|server| {
        server.file("f", "content").file("g", "longer content").file("h", "");
        let ino = server.attr("f").ino;
        for path in ["g", "h"] {
            server.attr_mut(path).ino = ino;
        }
        server.fault(opcode::COPY_FILE_RANGE, 0, Fault::Refuse(Errno::EINVAL));
    });
    assert_eq!(mounted.fs.copy("f", "g"), Err(Error::Refused(Errno::EINVAL)), "as for ranges of one file");
    assert_eq!(mounted.server(|server| server.content("g")), b"longer content");
    for to in ["g", "h"] {
        assert_eq!(mounted.fs.copy("f", to), Ok(7));
        assert_eq!(mounted.server(|server| server.content(to)), b"content");
    }
    mounted.unmount();
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    let mounted = mount();
    mounted.server(|server| {
        server.hard_link("f", "hard").symlink("soft", "f");
    });
    for to in ["f", "hard", "soft", "d/../f"] {
        assert_eq!(mounted.fs.copy("f", to), Err(Error::Invalid(Errno::EINVAL)), "{to}");
        assert_eq!(content(&mounted), CONTENT);
    }
    assert_eq!(mounted.fs.copy("d", "new").map_err(Error::errno), Err(Errno::EISDIR));
    assert_eq!(mounted.fs.copy("f", "d").map_err(Error::errno), Err(Errno::EISDIR));
    assert_eq!(mounted.fs.copy("none", "new").map_err(Error::errno), Err(Errno::ENOENT));
    assert!(!mounted.server(|server| server.exists("new")));
    mounted.unmount();
}

#[test]
fn a_file_is_cut_allocated_synced_and_searched_for_holes() {
    let mounted = mount();
    let file = open(&mounted, |options| options.write(true));
    file.set_len(20_480).unwrap();
    assert_eq!((file.seek_hole(0), file.seek_data(5000)), (Ok(4096), Err(Error::Refused(Errno::ENXIO))));
    file.write_all_at(16_384, b"x").unwrap();
    assert_eq!(file.seek_data(4096), Ok(16_384));
    file.allocate(0, 4096, AllocateFlags::PUNCH_HOLE | AllocateFlags::KEEP_SIZE).unwrap();
    assert_eq!(file.seek_data(0), Ok(16_384));
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    let fsync = mounted.server(|server| server.last_request(opcode::FSYNC).unwrap().to_vec());
    assert_eq!((mounted.count(opcode::FSYNC), fsync[48]), (2, 1), "FUSE_FSYNC_FDATASYNC");
    assert_eq!(file.set_len(1 << 63), Err(Error::Invalid(Errno::EINVAL)));
    drop(file);
    let reader = mounted.fs.open("f").unwrap();
    assert_eq!(reader.set_len(0), Err(Error::Invalid(Errno::EINVAL)));
    drop(reader);
    mounted.unmount();
}

#[test]
fn locks_of_a_file_are_those_of_flock() {
    let mounted = Mounted::new(|server| {
        server.options.init_flags |= 1 << 10;
        server.file("f", "");
    });
    let [one, other] = [(); 2].map(|()| open(&mounted, |options| options.write(true)));
    one.lock().unwrap();
    let again = Err(Error::Refused(Errno::EAGAIN));
    assert_eq!((other.try_lock(), other.try_lock_shared()), (again, again));
    one.unlock().unwrap();
    other.lock_shared().unwrap();
    assert_eq!((one.try_lock_shared(), one.try_lock()), (Ok(()), again));
    assert!(mounted.server(|server| server.locks("f").iter().all(|lock| lock.is_flock)));
    drop((one, other));
    mounted.unmount();
    let mounted = mount();
    let file = open(&mounted, |options| options.custom_flags(OpenFlags::empty()));
    assert_eq!(file.try_lock(), Err(Error::Refused(Errno::EOPNOTSUPP)));
    drop(file);
    mounted.unmount();
}

#[cfg(feature = "embedded-io")]
#[test]
fn embedded_io_writes() {
    use embedded_io::{Error as _, ErrorKind, Seek, Write};
    let mounted = mount();
    let mut file = open(&mounted, |options| options.write(true));
    Write::write_all(&mut file, b"abc").unwrap();
    write!(file, "{}", 42).unwrap();
    let (flushed, sent) = mounted.sent_by(|| Write::flush(&mut file));
    assert_eq!((flushed, sent), (Ok(()), vec![]));
    assert_eq!((content(&mounted), file.stream_position()), (b"abc4256789".to_vec(), Ok(5)));
    drop(file);
    let mut reader = mounted.fs.open("f").unwrap();
    assert_eq!(Write::write(&mut reader, b"x").unwrap_err().kind(), ErrorKind::Other);
    drop(reader);
    for (errno, kind) in [
        (Errno::EEXIST, ErrorKind::AlreadyExists),
        (Errno::EPERM, ErrorKind::PermissionDenied),
        (Errno::EOPNOTSUPP, ErrorKind::Unsupported),
        (Errno::ETIMEDOUT, ErrorKind::TimedOut),
    ] {
        assert_eq!(Error::Refused(errno).kind(), kind);
    }
    mounted.unmount();
}
