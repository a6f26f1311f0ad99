//! Locks that a server keeps: POSIX record locks and `flock`, against a virtiofsd that has them. The last one in C does,
//! with the options `flock` and `posix_lock`; those in Rust do not.
//!
//! Only with the feature `locks`.

use std::fs;
use virtio_fs::vnode::{OpenFile, Wait};
use virtio_fs::{Errno, InitFlags, Lock, LockKind, LockOwner, OpenFlags, VirtioFs};
use virtio_fs_conformance::{Folder, mount_options};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const A: LockOwner = LockOwner(1);
const B: LockOwner = LockOwner(2);

fn mount(folder: &Folder) -> (Daemon, VirtioFs) {
    let arguments = ["--flock", "--posix-lock"].map(Into::into).to_vec();
    let options = DaemonOptions { arguments, ..DaemonOptions::default() };
    let daemon = Daemon::start(folder.path(), &options).unwrap_or_else(|error| panic!("{error}"));
    let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
    let vfs = VirtioFs::mount::<GuestHal>(transport, platform, &mount_options()).expect("a mount");
    let flags = vfs.negotiated().flags;
    assert!(
        flags.contains(InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS),
        "this virtiofsd keeps no locks: {flags:?}"
    );
    (daemon, vfs)
}

fn open(vfs: &VirtioFs) -> OpenFile {
    vfs.node("f").unwrap().open(OpenFlags::READ_WRITE).unwrap()
}

fn range(kind: LockKind, start: u64, end: u64) -> Lock {
    Lock { kind, start, end, pid: 7 }
}

#[test]
fn record_locks_keep_others_out_of_their_range() {
    let folder = Folder::new();
    fs::write(folder.path().join("f"), "content").unwrap();
    let (_daemon, vfs) = mount(&folder);
    let file = open(&vfs);
    let set = |owner, kind, start, end| file.setlk(owner, &range(kind, start, end), Wait::No);
    set(A, LockKind::Write, 10, 19).unwrap();
    assert_eq!(set(B, LockKind::Write, 19, 30).map_err(|error| error.errno()), Err(Errno::EAGAIN));
    assert_eq!(set(B, LockKind::Read, 0, 10).map_err(|error| error.errno()), Err(Errno::EAGAIN));
    set(B, LockKind::Write, 20, 30).unwrap();
    let in_the_way = file.getlk(B, &range(LockKind::Read, 0, Lock::TO_THE_END)).unwrap().expect("a lock of A");
    assert_eq!((in_the_way.kind, in_the_way.start, in_the_way.end), (LockKind::Write, 10, 19));
    assert_eq!(file.getlk(A, &range(LockKind::Write, 0, 9)).unwrap(), None);

    set(A, LockKind::Unlock, 15, 19).unwrap();
    set(B, LockKind::Read, 15, 19).unwrap();
    // Whoever closes a descriptor gives up all locks.
    file.flush(A).unwrap();
    set(B, LockKind::Write, 0, 30).unwrap();
    file.close().unwrap();
    vfs.unmount().unwrap();
}

#[test]
fn flock_locks_belong_to_open_files() {
    let folder = Folder::new();
    fs::write(folder.path().join("f"), "content").unwrap();
    let (_daemon, vfs) = mount(&folder);
    let (one, other) = (vfs.open("f").unwrap(), vfs.open("f").unwrap());
    one.try_lock_shared().unwrap();
    other.try_lock_shared().unwrap();
    assert_eq!(one.try_lock().map_err(|error| error.errno()), Err(Errno::EAGAIN));
    other.unlock().unwrap();
    one.try_lock().unwrap();
    assert_eq!(other.try_lock_shared().map_err(|error| error.errno()), Err(Errno::EAGAIN));
    one.close().unwrap();
    other.try_lock().unwrap();
    drop(other);
    vfs.unmount().unwrap();
}

/// It keeps locks, but lets nobody wait in its threads: not even for what is free.
#[test]
fn this_virtiofsd_says_that_it_waits_for_no_lock() {
    let folder = Folder::new();
    fs::write(folder.path().join("f"), "content").unwrap();
    let (_daemon, vfs) = mount(&folder);
    let (handle, file) = (vfs.open("f").unwrap(), open(&vfs));
    let set = |kind| file.setlk(A, &range(kind, 0, 9), Wait::Yes);
    for waited in [handle.lock(), handle.lock_shared(), set(LockKind::Read), set(LockKind::Write)] {
        assert_eq!(waited.map_err(|error| error.errno()), Err(Errno::EOPNOTSUPP));
    }
    // To give up needs no waiting.
    set(LockKind::Unlock).unwrap();
    handle.unlock().unwrap();
    handle.try_lock().unwrap();
    file.close().unwrap();
    handle.close().unwrap();
    vfs.unmount().unwrap();
}
