//! Lookups and open files are accounted for, whatever the server replies: [`Mounted::unmount`] asserts that every inode
//! is forgotten and every file is closed.

use super::*;
use crate::test_utils::{FakeServer, Fault};
use crate::vnode::{Node, OpenFile};
use crate::{Errno, FileType, LockOwner, OpenFlags};
use alloc::vec;

const CONTENT: &[u8] = b"0123456789";
/// Where the mode is in a reply that starts with an entry.
const MODE_AT: usize = 16 + 40 + 60;

fn mount() -> Mounted {
    Mounted::new(|server| {
        server.options.init_flags = u64::MAX;
        server.options.refused.clear();
        server.file("f", CONTENT).dir("d");
    })
}

/// Puts another mode into all replies to a kind of request.
fn tamper_mode(server: &mut FakeServer, opcode: u32, mode: u32) {
    server.tamper(move |one, reply| {
        if one == opcode && reply.len() > MODE_AT {
            reply[MODE_AT..MODE_AT + 4].copy_from_slice(&mode.to_ne_bytes());
        }
    });
}

type Make = fn(&Node) -> Result<(), Error>;

/// Everything that makes an inode.
const MAKERS: [(u32, Make); 6] = [
    (opcode::CREATE, |root| root.create("new", OpenFlags::WRITE_ONLY, 0o600).map(drop)),
    (opcode::TMPFILE, |root| root.tmpfile(OpenFlags::WRITE_ONLY, 0o600).map(drop)),
    (opcode::MKNOD, |root| root.mknod("new", FileType::Fifo, 0o600, 0).map(drop)),
    (opcode::MKDIR, |root| root.mkdir("new", 0o700).map(drop)),
    (opcode::SYMLINK, |root| root.symlink("new", b"f").map(drop)),
    (opcode::LINK, |root| root.lookup("f")?.0.link(root, "new").map(drop)),
];

#[test]
fn what_is_made_with_impossible_attributes_is_closed_and_forgotten() {
    for (opcode, make) in MAKERS {
        for mode in [0, 0o170_000, u32::MAX] {
            let mounted = mount();
            mounted.server(|server| tamper_mode(server, opcode, mode));
            let (made, sent) = mounted.sent_by(|| make(mounted.fs.root()));
            assert!(matches!(made, Err(Error::Protocol(_))), "{} {mode:o}: {made:?}", opcode::name(opcode));
            let releases = sent.iter().filter(|&&one| one == opcode::RELEASE).count();
            let is_opened = matches!(opcode, opcode::CREATE | opcode::TMPFILE);
            assert_eq!(releases, usize::from(is_opened), "{}", opcode::name(opcode));
            mounted.fs.maintain();
            assert_eq!(mounted.server(|server| (server.known_nodes(), server.open_handles())), (0, 0));
            mounted.unmount();
        }
    }
}

#[test]
fn what_is_made_is_known_until_it_is_dropped() {
    for (opcode, make) in MAKERS {
        let mounted = mount();
        make(mounted.fs.root()).unwrap();
        assert_eq!(mounted.count(opcode), 1);
        mounted.unmount();
    }
}

#[test]
fn what_is_refused_leaves_nothing_to_forget() {
    for (opcode, make) in MAKERS {
        let mounted = mount();
        mounted.server(|server| {
            server.fault(opcode, 0, Fault::Refuse(Errno::ENOSPC));
        });
        assert_eq!(make(mounted.fs.root()), Err(Error::Refused(Errno::ENOSPC)), "{}", opcode::name(opcode));
        mounted.unmount();
    }
}

#[test]
fn a_file_that_is_made_must_be_a_regular_file() {
    for opcode in [opcode::CREATE, opcode::TMPFILE] {
        for (mode, errno) in [
            (0o040_700, Errno::EISDIR),
            (0o120_777, Errno::ELOOP),
            (0o010_600, Errno::EOPNOTSUPP),
            (0o060_600, Errno::EOPNOTSUPP),
        ] {
            let mounted = mount();
            mounted.server(|server| tamper_mode(server, opcode, mode));
            let (_, make) = MAKERS.into_iter().find(|&(one, _)| one == opcode).unwrap();
            let (made, sent) = mounted.sent_by(|| make(mounted.fs.root()));
            assert_eq!(made, Err(Error::Refused(errno)));
            assert_eq!(sent, [opcode, opcode::RELEASE]);
            mounted.unmount();
        }
    }
}

fn open(mounted: &Mounted, flags: OpenFlags) -> OpenFile {
    mounted.fs.root().lookup("f").unwrap().0.open(flags).unwrap()
}

#[test]
fn a_file_is_released_once_however_it_is_closed() {
    let close: [fn(OpenFile); 2] = [|file| file.close().unwrap(), drop];
    for close in close {
        let mounted = mount();
        let file = open(&mounted, OpenFlags::READ_WRITE);
        file.read_at(0, &mut [0; 5]).unwrap();
        let (_, sent) = mounted.sent_by(|| close(file));
        assert_eq!(sent, [opcode::RELEASE], "nothing was written");
        let file = open(&mounted, OpenFlags::READ_WRITE);
        file.write_at(0, b"x").unwrap();
        let (_, sent) = mounted.sent_by(|| close(file));
        assert_eq!(sent, [opcode::FLUSH, opcode::RELEASE]);
        mounted.unmount();
    }
}

#[test]
fn what_was_flushed_is_not_flushed_again() {
    let mounted = mount();
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.write_at(0, b"x").unwrap();
    file.flush(LockOwner(1)).unwrap();
    let (_, sent) = mounted.sent_by(|| file.close().unwrap());
    assert_eq!(sent, [opcode::RELEASE]);
    mounted.unmount();
}

#[test]
fn all_that_changes_content_is_flushed() {
    let changes: [fn(&OpenFile); 3] = [
        |file| assert_eq!(file.write_at(3, b"x"), Ok(1)),
        |file| file.allocate(0, 100, crate::AllocateFlags::empty()).unwrap(),
        |file| assert_eq!(file.copy_range(0, file, 5, 5), Ok(5)),
    ];
    for change in changes {
        let mounted = mount();
        let file = open(&mounted, OpenFlags::READ_WRITE);
        change(&file);
        file.close().unwrap();
        assert_eq!(mounted.count(opcode::FLUSH), 1);
        mounted.unmount();
    }
}

#[test]
fn a_server_that_wants_no_flush_gets_none() {
    let mounted = mount();
    // FOPEN_NOFLUSH
    mounted.server(|server| server.options.fopen_flags = 1 << 5);
    let file = open(&mounted, OpenFlags::READ_WRITE);
    let (created, _) = mounted.fs.root().create("new", OpenFlags::READ_WRITE, 0o600).unwrap();
    for file in [file, created] {
        file.write_at(0, b"x").unwrap();
        file.flush(LockOwner(1)).unwrap();
        file.write_at(0, b"x").unwrap();
        file.close().unwrap();
    }
    assert_eq!((mounted.count(opcode::FLUSH), mounted.count(opcode::RELEASE)), (0, 2));
    mounted.unmount();
}

#[test]
fn close_tells_the_error_of_flush_and_closes_all_the_same() {
    let mounted = mount();
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.write_at(0, b"x").unwrap();
    mounted.server(|server| {
        server.fault(opcode::FLUSH, 0, Fault::Refuse(Errno::EDQUOT));
    });
    let (closed, sent) = mounted.sent_by(|| file.close());
    assert_eq!((closed, sent), (Err(Error::Refused(Errno::EDQUOT)), vec![opcode::FLUSH, opcode::RELEASE]));
    mounted.unmount();
}

/// Lets the server close what it is told to, and say EIO.
fn refuse_releases(mounted: &Mounted) {
    mounted.server(|server| {
        server.tamper(|opcode, reply| {
            if matches!(opcode, opcode::RELEASE | opcode::RELEASEDIR) {
                reply[4..8].copy_from_slice(&(-5_i32).to_ne_bytes());
            }
        });
    });
}

#[test]
fn what_the_server_says_of_release_is_not_waited_for() {
    let mounted = mount();
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.write_at(0, b"x").unwrap();
    refuse_releases(&mounted);
    assert_eq!(file.close(), Ok(()));
    assert_eq!(mounted.fs.root().opendir().unwrap().close(), Ok(()));
    assert_eq!((mounted.count(opcode::RELEASE), mounted.count(opcode::RELEASEDIR)), (1, 1));
    mounted.unmount();
}

#[test]
fn the_release_of_a_file_with_a_lock_is_waited_for() {
    let mounted = mount();
    let file = open(&mounted, OpenFlags::READ_ONLY);
    file.flock(crate::LockKind::Write, crate::vnode::Wait::No).unwrap();
    refuse_releases(&mounted);
    assert_eq!(file.close(), Err(Error::Refused(Errno::EIO)));
    mounted.unmount();
}

#[test]
fn of_two_errors_close_tells_that_of_flush() {
    let mounted = mount();
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.flock(crate::LockKind::Write, crate::vnode::Wait::No).unwrap();
    file.write_at(0, b"x").unwrap();
    mounted.server(|server| {
        server.fault(opcode::FLUSH, 0, Fault::Refuse(Errno::ENOSPC));
    });
    refuse_releases(&mounted);
    assert_eq!(file.close(), Err(Error::Refused(Errno::ENOSPC)));
    mounted.unmount();
}

#[test]
fn flush_and_release_name_the_owner_of_the_locks() {
    let mut server = FakeServer::new();
    server.options.init_flags = u64::MAX;
    server.file("f", CONTENT);
    let (mounted, requests) = record(FakeChannel::new(server), &crate::test_utils::uncached());
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.flush(LockOwner(7)).unwrap();
    file.close().unwrap();
    let file = open(&mounted, OpenFlags::READ_WRITE);
    file.flock(crate::LockKind::Write, crate::vnode::Wait::No).unwrap();
    file.close().unwrap();
    assert_eq!(u64_at(&of_kind(&requests, opcode::FLUSH)[0], 56), 7);
    let owner = u64_at(&of_kind(&requests, opcode::SETLK)[0], 48);
    let [without, with] = <[Vec<u8>; 2]>::try_from(of_kind(&requests, opcode::RELEASE)).unwrap();
    assert_eq!((u32_at(&without, 52), u64_at(&without, 56)), (0, 0));
    // FUSE_RELEASE_FLOCK_UNLOCK
    assert_eq!((u32_at(&with, 52), u64_at(&with, 56)), (2, owner));
    mounted.unmount();
}
