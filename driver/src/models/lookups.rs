//! Lookups are counted as the server counts them, and taken back once.

use super::{check, number_below, one_of, wire};
use crate::cache::Inode;
use crate::session::Credentials;
use crate::test_utils::Mounted;
use crate::wire::{LookedUp, Lookup, Name, NodeId};
use crate::{CacheMode, CacheOptions, Error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use shuttle::thread;
use spin::Mutex;

/// Inodes that threads hold.
#[derive(Default)]
struct Held(Mutex<Vec<(NodeId, usize)>>);

impl Held {
    /// What everybody who holds an inode counts on: it is the only one of its nodeid, and the server knows it.
    fn look_at(&self, mounted: &Mounted, inode: &Arc<Inode>) {
        let own = (inode.nodeid, Arc::as_ptr(inode).addr());
        let others = self.0.lock().iter().filter(|other| other.0 == own.0 && **other != own).count();
        assert_eq!(others, 0, "{:?} is two inodes", own.0);
        assert_ne!(mounted.server(|server| server.nlookup(own.0)), 0, "{:?} was forgotten", own.0);
    }

    /// Holds an inode for a while, in which other threads go on.
    fn hold(&self, mounted: &Mounted, inode: Arc<Inode>) {
        let own = (inode.nodeid, Arc::as_ptr(&inode).addr());
        if own.0 == NodeId::ROOT {
            return;
        }
        self.look_at(mounted, &inode);
        self.0.lock().push(own);
        // Steps of the session and of the inode.
        mounted.fs.maintain();
        let _ = inode.attr(mounted.fs.root().cache().now());
        self.look_at(mounted, &inode);
        let mut held = self.0.lock();
        let at = held.iter().position(|other| *other == own).unwrap();
        held.swap_remove(at);
        drop(held);
        drop(inode);
    }
}

/// Asks the server for a name, and remembers the inode, but not the name.
fn ask(mounted: &Mounted, name: &str) -> Result<Arc<Inode>, Error> {
    let (cache, root) = (mounted.fs.root().cache(), mounted.fs.root().inode());
    let stamp = cache.stamp();
    let lookup = Lookup { name: Name::new(name.as_bytes()).unwrap() };
    match mounted.session().call(&Credentials::DRIVER, NodeId::ROOT, &lookup)? {
        LookedUp::Found(entry) => Ok(cache.inode(root, &entry, &stamp)?.0),
        LookedUp::Absent { .. } => panic!("{name} is there"),
    }
}

fn turns(mounted: &Mounted, held: &Held, names: &[&str]) {
    for _ in 0..4 {
        let name = one_of(names);
        match number_below(6) {
            0 => held.hold(mounted, ask(mounted, name).unwrap()),
            1 => {
                let both = [ask(mounted, name).unwrap(), ask(mounted, one_of(names)).unwrap()];
                both.into_iter().for_each(|inode| held.hold(mounted, inode));
            }
            2 | 3 => held.hold(mounted, mounted.fs.node(name).unwrap().inode().clone()),
            4 => mounted.fs.root().cache().drop_names(),
            _ => {
                let mut listing = mounted.fs.root().opendir().unwrap();
                // The rest is given back unread.
                for _ in 0..number_below(6) {
                    let Some(mut entry) = listing.next_entry().unwrap() else { break };
                    if let Some((node, _)) = entry.take_node() {
                        held.hold(mounted, node.inode().clone());
                    }
                }
            }
        }
    }
}

fn share(names: &[&'static str], max_entries: usize) {
    let cache = CacheOptions { mode: CacheMode::Always, max_entries, ..CacheOptions::default() };
    let mounted = wire::mount(
        cache,
        |server| {
            server.file("a", "").hard_link("a", "b").file("c", "").dir("d");
        },
        |_| {},
    );
    let held = Held::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| turns(&mounted, &held, names));
        }
    });
    // As many lookups were taken back as were confirmed, and each once.
    mounted.unmount();
}

#[test]
fn lookups_of_one_inode_are_taken_back_as_often_as_they_were_confirmed() {
    check(1000, || share(&["a"], 100));
}

#[test]
fn lookups_of_several_inodes_are_taken_back_while_names_make_room_for_others() {
    check(1000, || share(&["a", "b", "c", "d"], 2));
}
