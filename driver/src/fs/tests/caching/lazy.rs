//! Files that the server opens when a request needs that.

use super::*;

fn user() -> Credentials {
    Credentials { uid: 1000, gid: 100, ..Credentials::default() }
}

#[test]
fn a_file_that_is_opened_and_closed_is_not_opened_at_the_server() {
    for (mode, asked) in [(CacheMode::Auto, vec![opcode::GETATTR]), (CacheMode::Always, vec![])] {
        let mounted = with_file(options(mode), 10);
        mounted.fs.metadata("f").unwrap();
        assert_eq!(mounted.sends(|fs| fs.open("f")), asked);
        assert_eq!(mounted.sends(|fs| fs.open("f")?.close()), asked);
        mounted.unmount();
    }
}

#[test]
fn the_first_read_of_what_is_not_kept_opens_the_file() {
    let mounted = with_file(options(CacheMode::Auto), 10 * PAGE_BYTES);
    let file = mounted.fs.open("f").unwrap();
    let mut byte = [0];
    assert_eq!(mounted.sends(|_| file.read_at(8 * PAGE, &mut byte)), [opcode::OPEN, opcode::READ]);
    assert_eq!(mounted.sends(|_| file.read_at(3 * PAGE, &mut byte)), [opcode::READ]);
    let other = mounted.fs.open("f").unwrap();
    assert_eq!(mounted.sends(|_| other.read_at(8 * PAGE, &mut byte)), NO_REQUESTS);
    assert_eq!(mounted.sends(|_| file.close()), [opcode::RELEASE]);
    assert_eq!(mounted.sends(|_| other.close()), NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn of_two_threads_that_need_it_opened_one_opens_it() {
    let mounted = with_file(options(CacheMode::Auto), 10 * PAGE_BYTES);
    let file = mounted.fs.open("f").unwrap();
    let read = |page: u64| {
        let mut byte = [0];
        assert_eq!(file.read_at(page * PAGE, &mut byte), Ok(1));
        assert_eq!(byte[0], pattern(10 * PAGE_BYTES)[page as usize * PAGE_BYTES]);
    };
    mounted.overtake(opcode::OPEN, |_| read(8), |_| read(3));
    assert_eq!((mounted.count(opcode::OPEN), mounted.count(opcode::RELEASE)), (2, 1));
    assert_eq!(mounted.server(|server| server.open_handles()), 1);
    assert_eq!(mounted.sends(|_| file.read_at(5 * PAGE, &mut [0])), [opcode::READ]);
    drop(file);
    mounted.unmount();
}

#[test]
fn files_are_opened_at_once_where_that_is_wanted_or_means_more_than_reading() {
    let opens = |mounted: &Mounted, options: &OpenOptions| {
        mounted.fs.metadata("f").unwrap();
        mounted.sends(|fs| options.open(fs, "f")).contains(&opcode::OPEN)
    };
    let mut read = OpenOptions::new();
    read.read(true);
    let mounted = with_file(CacheOptions { lazy_open: false, ..options(CacheMode::Auto) }, 10);
    assert!(opens(&mounted, &read));
    mounted.unmount();

    let mounted = with_file(options(CacheMode::Auto), 10);
    assert!(!opens(&mounted, &read));
    assert!(!opens(&mounted, read.clone().custom_flags(OpenFlags::NOATIME | OpenFlags::NOFOLLOW)));
    assert!(opens(&mounted, OpenOptions::new().write(true)));
    assert!(opens(&mounted, &read_write()));
    for flags in [OpenFlags::DIRECT, OpenFlags::SYNC, OpenFlags::NONBLOCK] {
        assert!(opens(&mounted, read.clone().custom_flags(flags)), "{flags:?}");
    }
    assert!(opens(&mounted, read_write().truncate(true)));
    mounted.unmount();

    let mut server = FakeServer::new();
    server.file("f", "content");
    let channel = FakeChannel::new(server);
    let options = MountOptions { permissions: Permissions::Server, ..MountOptions::default() };
    let mounted = Mounted { fs: test_utils::mount(channel.clone(), &options).unwrap(), channel };
    assert!(opens(&mounted, &read));
    mounted.unmount();
}

#[test]
fn what_a_user_may_not_read_is_refused_when_it_is_opened() {
    for mode in [CacheMode::Auto, CacheMode::Always] {
        let mounted = mount_as(user(), options(mode), |server| {
            server.file("f", "secret").attr_mut("f").permissions = 0o600;
            server.file("g", "public");
        });
        for _ in 0..2 {
            assert_eq!(mounted.fs.open("f").map(drop), Err(Error::Refused(Errno::EACCES)));
            assert_eq!(mounted.fs.read_to_string("g").unwrap(), "public");
        }
        let noatime = OpenOptions::new().read(true).custom_flags(OpenFlags::NOATIME).open(&mounted.fs, "g");
        assert_eq!(noatime.map(drop), Err(Error::Refused(Errno::EPERM)));
        // Who has read it as somebody else has not opened it for this user.
        let root = mounted.fs.with_credentials(Credentials::default());
        assert_eq!(root.read("f").unwrap(), b"secret");
        assert_eq!(mounted.fs.open("f").map(drop), Err(Error::Refused(Errno::EACCES)));
        drop(root);
        mounted.unmount();
    }
}

/// A server for which files without a name are gone unless they are open.
fn forgetful(mode: CacheMode) -> Mounted {
    mount(options(mode), |server| {
        server.options.keeps_unlinked = false;
        server.file("f", "content").hard_link("f", "h").file("g", "other");
    })
}

#[test]
fn a_file_that_loses_its_last_name_here_stays_readable() {
    let losses: [fn(&VirtioFs); 3] = [
        |fs| fs.remove_file("f").unwrap(),
        |fs| fs.rename("g", "f").unwrap(),
        |fs| fs.rename_with("g", "f", crate::RenameFlags::empty()).unwrap(),
    ];
    for mode in [CacheMode::Auto, CacheMode::Always] {
        for (at, lose) in losses.iter().enumerate() {
            let mounted = forgetful(mode);
            let files = [mounted.fs.open("f").unwrap(), mounted.fs.open("h").unwrap()];
            mounted.fs.drop_caches();
            mounted.fs.remove_file("h").unwrap();
            lose(&mounted.fs);
            for file in &files {
                assert_eq!(read_from(file, 0), b"content", "{mode:?} {at}");
                assert_eq!(file.metadata().unwrap().len(), 7);
            }
            let [one, other] = files;
            drop(one);
            assert_eq!(read_from(&other, 2), b"ntent");
            drop(other);
            assert_eq!(mounted.server(|server| server.open_handles()), 0, "{mode:?} {at}");
            mounted.unmount();
        }
    }
}

#[test]
fn a_file_that_lost_its_name_and_is_not_read_is_closed() {
    let mounted = forgetful(CacheMode::Auto);
    let (one, other) = (mounted.fs.open("f").unwrap(), mounted.fs.open("f").unwrap());
    assert_eq!(mounted.sends(|fs| fs.remove_file("f")), [opcode::OPEN, opcode::UNLINK]);
    assert_eq!(mounted.sends(|fs| fs.remove_file("h")), [opcode::LOOKUP, opcode::UNLINK], "it is open already");
    drop(one);
    assert_eq!(mounted.server(|server| server.open_handles()), 1);
    assert_eq!(mounted.sends(|_| other.close()), [opcode::RELEASE]);
    mounted.unmount();
}

#[test]
fn a_name_that_cannot_be_removed_leaves_no_file_open() {
    let mounted = forgetful(CacheMode::Auto);
    let file = mounted.fs.open("f").unwrap();
    mounted.server(|server| {
        server.fault(opcode::UNLINK, 0, Fault::Refuse(Errno::EBUSY));
    });
    assert_eq!(mounted.fs.remove_file("f"), Err(Error::Refused(Errno::EBUSY)));
    assert_eq!(read_from(&file, 0), b"content");
    drop(file);
    assert_eq!(mounted.server(|server| server.open_handles()), 0);
    mounted.unmount();
}

#[test]
fn who_locks_a_file_that_lost_its_name_has_the_lock_alone() {
    let mounted = mount(options(CacheMode::Auto), |server| {
        server.options.init_flags |= crate::InitFlags::FLOCK_LOCKS.bits();
        server.file("f", "content");
    });
    let (one, other) = (mounted.fs.open("f").unwrap(), mounted.fs.open("f").unwrap());
    mounted.fs.remove_file("f").unwrap();
    one.lock().unwrap();
    assert_eq!(other.try_lock(), Err(Error::Refused(Errno::EAGAIN)));
    drop(one);
    other.try_lock().unwrap();
    drop(other);
    mounted.unmount();
}

#[test]
fn a_file_that_was_not_opened_at_the_server_is_not_flushed_there() {
    for keeps_locks in [false, true] {
        let mounted = mount(options(CacheMode::Auto), |server| {
            if keeps_locks {
                server.options.init_flags |= crate::InitFlags::POSIX_LOCKS.bits();
            }
            server.file("f", "content");
        });
        let file = mounted.fs.open("f").unwrap();
        // The owner may have locked the file elsewhere.
        let expected = if keeps_locks { vec![opcode::OPEN, opcode::FLUSH] } else { vec![] };
        assert_eq!(mounted.sends(|_| file.as_open_file().flush(crate::LockOwner(1))), expected);
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_file_that_was_not_written_is_not_flushed() {
    for keeps_locks in [false, true] {
        let mounted = mount(CacheOptions { lazy_open: false, ..options(CacheMode::Auto) }, |server| {
            let locks = crate::InitFlags::POSIX_LOCKS.bits();
            server.options.init_flags &= !locks;
            if keeps_locks {
                server.options.init_flags |= locks;
            }
            server.file("f", b"content");
        });
        let file = read_write().open(&mounted.fs, "f").unwrap();
        let flush = || mounted.sends(|_| file.as_open_file().flush(crate::LockOwner(1)));
        let clean = if keeps_locks { vec![opcode::FLUSH] } else { vec![] };
        assert_eq!(flush(), clean);
        file.write_all_at(0, b"written").unwrap();
        assert_eq!(flush(), [opcode::FLUSH]);
        assert_eq!(flush(), clean);
        drop(file);
        mounted.unmount();
    }
}
