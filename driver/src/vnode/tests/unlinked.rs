//! Files that are open and have no name any more, and servers that open no files.

use super::*;
use crate::vnode::{Durability, SetAttr};

#[test]
fn a_file_without_a_name_is_written_read_and_changed() {
    let mounted = mount();
    let d = mounted.fs.root().lookup("d").unwrap().0;
    let file = d.lookup("f").unwrap().0.open(OpenFlags::READ_WRITE).unwrap();
    d.unlink("f").unwrap();
    assert_eq!(d.lookup("f").err(), Some(Error::Refused(Errno::ENOENT)));
    assert_eq!(file.write_at(7, b" and more"), Ok(9));
    let mut content = [0; 20];
    assert_eq!((file.read_at(0, &mut content), &content[..16]), (Ok(16), &b"content and more"[..]));
    let attr = file.setattr(&SetAttr { size_bytes: Some(3), permissions: Some(0o600), ..SetAttr::default() }).unwrap();
    assert_eq!((attr.size_bytes, attr.permissions, attr.nlink), (3, 0o600, 0));
    file.fsync(Durability::All).unwrap();
    // A new file of the same name is another one.
    let (other, _) = d.create("f", OpenFlags::READ_WRITE, 0o600).unwrap();
    assert_ne!(other.node().nodeid(), file.node().nodeid());
    assert_eq!((other.getattr().unwrap().size_bytes, file.getattr().unwrap().size_bytes), (0, 3));
    file.close().unwrap();
    drop((other, d));
    mounted.unmount();
}

#[test]
fn a_file_that_was_replaced_stays_what_it_was() {
    let mounted = mount();
    mounted.server(|server| {
        server.file("new", "new");
    });
    let root = mounted.fs.root();
    let d = root.lookup("d").unwrap().0;
    let file = d.lookup("f").unwrap().0.open(OpenFlags::READ_ONLY).unwrap();
    root.rename("new", &d, "f", crate::RenameFlags::empty()).unwrap();
    let mut content = [0; 7];
    assert_eq!((file.read_at(0, &mut content), &content), (Ok(7), b"content"));
    assert_eq!(d.lookup("f").unwrap().1.size_bytes, 3);
    drop((file, d));
    mounted.unmount();
}

#[test]
fn a_directory_without_a_name_takes_no_new_ones() {
    let mounted = mount();
    let root = mounted.fs.root();
    let (gone, _) = root.mkdir("gone", 0o700).unwrap();
    root.rmdir("gone").unwrap();
    assert_eq!(gone.mkdir("d", 0o700).err(), Some(Error::Refused(Errno::ENOENT)));
    assert_eq!(gone.create("f", OpenFlags::WRITE_ONLY, 0o600).err(), Some(Error::Refused(Errno::ENOENT)));
    assert_eq!(gone.getattr().unwrap().nlink, 0);
    drop(gone);
    mounted.unmount();
}

/// A server that opens no files.
fn mount_without_open() -> Mounted {
    let mounted = mount();
    mounted.server(|server| server.options.open = false);
    mounted
}

#[test]
fn a_server_without_open_is_written_to_and_flushed_but_not_told_to_close() {
    let mounted = mount_without_open();
    let f = mounted.fs.node("d/f").unwrap();
    let (_, sent) = mounted.sent_by(|| {
        let file = f.open(OpenFlags::READ_WRITE).unwrap();
        assert_eq!(file.write_at(3, b"XY"), Ok(2));
        assert_eq!(file.seek_hole(0), Ok(7));
        assert_eq!(file.copy_range(0, &file, 7, 2), Ok(2));
        file.close().unwrap();
    });
    let [open, write, lseek] = [opcode::OPEN, opcode::WRITE, opcode::LSEEK];
    assert_eq!(sent, [open, write, lseek, opcode::COPY_FILE_RANGE, opcode::FLUSH]);
    assert_eq!(mounted.server(|server| server.content("d/f")), b"conXYntco");
    drop(f);
    mounted.unmount();
}

#[test]
fn a_server_without_open_cannot_append_so_the_driver_asks_for_the_end() {
    let mounted = mount_without_open();
    let file = mounted.fs.node("d/f").unwrap().open(OpenFlags::WRITE_ONLY | OpenFlags::APPEND).unwrap();
    assert_eq!(file.write_at(0, b" one"), Ok(4));
    mounted.server(|server| {
        server.file("d/f", "longer than before");
    });
    assert_eq!(file.write_at(0, b" two"), Ok(4));
    assert_eq!(mounted.server(|server| server.content("d/f")), b"longer than before two");
    drop(file);
    mounted.unmount();
}

#[test]
fn a_server_without_open_truncates_by_setattr() {
    let mounted = mount_without_open();
    let f = mounted.fs.node("d/f").unwrap();
    let (file, sent) = mounted.sent_by(|| f.open(OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE).unwrap());
    assert_eq!(sent, [opcode::OPEN, opcode::SETATTR]);
    assert_eq!(mounted.server(|server| server.content("d/f")), b"");
    drop((file, f));
    mounted.unmount();
}

#[test]
fn a_server_without_open_still_opens_what_it_makes() {
    let mounted = mount_without_open();
    let (file, _) = mounted.fs.root().create("new", OpenFlags::WRITE_ONLY, 0o600).unwrap();
    assert_eq!(file.write_at(0, b"x"), Ok(1));
    file.close().unwrap();
    assert_eq!(mounted.count(opcode::RELEASE), 1);
    mounted.unmount();
}

#[test]
fn a_server_without_opendir_makes_directories_durable_all_the_same() {
    let mounted = mount();
    mounted.server(|server| server.options.opendir = false);
    let dir = mounted.fs.root().opendir().unwrap();
    let (_, sent) = mounted.sent_by(|| {
        dir.fsync(Durability::All).unwrap();
        dir.close().unwrap();
    });
    assert_eq!(sent, [opcode::FSYNCDIR]);
    mounted.unmount();
}

#[test]
fn a_file_is_not_used_for_what_it_was_not_opened_for() {
    let mounted = mount();
    let f = mounted.fs.node("d/f").unwrap();
    let [reader, writer, appender] = [OpenFlags::READ_ONLY, OpenFlags::WRITE_ONLY, OpenFlags::APPEND]
        .map(|flags| if flags == OpenFlags::APPEND { flags | OpenFlags::READ_WRITE } else { flags })
        .map(|flags| f.open(flags).unwrap());
    let (_, sent) = mounted.sent_by(|| {
        let bad = Error::Invalid(Errno::EBADF);
        assert_eq!(reader.write_at(0, b"x"), Err(bad));
        assert_eq!(reader.write_at(0, b""), Err(bad));
        assert_eq!(writer.read_at(0, &mut [0]), Err(bad));
        assert_eq!(reader.allocate(0, 1, crate::AllocateFlags::empty()), Err(bad));
        assert_eq!(writer.copy_range(0, &writer, 5, 1), Err(bad));
        assert_eq!(reader.copy_range(0, &reader, 5, 1), Err(bad));
        assert_eq!(reader.copy_range(0, &appender, 5, 1), Err(bad));
        let size = SetAttr { size_bytes: Some(1), ..SetAttr::default() };
        assert_eq!(reader.setattr(&size), Err(Error::Invalid(Errno::EINVAL)));
    });
    assert_eq!(sent, [0; 0]);
    let invalid = f.open(OpenFlags::WRITE_ONLY | OpenFlags::READ_WRITE);
    assert_eq!(invalid.err(), Some(Error::Invalid(Errno::EINVAL)));
    assert_eq!(f.open(OpenFlags::DIRECTORY).err(), Some(Error::Invalid(Errno::ENOTDIR)));
    drop((reader, writer, appender, f));
    mounted.unmount();
}

#[test]
fn an_impossible_range_is_refused_without_a_message() {
    let mounted = mount();
    let file = mounted.fs.node("d/f").unwrap().open(OpenFlags::READ_WRITE).unwrap();
    let largest = i64::MAX as u64;
    let (_, sent) = mounted.sent_by(|| {
        let flags = crate::AllocateFlags::empty();
        for (offset, length, errno) in [
            (0, 0, Errno::EINVAL),
            (largest + 1, 1, Errno::EINVAL),
            (0, largest + 1, Errno::EINVAL),
            (largest, 1, Errno::EFBIG),
            (5, largest, Errno::EFBIG),
        ] {
            assert_eq!(file.allocate(offset, length, flags), Err(Error::Invalid(errno)), "{offset} {length}");
        }
        for (from, to, errno) in
            [(u64::MAX, 0, Errno::EINVAL), (0, u64::MAX, Errno::EINVAL), (0, largest, Errno::EFBIG)]
        {
            assert_eq!(file.copy_range(from, &file, to, 1), Err(Error::Invalid(errno)), "{from} {to}");
        }
        assert_eq!(file.copy_range(largest, &file, 0, 1), Ok(0), "there is nothing to copy");
        assert_eq!(file.copy_range(0, &file, 0, 0), Ok(0));
        assert_eq!(file.seek_data(largest + 1), Err(Error::Invalid(Errno::ENXIO)));
    });
    assert_eq!(sent, [0; 0]);
    drop(file);
    mounted.unmount();
}

#[test]
fn ranges_of_one_file_must_not_overlap_as_far_as_there_is_anything_to_copy() {
    let mounted = mount();
    let f = mounted.fs.node("d/f").unwrap();
    // Two open files are one file all the same.
    let [from, to] = [OpenFlags::READ_ONLY, OpenFlags::WRITE_ONLY].map(|flags| f.open(flags).unwrap());
    for (offset, to_offset, length) in [(0, 0, 1), (0, 3, 4), (3, 0, 4), (0, 6, 100)] {
        assert_eq!(from.copy_range(offset, &to, to_offset, length), Err(Error::Invalid(Errno::EINVAL)));
    }
    assert_eq!(from.copy_range(0, &to, 3, 3), Ok(3));
    assert_eq!(mounted.server(|server| server.content("d/f")), b"concont");
    // Behind the end there is nothing that could overlap.
    assert_eq!(from.copy_range(0, &to, 7, 100), Ok(7));
    drop((from, to, f));
    mounted.unmount();
}

#[test]
fn the_server_is_told_whether_the_content_is_enough() {
    let mounted = mount();
    let file = mounted.fs.node("d/f").unwrap().open(OpenFlags::READ_WRITE).unwrap();
    let dir = mounted.fs.node("d").unwrap().opendir().unwrap();
    for (durability, flags) in [(Durability::All, 0_u32), (Durability::Data, 1)] {
        file.fsync(durability).unwrap();
        dir.fsync(durability).unwrap();
        for opcode in [opcode::FSYNC, opcode::FSYNCDIR] {
            // Behind the header and the handle: fsync_flags.
            let sent = mounted.server(|server| server.last_request(opcode).unwrap()[48..52].to_vec());
            assert_eq!(sent, flags.to_ne_bytes(), "{durability:?}");
        }
    }
    drop((file, dir));
    mounted.unmount();
}
