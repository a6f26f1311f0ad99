//! The inode-level API over the fake server.

mod dir;
mod node;
mod open;

use super::{Dir, Node, OpenFile, OpenFlags};
use crate::test_utils::{FakeServer, Fault, Mounted, opcode};
use crate::wire::FileType;
use crate::{Errno, Error};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A mount with one of each.
fn mount() -> Mounted {
    Mounted::new(one_of_each)
}

fn one_of_each(server: &mut FakeServer) {
    server.dir("d/empty").file("d/f", "content").symlink("l", "d/f");
    for (name, file_type) in SPECIAL {
        server.special(name, file_type);
    }
}

const SPECIAL: [(&str, FileType); 4] = [
    ("fifo", FileType::Fifo),
    ("socket", FileType::Socket),
    ("char", FileType::CharDevice),
    ("block", FileType::BlockDevice),
];

#[test]
fn everything_may_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_cloned<T: Clone>() {}
    is_shared::<Node>();
    is_shared::<OpenFile>();
    is_shared::<Dir>();
    is_shared::<Error>();
    is_cloned::<Node>();
}

#[test]
fn threads_look_up_read_and_list_at_the_same_time() {
    let mounted = mount();
    let root = mounted.fs.root().clone();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let (d, _) = root.lookup("d").unwrap();
                    let file = d.lookup("f").unwrap().0.open(OpenFlags::READ_ONLY).unwrap();
                    let mut content = [0; 10];
                    assert_eq!(file.read_at(0, &mut content), Ok(7));
                    let mut dir = d.opendir().unwrap();
                    while dir.next_entry().unwrap().is_some() {}
                }
            });
        }
    });
    drop(root);
    mounted.unmount();
}
