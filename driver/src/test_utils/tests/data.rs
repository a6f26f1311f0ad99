//! The content of files on the fake server.

use super::raw::*;
use super::*;

const BIG_WRITES: u64 = 1 << 5;
const RDWR: u32 = 2;
const APPEND: u32 = 0o2000;
const TRUNC: u32 = 0o1000;
const PAGE: u64 = 4096;

fn client(flags: u64) -> Raw {
    Raw::new(server(), BIG_WRITES | flags)
}

fn lseek(raw: &mut Raw, (nodeid, fh): (u64, u64), offset: u64, whence: u32) -> Result<u64, Errno> {
    let body = raw.send(opcode::LSEEK, nodeid, put().u64(fh).u64(offset).u32(whence).u32(0));
    body.map(|body| u64_at(&body, 0))
}

fn fallocate(raw: &mut Raw, (nodeid, fh): (u64, u64), mode: u32, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
    raw.send(opcode::FALLOCATE, nodeid, put().u64(fh).u64(offset).u64(length).u32(mode).u32(0))
}

fn copy(
    raw: &mut Raw,
    opcode: u32,
    from: (u64, u64),
    at: u64,
    to: (u64, u64),
    at_to: u64,
    length: u64,
) -> Result<Vec<u8>, Errno> {
    raw.send(opcode, from.0, put().u64(from.1).u64(at).u64(to.0).u64(to.1).u64(at_to).u64(length).u64(0))
}

#[test]
fn a_write_changes_the_content_and_the_times() {
    let mut raw = client(0);
    let now = Timestamp { seconds: 5, nanoseconds: 6 };
    raw.server.options.now = now;
    let file = raw.open("d/f", RDWR);
    assert_eq!(raw.write(file, 3, b"TENT and more"), Ok(13));
    assert_eq!(raw.read(file, 0, 100), b"conTENT and more");
    assert_eq!(raw.write(file, 20, b""), Ok(0));
    let attr = raw.server.attr("d/f");
    assert_eq!((attr.size_bytes, attr.blocks), (16, 8));
    assert_eq!((attr.modified, attr.changed), (now, now));
    assert_eq!(raw.server.content("d/f"), b"conTENT and more");
    raw.no_violations();
}

#[test]
fn a_write_through_an_appending_handle_goes_to_the_end() {
    let mut raw = client(0);
    let (one, other) = (raw.open("d/f", RDWR | APPEND), raw.open("d/f", RDWR | APPEND));
    assert_eq!((raw.write(one, 0, b"A"), raw.write(other, 0, b"B")), (Ok(1), Ok(1)));
    assert_eq!(raw.read(one, 0, 100), b"contentAB");
}

#[test]
fn a_handle_allows_what_it_was_opened_for() {
    let mut raw = client(0);
    let (reader, writer) = (raw.open("d/f", 0), raw.open("d/f", 1));
    assert_eq!(raw.write(reader, 0, b"x"), Err(Errno::EBADF));
    let read = put().u64(writer.1).u64(0).u32(1).bytes(&[0; 20]);
    assert_eq!(raw.err(opcode::READ, writer.0, read), Errno::EBADF);
    assert_eq!(fallocate(&mut raw, reader, 0, 0, 1), Err(Errno::EBADF));
    assert_eq!(copy(&mut raw, 47, reader, 0, reader, 100, 1), Err(Errno::EBADF));
    assert_eq!(copy(&mut raw, 47, writer, 0, writer, 100, 1), Err(Errno::EBADF));
    raw.no_violations();
}

#[test]
fn a_write_that_the_limits_forbid_is_a_violation() {
    let mut raw = Raw::new(server(), 0);
    let (nodeid, fh) = raw.open("d/f", RDWR);
    raw.ok(opcode::WRITE, nodeid, write(fh, 0, &[0; 4096], 0));
    raw.violates(opcode::WRITE, nodeid, write(fh, 0, &[0; 4097], 0), "without BIG_WRITES");
    raw.violates(opcode::WRITE, nodeid, write(fh, 0, b"x", 4), "KILL_SUIDGID without HANDLE_KILLPRIV_V2");
    raw.violates(opcode::WRITE, nodeid, write(fh, 0, b"x", 8), "write_flags");
    raw.violates(opcode::WRITE, nodeid, write(fh, 0, b"x", 0).u32(0), "follow the arguments");

    let mut server = server();
    server.options.max_write_bytes = 8192;
    let mut raw = Raw::new(server, BIG_WRITES);
    let (nodeid, fh) = raw.open("d/f", RDWR);
    raw.ok(opcode::WRITE, nodeid, write(fh, 0, &[0; 8192], 0));
    raw.violates(opcode::WRITE, nodeid, write(fh, 0, &[0; 8193], 0), "max_write");
}

#[test]
fn open_truncates_only_if_that_was_negotiated() {
    let mut raw = client(1 << 3);
    raw.open("d/f", RDWR | TRUNC);
    assert_eq!(raw.server.content("d/f"), b"");
    raw.no_violations();
    let mut raw = client(0);
    let f = raw.lookup("d/f");
    raw.violates(opcode::OPEN, f, put().u32(RDWR | TRUNC).u32(0), "ATOMIC_O_TRUNC");
    for flag in [0o100, 0o200, 0o400] {
        raw.violates(opcode::OPEN, f, put().u32(flag).u32(0), "opens with flags");
    }
    assert_eq!(raw.server.content("d/f"), b"content");
}

#[test]
fn holes_are_found_and_read_as_zeros() {
    let mut raw = client(0);
    raw.server.file("sparse", "");
    let file = raw.open("sparse", RDWR);
    raw.write(file, 2 * PAGE + 5, b"data").unwrap();
    raw.write(file, 5 * PAGE, &[7; PAGE as usize]).unwrap();
    raw.ok(opcode::SETATTR, file.0, setattr(1 << 3, &[(16, 9 * PAGE as u32)]));
    assert_eq!(raw.server.attr("sparse").blocks, 16);
    let data = [0, 2 * PAGE + 1, 3 * PAGE, 6 * PAGE].map(|from| lseek(&mut raw, file, from, 3).ok());
    assert_eq!(data, [Some(2 * PAGE), Some(2 * PAGE + 1), Some(5 * PAGE), None]);
    let holes = [0, 2 * PAGE, 5 * PAGE + 9, 8 * PAGE].map(|from| lseek(&mut raw, file, from, 4).unwrap());
    assert_eq!(holes, [0, 3 * PAGE, 6 * PAGE, 8 * PAGE]);
    assert_eq!(lseek(&mut raw, file, 9 * PAGE, 4), Err(Errno(6)));
    assert_eq!(raw.read(file, 2 * PAGE + 4, 6), b"\0data\0");

    // What was cut off does not come back.
    raw.ok(opcode::SETATTR, file.0, setattr(1 << 3, &[(16, 2 * PAGE as u32 + 7)]));
    raw.ok(opcode::SETATTR, file.0, setattr(1 << 3, &[(16, 6 * PAGE as u32)]));
    assert_eq!(raw.read(file, 2 * PAGE + 4, 6), b"\0da\0\0\0");
    assert_eq!(lseek(&mut raw, file, 3 * PAGE, 3), Err(Errno(6)));
    raw.no_violations();
    raw.violates(opcode::LSEEK, file.0, put().u64(file.1).u64(0).u32(0).u32(0), "whence");
}

#[test]
fn fallocate_has_its_modes() {
    let mut raw = client(0);
    let pages: Vec<u8> = (1..=4).flat_map(|page| [page; PAGE as usize]).collect();
    raw.server.file("pages", &pages);
    let file = raw.open("pages", RDWR);
    let content = |raw: &Raw| raw.server.content("pages").chunks(PAGE as usize).map(|page| page[9]).collect::<Vec<_>>();
    fallocate(&mut raw, file, 3, PAGE + 10, 2 * PAGE).unwrap(); // PUNCH_HOLE | KEEP_SIZE
    assert_eq!(content(&raw), [1, 2, 0, 0]);
    assert_eq!(raw.server.content("pages")[PAGE as usize + 10..][..2 * PAGE as usize], [0; 2 * PAGE as usize]);
    assert_eq!(raw.server.content("pages")[3 * PAGE as usize + 10], 4);
    assert_eq!(raw.server.attr("pages").blocks, 24);
    fallocate(&mut raw, file, 8, 0, PAGE).unwrap(); // COLLAPSE_RANGE
    assert_eq!(content(&raw), [2, 0, 0]);
    fallocate(&mut raw, file, 32, PAGE, PAGE).unwrap(); // INSERT_RANGE
    assert_eq!(content(&raw), [2, 0, 0, 0]);
    fallocate(&mut raw, file, 16, 0, 5 * PAGE).unwrap(); // ZERO_RANGE
    assert_eq!(content(&raw), [0; 5]);
    assert_eq!(raw.server.attr("pages").blocks, 40);
    fallocate(&mut raw, file, 1, 0, 6 * PAGE).unwrap(); // KEEP_SIZE
    assert_eq!((raw.server.attr("pages").size_bytes, raw.server.attr("pages").blocks), (5 * PAGE, 48));
    fallocate(&mut raw, file, 0, 0, 6 * PAGE + 1).unwrap();
    assert_eq!(raw.server.attr("pages").size_bytes, 6 * PAGE + 1);
    for (mode, offset, length, errno) in [
        (0, 0, 0, Errno::EINVAL),
        (0, u64::MAX, 2, Errno::EINVAL),
        (2, 0, 1, Errno::EOPNOTSUPP),
        (64, 0, 1, Errno::EOPNOTSUPP),
        (8, 1, PAGE, Errno::EINVAL),
        (8, 0, 7 * PAGE, Errno::EINVAL),
        (32, 7 * PAGE, PAGE, Errno::EINVAL),
        (0, 0, 1 << 60, Errno::EFBIG),
        (0, 0, 1 << 40, Errno::ENOSPC),
    ] {
        assert_eq!(fallocate(&mut raw, file, mode, offset, length), Err(errno), "{mode} {offset} {length}");
    }
    raw.no_violations();
}

#[test]
fn a_range_is_copied_as_far_as_there_is_something() {
    let mut raw = client(0);
    raw.server.file("to", "").file("from", "0123456789");
    let (from, to) = (raw.open("from", 0), raw.open("to", RDWR));
    assert_eq!(copy(&mut raw, 47, from, 4, to, 2, 100).unwrap(), [6, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw.server.content("to"), b"\0\x00456789");
    raw.server.options.max_copy_bytes = 3;
    assert_eq!(copy(&mut raw, 53, from, 0, to, 0, 100).unwrap(), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(copy(&mut raw, 53, from, 10, to, 0, 100).unwrap(), [0; 8]);
    assert_eq!(copy(&mut raw, 47, to, 0, to, 4, 5), Err(Errno::EINVAL), "the ranges overlap");
    assert_eq!(copy(&mut raw, 47, to, 0, to, 4, 4).unwrap()[0], 3);
    let appending = raw.open("to", RDWR | APPEND);
    assert_eq!(copy(&mut raw, 47, from, 0, appending, 0, 1), Err(Errno::EBADF));
    raw.no_violations();
}

#[test]
fn a_full_server_takes_what_fits_and_then_refuses() {
    let mut raw = client(0);
    raw.server.options.space_bytes = 4 * PAGE;
    let file = raw.open("d/f", RDWR);
    assert_eq!(raw.write(file, PAGE - 1, &[1; 5 * PAGE as usize]), Ok(3 * PAGE as u32 + 1));
    assert_eq!(raw.write(file, 4 * PAGE, b"x"), Err(Errno::ENOSPC));
    assert_eq!(raw.write(file, 4 * PAGE - 2, b"xyz"), Ok(2));
    assert_eq!(raw.write(file, 0, b"in place"), Ok(8));
    assert_eq!(fallocate(&mut raw, file, 0, 0, 5 * PAGE), Err(Errno::ENOSPC));

    // The space comes back with the last use of an unlinked file.
    raw.server.file("other", "").remove("d/f");
    let other = raw.open("other", RDWR);
    assert_eq!(raw.write(other, 0, b"x"), Err(Errno::ENOSPC));
    raw.release(file);
    assert_eq!(raw.write(other, 0, b"x"), Err(Errno::ENOSPC));
    raw.send_extended(opcode::FORGET, file.0, put().u64(1), &[]);
    assert_eq!(raw.write(other, 0, b"x"), Ok(1));
    raw.no_violations();
}

#[test]
fn a_file_grows_to_the_limit_and_no_further() {
    let mut raw = client(0);
    raw.server.options.max_file_bytes = 10;
    let file = raw.open("d/f", RDWR);
    assert_eq!(raw.write(file, 8, b"abcd"), Ok(2));
    assert_eq!(raw.write(file, 10, b"abcd"), Err(Errno::EFBIG));
    assert_eq!(raw.write(file, u64::MAX - 1, b"abcd"), Err(Errno::EINVAL));
    assert_eq!(raw.err(opcode::SETATTR, file.0, setattr(1 << 3, &[(16, 11)])), Errno::EFBIG);
    assert_eq!(raw.server.content("d/f"), b"content\0ab");
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    let mut raw = client(0);
    let d = raw.lookup("d");
    let file = raw.open("d/f", RDWR);
    raw.ok(opcode::UNLINK, d, put().name("f"));
    assert_eq!(raw.write(file, 0, b"C"), Ok(1));
    assert_eq!(raw.read(file, 0, 7), b"Content");
    let attr = raw.ok(opcode::GETATTR, file.0, put().bytes(&[0; 16]));
    assert_eq!(u32_at(&attr, 16 + 64), 0, "nlink");
    assert_eq!(raw.err(opcode::LOOKUP, d, put().name("f")), Errno::ENOENT);
    assert_eq!(raw.err(opcode::LINK, d, put().u64(file.0).name("again")), Errno::ENOENT);
}

#[test]
fn syncing_is_served_and_checked() {
    let mut raw = client(0);
    let file = raw.open("d/f", RDWR);
    for flags in [0, 1] {
        raw.ok(opcode::FSYNC, file.0, put().u64(file.1).u32(flags).u32(0));
    }
    raw.ok(opcode::FLUSH, file.0, put().u64(file.1).u64(0).u64(5));
    raw.ok(opcode::SYNCFS, ROOT, put().u64(0));
    let dir = u64_at(&raw.ok(opcode::OPENDIR, ROOT, put().u64(0)), 0);
    raw.ok(opcode::FSYNCDIR, ROOT, put().u64(dir).u64(0));
    raw.no_violations();
    raw.violates(opcode::FSYNC, file.0, put().u64(file.1).u32(2).u32(0), "fsync_flags");
    raw.violates(opcode::FSYNC, ROOT, put().u64(dir).u64(0), "the other kind");
    raw.violates(opcode::FSYNCDIR, file.0, put().u64(file.1).u64(0), "the other kind");
    raw.violates(opcode::FLUSH, file.0, put().u64(9).u64(0).u64(5), "not open");
    raw.violates(opcode::FLUSH, file.0, put().u64(file.1).u64(1).u64(5), "reserved");
    raw.server.options.minor = 33;
    let args = put().u32(7).u32(45).bytes(&[0; 56]);
    raw.ok(opcode::INIT, 0, args);
    assert_eq!(raw.send(opcode::SYNCFS, ROOT, put().u64(0)), Err(Errno::ENOSYS));
}
