//! Listings and targets of links that are kept.

use super::*;
use crate::CacheMode;
use core::time::Duration;

fn caching(mode: CacheMode, build: impl FnOnce(&mut FakeServer)) -> Mounted {
    let mut server = FakeServer::new();
    server.dir("d/e").file("d/f", "content").file("d/g", "content").symlink("l", "d/f");
    build(&mut server);
    Mounted::caching(FakeChannel::new(server), mode).unwrap()
}

/// The names of a directory in the server's order, `.` and `..` included, and where a listing goes on behind each.
fn names(dir: &mut Dir) -> Vec<(String, u64)> {
    let mut names = Vec::new();
    while let Some(entry) = dir.next_entry().unwrap() {
        names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.cookie));
    }
    names
}

#[test]
fn a_listing_is_read_once_if_nobody_else_changes_anything() {
    let mounted = caching(CacheMode::Always, |_| {});
    let node = mounted.fs.node("d").unwrap();
    let first = names(&mut node.opendir().unwrap());
    let (second, sent) = mounted.sent_by(|| names(&mut node.opendir().unwrap()));
    assert_eq!((second, sent), (first, vec![]));
    drop(node);
    mounted.unmount();
}

#[test]
fn a_change_of_a_name_makes_a_listing_unknown() {
    let mounted = caching(CacheMode::Always, |_| {});
    let node = mounted.fs.node("d").unwrap();
    names(&mut node.opendir().unwrap());
    for (change, count) in [("new", 6), ("removed", 5)] {
        match change {
            "new" => drop(node.mkdir("h", 0o755).unwrap()),
            _ => node.unlink("f").unwrap(),
        }
        let listed = names(&mut node.opendir().unwrap());
        assert_eq!(listed.len(), count, "{change}: {listed:?}");
    }
    drop(node);
    mounted.unmount();
}

#[test]
fn a_listing_that_was_not_read_to_its_end_or_met_a_change_is_not_kept() {
    let mounted = caching(CacheMode::Always, |_| {});
    let node = mounted.fs.node("d").unwrap();
    let mut dir = node.opendir().unwrap();
    assert!(dir.next_entry().unwrap().is_some());
    drop(dir);
    let mut dir = node.opendir().unwrap();
    assert!(dir.next_entry().unwrap().is_some());
    node.mkdir("h", 0o755).unwrap();
    names(&mut dir);
    drop(dir);
    let (listed, sent) = mounted.sent_by(|| names(&mut node.opendir().unwrap()));
    assert_eq!(listed.len(), 6);
    assert_eq!(sent[0], opcode::OPENDIR);
    drop(node);
    mounted.unmount();
}

#[test]
fn a_listing_that_is_kept_is_sought_in_and_synchronised() {
    let mounted = caching(CacheMode::Always, |_| {});
    let node = mounted.fs.node("d").unwrap();
    let all = names(&mut node.opendir().unwrap());
    let mut dir = node.opendir().unwrap();
    for (at, &(_, cookie)) in all.iter().enumerate() {
        dir.seek(cookie);
        assert_eq!(dir.position(), cookie);
        assert_eq!(names(&mut dir), all[at + 1..]);
    }
    dir.seek(0);
    assert_eq!(names(&mut dir), all);
    let (_, sent) = mounted.sent_by(|| dir.fsync(crate::vnode::Durability::All).unwrap());
    assert_eq!(sent, [opcode::OPENDIR, opcode::FSYNCDIR, opcode::RELEASEDIR]);
    drop((dir, node));
    mounted.unmount();
}

#[test]
fn a_server_that_allows_it_is_asked_whether_a_listing_is_still_true() {
    const CACHE_DIR: u32 = 1 << 3;
    for allowed in [true, false] {
        let mounted =
            caching(CacheMode::Auto, |server| server.options.opendir_flags = if allowed { CACHE_DIR } else { 0 });
        let node = mounted.fs.node("d").unwrap();
        names(&mut node.opendir().unwrap());
        let (_, sent) = mounted.sent_by(|| names(&mut node.opendir().unwrap()));
        let asked = if allowed { opcode::GETATTR } else { opcode::OPENDIR };
        assert_eq!((sent[0], sent.len() == 1), (asked, allowed), "{sent:?}");
        mounted.server(|server| {
            server.file("d/new", "");
            server.attr_mut("d").modified.seconds += 1;
        });
        assert_eq!(names(&mut node.opendir().unwrap()).len(), 6);
        drop(node);
        mounted.unmount();
    }
}

#[test]
fn the_listing_of_the_root_is_kept_too_and_costs_a_question_only_if_the_server_allows_that() {
    const CACHE_DIR: u32 = 1 << 3;
    for allowed in [true, false] {
        let mounted =
            caching(CacheMode::Auto, |server| server.options.opendir_flags = if allowed { CACHE_DIR } else { 0 });
        let root = mounted.fs.root();
        let (first, sent) = mounted.sent_by(|| names(&mut root.opendir().unwrap()));
        assert_eq!(sent.contains(&opcode::GETATTR), allowed, "{sent:?}");
        let (second, again) = mounted.sent_by(|| names(&mut root.opendir().unwrap()));
        assert_eq!(second, first);
        assert_eq!(again, if allowed { vec![opcode::GETATTR] } else { sent });
        mounted.server(|server| {
            server.file("new", "");
            server.attr_mut("").modified.seconds += 1;
        });
        assert_eq!(names(&mut root.opendir().unwrap()).len(), first.len() + 1);
        mounted.unmount();
    }
}

#[test]
fn a_listing_whose_attributes_are_not_told_is_read_and_not_kept() {
    const CACHE_DIR: u32 = 1 << 3;
    let mounted = caching(CacheMode::Auto, |server| server.options.opendir_flags = CACHE_DIR);
    let root = mounted.fs.root();
    mounted.server(|server| {
        server.fault(opcode::GETATTR, 0, Fault::Refuse(Errno::EIO));
    });
    let first = names(&mut root.opendir().unwrap());
    let (second, sent) = mounted.sent_by(|| names(&mut root.opendir().unwrap()));
    assert_eq!((second, sent[0]), (first, opcode::OPENDIR));
    mounted.unmount();
}

#[test]
fn a_target_is_read_again_when_what_is_known_of_the_link_is_old_and_it_has_changed() {
    for (mode, again) in
        [(CacheMode::None, vec![opcode::READLINK]), (CacheMode::Auto, vec![]), (CacheMode::Always, vec![])]
    {
        let mounted = caching(mode, |_| {});
        let (link, _) = mounted.fs.root().lookup("l").unwrap();
        assert_eq!(link.readlink().unwrap(), b"d/f");
        let (target, sent) = mounted.sent_by(|| link.readlink().unwrap());
        assert_eq!((target, sent), (b"d/f".to_vec(), again), "{mode:?}");
        drop(link);
        mounted.unmount();
    }
    let mounted = caching(CacheMode::Auto, |_| {});
    let (link, _) = mounted.fs.root().lookup("l").unwrap();
    link.readlink().unwrap();
    mounted.channel.advance(Duration::from_secs(2));
    let (_, sent) = mounted.sent_by(|| mounted.fs.metadata("l").unwrap());
    assert_eq!(sent, [opcode::LOOKUP, opcode::LOOKUP, opcode::LOOKUP], "the link is unchanged, and its target known");
    drop(link);
    mounted.unmount();
}

#[test]
fn a_listing_is_kept_also_where_attributes_are_believed_for_no_time() {
    const CACHE_DIR: u32 = 1 << 3;
    let mut server = FakeServer::new();
    server.dir("d/e").options.opendir_flags = CACHE_DIR;
    let cache = crate::CacheOptions { attr_timeout: Some(Duration::ZERO), ..Default::default() };
    let mounted = mount_with(server, &MountOptions { cache, ..MountOptions::default() });
    let node = mounted.fs.node("d").unwrap();
    let first = names(&mut node.opendir().unwrap());
    let (second, sent) = mounted.sent_by(|| names(&mut node.opendir().unwrap()));
    assert_eq!((second, sent), (first, vec![opcode::GETATTR]));
    mounted.server(|server| {
        server.file("d/new", "");
        server.attr_mut("d").modified.seconds += 1;
    });
    let (third, sent) = mounted.sent_by(|| names(&mut node.opendir().unwrap()));
    assert_eq!((third.len(), sent.iter().filter(|&&sent| sent == opcode::GETATTR).count()), (4, 1), "{sent:?}");
    drop(node);
    mounted.unmount();
}
