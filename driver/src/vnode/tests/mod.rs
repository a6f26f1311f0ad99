//! The inode-level API over the fake server.

mod acl;
mod adaptive;
mod credentials;
mod dir;
mod killing;
mod lock;
mod making;
mod node;
mod open;
mod permission;
mod read_only;
mod setattr;
mod submount;
mod unlinked;
mod whole;

use super::{Dir, Node, OpenFile, OpenFlags, Permissions};
use crate::test_utils::{self, FakeChannel, FakeServer, Fault, Mounted, opcode};
use crate::wire::FileType;
use crate::{Credentials, Errno, Error, MountOptions};
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

/// A mount of `server` with these options.
fn mount_with(server: FakeServer, options: &MountOptions) -> Mounted {
    let channel = FakeChannel::new(server);
    Mounted { fs: test_utils::mount(channel.clone(), options).unwrap(), channel }
}

/// The user of most tests: one with groups, who is not user 0.
fn user() -> Credentials {
    Credentials { uid: 1000, gid: 100, groups: vec![200, 300], pid: 42, ..Credentials::default() }
}

/// A mount on behalf of [`user`].
fn mount_as_user(server: FakeServer, permissions: Permissions) -> Mounted {
    mount_with(server, &MountOptions { credentials: user(), permissions, ..crate::test_utils::uncached() })
}

fn refused<T>(errno: Errno) -> Result<T, Error> {
    Err(Error::Refused(errno))
}

/// `FUSE_INIT` flags of the server, all others aside.
mod init {
    pub(super) const POSIX_LOCKS: u64 = 1 << 1;
    pub(super) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(super) const DONT_MASK: u64 = 1 << 6;
    pub(super) const FLOCK_LOCKS: u64 = 1 << 10;
    pub(super) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(super) const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub(super) const HANDLE_KILLPRIV: u64 = 1 << 19;
    pub(super) const POSIX_ACL: u64 = 1 << 20;
    pub(super) const SUBMOUNTS: u64 = 1 << 27;
    pub(super) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(super) const SETXATTR_EXT: u64 = 1 << 29;
    pub(super) const INIT_EXT: u64 = 1 << 30;
    pub(super) const SECURITY_CTX: u64 = 1 << 32;
    pub(super) const CREATE_SUPP_GROUP: u64 = 1 << 34;
}

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
