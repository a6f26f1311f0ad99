//! Writes that go to the server at once.

use super::*;

/// A mount with three and a half pages in the file "f", all kept, and the file open for reading and writing.
fn kept(mode: CacheMode) -> (Mounted, File) {
    let mounted = with_file(options(mode), 3 * PAGE_BYTES + 100);
    let file = read_write().open(&mounted.fs, "f").unwrap();
    read_from(&file, 0);
    (mounted, file)
}

const MODES: [CacheMode; 2] = [CacheMode::Auto, CacheMode::Always];

#[test]
fn what_is_written_is_read_without_requests() {
    for mode in MODES {
        let (mounted, file) = kept(mode);
        let other = mounted.fs.open("f").unwrap();
        for (offset, bytes) in [(5, 3), (PAGE_BYTES - 2, 4), (PAGE_BYTES, 2 * PAGE_BYTES), (3 * PAGE_BYTES + 90, 30)] {
            file.write_all_at(offset as u64, &vec![0xfe; bytes]).unwrap();
            for file in [&file, &other] {
                let (content, sent) = mounted.sent_by(|| read_from(file, 0));
                assert!(content == mounted.content("f"), "{mode:?} {offset}");
                assert_eq!(sent.iter().filter(|&&one| one == opcode::READ).count(), 0);
            }
        }
        drop((file, other));
        mounted.unmount();
    }
}

#[test]
fn what_failed_to_be_written_is_asked_for() {
    // A count of bytes in a reply to WRITE.
    let count = |bytes: u32| Fault::Body([bytes.to_ne_bytes(), [0; 4]].concat());
    for mode in MODES {
        for fault in [Fault::Refuse(Errno::ENOSPC), count(10), count(0)] {
            let (mounted, file) = kept(mode);
            mounted.server(|server| {
                server.fault(opcode::WRITE, 0, fault.clone());
            });
            // Whatever is said of it.
            let _ = file.write_at(PAGE - 10, &[0xfe; 50]);
            let (content, sent) = mounted.sent_by(|| read_from(&file, 0));
            assert!(content == mounted.content("f"), "{mode:?} {fault:?}");
            assert!(sent.contains(&opcode::READ), "{mode:?} {fault:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn what_is_appended_is_read_behind_what_others_appended() {
    for mode in MODES {
        let (mounted, file) = kept(mode);
        let mut appending = OpenOptions::new().append(true).open(&mounted.fs, "f").unwrap();
        appending.write_all(b"one").unwrap();
        assert!(read_from(&file, 0) == mounted.content("f"));
        let mut longer = mounted.content("f");
        longer.extend_from_slice(b"by others");
        mounted.others_write("f", &longer);
        appending.write_all(b"two").unwrap();
        assert!(read_from(&file, 0).ends_with(b"oneby otherstwo"), "{mode:?}");
        drop((appending, file));
        mounted.unmount();
    }
}

#[test]
fn between_the_end_and_what_is_written_behind_it_are_zeroes() {
    for mode in MODES {
        for gap in [1, 100, PAGE - 100, 5 * PAGE + 3] {
            let (mounted, file) = kept(mode);
            file.write_all_at(3 * PAGE + 100 + gap, b"behind").unwrap();
            assert!(read_from(&file, 0) == mounted.content("f"), "{mode:?} {gap}");
            assert_eq!(file.metadata().unwrap().len(), 3 * PAGE + 106 + gap);
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn of_two_writes_under_way_together_the_last_one_at_the_server_counts() {
    for mode in MODES {
        let (mounted, file) = kept(mode);
        mounted.overtake(
            opcode::WRITE,
            |_| file.write_all_at(100, &[1; 50]).unwrap(),
            |_| file.write_all_at(120, &[2; 50]).unwrap(),
        );
        assert!(read_from(&file, 0) == mounted.content("f"), "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_was_read_before_a_write_and_arrives_after_it_is_not_kept() {
    for mode in MODES {
        let mounted = with_file(options(mode), 3 * PAGE_BYTES);
        let file = read_write().open(&mounted.fs, "f").unwrap();
        let mut buffer = vec![0; 100];
        mounted.overtake(
            opcode::READ,
            |_| assert_eq!(file.read_at(0, &mut buffer), Ok(100)),
            |_| file.write_all_at(50, b"written").unwrap(),
        );
        assert!(read_from(&file, 0) == mounted.content("f"), "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn threads_that_write_and_read_together_end_with_what_the_server_has() {
    for cache in all_options() {
        let mounted = with_file(CacheOptions { max_data_bytes: 8 * PAGE_BYTES, ..cache.clone() }, 10 * PAGE_BYTES);
        std::thread::scope(|scope| {
            for seed in 1..4 {
                let fs = &mounted.fs;
                scope.spawn(move || {
                    let file = read_write().open(fs, "f").unwrap();
                    let mut random = crate::test_utils::XorShift::new(seed);
                    for round in 0..100 {
                        let (offset, bytes) = (random.below(10 * PAGE_BYTES) as u64, random.below(20_000) + 1);
                        match random.below(4) {
                            0 => file.write_all_at(offset, &vec![seed as u8; bytes]).unwrap(),
                            1 if round % 10 == 0 => file.sync_data().unwrap(),
                            _ => drop(file.read_at(offset, &mut vec![0; bytes]).unwrap()),
                        }
                    }
                });
            }
        });
        let file = mounted.fs.open("f").unwrap();
        assert!(read_from(&file, 0) == mounted.content("f"), "{cache:?}");
        assert!(mounted.cached_bytes() <= 8 * PAGE);
        drop(file);
        mounted.unmount();
    }
}
