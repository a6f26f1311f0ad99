//! Whether a listing brings inodes along.

use super::*;
use crate::CacheMode;

/// A directory of 60 files with long names, of which a reply of 4096 bytes holds some ten.
fn mount_many(flags: u64) -> Mounted {
    mount_many_caching(flags, CacheMode::None)
}

fn mount_many_caching(flags: u64, mode: CacheMode) -> Mounted {
    let mut server = FakeServer::new();
    server.options.init_flags &= !(init::DO_READDIRPLUS | init::READDIRPLUS_AUTO);
    server.options.init_flags |= flags;
    for number in 0..60 {
        server.file(alloc::format!("{number:0>200}"), "");
    }
    let channel = FakeChannel::new(server);
    channel.set_max_data_bytes(4096);
    Mounted::caching(channel, mode).unwrap()
}

/// Lists the root; `takes` says for which entries the inode is asked for. Gives the kinds of listing that were sent.
fn list(mounted: &Mounted, takes: impl Fn(usize) -> bool) -> Vec<u32> {
    let (_, mut sent) = mounted.sent_by(|| {
        let mut dir = mounted.fs.root().opendir().unwrap();
        let mut count = 0;
        while let Some(mut entry) = dir.next_entry().unwrap() {
            if takes(count) {
                drop(entry.take_node());
            }
            count += 1;
        }
        assert_eq!(count, 62);
    });
    sent.retain(|one| matches!(*one, opcode::READDIR | opcode::READDIRPLUS));
    assert!(sent.len() > 3, "{sent:?}");
    sent
}

const BOTH: u64 = init::DO_READDIRPLUS | init::READDIRPLUS_AUTO;

#[test]
fn as_long_as_inodes_are_taken_they_are_asked_for() {
    let mounted = mount_many(BOTH);
    assert!(list(&mounted, |_| true).iter().all(|&one| one == opcode::READDIRPLUS));
    mounted.unmount();
}

#[test]
fn when_nobody_takes_them_they_are_not_asked_for_again() {
    let mounted = mount_many(BOTH);
    let sent = list(&mounted, |_| false);
    assert_eq!(sent[0], opcode::READDIRPLUS);
    assert!(sent[1..].iter().all(|&one| one == opcode::READDIR), "{sent:?}");
    // "." and ".." bring none.
    let sent = list(&mounted, |place| place < 2);
    assert_eq!(sent[1], opcode::READDIR);
    mounted.unmount();
}

#[test]
fn one_that_is_taken_is_enough_for_the_next_reply() {
    let mounted = mount_many(BOTH);
    let sent = list(&mounted, |place| place == 2);
    assert_eq!(sent[..3], [opcode::READDIRPLUS, opcode::READDIRPLUS, opcode::READDIR]);
    mounted.unmount();
}

#[test]
fn a_listing_that_starts_again_asks_for_them_again() {
    let mounted = mount_many(BOTH);
    let mut dir = mounted.fs.root().opendir().unwrap();
    while dir.next_entry().unwrap().is_some() {}
    dir.seek(0);
    let (_, sent) = mounted.sent_by(|| drop(dir.next_entry().unwrap()));
    assert_eq!(sent, [opcode::READDIRPLUS]);
    drop(dir);
    mounted.unmount();
}

#[test]
fn a_server_that_leaves_no_choice_is_always_asked() {
    let mounted = mount_many(init::DO_READDIRPLUS);
    assert!(list(&mounted, |_| false).iter().all(|&one| one == opcode::READDIRPLUS));
    mounted.unmount();
}

#[test]
fn a_server_without_readdirplus_is_never_asked() {
    for flags in [0, init::READDIRPLUS_AUTO] {
        let mounted = mount_many(flags);
        assert!(list(&mounted, |_| true).iter().all(|&one| one == opcode::READDIR));
        mounted.unmount();
    }
}

#[test]
fn metadata_of_a_path_api_entry_counts_as_taken() {
    let mounted = mount_many(BOTH);
    for (asks, expected) in [(true, opcode::READDIRPLUS), (false, opcode::READDIR)] {
        let (_, mut sent) = mounted.sent_by(|| {
            for entry in mounted.fs.read_dir("/").unwrap() {
                let entry = entry.unwrap();
                if asks {
                    entry.metadata().unwrap();
                }
            }
        });
        sent.retain(|one| matches!(*one, opcode::READDIR | opcode::READDIRPLUS));
        assert!(sent[1..].iter().all(|&one| one == expected), "{sent:?}");
    }
    mounted.unmount();
}

#[test]
fn names_that_are_found_while_they_are_listed_count_as_taken_where_they_are_cached() {
    for (mode, expected) in [(CacheMode::Always, opcode::READDIRPLUS), (CacheMode::None, opcode::READDIR)] {
        let mounted = mount_many_caching(BOTH, mode);
        let (_, mut sent) = mounted.sent_by(|| {
            for entry in mounted.fs.read_dir("/").unwrap() {
                mounted.fs.metadata(entry.unwrap().file_name()).unwrap();
            }
        });
        assert_eq!(sent.contains(&opcode::LOOKUP), mode == CacheMode::None);
        sent.retain(|one| matches!(*one, opcode::READDIR | opcode::READDIRPLUS));
        assert!(sent[1..].iter().all(|&one| one == expected), "{sent:?}");
        mounted.unmount();
    }
}
