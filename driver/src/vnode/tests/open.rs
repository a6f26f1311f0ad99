//! Open files.

use super::*;
use crate::{CacheOptions, LockOwner};

#[test]
fn only_regular_files_are_opened_and_nothing_else_is_asked_of_the_server() {
    let mounted = mount();
    let root = mounted.fs.root();
    let kinds = [("d", Errno::EISDIR), ("l", Errno::ELOOP)];
    for (name, errno) in kinds.into_iter().chain(SPECIAL.map(|(name, _)| (name, Errno::EOPNOTSUPP))) {
        let (node, _) = root.lookup(name).unwrap();
        let (result, sent) = mounted.sent_by(|| node.open(OpenFlags::READ_ONLY));
        assert_eq!(result.err(), Some(Error::Invalid(errno)), "{name}");
        assert_eq!(sent, [0; 0]);
    }
    mounted.unmount();
}

#[test]
fn a_file_is_opened_read_and_closed() {
    let mounted = mount();
    let (d, _) = mounted.fs.root().lookup("d").unwrap();
    let (f, attr) = d.lookup("f").unwrap();
    let (_, sent) = mounted.sent_by(|| {
        let file = f.open(OpenFlags::READ_ONLY).unwrap();
        assert_eq!(file.node().nodeid(), f.nodeid());
        let mut buffer = [0; 4];
        assert_eq!((file.read_at(3, &mut buffer), &buffer), (Ok(4), b"tent"));
        assert_eq!(file.getattr(), Ok(attr));
    });
    assert_eq!(sent, [opcode::OPEN, opcode::READ, opcode::GETATTR, opcode::RELEASE]);
    drop((d, f));
    mounted.unmount();
}

#[test]
fn an_open_file_keeps_its_inode() {
    let mounted = mount();
    let file = mounted.fs.node("d/f").unwrap().open(OpenFlags::READ_ONLY).unwrap();
    mounted.fs.maintain();
    assert_eq!(mounted.server(|server| server.nlookup(file.node().nodeid())), 1);
    drop(file);
    let opcodes = mounted.server(|server| server.opcodes().to_vec());
    assert_eq!(opcodes.last(), Some(&opcode::RELEASE));
    mounted.unmount();
}

#[test]
fn a_server_without_open_is_asked_once_and_gets_no_release() {
    let mounted = mount();
    mounted.server(|server| server.options.open = false);
    let node = mounted.fs.node("d/f").unwrap();
    let (_, sent) = mounted.sent_by(|| {
        for _ in 0..3 {
            let file = node.open(OpenFlags::READ_ONLY).unwrap();
            assert_eq!(file.read_at(0, &mut [0; 10]), Ok(7));
            file.getattr().unwrap();
        }
    });
    let [read, getattr] = [opcode::READ, opcode::GETATTR];
    assert_eq!(sent, [opcode::OPEN, read, getattr, read, getattr, read, getattr]);
    drop(node);
    mounted.unmount();
}

#[test]
fn a_server_without_opendir_is_asked_once_and_gets_no_releasedir() {
    let mounted = mount();
    mounted.server(|server| server.options.opendir = false);
    let (_, sent) = mounted.sent_by(|| {
        for _ in 0..3 {
            let mut dir = mounted.fs.root().opendir().unwrap();
            while dir.next_entry().unwrap().is_some() {}
        }
    });
    let opened = sent.iter().filter(|&&one| one == opcode::OPENDIR).count();
    assert_eq!((opened, mounted.count(opcode::RELEASEDIR)), (1, 0));
    let file = mounted.fs.open("d/f").unwrap();
    assert_eq!(mounted.count(opcode::OPEN), 1, "files are opened all the same");
    drop(file);
    assert_eq!(mounted.count(opcode::RELEASE), 1);
    mounted.unmount();
}

#[test]
fn a_file_that_cannot_be_opened_is_not_closed() {
    let mounted = mount();
    mounted.server(|server| {
        server.fault(opcode::OPEN, 0, Fault::Refuse(Errno::EACCES));
        server.fault(opcode::OPENDIR, 0, Fault::Refuse(Errno::EMFILE));
    });
    assert_eq!(mounted.fs.node("d/f").unwrap().open(OpenFlags::READ_ONLY).err(), Some(Error::Refused(Errno::EACCES)));
    assert_eq!(mounted.fs.root().opendir().err(), Some(Error::Refused(Errno::EMFILE)));
    assert_eq!([opcode::RELEASE, opcode::RELEASEDIR].map(|opcode| mounted.count(opcode)), [0, 0]);
    mounted.fs.node("d/f").unwrap().open(OpenFlags::READ_ONLY).unwrap();
    mounted.unmount();
}

#[test]
fn an_error_at_close_does_not_end_the_session() {
    let mounted = mount();
    mounted.server(|server| {
        // The server closes it and says EIO; a body where none belongs would end the session.
        server.tamper(|opcode, reply| {
            if opcode == opcode::RELEASE {
                reply[4..8].copy_from_slice(&(-5_i32).to_ne_bytes());
            }
        });
    });
    drop(mounted.fs.open("d/f").unwrap());
    assert_eq!(mounted.fs.read("d/f").unwrap(), b"content");
    mounted.unmount();
}

#[test]
fn a_file_counts_as_dirty_from_before_somebody_writes_into_its_pages_and_is_closed_afterwards() {
    let mut server = FakeServer::new();
    server.file("f", "content");
    let cache = CacheOptions { writeback: true, ..CacheOptions::default() };
    let mounted = mount_with(server, &MountOptions { cache, ..MountOptions::default() });
    let file = mounted.fs.node("f").unwrap().open(OpenFlags::READ_WRITE).unwrap();
    let (dirty, handle) = (&mounted.fs.root().superblock().dirty, file.handle().unwrap());
    // As while another thread writes.
    let dirtying = dirty.begin(&handle);
    file.write_at(0, b"C").unwrap();
    file.flush(LockOwner(1)).unwrap();
    assert!(dirty.get(file.node()).is_some(), "whose next page may be dirty at any moment");
    drop(dirtying);
    assert!(dirty.get(file.node()).is_none());
    drop(handle);
    file.close().unwrap();
    assert_eq!(mounted.server(|server| server.open_handles()), 0);
    mounted.unmount();
}
