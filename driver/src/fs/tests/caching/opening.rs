//! What an open file is believed to hold (close-to-open).

use super::*;

const OPENED: [u32; 3] = [opcode::OPEN, opcode::READ, opcode::RELEASE];

#[test]
fn a_file_that_did_not_change_costs_one_request_to_open_and_read_again() {
    let mounted = with_file(options(CacheMode::Auto), 3 * PAGE_BYTES);
    assert_eq!(mounted.read_once("f").1, [&[opcode::LOOKUP][..], &OPENED].concat());
    assert_eq!(mounted.read_once("f"), (pattern(3 * PAGE_BYTES), vec![opcode::GETATTR]));
    mounted.advance(SECOND);
    assert_eq!(mounted.read_once("f"), (pattern(3 * PAGE_BYTES), vec![opcode::LOOKUP]));
    mounted.unmount();
}

#[test]
fn a_file_that_others_changed_is_read_anew_when_it_is_opened() {
    let changes: [fn(&mut FakeServer); 3] = [
        |server| server.attr_mut("f").modified.nanoseconds += 1,
        |server| server.attr_mut("f").changed.seconds += 1,
        |server| {
            server.file("f", b"other content");
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        for waits in [false, true] {
            let mounted = mount(options(CacheMode::Auto), |server| {
                server.file("f", b"content");
            });
            mounted.read_once("f");
            mounted.server(change);
            let asks = if waits { opcode::LOOKUP } else { opcode::GETATTR };
            if waits {
                mounted.advance(SECOND);
            }
            let (content, sent) = mounted.read_once("f");
            assert_eq!(sent, [&[asks][..], &OPENED].concat(), "{at} {waits}");
            assert_eq!(content, mounted.content("f"));
            mounted.unmount();
        }
    }
}

#[test]
fn the_server_may_want_pages_kept() {
    let mounted = mount(CacheOptions { lazy_open: false, ..options(CacheMode::Auto) }, |server| {
        // With this flag pages go as soon as the attributes are others.
        server.options.init_flags &= !crate::InitFlags::AUTO_INVAL_DATA.bits();
        server.file("f", b"content");
    });
    mounted.read_once("f");
    mounted.server(|server| {
        server.options.fopen_flags = KEEP_CACHE;
        server.attr_mut("f").modified.seconds += 1;
    });
    let (content, sent) = mounted.read_once("f");
    assert_eq!((&content[..], &sent[..]), (&b"content"[..], &[opcode::GETATTR, opcode::OPEN, opcode::RELEASE][..]));
    mounted.unmount();
}

#[test]
fn a_file_that_is_opened_late_is_compared_before_the_server_can_say_that_pages_are_to_be_kept() {
    let mounted = mount(options(CacheMode::Auto), |server| {
        server.options.fopen_flags = KEEP_CACHE;
        server.file("f", b"content");
    });
    mounted.read_once("f");
    assert_eq!(mounted.read_once("f").1, [opcode::GETATTR], "what did not change is kept all the same");
    mounted.server(|server| server.attr_mut("f").modified.seconds += 1);
    assert_eq!(mounted.read_once("f").1, [&[opcode::GETATTR][..], &OPENED].concat());
    mounted.unmount();
}

#[test]
fn two_direct_writes_of_a_file_are_under_way_together_whether_or_not_the_server_says_so() {
    const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
    for fopen_flags in [DIRECT_IO, DIRECT_IO | PARALLEL_DIRECT_WRITES] {
        for cache in all_options() {
            let mounted = mount(cache, |server| {
                server.options.fopen_flags = fopen_flags;
                server.file("f", b"content");
            });
            let file = read_write().open(&mounted.fs, "f").unwrap();
            // The second one is complete while the reply to the first is on its way.
            mounted.overtake(
                opcode::WRITE,
                |_| file.write_all_at(0, b"one").unwrap(),
                |_| file.write_all_at(3, b"two!").unwrap(),
            );
            assert_eq!(mounted.content("f"), b"onetwo!");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn where_the_server_wants_to_be_asked_nothing_is_kept() {
    for cache in all_options() {
        for lazy_open in [true, false] {
            let cache = CacheOptions { lazy_open, ..cache.clone() };
            let mounted = mount(cache, |server| {
                server.options.fopen_flags = DIRECT_IO;
                server.file("f", b"content");
            });
            mounted.read_once("f");
            for changed in [&b"Content"[..], b"other"] {
                mounted.others_write("f", changed);
                let file = mounted.sent_by(|| mounted.fs.open("f").unwrap());
                assert_eq!(file.1.last(), Some(&opcode::OPEN), "it is known that it cannot be opened later");
                assert_eq!(read_from(&file.0, 0), changed);
                mounted.others_write("f", b"while it is open");
                assert_eq!(read_from(&file.0, 0), b"while it is open");
            }
            let file = read_write().open(&mounted.fs, "f").unwrap();
            assert_eq!(mounted.sends(|_| file.write_at(0, b"W")), [opcode::WRITE]);
            assert_eq!(mounted.cached_bytes(), 0);
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn where_nobody_else_changes_anything_nothing_is_asked() {
    let mounted = with_file(options(CacheMode::Always), 3 * PAGE_BYTES);
    mounted.read_once("f");
    mounted.others_write("f", b"something else");
    mounted.advance(1000 * SECOND);
    assert_eq!(mounted.read_once("f"), (pattern(3 * PAGE_BYTES), vec![]));
    mounted.fs.drop_caches();
    assert_eq!(mounted.read_once("f").0, b"something else");
    mounted.unmount();
}

#[test]
fn what_others_append_is_seen_when_the_attributes_expire() {
    for bytes in [0, 5, PAGE_BYTES] {
        let mounted = with_file(options(CacheMode::Auto), bytes);
        let file = mounted.fs.open("f").unwrap();
        read_from(&file, 0);
        mounted.others_write("f", &pattern(bytes + 10));
        assert_eq!(mounted.sent_by(|| read_from(&file, bytes as u64)), (vec![], vec![]));
        mounted.advance(SECOND);
        assert_eq!(read_from(&file, 0), pattern(bytes + 10));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_others_append_to_a_file_of_which_only_the_end_is_known_is_seen_by_who_opens_it() {
    for cache in [options(CacheMode::Auto), collecting(CacheMode::Auto)] {
        for bytes in [0, PAGE_BYTES] {
            let mounted = with_file(cache.clone(), bytes);
            mounted.read_once("f");
            mounted.fs.root().cache().pool().shrink_to(0);
            mounted.fs.root().cache().pool().shrink_to(0);
            assert_eq!(mounted.cached_bytes(), 0);
            mounted.others_write("f", &pattern(bytes + 10));
            let file = read_write().open(&mounted.fs, "f").unwrap();
            assert!(read_from(&file, 0) == pattern(bytes + 10), "{bytes} {cache:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn a_whole_file_is_read_to_its_end_whatever_was_believed_of_its_size() {
    for lazy_open in [true, false] {
        for fopen_flags in [0, DIRECT_IO] {
            let mounted = mount(CacheOptions { lazy_open, ..options(CacheMode::Auto) }, |server| {
                server.options.fopen_flags = fopen_flags;
                server.file("f", b"short");
            });
            for content in [&b"longer than it was"[..], b"longer again than it was"] {
                mounted.fs.metadata("f").unwrap();
                mounted.others_write("f", content);
                assert_eq!(mounted.fs.read("f").unwrap(), content, "{lazy_open} {fopen_flags}");
            }
            mounted.unmount();
        }
    }
}

#[test]
fn attributes_that_tell_of_a_change_drop_pages_if_the_server_wants_that() {
    // To drop pages itself is for a server that says EXPLICIT_INVAL_DATA, whatever it says of AUTO_INVAL_DATA.
    for (auto, explicit) in [(true, false), (true, true), (false, true), (false, false)] {
        let mounted = mount(options(CacheMode::Auto), |server| {
            for (is_said, flag) in
                [(auto, crate::InitFlags::AUTO_INVAL_DATA), (explicit, crate::InitFlags::EXPLICIT_INVAL_DATA)]
            {
                server.options.init_flags &= !flag.bits();
                server.options.init_flags |= if is_said { flag.bits() } else { 0 };
            }
            server.file("f", b"content");
        });
        let file = mounted.fs.open("f").unwrap();
        read_from(&file, 0);
        mounted.others_write("f", b"Content");
        mounted.advance(SECOND);
        assert_eq!(mounted.sent_by(|| file.read_at(0, &mut [0; 7])), (Ok(7), vec![]), "nobody asked");
        mounted.fs.metadata("f").unwrap();
        let expected = if auto && !explicit { b"Content" } else { b"content" };
        let mut buffer = [0; 7];
        file.read_at(0, &mut buffer).unwrap();
        assert_eq!(buffer, *expected);
        drop(file);
        // Whoever opens it sees the change.
        assert_eq!(mounted.read_once("f").0, b"Content");
        mounted.unmount();
    }
}

#[test]
fn a_file_is_as_new_when_it_might_have_to_be_made() {
    let mounted = mount(options(CacheMode::Auto), |server| {
        server.file("f", b"content");
    });
    mounted.read_once("f");
    mounted.others_write("f", b"Content");
    let file = read_write().create(true).open(&mounted.fs, "f").unwrap();
    assert_eq!(read_from(&file, 0), b"Content");
    drop(file);
    mounted.unmount();
}

#[test]
fn a_file_that_need_not_be_asked_for_any_more_is_cached_again() {
    for cache in all_options() {
        let mounted = mount(CacheOptions { lazy_open: false, ..cache.clone() }, |server| {
            server.options.fopen_flags = DIRECT_IO;
            server.file("f", b"content");
        });
        mounted.read_once("f");
        mounted.server(|server| server.options.fopen_flags = 0);
        let file = read_write().open(&mounted.fs, "f").unwrap();
        assert_eq!(read_from(&file, 0), b"content");
        assert_eq!(mounted.sent_by(|| read_from(&file, 0)), (b"content".to_vec(), vec![]), "{cache:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn attributes_from_before_an_own_write_say_nothing_of_the_content() {
    for cache in all_options() {
        let mounted = with_file(cache.clone(), PAGE_BYTES);
        let mut file = OpenOptions::new().read(true).append(true).open(&mounted.fs, "f").unwrap();
        read_from(&file, 0);
        mounted.advance(2 * SECOND);
        mounted.fs.root().cache().drop_names();
        let late = mounted.overtake(
            opcode::LOOKUP,
            |fs| fs.open("f").unwrap(),
            |_| {
                file.write_all(&pattern(PAGE_BYTES)).unwrap();
                file.sync_all().unwrap();
            },
        );
        file.write_all(&pattern(PAGE_BYTES)).unwrap();
        assert_eq!(read_from(&late, 0).len(), 3 * PAGE_BYTES, "{cache:?}");
        file.sync_all().unwrap();
        assert!(mounted.content("f") == pattern(PAGE_BYTES).repeat(3), "{cache:?}");
        drop((file, late));
        mounted.unmount();
    }
}

#[test]
fn what_others_append_is_seen_after_own_writes_too() {
    for cache in [options(CacheMode::Auto), collecting(CacheMode::Auto)] {
        for bytes in [5, PAGE_BYTES, PAGE_BYTES + 10] {
            let mounted = with_file(cache.clone(), bytes);
            let file = read_write().open(&mounted.fs, "f").unwrap();
            read_from(&file, 0);
            file.write_all_at(0, b"own").unwrap();
            file.sync_all().unwrap();
            mounted.others_write("f", &[&mounted.content("f")[..], b"by others"].concat());
            mounted.advance(SECOND);
            assert!(read_from(&file, 0) == mounted.content("f"), "{bytes} {cache:?}");
            mounted.others_write("f", b"cut");
            mounted.advance(SECOND);
            assert_eq!(file.read_at(bytes as u64 + 9, &mut [0]), Ok(0));
            assert_eq!(read_from(&file, 0).len(), 3);
            drop(file);
            assert_eq!(mounted.read_once("f").0, b"cut");
            mounted.unmount();
        }
    }
}
