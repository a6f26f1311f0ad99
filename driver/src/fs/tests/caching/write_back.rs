//! Writes that the server gets later.

use super::*;
use crate::InitFlags;
use crate::Instant;
use std::thread;

const MODES: [CacheMode; 2] = [CacheMode::Auto, CacheMode::Always];

fn count(sent: &[u32], opcode: u32) -> usize {
    sent.iter().filter(|&&one| one == opcode).count()
}

/// Mounts with the file "f", of servers that agree to collect writes and of others.
fn mounts(bytes: usize) -> Vec<Mounted> {
    let mut mounts = Vec::new();
    for mode in MODES {
        for agrees in [false, true] {
            mounts.push(mount(collecting(mode), |server| {
                server.file("f", pattern(bytes));
                if agrees {
                    server.options.init_flags |= InitFlags::WRITEBACK_CACHE.bits();
                }
            }));
        }
    }
    mounts
}

#[test]
fn small_writes_become_large_ones() {
    for mounted in mounts(0) {
        let mut file = mounted.fs.create("new").unwrap();
        let sent = mounted.sends(|_| (0..64).try_for_each(|at| file.write_all(&[at + 1; 4096])));
        assert_eq!(sent, NO_REQUESTS);
        let sent = mounted.sends(|_| file.sync_all());
        assert_eq!(sent, [opcode::WRITE, opcode::WRITE, opcode::WRITE, opcode::WRITE, opcode::FSYNC]);
        let expected: Vec<u8> = (0..64).flat_map(|at| [at + 1; 4096]).collect();
        assert!(mounted.content("new") == expected);
        assert_eq!(mounted.sends(|_| file.sync_all()), [opcode::FSYNC], "once");
        assert_eq!(mounted.sends(|_| file.close()), [opcode::FLUSH, opcode::RELEASE]);
        mounted.unmount();
    }
}

#[test]
fn a_file_that_is_written_while_its_length_is_asked_for_is_as_long_as_it_was_here() {
    for mounted in mounts(0) {
        let mut file = mounted.fs.create("f").unwrap();
        for (length, late) in [(5000, opcode::GETATTR), (10_000, opcode::LOOKUP)] {
            file.write_all(&[1; 5000]).unwrap();
            mounted.fs.node("f").unwrap().inode().note_any_change();
            if late == opcode::LOOKUP {
                mounted.fs.root().cache().drop_names();
            }
            let metadata = mounted.overtake(late, |fs| fs.metadata("f").unwrap(), |fs| fs.sync().unwrap());
            assert_eq!(metadata.len(), length);
        }
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_several_append_together_is_all_there() {
    // Some of it is too large for pages.
    const LENGTHS: [usize; 4] = [10, 20_000, 1000, 30_000];
    for mode in MODES {
        let cache = CacheOptions { max_data_bytes: 64 << 10, ..collecting(mode) };
        let mounted = mount(cache, |server| {
            server.file("f", "");
        });
        thread::scope(|scope| {
            for (value, length) in (1..).zip(LENGTHS) {
                let fs = &mounted.fs;
                scope.spawn(move || {
                    let mut file = OpenOptions::new().append(true).open(fs, "f").unwrap();
                    (0..20).for_each(|_| file.write_all(&vec![value; length]).unwrap());
                    file.close().unwrap();
                });
            }
        });
        let content = mounted.content("f");
        for (value, length) in (1..).zip(LENGTHS) {
            assert_eq!(content.iter().filter(|&&byte| byte == value).count(), 20 * length, "{mode:?}");
        }
        mounted.unmount();
    }
}

#[test]
fn closing_writes() {
    for mounted in mounts(3) {
        let mut file = mounted.fs.create("f").unwrap();
        file.write_all(b"collected").unwrap();
        assert_eq!(mounted.content("f"), b"");
        assert_eq!(mounted.sends(|_| file.close()), [opcode::WRITE, opcode::FLUSH, opcode::RELEASE]);
        assert_eq!(mounted.content("f"), b"collected");
        assert_eq!(mounted.server(|server| server.open_handles()), 0);
        mounted.unmount();
    }
}

#[test]
fn everything_is_written_when_the_mount_is_synchronised_or_its_caches_are_dropped() {
    let actions: [fn(&VirtioFs); 2] = [|fs| fs.sync().unwrap(), VirtioFs::drop_caches];
    for action in actions {
        let mounted = with_file(collecting(CacheMode::Auto), 0);
        let files: Vec<_> = (0..5).map(|at| mounted.fs.create(format!("f{at}")).unwrap()).collect();
        files.iter().for_each(|file| file.write_all_at(0, b"collected").unwrap());
        action(&mounted.fs);
        for at in 0..files.len() {
            assert_eq!(mounted.content(&format!("f{at}")), b"collected");
            assert_eq!(mounted.fs.read(format!("f{at}")).unwrap(), b"collected");
        }
        drop(files);
        mounted.unmount();
    }
}

#[test]
fn what_is_old_is_written_by_and_by() {
    let mounted = with_file(CacheOptions { dirty_age: 5 * SECOND, ..collecting(CacheMode::Auto) }, 0);
    assert_eq!(mounted.fs.maintain(), None);
    let (one, other) = (mounted.fs.create("one").unwrap(), mounted.fs.create("other").unwrap());
    one.write_all_at(0, b"1").unwrap();
    mounted.advance(2 * SECOND);
    other.write_all_at(0, b"2").unwrap();
    one.write_all_at(1, b"1").unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.maintain()), (Some(Instant(5 * SECOND)), vec![]));
    mounted.advance(3 * SECOND);
    let (next, sent) = mounted.sent_by(|| mounted.fs.maintain());
    assert_eq!((next, count(&sent, opcode::WRITE)), (Some(Instant(7 * SECOND)), 1));
    assert_eq!((mounted.content("one"), mounted.content("other")), (b"11".to_vec(), vec![]));
    mounted.advance(2 * SECOND);
    assert_eq!(mounted.fs.maintain(), None);
    assert_eq!(mounted.content("other"), b"2");
    drop((one, other));
    mounted.unmount();
}

#[test]
fn what_is_old_is_written_in_passing_by_who_writes_or_opens_something() {
    let passing: [fn(&VirtioFs, &File); 2] =
        [|fs, _| drop(fs.open("f").unwrap()), |_, other| other.write_all_at(0, b"3").unwrap()];
    for pass in passing {
        let mounted = with_file(CacheOptions { dirty_age: 5 * SECOND, ..collecting(CacheMode::Auto) }, 0);
        let old = ["one", "two"].map(|name| mounted.fs.create(name).unwrap());
        let other = mounted.fs.create("other").unwrap();
        old.iter().for_each(|file| file.write_all_at(0, b"1").unwrap());
        mounted.advance(2 * SECOND);
        other.write_all_at(0, b"2").unwrap();
        mounted.advance(2 * SECOND);
        let writes = || count(&mounted.sent_by(|| pass(&mounted.fs, &other)).1, opcode::WRITE);
        assert_eq!(writes(), 0);
        mounted.advance(SECOND);
        assert_eq!([writes(), writes(), writes()], [1, 1, 0], "a file at a time");
        assert_eq!([mounted.content("one"), mounted.content("two"), mounted.content("other")], [&b"1"[..], b"1", b""]);
        mounted.advance(2 * SECOND);
        assert_eq!(writes(), 1);
        drop((old, other));
        mounted.unmount();
    }
}

#[test]
fn what_takes_too_much_memory_is_written() {
    for budget in [16 * 4096, 64 * 4096, 1 << 20] {
        let cache = CacheOptions { max_data_bytes: budget, ..collecting(CacheMode::Auto) };
        let mounted = with_file(cache, 0);
        let mut file = mounted.fs.create("new").unwrap();
        for chunk in pattern(2 << 20).chunks(5000) {
            file.write_all(chunk).unwrap();
            assert!(mounted.cached_bytes() <= budget as u64);
        }
        assert!(mounted.content("new").len() > (2 << 20) - budget);
        let writes = mounted.count(opcode::WRITE);
        assert!(writes <= 4 * (2 << 20) / (budget / 2).min(64 << 10), "{writes} for {budget}");
        assert!(read_from(&mounted.fs.open("new").unwrap(), 0)[..] == pattern(2 << 20)[..1 << 20]);
        drop(file);
        assert!(mounted.content("new") == pattern(2 << 20));
        mounted.unmount();
    }
}

#[test]
fn size_and_time_are_the_guests_while_something_is_collected_and_the_servers_afterwards() {
    for mounted in mounts(10) {
        mounted.advance(100 * SECOND);
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(20, b"more").unwrap();
        let own = Timestamp { seconds: 100, nanoseconds: 0 };
        for attr in [*file.metadata().unwrap().attr(), *mounted.fs.metadata("f").unwrap().attr()] {
            assert_eq!((attr.size_bytes, attr.modified), (24, own));
        }
        mounted.advance(10 * SECOND);
        assert_eq!(mounted.fs.metadata("f").unwrap().len(), 24, "also when the server was asked again");
        for entry in mounted.fs.read_dir("/").unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().len(), 24);
        }
        file.sync_all().unwrap();
        let attr = mounted.server(|server| server.attr("f"));
        assert_eq!(attr.size_bytes, 24);
        assert_eq!(*file.metadata().unwrap().attr(), attr);
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn who_appends_appends_to_what_others_appended() {
    for mounted in mounts(3) {
        let open = || OpenOptions::new().append(true).open(&mounted.fs, "f").unwrap();
        let (mut one, mut other) = (open(), open());
        for _ in 0..3 {
            one.write_all(b"one").unwrap();
            other.write_all(b"other").unwrap();
        }
        other.sync_all().unwrap();
        one.write_all(b"!").unwrap();
        drop((one, other));
        let expected = [&pattern(3)[..], b"oneotheroneotheroneother!"].concat();
        assert_eq!(mounted.content("f"), expected);
        mounted.unmount();
    }
}

#[test]
fn who_appends_past_the_cache_appends_whoever_keeps_the_end() {
    for flags in [OpenFlags::SYNC, OpenFlags::DSYNC, OpenFlags::DIRECT] {
        for mounted in mounts(100) {
            let mut file = OpenOptions::new().append(true).custom_flags(flags).open(&mounted.fs, "f").unwrap();
            file.write_all(b"one").unwrap();
            mounted.others_write("f", &[&mounted.content("f")[..], b"by others"].concat());
            file.write_all(b"two").unwrap();
            assert!(mounted.content("f") == [&pattern(100)[..], b"oneby otherstwo"].concat(), "{flags:?}");
            assert!(mounted.read_once("f").0 == mounted.content("f"), "{flags:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn who_may_only_write_reads_the_rest_of_a_page_all_the_same() {
    for mounted in mounts(3 * PAGE_BYTES) {
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        assert_eq!(mounted.sent_u32(opcode::OPEN, 40) & 3, 2, "it is opened for both");
        let sent = mounted.sends(|_| file.write_all_at(PAGE + 5, b"written"));
        assert_eq!(sent, [opcode::READ]);
        assert_eq!(file.read_at(0, &mut [0]), Err(Error::Invalid(Errno::EBADF)));
        let mut expected = pattern(3 * PAGE_BYTES);
        expected[PAGE_BYTES + 5..][..7].copy_from_slice(b"written");
        assert!(read_from(&mounted.fs.open("f").unwrap(), 0) == expected);
        drop(file);
        assert!(mounted.content("f") == expected);
        mounted.unmount();
    }
}

#[test]
fn where_reading_is_not_allowed_writes_go_to_the_server_at_once() {
    for mounted in mounts(3 * PAGE_BYTES) {
        mounted.fs.read("f").unwrap();
        mounted.server(|server| {
            server.fault(opcode::OPEN, 0, Fault::Refuse(Errno::EACCES));
        });
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        assert_eq!(mounted.sent_u32(opcode::OPEN, 40) & 3, 1);
        assert_eq!(mounted.sends(|_| file.write_all_at(PAGE + 5, b"written")), [opcode::WRITE]);
        let reader = mounted.fs.open("f").unwrap();
        assert!(read_from(&reader, 0) == mounted.content("f"));
        drop((file, reader));
        mounted.unmount();
    }
}

#[test]
fn where_reading_is_not_allowed_each_append_goes_to_the_end_at_the_server() {
    for mounted in mounts(100) {
        mounted.fs.read("f").unwrap();
        mounted.server(|server| {
            server.fault(opcode::OPEN, 0, Fault::Refuse(Errno::EACCES));
        });
        let mut file = OpenOptions::new().append(true).open(&mounted.fs, "f").unwrap();
        assert_eq!(mounted.sent_u32(opcode::OPEN, 40) & 3, 1, "it is opened for writing only");
        let sent = mounted.sends(|_| file.write_all(b"one"));
        assert_eq!((count(&sent, opcode::WRITE), count(&sent, opcode::READ)), (1, 0), "{sent:?}");
        mounted.others_write("f", &[&mounted.content("f")[..], b"by others"].concat());
        // One that collects, and knows of an older end.
        let collecting = read_write().open(&mounted.fs, "f").unwrap();
        collecting.write_all_at(0, b"first").unwrap();
        file.write_all(b"two").unwrap();
        let expected = [b"first", &pattern(100)[5..], b"oneby otherstwo"].concat();
        assert!(mounted.content("f") == expected);
        assert!(read_from(&mounted.fs.open("f").unwrap(), 0) == expected);
        assert_eq!(mounted.fs.metadata("f").unwrap().len(), expected.len() as u64);
        drop((file, collecting));
        mounted.unmount();
    }
}

#[test]
fn before_what_is_written_behind_the_end_are_zeroes() {
    for mounted in mounts(10) {
        let file = read_write().open(&mounted.fs, "f").unwrap();
        for at in [50, 5000, 7 * PAGE + 3] {
            file.write_all_at(at, b"behind").unwrap();
        }
        let mut expected = pattern(10);
        for at in [50, 5000, 7 * PAGE_BYTES + 3] {
            expected.resize(at, 0);
            expected.extend_from_slice(b"behind");
        }
        let content = read_from(&file, 0);
        assert!(content == expected);
        file.sync_all().unwrap();
        assert!(mounted.content("f") == expected);
        assert!(read_from(&file, 0) == expected);
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn zeroes_before_what_is_written_behind_the_end_need_not_be_kept() {
    let mounted = with_file(collecting(CacheMode::Auto), 10);
    let file = read_write().open(&mounted.fs, "f").unwrap();
    file.write_all_at(20 * PAGE, b"behind").unwrap();
    let mut buffer = vec![1; PAGE_BYTES];
    assert_eq!(file.read_at(12 * PAGE + 7, &mut buffer), Ok(PAGE_BYTES));
    assert_eq!(buffer, vec![0; PAGE_BYTES]);
    drop(file);
    mounted.unmount();
}

#[test]
fn everybody_reads_what_was_collected() {
    for mounted in mounts(3 * PAGE_BYTES) {
        let reader = mounted.fs.open("f").unwrap();
        read_from(&reader, 0);
        let writer = read_write().open(&mounted.fs, "f").unwrap();
        writer.write_all_at(PAGE - 3, b"collected").unwrap();
        let mut expected = pattern(3 * PAGE_BYTES);
        expected[PAGE_BYTES - 3..][..9].copy_from_slice(b"collected");
        assert!(read_from(&reader, 0) == expected);
        let (content, sent) = mounted.sent_by(|| mounted.fs.read("f").unwrap());
        assert!(content == expected);
        assert_eq!(count(&sent, opcode::READ) + count(&sent, opcode::WRITE), 0);
        drop((reader, writer));
        mounted.unmount();
    }
}

#[test]
fn who_reads_and_writes_past_the_cache_finds_what_was_collected() {
    for mounted in mounts(100) {
        let collecting = read_write().open(&mounted.fs, "f").unwrap();
        mounted.server(|server| server.options.fopen_flags = DIRECT_IO);
        let direct = read_write().open(&mounted.fs, "f").unwrap();
        collecting.write_all_at(10, b"collected").unwrap();
        assert_eq!(read_from(&direct, 10)[..9], *b"collected");
        collecting.write_all_at(10, b"COLLECTED").unwrap();
        direct.write_all_at(13, b"direct").unwrap();
        assert_eq!(read_from(&collecting, 10)[..9], *b"COLdirect");
        assert_eq!(mounted.content("f")[10..19], *b"COLdirect");
        drop((collecting, direct));
        mounted.unmount();
    }
}

#[test]
fn a_file_that_loses_its_name_is_still_written() {
    let mounted = mount(collecting(CacheMode::Auto), |server| {
        server.options.keeps_unlinked = false;
        server.file("f", "content").file("g", "other");
    });
    let file = read_write().open(&mounted.fs, "f").unwrap();
    file.write_all_at(0, b"C").unwrap();
    mounted.fs.rename("g", "f").unwrap();
    file.write_all_at(7, b"!").unwrap();
    assert_eq!(read_from(&file, 0), b"Content!");
    file.sync_all().unwrap();
    mounted.fs.drop_caches();
    assert_eq!(read_from(&file, 0), b"Content!");
    assert_eq!(mounted.content("f"), b"other");
    drop(file);
    mounted.unmount();
}

#[test]
fn a_page_that_was_read_before_it_was_written_and_arrives_later_is_not_kept() {
    for mounted in mounts(3 * PAGE_BYTES) {
        let file = read_write().open(&mounted.fs, "f").unwrap();
        let write = || {
            file.write_all_at(0, &[9; PAGE_BYTES]).unwrap();
            file.sync_all().unwrap();
        };
        mounted.overtake(opcode::READ, |_| drop(read_from(&file, 0)), |_| write());
        assert!(read_from(&file, 0) == mounted.content("f"));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_is_written_while_the_server_gets_the_last_is_written_later() {
    for mounted in mounts(0) {
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(0, b"first").unwrap();
        mounted.overtake(opcode::WRITE, |_| file.sync_all().unwrap(), |_| file.write_all_at(0, b"SECOND").unwrap());
        assert_eq!(read_from(&file, 0), b"SECOND");
        assert_eq!(file.metadata().unwrap().len(), 6);
        drop(file);
        assert_eq!(mounted.content("f"), b"SECOND");
        mounted.unmount();
    }
}

#[test]
fn what_is_written_while_the_file_is_flushed_is_written_when_it_is_closed() {
    for mounted in mounts(10) {
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(0, b"older").unwrap();
        mounted.overtake(
            opcode::WRITE,
            |_| file.as_open_file().flush(crate::LockOwner(1)).unwrap(),
            |_| file.write_all_at(0, b"newer").unwrap(),
        );
        file.close().unwrap();
        assert_eq!(&mounted.content("f")[..5], b"newer");
        mounted.unmount();
    }
}

#[test]
fn files_without_a_name_are_collected_too() {
    let mounted = mount(collecting(CacheMode::Auto), |server| {
        server.options.refused.clear();
    });
    let (file, _) = mounted.fs.root().tmpfile(OpenFlags::WRITE_ONLY | OpenFlags::APPEND, 0o600).unwrap();
    file.write_at(0, &[1; 100]).unwrap();
    mounted.fs.drop_caches();
    // Into a page that has to be read first.
    file.write_at(0, &[2; 100]).unwrap();
    file.flush(crate::LockOwner(1)).unwrap();
    file.node().link(mounted.fs.root(), "named").unwrap();
    assert_eq!(mounted.content("named"), [[1; 100], [2; 100]].concat());
    drop(file);
    mounted.unmount();
}

#[test]
fn who_asks_for_it_has_each_write_at_the_server() {
    for flags in [OpenFlags::SYNC, OpenFlags::DSYNC, OpenFlags::DIRECT] {
        for mounted in mounts(100) {
            let file = read_write().custom_flags(flags).open(&mounted.fs, "f").unwrap();
            assert_eq!(mounted.sends(|_| file.write_at(5, b"written")), [opcode::WRITE], "{flags:?}");
            assert!(read_from(&file, 0) == mounted.content("f"));
            drop(file);
            let file = read_write().create_new(true).custom_flags(flags).open(&mounted.fs, "new").unwrap();
            assert_eq!(mounted.sends(|_| file.write_at(5, b"written")), [opcode::WRITE], "{flags:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn what_others_collected_makes_room_too() {
    let cache = CacheOptions { max_data_bytes: 16 * PAGE_BYTES, ..collecting(CacheMode::Auto) };
    let mounted = with_file(cache, 0);
    let idle: Vec<_> = (0..7).map(|at| mounted.fs.create(format!("idle{at}")).unwrap()).collect();
    idle.iter().for_each(|file| file.write_all_at(0, &[1; PAGE_BYTES]).unwrap());
    idle[0].write_all_at(PAGE, &[1; PAGE_BYTES - 512]).unwrap();
    let mut busy = mounted.fs.create("busy").unwrap();
    let sent = mounted.sends(|_| pattern(8 * PAGE_BYTES).chunks(512).try_for_each(|chunk| busy.write_all(chunk)));
    assert!(count(&sent, opcode::WRITE) < 16, "{}", count(&sent, opcode::WRITE));
    drop((idle, busy));
    assert!(mounted.content("busy") == pattern(8 * PAGE_BYTES));
    mounted.unmount();
}

#[test]
fn when_a_file_was_made_is_told_with_the_size_that_the_server_does_not_know_yet() {
    let mounted = mount(collecting(CacheMode::Auto), |server| {
        (server.options.minor, server.options.statx) = (39, true);
    });
    let file = mounted.fs.create("f").unwrap();
    file.write_all_at(0, b"collected").unwrap();
    let (attr, born) = file.as_open_file().node().statx().unwrap();
    assert_eq!((attr.size_bytes, born.is_some()), (9, true));
    drop(file);
    mounted.unmount();
}

#[test]
fn what_is_written_again_while_it_is_on_its_way_waits_for_that() {
    for mounted in mounts(10) {
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        let file = alloc::sync::Arc::new(file);
        file.write_at(0, b"older").unwrap();
        let mut second = None;
        mounted.overtake(
            opcode::WRITE,
            |_| file.sync_data().unwrap(),
            |_| {
                file.write_at(0, b"newer").unwrap();
                let file = file.clone();
                second = Some(thread::spawn(move || file.sync_data().unwrap()));
                // Long enough for a thread that does not wait; who waits is not late.
                thread::sleep(std::time::Duration::from_millis(50));
                assert_eq!(mounted.count(opcode::WRITE), 1, "two WRITEs in flight may be done in the wrong order");
            },
        );
        second.unwrap().join().unwrap();
        assert_eq!(&mounted.content("f")[..5], b"newer");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn pages_of_which_little_is_dirty_take_no_more_than_half_of_the_budget() {
    for mode in MODES {
        let mounted = mount(CacheOptions { max_data_bytes: 1 << 20, ..collecting(mode) }, |_| ());
        let file = mounted.fs.create("f").unwrap();
        for page in 0..64 {
            file.write_at(page << 14, b"x").unwrap();
            let kept = mounted.fs.statistics().cached_bytes;
            assert!(mounted.count(opcode::WRITE) > 0 || kept <= 512 << 10, "{page}: {kept} bytes, all of them dirty");
        }
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn who_unmounts_while_a_file_is_open_has_what_was_collected_written() {
    for mounted in mounts(0) {
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        file.write_at(0, b"collected").unwrap();
        let Mounted { fs, channel } = mounted;
        assert_eq!(fs.unmount(), Err(Error::Invalid(Errno::EBUSY)));
        assert_eq!(channel.server().lock().content("f"), b"collected");
        file.close().unwrap();
        test_utils::assert_ended_well(&channel);
    }
}

#[test]
fn dirty_pages_far_from_each_other_are_on_their_way_together() {
    for mounted in mounts(0) {
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        for page in 0..40_u64 {
            file.write_at(page << 15, &[page as u8 + 1; 3]).unwrap();
        }
        let sent = mounted.sends(|_| file.sync_data());
        assert_eq!(count(&sent, opcode::WRITE), 40);
        assert_eq!(mounted.channel.most_in_flight(), 8, "as many as the channel carries");
        for page in 0..40 {
            assert_eq!(mounted.content("f")[page << 15..][..3], [page as u8 + 1; 3]);
        }
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn an_error_in_one_place_keeps_nothing_from_being_written_elsewhere() {
    for mounted in mounts(0) {
        let file = OpenOptions::new().write(true).open(&mounted.fs, "f").unwrap();
        for page in 0..40_u64 {
            file.write_at(page << 15, &[page as u8 + 1; 3]).unwrap();
        }
        mounted.server(|server| {
            server.fault(opcode::WRITE, 7, Fault::Refuse(Errno::EIO));
            server.fault(opcode::WRITE, 11, Fault::Body([1u32.to_ne_bytes(), [0; 4]].concat()));
        });
        assert_eq!(file.sync_data(), Err(Error::Refused(Errno::EIO)));
        assert_eq!(file.sync_data(), Ok(()), "once");
        for page in 0..40 {
            let written = if page == 7 { [0; 3] } else { [page as u8 + 1; 3] };
            assert_eq!(mounted.content("f")[page << 15..][..3], written, "{page}");
        }
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_somebody_else_than_user_0_writes_costs_set_id_bits_whoever_has_the_file_open_besides() {
    for (flag, mode) in [InitFlags::HANDLE_KILLPRIV_V2, InitFlags::HANDLE_KILLPRIV].into_iter().zip(MODES) {
        let mounted = mount(collecting(mode), |server| {
            server.options.init_flags &= !(InitFlags::HANDLE_KILLPRIV | InitFlags::HANDLE_KILLPRIV_V2).bits();
            server.options.init_flags |= flag.bits();
            server.file("f", pattern(100));
            let attr = server.attr_mut("f");
            (attr.uid, attr.gid, attr.permissions) = (1000, 1000, 0o6777);
        });
        let user = mounted.fs.with_credentials(Credentials { uid: 1001, gid: 1001, ..Credentials::default() });
        let own = read_write().open(&mounted.fs, "f").unwrap();
        let other = read_write().open(&user, "f").unwrap();
        own.write_all_at(0, b"by user 0").unwrap();
        other.write_all_at(50, b"by another").unwrap();
        own.sync_all().unwrap();
        assert_eq!(mounted.server(|server| server.attr("f").permissions), 0o777, "{flag:?}");
        // While the server gets what user 0 wrote.
        mounted.server(|server| server.attr_mut("f").permissions = 0o6777);
        own.write_all_at(0, b"by user 0").unwrap();
        let write = || other.write_all_at(PAGE, &[1; PAGE_BYTES]).unwrap();
        mounted.overtake(opcode::WRITE, |_| own.sync_all().unwrap(), |_| write());
        assert!(mounted.content("f").len() > PAGE_BYTES, "one flush wrote both");
        assert_eq!(mounted.server(|server| server.attr("f").permissions), 0o777, "{flag:?}");
        drop((own, other, user));
        mounted.unmount();
    }
}

#[test]
fn who_maintains_is_told_of_what_was_written_while_the_server_got_the_last() {
    for mounted in mounts(0) {
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(0, b"first").unwrap();
        mounted.advance(5 * SECOND);
        let next = mounted.overtake(opcode::WRITE, |fs| fs.maintain(), |_| file.write_all_at(0, b"SECOND").unwrap());
        assert_eq!(next, Some(crate::session::Channel::now(&mounted.channel) + 5 * SECOND));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn an_error_in_one_piece_of_what_follows_each_other_loses_no_other() {
    let mounted = mount(collecting(CacheMode::Auto), |server| {
        server.options.max_write_bytes = 4096;
        server.file("f", b"");
    });
    for window in [1, 8] {
        mounted.channel.set_window(window);
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(0, &[window as u8; 8 * 4096]).unwrap();
        mounted.server(|server| {
            server.fault(opcode::WRITE, 0, Fault::Refuse(Errno::EIO));
        });
        assert_eq!(file.sync_data(), Err(Error::Refused(Errno::EIO)));
        let content = mounted.content("f");
        let missing: Vec<_> = (0..8).filter(|page| content.get(page * 4096) != Some(&(window as u8))).collect();
        assert_eq!(missing, [0], "{window}");
        drop(file);
    }
    mounted.unmount();
}
