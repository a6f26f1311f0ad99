//! What others change is seen at the next call, and nothing else is asked for.

use super::*;

#[test]
fn what_nobody_changes_is_asked_for_once_however_long_ago() {
    let mounted = mount();
    mounted.walk();
    for _ in 0..3 {
        assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS);
        assert_eq!(mounted.lists("d"), (vec![b"e".to_vec(), b"g".to_vec(), b"l".to_vec()], vec![]));
        assert_eq!(mounted.reads("d/e/f"), (b"content".to_vec(), vec![]));
        assert_eq!(mounted.sent_by(|| mounted.fs.read_link("d/l").unwrap()), (b"e/f".to_vec(), vec![]));
        assert_eq!(mounted.sent_by(|| mounted.fs.metadata("d/none").unwrap_err()).1, NO_REQUESTS);
        for _ in 0..50 {
            mounted.advance(SECOND);
        }
    }
    mounted.unmount();
}

#[test]
fn the_longest_time_for_which_anything_is_believed_can_be_set() {
    let cache = CacheOptions { backstop: 5 * SECOND, ..CacheOptions::default() };
    let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
        server.add_version_table(LOG2_SLOTS);
    });
    mounted.walk();
    for _ in 0..4 {
        mounted.advance(SECOND);
    }
    assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS);
    assert_eq!(mounted.reads("d/e/f").1, NO_REQUESTS);
    mounted.advance(SECOND);
    assert_eq!(mounted.stats("d/e/f"), [opcode::LOOKUP; 3]);
    assert_eq!(mounted.reads("d/e/f").1, [opcode::OPEN, opcode::READ, opcode::RELEASE]);
    mounted.unmount();
}

#[test]
fn a_change_of_attributes_costs_one_request_and_no_content() {
    let mounted = mount();
    mounted.walk();
    mounted.server(|server| {
        let attr = server.attr_mut("d/e/f");
        attr.permissions = 0o600;
        attr.changed.seconds += 1;
    });
    assert_eq!(mounted.fs.metadata("d/e/f").unwrap().permissions(), 0o600);
    assert_eq!(mounted.reads("d/e/f"), (b"content".to_vec(), vec![]));
    mounted.server(|server| server.attr_mut("d/e/f").uid = 7);
    assert_eq!(mounted.stats("d/e/f"), [opcode::GETATTR]);
    assert_eq!(mounted.stats("d/g"), NO_REQUESTS);
    // Nobody counts when something was looked at.
    mounted.server(|server| server.attr_mut("d/e/f").accessed.seconds += 1);
    assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn content_that_others_change_is_read_anew_also_by_who_has_the_file_open() {
    let mounted = mount();
    let file = mounted.fs.open("d/e/f").unwrap();
    let mut buffer = [0; 20];
    assert_eq!(file.read_at(0, &mut buffer), Ok(7));
    mounted.server(|server| {
        server.file("d/e/f", b"shorter");
    });
    assert_eq!(file.read_at(0, &mut buffer), Ok(7));
    assert_eq!(&buffer[..7], b"shorter");
    for content in [&b"cut"[..], b"", b"longer than ever"] {
        mounted.server(|server| {
            server.file("d/e/f", content);
        });
        assert_eq!(file.read_at(0, &mut buffer), Ok(content.len()));
        assert_eq!(buffer[..content.len()], *content);
        assert_eq!(file.metadata().unwrap().len(), content.len() as u64);
        assert_eq!(mounted.reads("d/e/f"), (content.to_vec(), vec![]));
    }
    drop(file);
    mounted.unmount();
}

#[test]
fn that_an_open_file_is_empty_is_asked_for_once() {
    let mounted = mount();
    let file = mounted.fs.open("d/g").unwrap();
    let mut buffer = [0; 20];
    for content in [&b""[..], b"more", b"", b"most"] {
        mounted.server(|server| {
            server.file("d/g", content);
        });
        assert_eq!(file.read_at(0, &mut buffer), Ok(content.len()));
        assert_eq!(mounted.sent_by(|| file.read_at(0, &mut buffer)), (Ok(content.len()), vec![]));
    }
    drop(file);
    mounted.unmount();
}

#[test]
fn what_is_appended_goes_behind_what_others_have_appended() {
    for writeback in [false, true] {
        let cache = CacheOptions { writeback, ..CacheOptions::default() };
        let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
            server.add_version_table(LOG2_SLOTS);
        });
        let mut file = OpenOptions::new().append(true).open(&mounted.fs, "d/g").unwrap();
        file.write_all(b"1").unwrap();
        file.sync_all().unwrap();
        mounted.server(|server| {
            server.file("d/g", b"other1 and theirs");
        });
        file.write_all(b"2").unwrap();
        file.close().unwrap();
        assert_eq!(mounted.server(|server| server.content("d/g")), b"other1 and theirs2", "{writeback}");
        mounted.unmount();
    }
}

#[test]
fn names_that_others_make_move_or_remove_are_seen_at_once() {
    let mounted = mount();
    mounted.walk();
    mounted.server(|server| {
        server.file("d/none", b"here");
    });
    assert_eq!(mounted.fs.read("d/none").unwrap(), b"here");
    assert_eq!(mounted.lists("d").0.len(), 4);
    mounted.server(|server| {
        server.remove("d/g").file("d/h", b"another");
    });
    assert_eq!(mounted.fs.metadata("d/g").unwrap_err(), Error::Refused(Errno::ENOENT));
    assert_eq!(mounted.fs.read("d/h").unwrap(), b"another");
    assert_eq!(mounted.lists("d").0, [&b"e"[..], b"h", b"l", b"none"]);
    mounted.server(|server| {
        server.remove("d/h").dir("d/h").file("d/h/i", b"inside");
    });
    assert_eq!(mounted.fs.read("d/h/i").unwrap(), b"inside");
    mounted.server(|server| {
        server.symlink("d/l", b"h/i");
    });
    assert_eq!(mounted.fs.read("d/l").unwrap(), b"inside");
    assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS, "nothing has happened there");
    mounted.unmount();
}

#[test]
fn with_every_slot_shared_everything_is_right_and_only_costs_more() {
    let mounted = mount_with(MountOptions::default(), |server| {
        server.add_version_table(9);
        for at in 0..600 {
            server.file(format!("many/{at}"), format!("{at}"));
        }
    });
    let read = |at: usize| mounted.fs.read(format!("many/{at}")).unwrap();
    (0..600).for_each(|at| assert_eq!(read(at), at.to_string().into_bytes()));
    for changed in [0, 17, 599] {
        mounted.server(|server| {
            server.file(format!("many/{changed}"), "changed");
        });
        assert_eq!(read(changed), b"changed");
        let (_, sent) = mounted.sent_by(|| (0..600).filter(|&at| at != changed).for_each(|at| drop(read(at))));
        // 1,799 other slots are looked at, of 512, of which 2 have changed.
        assert!(sent.len() < 60, "{}", sent.len());
    }
    mounted.unmount();
}

#[test]
fn in_another_file_system_time_counts() {
    let mounted = mount_with(MountOptions::default(), |server| {
        server.add_version_table(LOG2_SLOTS).submount("d/sub").file("d/sub/f", b"content");
        (server.options.entry_ttl, server.options.attr_ttl) = (SECOND, SECOND);
    });
    assert_eq!(mounted.reads("d/sub/f").0, b"content");
    mounted.stats("d/g");
    assert_eq!(mounted.stats("d/sub/f"), NO_REQUESTS);
    mounted.advance(SECOND);
    assert_eq!(mounted.stats("d/g"), NO_REQUESTS);
    assert_eq!(mounted.stats("d/sub/f"), [opcode::LOOKUP], "the name of the submount is in the outer file system");
    mounted.unmount();
}

#[test]
fn without_a_table_or_where_it_is_not_wanted_time_counts_and_nothing_is_asked_for_more() {
    let plain = mount_with(MountOptions::default(), |_| ());
    let plainly = plain.sent_by(|| plain.walk()).1;
    assert_eq!(plain.server(|server| server.opcodes()[1]), opcode::LOOKUP, "first of all");
    let modes = [(CacheMode::Auto, Coherence::Ttl), (CacheMode::None, Coherence::VersionTable)];
    for (mode, coherence) in modes {
        let cache = CacheOptions { mode, coherence, ..CacheOptions::default() };
        let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
            server.add_version_table(LOG2_SLOTS);
        });
        let sent = mounted.sent_by(|| mounted.walk()).1;
        assert!(mode == CacheMode::None || sent == plainly);
        assert_eq!(mounted.stats("d/g"), [opcode::LOOKUP; 2]);
        mounted.unmount();
    }
    plain.unmount();
}

#[test]
fn while_a_file_is_mapped_for_writing_time_counts_for_it() {
    let options = MountOptions { dax: Dax::Always, ..MountOptions::default() };
    let mounted = mount_with(options, |server| {
        server.add_version_table(LOG2_SLOTS).add_window(16 << 20, 12).file("mapped", vec![1; 8192]);
    });
    let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "mapped").unwrap();
    let mapping = file.map(0..8192, crate::vnode::Access::READ | crate::vnode::Access::WRITE).unwrap();
    mounted.stats("mapped");
    assert_eq!(mounted.stats("mapped"), [opcode::GETATTR]);
    mapping.write_at(0, b"stored").unwrap();
    drop(mapping);
    mounted.fs.drop_caches();
    mounted.fs.maintain();
    mounted.stats("mapped");
    assert_eq!(mounted.stats("mapped"), NO_REQUESTS);
    let mut buffer = [0; 6];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"stored");
    drop(file);
    mounted.unmount();
}

#[test]
fn collected_writes_are_sent_before_anything_is_told_of_a_file_that_others_have_changed() {
    let looks: [fn(&Mounted, &File) -> u64; 3] = [
        |mounted, _| mounted.fs.metadata("d/g").unwrap().len(),
        |_, file| file.metadata().unwrap().len(),
        |_, file| file.read_at(0, &mut [0; 100]).unwrap() as u64,
    ];
    for look in looks {
        for content in [&b"what somebody else has made longer"[..], b"cut"] {
            let cache = CacheOptions { writeback: true, ..CacheOptions::default() };
            let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
                server.add_version_table(LOG2_SLOTS);
            });
            let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "d/g").unwrap();
            file.write_all_at(0, b"O").unwrap();
            mounted.server(|server| {
                server.file("d/g", content);
            });
            assert_eq!(look(&mounted, &file), content.len() as u64);
            assert_eq!(mounted.server(|server| server.content("d/g"))[..2], [b'O', content[1]]);
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn who_comes_while_another_reader_waits_for_collected_writes_to_be_sent_is_not_shown_what_is_old() {
    let cache = CacheOptions { writeback: true, ..CacheOptions::default() };
    let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
        server.add_version_table(LOG2_SLOTS).file("large", vec![b'a'; 8192]);
    });
    let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "large").unwrap();
    file.read_at(0, &mut [0; 8192]).unwrap();
    file.write_all_at(0, b"X").unwrap();
    mounted.server(|server| {
        server.file("large", vec![b'b'; 8192]);
    });
    // What the other one does first.
    let inode = mounted.fs.node("large").unwrap().inode().clone();
    inode.renew_content(inode.data().unwrap());
    let mut buffer = [0; 2];
    assert_eq!((file.read_at(0, &mut buffer), &buffer), (Ok(2), b"Xb"));
    drop((file, inode));
    mounted.unmount();
}
