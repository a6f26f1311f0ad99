//! Collected writes that fail.

use super::*;

fn refuse_writes(mounted: &Mounted, skip: usize, errno: Errno) {
    mounted.server(|server| {
        server.fault(opcode::WRITE, skip, Fault::Refuse(errno));
    });
}

const NO_SPACE: Result<(), Error> = Err(Error::Refused(Errno::ENOSPC));

#[test]
fn each_file_that_was_open_is_told_once_that_a_write_failed() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let mounted = with_file(collecting(mode), 10);
        let open = || read_write().open(&mounted.fs, "f").unwrap();
        let (writer, reader, other) = (open(), mounted.fs.open("f").unwrap(), open());
        writer.write_all_at(0, b"lost").unwrap();
        refuse_writes(&mounted, 0, Errno::ENOSPC);
        assert_eq!(writer.sync_all(), NO_SPACE);
        assert_eq!(writer.sync_all(), Ok(()));
        assert_eq!(read_from(&reader, 0)[..4], *b"lost", "it stays readable");
        let later = open();
        assert_eq!(mounted.sends(|_| later.sync_data()), [opcode::FSYNC], "and is clean");
        assert_eq!(other.sync_data(), NO_SPACE);
        assert_eq!(other.sync_data(), Ok(()));
        assert_eq!((reader.close(), later.close()), (NO_SPACE, Ok(())));
        assert_eq!((writer.close(), other.close()), (Ok(()), Ok(())));
        assert_eq!(mounted.content("f"), pattern(10));
        mounted.unmount();
    }
}

#[test]
fn closing_tells_that_a_write_failed() {
    let mounted = with_file(collecting(CacheMode::Auto), 0);
    let file = mounted.fs.create("f").unwrap();
    file.write_all_at(0, b"lost").unwrap();
    refuse_writes(&mounted, 0, Errno::ENOSPC);
    assert_eq!(file.close(), NO_SPACE);
    assert_eq!(mounted.server(|server| server.open_handles()), 0);
    mounted.unmount();
}

#[test]
fn a_write_that_failed_when_the_mount_was_synchronised_is_told_to_the_file() {
    let mounted = with_file(collecting(CacheMode::Auto), 0);
    let file = mounted.fs.create("f").unwrap();
    file.write_all_at(0, b"lost").unwrap();
    refuse_writes(&mounted, 0, Errno::ENOSPC);
    mounted.fs.sync().unwrap();
    assert_eq!(file.sync_all(), NO_SPACE);
    assert_eq!(file.close(), Ok(()));
    mounted.unmount();
}

#[test]
fn after_an_error_the_rest_is_written() {
    let mounted = with_file(collecting(CacheMode::Auto), 0);
    let file = mounted.fs.create("f").unwrap();
    file.write_all_at(0, &[1; 4096]).unwrap();
    file.write_all_at(10 * PAGE, &[2; 4096]).unwrap();
    refuse_writes(&mounted, 0, Errno::EIO);
    assert_eq!(file.sync_all(), Err(Error::Refused(Errno::EIO)));
    assert_eq!(mounted.content("f").len(), 10 * PAGE_BYTES + 4096);
    assert_eq!(mounted.content("f")[10 * PAGE_BYTES..], [2; 4096]);
    file.write_all_at(0, &[3; 4096]).unwrap();
    assert_eq!(file.sync_all(), Ok(()));
    assert_eq!(mounted.content("f")[..4096], [3; 4096]);
    drop(file);
    mounted.unmount();
}

#[test]
fn a_server_that_writes_a_part_gets_the_rest_again() {
    // A count of bytes in a reply to WRITE.
    let count = |bytes: u32| Fault::Body([bytes.to_ne_bytes(), [0; 4]].concat());
    let mounted = with_file(collecting(CacheMode::Auto), 0);
    let file = mounted.fs.create("f").unwrap();
    let content = pattern(10 * PAGE_BYTES);
    file.write_all_at(0, &content).unwrap();
    mounted.server(|server| {
        server.fault(opcode::WRITE, 0, count(1000)).fault(opcode::WRITE, 3, count(4097));
    });
    assert_eq!(file.sync_all(), Ok(()));
    assert!(mounted.content("f") == content);
    file.write_all_at(0, b"x").unwrap();
    mounted.server(|server| {
        server.fault(opcode::WRITE, 0, count(0));
    });
    assert_eq!(file.sync_all(), Err(Error::Refused(Errno::EIO)), "nothing at all is an error");
    drop(file);
    mounted.unmount();
}

#[test]
fn a_broken_device_loses_what_was_collected_and_says_so() {
    let mounted = with_file(collecting(CacheMode::Auto), 0);
    let file = mounted.fs.create("f").unwrap();
    file.write_all_at(0, &[1; 4096]).unwrap();
    mounted.channel.fail_after(0);
    assert!(matches!(file.sync_all(), Err(Error::Device(_))));
    drop(file);
    assert!(mounted.fs.unmount().is_err());
}
