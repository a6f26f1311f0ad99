//! Directory cursors.

use super::*;

/// What an entry tells, without the inode.
type Listed = (String, Option<FileType>, u64);

fn next(dir: &mut Dir) -> Option<Listed> {
    let mut entry = dir.next_entry().unwrap()?;
    let name = String::from_utf8(entry.name.to_vec()).unwrap();
    if let Some((node, attr)) = entry.take_node() {
        assert_eq!((Some(node.file_type()), attr.ino), (entry.file_type, entry.ino));
    }
    Some((name, entry.file_type, entry.cookie))
}

fn list(dir: &mut Dir) -> Vec<Listed> {
    core::iter::from_fn(|| next(dir)).collect()
}

/// A directory of `count` files with long names, of which a reply of 4096 bytes holds some ten.
fn many(count: usize) -> FakeServer {
    let mut server = FakeServer::new();
    for number in 0..count {
        server.file(alloc::format!("{number:0>200}"), "");
    }
    server
}

/// Mounts with room for 4096 bytes in each reply.
fn in_small_replies(server: FakeServer) -> Mounted {
    let channel = FakeChannel::new(server);
    channel.set_max_data_bytes(4096);
    Mounted::over(channel).unwrap()
}

/// The nodeids that the server counts lookups of.
fn known(mounted: &Mounted) -> usize {
    mounted.fs.maintain();
    mounted.server(|server| server.known_nodes())
}

#[test]
fn a_listing_has_dot_and_dot_dot_and_every_entry_with_its_inode() {
    for readdirplus in [true, false] {
        let mounted = mount();
        mounted.server(|server| server.options.readdirplus = readdirplus);
        let mut dir = mounted.fs.root().opendir().unwrap();
        let listed = list(&mut dir);
        let expected = [(".", FileType::Directory), ("..", FileType::Directory), ("d", FileType::Directory)];
        let expected = expected.into_iter().chain([("l", FileType::Symlink)]).chain(SPECIAL);
        assert_eq!(
            listed.iter().map(|(name, file_type, _)| (&name[..], file_type.unwrap())).collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
        assert_eq!(next(&mut dir), None, "the end stays the end");
        assert_eq!(known(&mounted), 0);
        drop(dir);
        mounted.unmount();
    }
}

#[test]
fn the_end_is_asked_for_once() {
    let mounted = mount();
    let (_, sent) = mounted.sent_by(|| {
        let mut dir = mounted.fs.root().opendir().unwrap();
        list(&mut dir);
        list(&mut dir);
    });
    assert_eq!(sent, [opcode::OPENDIR, opcode::READDIRPLUS, opcode::READDIRPLUS, opcode::RELEASEDIR]);
    mounted.unmount();
}

#[test]
fn an_entry_of_readdirplus_is_an_inode_to_work_with() {
    let mounted = mount();
    let (d, _) = mounted.fs.root().lookup("d").unwrap();
    let mut dir = d.opendir().unwrap();
    assert_eq!(dir.node().nodeid(), d.nodeid());
    let file = loop {
        let mut entry = dir.next_entry().unwrap().unwrap();
        if entry.name == b"f" {
            break entry.take_node().unwrap().0;
        }
        assert!(entry.take_node().is_none() == entry.name.starts_with(b"."));
    };
    drop(dir);
    let (_, sent) =
        mounted.sent_by(|| assert_eq!(file.open(OpenFlags::READ_ONLY).unwrap().read_at(0, &mut [0; 10]), Ok(7)));
    assert_eq!(sent, [opcode::OPEN, opcode::READ, opcode::RELEASE], "no LOOKUP");
    drop((file, d));
    mounted.unmount();
}

#[test]
fn a_large_directory_comes_in_many_small_replies() {
    for readdirplus in [true, false] {
        let mounted = in_small_replies(many(500));
        mounted.server(|server| server.options.readdirplus = readdirplus);
        let mut dir = mounted.fs.root().opendir().unwrap();
        let listed = list(&mut dir);
        assert_eq!(listed.len(), 502);
        assert!(listed[2..].iter().enumerate().all(|(number, (name, ..))| name.parse() == Ok(number)));
        drop(dir);
        mounted.unmount();
    }
}

#[test]
fn ten_thousand_entries_are_listed_with_at_most_ten_messages() {
    let mounted = Mounted::new(|server| {
        for number in 0..10_000 {
            server.file(alloc::format!("file-{number:08}"), "");
        }
    });
    assert_eq!(list(&mut mounted.fs.root().opendir().unwrap()).len(), 10_002);
    let messages = mounted.count(opcode::READDIRPLUS) + mounted.count(opcode::READDIR);
    assert!(messages <= 10, "{messages}");
    mounted.unmount();
}

#[test]
fn a_cursor_resumes_at_any_position_it_gave() {
    for readdirplus in [true, false] {
        let mounted = in_small_replies(many(60));
        mounted.server(|server| server.options.readdirplus = readdirplus);
        let root = mounted.fs.root();
        let mut dir = root.opendir().unwrap();
        assert_eq!(dir.position(), 0);
        let all = list(&mut dir);
        for place in 0..=all.len() {
            let cookie = place.checked_sub(1).map_or(0, |last| all[last].2);
            dir.seek(cookie);
            assert_eq!(dir.position(), cookie);
            assert_eq!(next(&mut dir), all.get(place).cloned(), "behind entry {place}");
            assert_eq!(dir.position(), all.get(place).map_or(cookie, |entry| entry.2));
            // Where it is, in the middle of a reply, changes nothing.
            dir.seek(dir.position());
            assert_eq!(next(&mut dir), all.get(place + 1).cloned());
        }
        dir.seek(0);
        assert!(list(&mut dir) == all);
        let mut other = root.opendir().unwrap();
        other.seek(all[30].2);
        assert!(list(&mut other) == all[31..], "a cookie is good for another cursor");
        drop((dir, other));
        assert_eq!(known(&mounted), 0);
        mounted.unmount();
    }
}

#[test]
fn seeking_to_the_start_shows_what_came_meanwhile() {
    let mounted = mount();
    let mut dir = mounted.fs.root().opendir().unwrap();
    let before = list(&mut dir).len();
    mounted.server(|server| {
        server.file("new", "");
    });
    assert_eq!(next(&mut dir), None);
    dir.seek(0);
    assert_eq!(list(&mut dir).len(), before + 1);
    drop(dir);
    mounted.unmount();
}

#[test]
fn a_cursor_that_is_dropped_or_moved_forgets_the_entries_that_nobody_read() {
    let mounted = Mounted::over(FakeChannel::new(many(300))).unwrap();
    let mut dir = mounted.fs.root().opendir().unwrap();
    for _ in 0..100 {
        next(&mut dir).unwrap();
    }
    mounted.fs.maintain();
    // 98 were read and dropped, some others wait in the reply.
    assert!((1..=202).contains(&mounted.server(|server| server.known_nodes())));
    dir.seek(0);
    assert_eq!(known(&mounted), 0);
    for _ in 0..5 {
        next(&mut dir).unwrap();
    }
    drop(dir);
    assert_eq!(known(&mounted), 0);
    mounted.unmount();
}

#[test]
fn nodes_of_a_listing_outlive_its_cursor() {
    let mounted = Mounted::over(FakeChannel::new(many(20))).unwrap();
    let mut dir = mounted.fs.root().opendir().unwrap();
    let mut nodes = Vec::new();
    while let Some(mut entry) = dir.next_entry().unwrap() {
        nodes.extend(entry.take_node().map(|(node, _)| node));
    }
    drop(dir);
    assert_eq!((nodes.len(), known(&mounted)), (20, 20));
    nodes.iter().for_each(|node| assert!(node.getattr().is_ok()));
    nodes.truncate(5);
    assert_eq!(known(&mounted), 5);
    drop(nodes);
    mounted.unmount();
}

#[test]
fn a_server_that_lacks_readdirplus_is_asked_once() {
    let mounted = mount();
    mounted.server(|server| server.options.readdirplus = false);
    for asked in [1, 1, 1] {
        let mut dir = mounted.fs.root().opendir().unwrap();
        assert_eq!(list(&mut dir).len(), 8);
        assert_eq!(mounted.count(opcode::READDIRPLUS), asked);
    }
    mounted.unmount();
}

#[test]
fn an_error_of_a_listing_leaves_the_position_where_it_was() {
    let mounted = in_small_replies(many(30));
    mounted.server(|server| {
        server.fault(opcode::READDIR, 0, Fault::Refuse(Errno::EINTR));
    });
    let mut dir = mounted.fs.root().opendir().unwrap();
    let mut names = Vec::new();
    let mut errors = 0;
    loop {
        match dir.next_entry() {
            Ok(Some(entry)) => names.push(entry.name.to_vec()),
            Ok(None) => break,
            Err(error) => {
                assert_eq!(error, Error::Refused(Errno::EINTR));
                errors += 1;
            }
        }
    }
    assert_eq!((names.len(), errors), (32, 1));
    names.dedup();
    assert_eq!(names.len(), 32);
    drop(dir);
    mounted.unmount();
}

#[test]
fn a_bad_entry_is_an_error_and_its_lookup_and_those_before_it_are_taken_back() {
    // Entries of READDIRPLUS: fuse_entry_out (128 bytes), fuse_dirent (24 bytes), a name of 3 bytes, 5 bytes of
    // padding.
    const ENTRY: usize = 160;
    // Of the last entry: its mode, the length of its name, a slash in its name, its nanoseconds.
    for (at, bytes) in [(100, &[0; 4][..]), (144, &[0xff; 4]), (153, b"/"), (88, &[0xff; 4]), (144, &[0; 4])] {
        let mounted = Mounted::new(|server| {
            for number in 100..110 {
                server.file(number.to_string(), "");
            }
            server.tamper(move |opcode, reply| {
                if opcode == opcode::READDIRPLUS && reply.len() > 10 * ENTRY {
                    let last = reply.len() - ENTRY;
                    reply[last + at..][..bytes.len()].copy_from_slice(bytes);
                }
            });
        });
        // One time it is met, one time the cursor is dropped before.
        for reads in [100, 5] {
            let mut dir = mounted.fs.root().opendir().unwrap();
            let mut good = 0;
            let result = loop {
                match dir.next_entry() {
                    Ok(Some(_)) if good == reads => break None,
                    Ok(Some(_)) => good += 1,
                    Ok(None) => panic!("the bad entry was not met"),
                    Err(error) => break Some(error),
                }
            };
            assert!(matches!(result, None | Some(Error::Protocol(_))), "{result:?}");
            assert_eq!(result.is_some(), reads == 100);
            assert!(reads == 5 || good == 2 + 9, "at {at}: {good}");
            drop(dir);
            assert_eq!(known(&mounted), 0, "at {at}");
        }
        mounted.unmount();
    }
}

#[test]
fn an_entry_without_a_nodeid_is_listed_without_an_inode() {
    let mounted = Mounted::new(|server| {
        server.file("a", "").file("b", "");
        server.tamper(|opcode, reply| {
            if opcode == opcode::READDIRPLUS && reply.len() > 100 {
                // The server was asked to look nothing up.
                for entry in reply[16..].chunks_mut(160) {
                    entry[..8].fill(0);
                }
            }
        });
    });
    let mut dir = mounted.fs.root().opendir().unwrap();
    while let Some(mut entry) = dir.next_entry().unwrap() {
        assert!(entry.take_node().is_none());
        assert!(entry.file_type.is_some());
    }
    drop(dir);
    // The server did count: it is the reply that was changed.
    let channel = mounted.channel.clone();
    mounted.fs.unmount().unwrap();
    assert_eq!(channel.server().lock().left_at_destroy()[0].known_nodes, 2);
    assert_eq!(channel.server().lock().violations(), [""; 0]);
}

#[test]
fn an_entry_with_impossible_attributes_is_taken_back_and_can_be_passed_over() {
    let mut server = FakeServer::new();
    server.file("a", "").file("b", "");
    server.tamper(|opcode, reply| {
        if opcode == opcode::READDIRPLUS && reply.len() > 16 {
            // The third entry, behind "." and "..".
            let third = 16 + 2 * 160;
            reply[third + 100..third + 104].fill(0);
        }
    });
    let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
    let mut dir = mounted.fs.root().opendir().unwrap();
    let outcomes: Vec<bool> = (0..4).map(|_| dir.next_entry().is_ok_and(|entry| entry.is_some())).collect();
    assert_eq!(outcomes, [true, true, false, true]);
    assert!(dir.next_entry().unwrap().is_none());
    drop(dir);
    mounted.unmount();
}

#[test]
fn the_room_for_a_reply_grows_with_the_directory() {
    let mounted = Mounted::over(FakeChannel::new(many(8000))).unwrap();
    let (count, sent) = mounted.sent_by(|| list(&mut mounted.fs.root().opendir().unwrap()).len());
    assert_eq!(count, 8002);
    // 352 bytes for each: 2.8 MB, in replies of 64 KiB, 256 KiB, and 1 MiB from then on; and one that says it is the
    // end.
    assert_eq!(sent.iter().filter(|&&opcode| opcode == opcode::READDIRPLUS).count(), 6);
    mounted.unmount();
}

#[test]
fn a_bad_entry_at_the_end_of_a_reply_is_met_once() {
    let mut server = FakeServer::new();
    server.file("a", "").file("b", "");
    server.tamper(|opcode, reply| {
        if opcode == opcode::READDIRPLUS && reply.len() > 16 {
            // A slash in the last name, which is padded to 8 bytes.
            let last = reply.len() - 8;
            reply[last] = b'/';
        }
    });
    let mounted = Mounted::over(FakeChannel::new(server)).unwrap();
    let mut dir = mounted.fs.root().opendir().unwrap();
    let outcomes: Vec<_> = (0..5).map(|_| dir.next_entry().map(|entry| entry.is_some())).collect();
    assert!(matches!(outcomes[..], [Ok(true), Ok(true), Ok(true), Err(Error::Protocol(_)), Ok(false)]), "{outcomes:?}");
    drop(dir);
    mounted.unmount();
}
