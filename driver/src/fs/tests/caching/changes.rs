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
