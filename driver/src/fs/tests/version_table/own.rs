//! What own changes leave as it was is not asked for again; but if somebody else changed something meanwhile, it is.

use super::*;

#[test]
fn what_a_change_determines_is_known_after_it() {
    let mounted = mount();
    mounted.walk();
    mounted.fs.create_dir("d/new").unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.exists("d/new").unwrap()), (true, vec![]));
    mounted.fs.rename("d/new", "d/e/old").unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.exists("d/new").unwrap()), (false, vec![]));
    assert_eq!(mounted.sent_by(|| mounted.fs.node("d/e/old").is_ok()), (true, vec![]));
    mounted.fs.remove_dir("d/e/old").unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.exists("d/e/old").unwrap()), (false, vec![]));
    mounted.fs.set_permissions("d/g", 0o640).unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.metadata("d/g").unwrap().permissions()), (0o640, vec![]));
    mounted.fs.hard_link("d/g", "d/linked").unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.metadata("d/linked").unwrap().attr().nlink), (2, vec![]));
    mounted.unmount();
}

#[test]
fn making_files_asks_for_the_directory_once() {
    let mounted = mount_for_somebody();
    mounted.fs.write("d/0", b"first").unwrap();
    for at in 1..5 {
        let sent = mounted.sends(|fs| fs.create(format!("d/{at}"))?.close());
        assert_eq!(sent, [opcode::LOOKUP, opcode::CREATE, opcode::RELEASE]);
    }
    // Somebody else forbids it.
    mounted.server(|server| server.attr_mut("d").permissions = 0o555);
    assert_eq!(mounted.fs.create("d/5").unwrap_err().errno(), Errno::EACCES);
    mounted.unmount();
}

#[test]
fn writing_to_a_file_leaves_its_mode_known() {
    let mounted = mount_for_somebody();
    let write = |fs: &VirtioFs| OpenOptions::new().append(true).open(fs, "d/g")?.write_all(b"more");
    mounted.sends(write);
    assert_eq!(mounted.sends(write), [opcode::OPEN, opcode::WRITE, opcode::FLUSH, opcode::RELEASE]);
    // Somebody else forbids it.
    mounted.server(|server| server.attr_mut("d/g").permissions = 0o444);
    assert_eq!(write(&mounted.fs).unwrap_err().errno(), Errno::EACCES);
    mounted.unmount();
}

#[test]
fn what_was_written_need_not_be_read() {
    for (writeback, bytes) in [(false, 5), (false, 200_000), (true, 5), (true, 200_000)] {
        let cache = CacheOptions { writeback, ..CacheOptions::default() };
        let mounted = mount_with(MountOptions { cache, ..MountOptions::default() }, |server| {
            server.options.max_write_bytes = 64 << 10;
            server.options.max_pages = 16;
            server.add_version_table(LOG2_SLOTS).file("large", vec![1; 300_000]);
        });
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "large").unwrap();
        let mut content = vec![0; 300_000];
        assert_eq!(file.read_at(0, &mut content), Ok(300_000));
        file.write_all_at(1000, &vec![2; bytes]).unwrap();
        file.sync_all().unwrap();
        content[1000..1000 + bytes].fill(2);
        let mut again = vec![0; 300_000];
        let (read, sent) = mounted.sent_by(|| file.read_at(0, &mut again));
        assert_eq!((read, sent), (Ok(300_000), vec![]), "{writeback} {bytes}");
        assert!(again == content);
        drop(file);
        mounted.unmount();
    }
}

/// Somebody else changes something between a request's number and its reply.
fn interleaved(late: u32, ask: impl Fn(&VirtioFs) + Send + Sync) -> Mounted {
    let mounted = mount();
    mounted.walk();
    mounted.overtake(
        late,
        |fs| ask(fs),
        |_| {
            mounted.server(|server| server.attr_mut("d/e").uid += 1);
        },
    );
    mounted
}

#[test]
fn after_a_change_next_to_that_of_somebody_else_everything_is_asked_for_again() {
    let mounted = interleaved(opcode::SETATTR, |fs| fs.set_permissions("d/g", 0o600).unwrap());
    assert_eq!(mounted.stats("d/g"), [opcode::GETATTR]);
    mounted.unmount();

    let mounted = interleaved(opcode::MKDIR, |fs| fs.create_dir("d/new").unwrap());
    assert_eq!(mounted.sends(|fs| fs.exists("d/new")), [opcode::LOOKUP]);
    mounted.unmount();

    let mounted = interleaved(opcode::RENAME, |fs| fs.rename("d/g", "d/h").unwrap());
    assert_eq!(mounted.sends(|fs| fs.exists("d/g")), [opcode::LOOKUP]);
    assert_eq!(mounted.sends(|fs| fs.exists("d/h")), [opcode::LOOKUP]);
    mounted.unmount();

    let mounted = interleaved(opcode::WRITE, |fs| {
        let file = OpenOptions::new().read(true).write(true).open(fs, "d/e/f").unwrap();
        file.write_all_at(0, b"C").unwrap();
    });
    assert_eq!(mounted.reads("d/e/f").0, b"Content");
    mounted.unmount();
}

#[test]
fn a_change_that_somebody_else_has_counted_and_not_settled_is_not_taken_for_settled() {
    let mounted = mount();
    mounted.walk();
    let words = mounted.server(|server| server.version_table_words());
    // Another server has its number and has yet to raise its slots.
    words[8].fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    mounted.fs.set_permissions("d/g", 0o600).unwrap();
    assert_eq!(mounted.stats("d/g"), [opcode::GETATTR]);
    mounted.unmount();
}

#[test]
fn after_an_error_nothing_is_believed_that_the_request_was_about() {
    let mounted = mount();
    mounted.walk();
    mounted.server(|server| {
        server.fault(opcode::SETATTR, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.set_permissions("d/g", 0o600).unwrap_err().errno(), Errno::EIO);
    assert_eq!(mounted.stats("d/g"), [opcode::GETATTR]);
    mounted.server(|server| {
        server.fault(opcode::WRITE, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(mounted.fs.write("d/e/f", b"new").unwrap_err().errno(), Errno::EIO);
    assert_eq!(mounted.fs.read("d/e/f").unwrap(), b"");
    mounted.unmount();
}

#[test]
fn exchanged_names_lead_to_each_other() {
    let mounted = mount();
    mounted.walk();
    mounted.fs.rename_with("d/g", "d/e", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(mounted.fs.read("d/e").unwrap(), b"other");
    assert_eq!(mounted.fs.read("d/g/f").unwrap(), b"content");
    mounted.unmount();
}

#[test]
fn a_reply_that_is_overtaken_by_a_newer_one_is_not_believed() {
    let mounted = mount();
    mounted.walk();
    mounted.server(|server| server.attr_mut("d/g").uid = 1);
    let old = |fs: &VirtioFs| fs.symlink_metadata("d/g").map(|_| ());
    let asked = mounted.overtake(opcode::GETATTR, old, |fs| {
        mounted.server(|server| server.attr_mut("d/g").uid = 2);
        assert_eq!(fs.symlink_metadata("d/g").unwrap().attr().uid, 2);
    });
    asked.unwrap();
    assert_eq!(mounted.sent_by(|| mounted.fs.symlink_metadata("d/g").unwrap().attr().uid), (2, vec![]));
    mounted.unmount();
}

#[test]
fn a_write_whose_reply_comes_late_does_not_undo_what_others_wrote_and_somebody_has_read_since() {
    let mounted = mount();
    mounted.walk();
    let write = |fs: &VirtioFs| {
        let file = OpenOptions::new().read(true).write(true).open(fs, "d/e/f").unwrap();
        file.write_all_at(0, b"my own!").unwrap();
    };
    mounted.overtake(opcode::WRITE, write, |fs| {
        mounted.server(|server| {
            server.file("d/e/f", b"theirs!");
        });
        assert_eq!(fs.read("d/e/f").unwrap(), b"theirs!");
    });
    assert_eq!(mounted.fs.read("d/e/f").unwrap(), b"theirs!");
    mounted.unmount();
}
