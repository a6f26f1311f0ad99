//! Threads that are somebody else, or that have mounts of their own: Linux keeps credentials, root directory, umask and
//! mount namespace for each thread.

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chroot, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use std::path::Path;
use virtio_fs::Credentials;

/// On whose behalf a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// Further groups.
    pub groups: &'static [u32],
    /// Permission bits that new inodes do not get.
    pub umask: u16,
}

/// User 0, without umask.
pub const ROOT: User = User { uid: 0, gid: 0, groups: &[], umask: 0 };
/// Who owns most things in the tests.
pub const OWNER: User = User { uid: 1000, gid: 1000, groups: &[], umask: 0 };
/// Who is in the owner's group, besides one of their own.
pub const MEMBER: User = User { uid: 1001, gid: 1001, groups: &[1000, 2000], umask: 0 };
/// Who has nothing in common with the owner.
pub const STRANGER: User = User { uid: 1002, gid: 1002, groups: &[], umask: 0 };

impl User {
    /// The same user with another umask.
    pub const fn with_umask(self, umask: u16) -> Self {
        Self { umask, ..self }
    }

    /// What the driver is told.
    pub fn credentials(&self) -> Credentials {
        let &Self { uid, gid, groups, umask } = self;
        Credentials { uid, gid, groups: groups.to_vec(), umask, ..Credentials::default() }
    }
}

/// # Panics
///
/// If this is not root, who alone can do system calls as somebody else.
pub fn expect_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests run as root only: they compare the driver with system calls of several users"
    );
}

/// What `work` gives in a thread of its own whose root directory is `root`, as `user`, who keeps these capabilities.
/// Open files are shared.
pub fn as_user<R: Send>(root: &Path, user: &User, kept: CapabilitySet, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(UnshareFlags::FS);
            chroot(root).expect("another root directory");
            rustix::process::chdir("/").expect("the root directory");
            umask(u32::from(user.umask).into());
            let groups: Vec<_> = user.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
            set_thread_groups(&groups).expect("other groups");
            let (gid, uid) = (Gid::from_raw(user.gid), Uid::from_raw(user.uid));
            set_thread_res_gid(gid, gid, gid).expect("another group");
            if kept.is_empty() {
                set_thread_res_uid(uid, uid, uid).expect("another user");
            } else {
                set_keep_capabilities(true).expect("capabilities that stay");
                set_thread_res_uid(uid, uid, uid).expect("another user");
                let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
                set_capabilities(None, sets).expect("fewer capabilities");
            }
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives this thread a mount namespace of its own, which the threads and processes that it starts share: what is
/// mounted there goes away with them.
pub fn private_mounts() {
    expect_root();
    unshare(UnshareFlags::FS | UnshareFlags::NEWNS);
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("mounts of its own");
}

fn unshare(flags: UnshareFlags) {
    // SAFETY: the descriptor table stays shared, which is what could make descriptors of others meaningless.
    unsafe { rustix::thread::unshare_unsafe(flags) }.expect("root can have namespaces of its own");
}
