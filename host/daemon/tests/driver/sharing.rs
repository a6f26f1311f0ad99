//! Two machines with one file.

use super::common::Daemon;
use super::content::{Random, content};
use super::{MIB, MODES, daemon_in_memory, mount, options};
use std::fs;
use std::os::unix::fs::FileExt;
use virtio_fs::fs::OpenOptions;
use virtio_fs::{Access, CacheMode};

const ADDITIONS: u64 = 50_000;
const COUNTER: u64 = 40_000;

#[test]
fn additions_to_one_number_by_two_mounts_with_two_threads_each_are_not_lost() {
    let first = daemon_in_memory(&["--window", "8M"], |share| fs::write(share.join("file"), vec![0; MIB]).unwrap());
    let share = first.share().into_os_string().into_string().unwrap();
    let second = Daemon::start(&["--window", "2M", "--shared-dir", &share]);
    let mounts = [&first, &second].map(|daemon| mount(daemon, &options(CacheMode::Auto)));
    std::thread::scope(|scope| {
        for (number, fs) in mounts.iter().enumerate() {
            // In other places of their windows.
            let start = number as u64 * 8192;
            scope.spawn(move || {
                let file = OpenOptions::new().read(true).write(true).open(fs, "file").unwrap();
                let mapping = file.map(start..100_000, Access::READ | Access::WRITE).unwrap();
                let before = fs.statistics().all_requests();
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            for _ in 0..ADDITIONS {
                                mapping.fetch_add_u64(COUNTER - start, 1).unwrap();
                                let mut seen = mapping.load_u32(COUNTER + 8 - start).unwrap();
                                while let Err(other) =
                                    mapping.compare_exchange_u32(COUNTER + 8 - start, seen, seen + 1).unwrap()
                                {
                                    seen = other;
                                }
                            }
                        });
                    }
                });
                assert_eq!(fs.statistics().all_requests(), before);
            });
        }
    });
    let mut numbers = [0; 12];
    fs::File::open(first.file("file")).unwrap().read_exact_at(&mut numbers, COUNTER).unwrap();
    let mut expected = (4 * ADDITIONS).to_ne_bytes().to_vec();
    expected.extend((4 * ADDITIONS as u32).to_ne_bytes());
    assert_eq!(numbers.as_slice(), expected);
    mounts.into_iter().for_each(|fs| fs.unmount().unwrap());
}

#[test]
fn what_one_mount_stores_into_mapped_extents_another_reads_at_once_without_a_message() {
    let first = daemon_in_memory(&["--window", "8M"], |share| fs::write(share.join("file"), content(4 * MIB)).unwrap());
    let share = first.share().into_os_string().into_string().unwrap();
    let second = Daemon::start(&["--window", "16M", "--shared-dir", &share]);
    for mode in MODES {
        let mut expected = fs::read(first.file("file")).unwrap();
        let mounts = [&first, &second].map(|daemon| mount(daemon, &options(mode)));
        let files = mounts.each_ref().map(|fs| OpenOptions::new().read(true).write(true).open(fs, "file").unwrap());
        // All of it is mapped for writing by both.
        for file in &files {
            for at in (0..4 * MIB).step_by(MIB) {
                assert_eq!(file.write_at(at as u64, &expected[at..at + MIB]).unwrap(), MIB);
            }
        }
        let sent =
            || mounts.each_ref().map(|fs| fs.statistics().all_requests() - fs.statistics().requests_of("GETATTR"));
        let before = sent();
        let mut random = Random::new(3);
        for round in 0..2000_u64 {
            let bytes = 1 + random.below(10_000) as usize;
            let at = random.below((4 * MIB - bytes) as u64);
            let data: Vec<u8> = (0..bytes as u64).map(|byte| (round * 31 + byte * 7) as u8).collect();
            let (writer, reader) = (&files[round as usize % 2], &files[1 - round as usize % 2]);
            assert_eq!(writer.write_at(at, &data).unwrap(), bytes);
            let mut seen = vec![0; bytes];
            assert_eq!(reader.read_at(at, &mut seen).unwrap(), bytes);
            assert!(seen == data, "{mode:?}, round {round}: {bytes} bytes at {at}");
            expected[at as usize..][..bytes].copy_from_slice(&data);
        }
        // Where the file ends may be asked for now and then.
        assert_eq!(sent(), before, "{mode:?}");
        assert!(fs::read(first.file("file")).unwrap() == expected);
        drop(files);
        mounts.into_iter().for_each(|fs| fs.unmount().unwrap());
    }
}
