//! Everything else that changes the content of a file, in any way to cache it.

use super::*;
use crate::SetTime;
use crate::vnode::AllocateFlags;

type Change = fn(&VirtioFs, &File);

/// What changes the file "f", which is open; "g" is another one.
const CHANGES: [(&str, Change); 18] = [
    ("cut off", |_, f| f.set_len(PAGE + 10).unwrap()),
    ("cut off to nothing", |_, f| f.set_len(0).unwrap()),
    ("cut off and made longer", |_, f| {
        f.set_len(PAGE + 10).unwrap();
        f.set_len(2 * PAGE).unwrap();
    }),
    ("made longer", |_, f| f.set_len(10 * PAGE + 1).unwrap()),
    ("cut off by its name", |fs, _| fs.truncate("f", 5000).unwrap()),
    ("opened and cut off", |fs, _| drop(fs.create("f").unwrap())),
    ("replaced", |fs, _| fs.write("f", "new").unwrap()),
    ("a hole", |_, f| f.allocate(100, PAGE, AllocateFlags::PUNCH_HOLE | AllocateFlags::KEEP_SIZE).unwrap()),
    ("zeroes", |_, f| f.allocate(PAGE + 7, 50, AllocateFlags::ZERO_RANGE).unwrap()),
    ("zeroes behind the end", |_, f| f.allocate(2 * PAGE, 4 * PAGE, AllocateFlags::ZERO_RANGE).unwrap()),
    ("space", |_, f| f.allocate(0, 6 * PAGE, AllocateFlags::empty()).unwrap()),
    ("a piece taken out", |_, f| f.allocate(4096, 4096, AllocateFlags::COLLAPSE_RANGE).unwrap()),
    ("a piece put in", |_, f| f.allocate(4096, 8192, AllocateFlags::INSERT_RANGE).unwrap()),
    ("copied to", |fs, f| {
        let g = fs.open("g").unwrap();
        assert_eq!(g.copy_range(10, f, PAGE - 5, 1000), Ok(1000));
    }),
    ("copied to behind the end", |fs, f| {
        let g = fs.open("g").unwrap();
        assert_eq!(g.copy_range(0, f, 5 * PAGE, 1000), Ok(1000));
    }),
    ("copied within", |_, f| assert_eq!(f.copy_range(0, f, 2 * PAGE, 500), Ok(500))),
    ("times", |_, f| {
        let modified = Some(SetTime::At(Timestamp { seconds: 5, nanoseconds: 0 }));
        f.set_times(FileTimes { accessed: None, modified }).unwrap();
    }),
    ("permissions", |fs, _| fs.set_permissions("f", 0o600).unwrap()),
];

fn two_files(cache: CacheOptions) -> Mounted {
    mount(cache, |server| {
        server.file("f", pattern(3 * PAGE_BYTES + 100)).file("g", vec![0xfe; 2 * PAGE_BYTES]);
    })
}

#[test]
fn what_is_kept_follows_each_change() {
    for cache in all_options() {
        for (what, change) in CHANGES {
            let mounted = two_files(cache.clone());
            let file = read_write().open(&mounted.fs, "f").unwrap();
            read_from(&file, 0);
            change(&mounted.fs, &file);
            assert!(read_from(&file, 0) == mounted.content("f"), "{what} {cache:?}");
            assert_eq!(file.metadata().unwrap().len(), mounted.content("f").len() as u64, "{what} {cache:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn what_was_written_before_a_change_is_there_before_it() {
    for cache in all_options() {
        for (what, change) in CHANGES {
            // What the server has in the end without any cache.
            let [expected, cached] = [options(CacheMode::None), cache.clone()].map(|cache| {
                let mounted = two_files(cache);
                let file = read_write().open(&mounted.fs, "f").unwrap();
                read_from(&file, 0);
                for (offset, bytes) in [(5, 3), (PAGE - 3, 50), (4 * PAGE, 10)] {
                    file.write_all_at(offset, &vec![0xaa; bytes]).unwrap();
                }
                change(&mounted.fs, &file);
                let seen = read_from(&file, 0);
                file.write_all_at(77, b"after").unwrap();
                let seen_after = read_from(&file, 0);
                drop(file);
                let attr = mounted.server(|server| server.attr("f"));
                let result = (seen, seen_after, mounted.content("f"), attr.size_bytes, attr.permissions);
                mounted.unmount();
                result
            });
            assert!(expected == cached, "{what} {cache:?}");
        }
    }
}

#[test]
fn times_that_are_set_outlive_what_was_written_before() {
    for cache in all_options() {
        let mounted = two_files(cache);
        let file = read_write().open(&mounted.fs, "f").unwrap();
        file.write_all_at(5, b"before").unwrap();
        let modified = Timestamp { seconds: 5, nanoseconds: 0 };
        file.set_times(FileTimes { accessed: None, modified: Some(SetTime::At(modified)) }).unwrap();
        assert_eq!(file.metadata().unwrap().attr().modified, modified);
        drop(file);
        assert_eq!(mounted.server(|server| server.attr("f").modified), modified);
        mounted.unmount();
    }
}

#[test]
fn what_was_written_is_copied_from() {
    for cache in all_options() {
        let mounted = two_files(cache);
        let (f, g) = (read_write().open(&mounted.fs, "f").unwrap(), read_write().open(&mounted.fs, "g").unwrap());
        f.write_all_at(0, b"just written").unwrap();
        g.write_all_at(3, b"just written, too").unwrap();
        assert_eq!(f.copy_range(0, &g, 20, 12), Ok(12));
        assert_eq!(read_from(&g, 0)[..32], *b"\xfe\xfe\xfejust written, toojust written");
        drop((f, g));
        assert_eq!(mounted.content("g")[..32], *b"\xfe\xfe\xfejust written, toojust written");
        mounted.unmount();
    }
}

#[test]
fn holes_are_looked_for_in_what_was_written() {
    for cache in all_options() {
        let mounted = two_files(cache);
        let file = mounted.fs.create("new").unwrap();
        file.write_all_at(10 * PAGE, b"data").unwrap();
        assert_eq!(file.seek_data(0), Ok(10 * PAGE));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_is_written_while_the_file_is_cut_off_is_what_the_server_made_of_it() {
    for cache in all_options() {
        for offset in [0, 2 * PAGE, 10 * PAGE] {
            let mounted = two_files(cache.clone());
            let file = read_write().open(&mounted.fs, "f").unwrap();
            read_from(&file, 0);
            let write = || {
                file.write_all_at(offset, &[0xaa; PAGE_BYTES]).unwrap();
                file.sync_all().unwrap();
            };
            mounted.overtake(opcode::SETATTR, |fs| fs.truncate("f", 5).unwrap(), |_| write());
            assert!(read_from(&file, 0) == mounted.content("f"), "{offset} {cache:?}");
            // It is the guest that knows where appended bytes go.
            let mut appending = OpenOptions::new().append(true).open(&mounted.fs, "f").unwrap();
            let expected = [&mounted.content("f")[..], &[0xbb; PAGE_BYTES]].concat();
            appending.write_all(&[0xbb; PAGE_BYTES]).unwrap();
            drop(appending);
            assert!(mounted.content("f") == expected, "{offset} {cache:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn what_is_collected_while_space_is_allocated_behind_the_end_is_not_lost() {
    for cache in all_options() {
        let mounted = two_files(cache.clone());
        let file = read_write().open(&mounted.fs, "f").unwrap();
        read_from(&file, 0);
        mounted.overtake(
            opcode::FALLOCATE,
            |_| file.allocate(0, 6 * PAGE, AllocateFlags::empty()).unwrap(),
            |_| file.write_all_at(3 * PAGE + 5, b"collected").unwrap(),
        );
        assert_eq!(file.metadata().unwrap().len(), 6 * PAGE);
        assert!(read_from(&file, 0) == mounted.content("f"), "{cache:?}");
        assert_eq!(mounted.content("f")[3 * PAGE_BYTES + 5..][..9], *b"collected");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn threads_that_change_a_file_together_end_with_what_the_server_has() {
    for cache in all_options() {
        let mounted = mount(CacheOptions { max_data_bytes: 8 * PAGE_BYTES, ..cache.clone() }, |server| {
            server.file("f", pattern(10 * PAGE_BYTES));
        });
        std::thread::scope(|scope| {
            for seed in 1..4 {
                let fs = &mounted.fs;
                scope.spawn(move || {
                    let file = read_write().open(fs, "f").unwrap();
                    let mut appending = OpenOptions::new().append(true).open(fs, "f").unwrap();
                    let mut random = crate::test_utils::XorShift::new(seed);
                    for _ in 0..100 {
                        let (offset, bytes) = (random.below(8 * PAGE_BYTES) as u64, random.below(20_000) + 1);
                        match random.below(8) {
                            0 => file.set_len(offset).unwrap(),
                            1 => file.allocate(offset, bytes as u64, AllocateFlags::ZERO_RANGE).unwrap(),
                            2 => appending.write_all(&vec![seed as u8; bytes]).unwrap(),
                            3 => file.sync_data().unwrap(),
                            4 => drop(fs.open("f").unwrap()),
                            5 | 6 => file.write_all_at(offset, &vec![seed as u8; bytes]).unwrap(),
                            _ => assert!(file.read_at(offset, &mut vec![0; bytes]).is_ok()),
                        }
                    }
                });
            }
        });
        let file = mounted.fs.open("f").unwrap();
        assert!(read_from(&file, 0) == mounted.content("f"), "{cache:?}");
        drop(file);
        mounted.unmount();
    }
}
