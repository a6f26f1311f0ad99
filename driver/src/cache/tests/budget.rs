//! How much is remembered, here and by the server.

use super::*;
use crate::virtio::fake::allocations;
use crate::wire::{Entry, FileType, NodeId};
use alloc::format;
use alloc::string::String;
use std::thread;

/// The most inodes that wait to be forgotten together.
const BATCH: usize = 256;

fn budget(max_entries: usize) -> CacheOptions {
    CacheOptions { max_entries, ..CacheOptions::default() }
}

/// Paths of many files, one hundred in each directory.
fn paths(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|at| format!("{}/{}", at / 100, at % 100))
}

fn with_files(options: CacheOptions, count: usize) -> Mounted {
    mount_with(options, |server| {
        paths(count).for_each(|path| {
            server.file(path, "");
        });
        long_lived(server);
    })
}

#[test]
fn what_makes_room_is_forgotten_by_the_server_too() {
    let mounted = with_files(budget(100), 10_000);
    let mut most = 0;
    for path in paths(10_000) {
        mounted.stat(&path);
        most = most.max(mounted.server(|server| server.known_nodes()));
        assert!(mounted.cache().names() <= 100);
    }
    assert!(most <= 100 + BATCH + 2, "{most}");
    mounted.fs.maintain();
    let known = mounted.server(|server| server.known_nodes());
    assert!((50..=100).contains(&known), "{known}");
    mounted.unmount();
}

#[test]
fn listings_do_not_exceed_the_budget() {
    let mounted = with_files(budget(100), 2_000);
    for directory in 0..20 {
        let listing = mounted.fs.read_dir(format!("{directory}")).unwrap();
        assert_eq!(listing.map(Result::unwrap).count(), 100);
        assert!(mounted.cache().names() <= 100);
    }
    mounted.fs.maintain();
    assert!(mounted.server(|server| server.known_nodes()) <= 100);
    mounted.unmount();
}

#[test]
fn names_that_lead_nowhere_take_part_in_the_budget() {
    let mounted = mount_with(budget(50), long_lived);
    for at in 0..500 {
        mounted.miss(&format!("none {at}"));
    }
    assert!((49..=50).contains(&mounted.cache().names()));
    mounted.unmount();
}

#[test]
fn without_a_budget_nothing_is_remembered() {
    let mounted = with_files(budget(0), 3);
    for _ in 0..2 {
        assert_eq!(mounted.stat("0/1"), [opcode::LOOKUP; 2]);
    }
    mounted.unmount();
}

#[test]
fn with_a_budget_of_one_deep_paths_are_followed() {
    let mounted = mount_with(budget(1), |server| {
        server.file("1/2/3/4/5/6/7/8", "");
    });
    for _ in 0..3 {
        mounted.fs.metadata("1/2/3/4/5/6/7/8").unwrap();
    }
    assert_eq!(mounted.cache().names(), 1);
    mounted.unmount();
}

#[test]
fn what_is_open_or_held_outlives_its_name_in_the_cache() {
    let mounted = with_files(budget(4), 200);
    let (file, node) = (mounted.fs.open("0/7").unwrap(), mounted.fs.node("0/8").unwrap());
    paths(200).for_each(|path| drop(mounted.stat(&path)));
    mounted.fs.maintain();
    assert!(mounted.server(|server| server.nlookup(node.nodeid())) >= 1);
    assert!(file.metadata().is_ok());
    // By its name it is found again, and is the same.
    let again = mounted.fs.node("0/8").unwrap();
    assert!(Arc::ptr_eq(again.inode(), node.inode()));
    drop((file, node, again));
    mounted.unmount();
}

#[test]
fn the_books_are_kept_whatever_the_budget() {
    for max_entries in [0, 1, 3, 20, 1000] {
        for mode in [CacheMode::None, CacheMode::Auto, CacheMode::Always] {
            let mounted = mount_with(CacheOptions { mode, ..budget(max_entries) }, |server| {
                (0..30).for_each(|at| {
                    server.file(format!("d/{at}"), "x");
                });
                (0..10).for_each(|at| {
                    server.hard_link(format!("d/{at}"), format!("d/hard {at}"));
                });
            });
            for round in 0..4 {
                let mut listing = mounted.fs.read_dir("d").unwrap();
                // Of some listings not all is read.
                listing.by_ref().take(10 + 10 * round).for_each(|entry| drop(entry.unwrap()));
                (0..30).for_each(|at| drop(mounted.stat(&format!("d/{at}"))));
                drop(listing);
                let nodes: Vec<_> = (0..10).map(|at| mounted.fs.node(format!("d/hard {at}")).unwrap()).collect();
                mounted.advance(SECOND);
                (0..30).for_each(|at| drop(mounted.fs.node(format!("d/{at}")).unwrap()));
                mounted.fs.write(format!("d/new {round}"), "").unwrap();
                mounted.fs.rename(format!("d/new {round}"), "d/1").unwrap();
                mounted.fs.remove_file("d/1").unwrap();
                mounted.fs.write("d/1", "").unwrap();
                drop(nodes);
            }
            mounted.unmount();
        }
    }
}

#[test]
fn each_lookup_is_counted_until_the_inode_is_forgotten() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("a", "").hard_link("a", "b");
    });
    let nodeid = mounted.fs.node("a").unwrap().nodeid();
    let nlookup = || mounted.server(|server| server.nlookup(nodeid));
    assert_eq!(nlookup(), 1);
    mounted.stat("b");
    assert_eq!(nlookup(), 2);
    mounted.advance(SECOND);
    mounted.stat("a");
    assert_eq!(nlookup(), 3);
    assert_eq!(mounted.fs.read_dir("/").unwrap().count(), 2);
    assert_eq!(nlookup(), 5);
    mounted.cache().drop_names();
    mounted.fs.maintain();
    assert_eq!(nlookup(), 0);
    mounted.unmount();
}

#[test]
fn generations_of_one_nodeid_are_counted_each_for_itself() {
    let mounted = mount(CacheMode::Auto, |server| {
        server.file("f", "");
    });
    let mut nodes = Vec::new();
    for generation in 0..5 {
        mounted.server(|server| {
            server.set_generation("f", generation);
        });
        mounted.advance(SECOND);
        nodes.push(mounted.fs.node("f").unwrap());
        mounted.advance(SECOND);
        nodes.push(mounted.fs.node("f").unwrap());
    }
    nodes.swap(0, 7);
    while let Some(node) = nodes.pop() {
        drop(node);
        mounted.fs.maintain();
        let left = mounted.server(|server| server.known_nodes());
        assert_eq!(left, 1);
    }
    mounted.unmount();
}

#[test]
fn threads_that_look_up_and_drop_together_leave_nothing() {
    for max_entries in [1, 8, 1000] {
        let mounted = mount_with(budget(max_entries), |server| {
            for at in 0..20 {
                server.file(format!("d/{at}"), "x");
            }
            server.options.entry_ttl = MILLISECOND;
        });
        thread::scope(|scope| {
            for thread in 0..4_usize {
                let mounted = &mounted;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..300_usize {
                        let name = (round * (thread + 1) + thread) % 20;
                        held.push(mounted.fs.node(format!("d/{name}")).unwrap());
                        match round % 7 {
                            0 => held.clear(),
                            1 => mounted.advance(MILLISECOND),
                            2 => drop(mounted.fs.read_dir("d").unwrap().take(5).count()),
                            3 => mounted.fs.write(format!("d/of {thread}"), "x").unwrap(),
                            4 => mounted.fs.rename(format!("d/of {thread}"), format!("d/to {thread}")).unwrap(),
                            5 => mounted.fs.remove_file(format!("d/to {thread}")).unwrap(),
                            _ => drop(mounted.fs.maintain()),
                        }
                    }
                });
            }
        });
        mounted.unmount();
    }
}

/// A name of 12 bytes.
fn name(at: u64) -> [u8; 12] {
    *format!("file {at:07}").as_bytes().first_chunk().unwrap()
}

/// How many bytes a name costs, and what it leads to, when there are many.
fn bytes_per_entry(target: impl Fn(&Arc<Cache>, &Arc<Inode>, u64) -> Dentry<Arc<Inode>>) -> usize {
    const ENTRIES: u64 = 10_000;
    let mounted = mount_with(budget(ENTRIES as usize), |_| {});
    let (cache, root) = (mounted.cache(), mounted.fs.root().inode());
    let stamp = cache.stamp();
    let bytes = allocations::bytes_kept(|| {
        for at in 0..ENTRIES {
            cache.learn_name(root, &name(at), target(cache, root, at), YEAR, &stamp);
        }
    });
    let remembered = cache.names();
    assert!(remembered > ENTRIES as usize * 9 / 10, "{remembered}");
    bytes as usize / remembered
}

#[test]
fn a_name_and_its_inode_cost_less_than_424_bytes() {
    let bytes = bytes_per_entry(|cache, root, at| {
        let attr = Attr { file_type: FileType::Regular, ..some_attr() };
        let ttl = YEAR;
        let entry = Entry { nodeid: NodeId(2 + at), generation: 0, entry_ttl: ttl, attr_ttl: ttl, attr: Ok(attr) };
        Dentry::Inode(cache.inode(root, &entry, &cache.stamp()).unwrap().0)
    });
    // 395 when this was written.
    assert!(bytes < 424, "{bytes}");
}

#[test]
fn a_name_that_leads_nowhere_costs_less_than_96_bytes() {
    let bytes = bytes_per_entry(|_, _, _| Dentry::Absent);
    // 86 when this was written.
    assert!(bytes < 96, "{bytes}");
}

fn some_attr() -> Attr {
    FakeServer::new().file("f", "").attr("f")
}
