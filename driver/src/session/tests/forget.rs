//! Lookups that are taken back, and the session's end.

use super::*;
use crate::session::forget::BATCH;
use crate::test_utils::{FakeServer, assert_ended_well};
use crate::vnode::OpenFlags;
use crate::{Errno, NodeId};
use alloc::string::ToString;

/// `count` files in the root, named by number.
fn files(count: usize) -> FakeServer {
    let mut server = FakeServer::new();
    for number in 0..count {
        server.file(number.to_string(), "");
    }
    server
}

fn mount_files(count: usize) -> (Mounted, Requests) {
    record(FakeChannel::new(files(count)), &crate::test_utils::uncached())
}

fn forgets(mounted: &Mounted) -> [usize; 2] {
    [opcode::FORGET, opcode::BATCH_FORGET].map(|opcode| mounted.count(opcode))
}

#[test]
fn one_inode_is_forgotten_by_forget_and_several_by_batch_forget() {
    let (mounted, requests) = mount_files(3);
    mounted.fs.metadata("0").unwrap();
    assert_eq!(forgets(&mounted), [0, 0], "it waits for company");
    mounted.fs.maintain();
    assert_eq!(forgets(&mounted), [1, 0]);
    let forget = of_kind(&requests, opcode::FORGET).remove(0);
    assert_eq!((u64_at(&forget, 16), u64_at(&forget, 40)), (2, 1), "one lookup of nodeid 2");
    assert_eq!(mounted.server(|server| server.known_nodes()), 0);

    for name in ["0", "1", "2", "0"] {
        mounted.fs.metadata(name).unwrap();
    }
    mounted.fs.maintain();
    assert_eq!(forgets(&mounted), [1, 1]);
    let batch = of_kind(&requests, opcode::BATCH_FORGET).remove(0);
    assert_eq!((u64_at(&batch, 16), u32_at(&batch, 40), batch.len()), (0, 4, 48 + 4 * 16));
    assert_eq!(mounted.server(|server| server.known_nodes()), 0);
    mounted.fs.maintain();
    assert_eq!(forgets(&mounted), [1, 1], "nothing waits");
    mounted.unmount();
}

#[test]
fn forgets_are_sent_when_a_message_is_full() {
    let (mounted, requests) = mount_files(1);
    for _ in 0..3 * BATCH + 5 {
        mounted.fs.metadata("0").unwrap();
    }
    assert_eq!(forgets(&mounted), [0, 3]);
    assert!(of_kind(&requests, opcode::BATCH_FORGET).iter().all(|batch| u32_at(batch, 40) as usize == BATCH));
    assert_eq!(mounted.server(|server| server.nlookup(server.nodeid("0").unwrap())), 5);
    let channel = mounted.channel.clone();
    mounted.unmount();
    let server = channel.server();
    let server = server.lock();
    assert_eq!(server.opcodes()[server.opcodes().len() - 2..], [opcode::BATCH_FORGET, opcode::DESTROY]);
}

#[test]
fn a_listing_of_1000_entries_is_forgotten_in_few_messages() {
    let (mounted, _) = mount_files(1000);
    assert_eq!(mounted.fs.read_dir("/").unwrap().filter(Result::is_ok).count(), 1000);
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.known_nodes()), 0);
    assert!(forgets(&mounted)[1] <= 1000_usize.div_ceil(BATCH));
    mounted.unmount();
}

#[test]
fn the_root_is_never_forgotten() {
    let (mounted, _) = mount_files(0);
    for _ in 0..2 * BATCH {
        drop(mounted.fs.node("/").unwrap());
        mounted.session().forget(NodeId::ROOT, 1);
    }
    mounted.session().forget(NodeId(77), 0);
    mounted.fs.maintain();
    assert_eq!(forgets(&mounted), [0, 0]);
    mounted.unmount();
}

#[test]
fn an_inode_that_is_still_in_use_is_not_forgotten() {
    let (mounted, _) = mount_files(2);
    let node = mounted.fs.node("0").unwrap();
    let clone = node.clone();
    let file = node.open(OpenFlags::READ_ONLY).unwrap();
    drop(node);
    drop(file);
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.nlookup(clone.nodeid())), 1);
    clone.getattr().unwrap();
    // Another lookup of the same inode is another count; all are taken back together.
    let again = mounted.fs.node("0").unwrap();
    assert_eq!(again.nodeid(), clone.nodeid());
    drop(clone);
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.nlookup(again.nodeid())), 2);
    again.getattr().unwrap();
    drop(again);
    mounted.unmount();
}

#[test]
fn unmount_with_live_nodes_is_busy_and_the_session_ends_with_the_last_of_them() {
    let (mounted, _) = mount_files(2);
    let Mounted { fs, channel } = mounted;
    let other = fs.clone();
    let node = fs.node("0").unwrap();
    let file = fs.open("1").unwrap();
    let dir = fs.root().opendir().unwrap();
    for fs in [fs, other] {
        assert_eq!(fs.unmount(), Err(Error::Invalid(Errno::EBUSY)));
    }
    assert_eq!(channel.server().lock().count(opcode::DESTROY), 0);
    node.getattr().unwrap();
    drop(node);
    file.metadata().unwrap();
    drop(dir);
    assert!(!channel.is_reset());
    drop(file);
    assert_ended_well(&channel);
    assert_eq!(channel.server().lock().count(opcode::DESTROY), 1);
}

#[test]
fn nothing_is_sent_after_destroy() {
    let (mounted, _) = mount_files(1);
    let root = mounted.fs.root().clone();
    let node = mounted.fs.node("0").unwrap();
    let file = mounted.fs.open("0").unwrap();
    let session = mounted.session();
    session.end().unwrap();
    session.end().unwrap();
    let (_, sent) = mounted.sent_by(|| {
        assert!(matches!(node.getattr(), Err(Error::Device(_))));
        assert!(matches!(root.lookup("0"), Err(Error::Device(_))));
        session.forget(NodeId(2), 1);
        session.flush_forgets();
        drop((root, node, file));
    });
    assert_eq!(sent, [0; 0]);
    let Mounted { fs, channel } = mounted;
    fs.unmount().unwrap();
    let server = channel.server();
    assert_eq!(server.lock().count(opcode::DESTROY), 1);
    assert_eq!(server.lock().opcodes().last(), Some(&opcode::DESTROY));
}

#[test]
fn a_device_that_fails_leaves_nothing_to_wait_for() {
    for carried in 0..10 {
        let (mounted, _) = mount_files(3);
        mounted.channel.fail_after(carried);
        let mut errors = 0;
        for name in ["0", "1", "2"] {
            errors += usize::from(mounted.fs.read(name).is_err());
        }
        assert!(errors > 0, "{carried} requests were carried");
        mounted.fs.maintain();
        assert!(matches!(mounted.fs.unmount(), Err(Error::Device(_))));
    }
}

#[test]
fn what_was_removed_makes_room_before_there_is_no_space() {
    let (mounted, _) = record(FakeChannel::new(FakeServer::new()), &crate::test_utils::uncached());
    mounted.server(|server| server.options.space_bytes = 8 * 4096);
    let content = [7; 8 * 4096];
    for name in ["a", "b", "c"] {
        mounted.fs.write(name, content).unwrap();
        mounted.fs.remove_file(name).unwrap();
    }
    assert_eq!(forgets(&mounted), [2, 0], "only when it was needed");
    mounted.fs.write("d", content).unwrap();
    assert_eq!(mounted.fs.write("e", "x"), Err(Error::Refused(Errno::ENOSPC)));
    let before = mounted.count(opcode::WRITE);
    assert_eq!(mounted.fs.write("e", "x"), Err(Error::Refused(Errno::ENOSPC)));
    assert_eq!(mounted.count(opcode::WRITE) - before, 2, "the inode of the last attempt was forgotten in between");
    mounted.unmount();
}
