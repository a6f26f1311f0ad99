//! Truncating when a file is opened, and set-id bits that a change of the content takes away.

use super::*;
use crate::vnode::SetAttr;

const SET_IDS: u16 = 0o6755;

/// "f", with set-id bits, of [`user`]; the server knows `flags` and no others that matter here.
fn mount_f(flags: u64, who: Credentials) -> Mounted {
    mount_f_checked_by(Permissions::Driver, flags, who)
}

fn mount_f_checked_by(permissions: Permissions, flags: u64, who: Credentials) -> Mounted {
    let mut server = FakeServer::new();
    server.options.init_flags &= !(init::ATOMIC_O_TRUNC | init::HANDLE_KILLPRIV | init::HANDLE_KILLPRIV_V2);
    server.options.init_flags |= flags;
    server.file("f", "content");
    let attr = server.attr_mut("f");
    (attr.uid, attr.gid, attr.permissions) = (1000, 100, SET_IDS);
    let attr = server.attr_mut("");
    attr.permissions = 0o777;
    mount_with(server, &MountOptions { credentials: who, permissions, ..crate::test_utils::uncached() })
}

fn f(mounted: &Mounted) -> Node {
    mounted.fs.root().lookup("f").unwrap().0
}

fn permissions(mounted: &Mounted) -> u16 {
    mounted.server(|server| server.attr("f").permissions)
}

const KILLING: [u64; 2] = [init::HANDLE_KILLPRIV, init::HANDLE_KILLPRIV_V2];

/// Every way to change the content of "f".
const CHANGES: [(u32, fn(Node)); 5] = [
    (opcode::WRITE, |f| {
        let file = f.open(OpenFlags::WRITE_ONLY).unwrap();
        assert_eq!(file.write_at(0, b"x"), Ok(1));
        assert_eq!(file.write_at(1, b"y"), Ok(1));
    }),
    (opcode::OPEN, |f| {
        f.open(OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE).unwrap();
    }),
    (opcode::SETATTR, |f| {
        f.setattr(&SetAttr { size_bytes: Some(3), ..SetAttr::default() }).unwrap();
    }),
    (opcode::FALLOCATE, |f| {
        let file = f.open(OpenFlags::WRITE_ONLY).unwrap();
        file.allocate(0, 100, crate::AllocateFlags::empty()).unwrap();
    }),
    (opcode::COPY_FILE_RANGE, |f| {
        let file = f.open(OpenFlags::READ_WRITE).unwrap();
        assert_eq!(file.copy_range(0, &file, 7, 7), Ok(7));
    }),
];

#[test]
fn a_server_that_truncates_when_it_opens_is_asked_to() {
    let flags = OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    for truncate in [(|mounted, flags| f(mounted).open(flags)) as fn(&Mounted, OpenFlags) -> _, |mounted, flags| {
        mounted.fs.root().create("f", flags, 0o600).map(|(file, attr)| {
            assert_eq!(attr.size_bytes, 0);
            file
        })
    }] {
        let mounted = mount_f(init::ATOMIC_O_TRUNC, Credentials::default());
        let (file, sent) = mounted.sent_by(|| truncate(&mounted, flags).unwrap());
        assert_eq!((sent.contains(&opcode::OPEN), mounted.count(opcode::SETATTR)), (true, 0));
        assert_eq!(mounted.server(|server| server.content("f")), b"");
        drop(file);
        mounted.unmount();
        // Others get the size set. They would note it as a mistake to be asked.
        let mounted = mount_f(0, Credentials::default());
        let (file, sent) = mounted.sent_by(|| truncate(&mounted, flags).unwrap());
        assert!(sent.windows(2).any(|pair| pair == [opcode::OPEN, opcode::SETATTR]), "{sent:?}");
        assert_eq!(mounted.server(|server| server.content("f")), b"");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_new_file_is_not_truncated() {
    let mounted = mount_f(0, Credentials::default());
    let flags = OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE;
    let (_, sent) = mounted.sent_by(|| drop(mounted.fs.root().create("new", flags, 0o600).unwrap()));
    assert_eq!(sent, [opcode::CREATE, opcode::RELEASE]);
    mounted.unmount();
}

#[test]
fn a_file_that_is_only_read_can_be_truncated_too() {
    for flags in [0, init::ATOMIC_O_TRUNC] {
        let mounted = mount_f(flags, Credentials::default());
        let file = f(&mounted).open(OpenFlags::READ_ONLY | OpenFlags::TRUNCATE).unwrap();
        assert_eq!(mounted.server(|server| server.content("f")), b"");
        assert_eq!(file.write_at(0, b"x"), Err(Error::Invalid(Errno::EBADF)));
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_file_that_cannot_be_truncated_is_closed() {
    let mounted = mount_f(0, Credentials::default());
    mounted.server(|server| {
        server.fault(opcode::SETATTR, 0, Fault::Refuse(Errno::ENOSPC));
    });
    let opened = f(&mounted).open(OpenFlags::WRITE_ONLY | OpenFlags::TRUNCATE);
    assert_eq!(opened.err(), Some(Error::Refused(Errno::ENOSPC)));
    assert_eq!(mounted.count(opcode::RELEASE), 1);
    mounted.unmount();
}

#[test]
fn a_server_that_kills_set_ids_when_told_is_told_on_behalf_of_users() {
    let flags = init::HANDLE_KILLPRIV_V2 | init::ATOMIC_O_TRUNC;
    for (opcode, change) in CHANGES {
        let mounted = mount_f(flags, user());
        change(f(&mounted));
        let told = mounted.server(|server| server.kill_requests(opcode));
        match opcode {
            opcode::WRITE => assert_eq!((told, permissions(&mounted)), (2, 0o755)),
            opcode::OPEN | opcode::SETATTR => assert_eq!((told, permissions(&mounted)), (1, 0o755)),
            // They have no flag for it, and what their server does is its own affair.
            _ => assert_eq!(told, 0),
        }
        mounted.unmount();
        let mounted = mount_f(flags, Credentials::default());
        change(f(&mounted));
        let told = mounted.server(|server| server.kill_requests(opcode));
        assert_eq!((told, permissions(&mounted)), (0, SET_IDS), "user 0 keeps them");
        mounted.unmount();
    }
}

#[test]
fn a_server_that_kills_set_ids_by_itself_is_not_told() {
    for (opcode, change) in CHANGES {
        let mounted = mount_f(init::HANDLE_KILLPRIV | init::ATOMIC_O_TRUNC, user());
        change(f(&mounted));
        assert_eq!(mounted.server(|server| server.kill_requests(opcode)), 0);
        assert_eq!(permissions(&mounted), 0o755, "{}", opcode::name(opcode));
        // Requests to allocate and to copy say nothing of set-id bits: there the driver takes them away.
        let driver_does = [opcode::FALLOCATE, opcode::COPY_FILE_RANGE, opcode::COPY_FILE_RANGE_64].contains(&opcode);
        let changes = usize::from(opcode == opcode::SETATTR || driver_does);
        assert_eq!(mounted.count(opcode::SETATTR), changes, "the driver leaves it to the server");
        mounted.unmount();
    }
}

#[test]
fn the_driver_takes_set_ids_away_for_a_server_that_does_not() {
    for checked_by in [Permissions::Driver, Permissions::Server] {
        for flags in [0, init::ATOMIC_O_TRUNC] {
            for (opcode, change) in CHANGES {
                let why = alloc::format!("{} {flags} {checked_by:?}", opcode::name(opcode));
                let mounted = mount_f_checked_by(checked_by, flags, user());
                change(f(&mounted));
                assert_eq!((permissions(&mounted), mounted.count(opcode::SETATTR)), (0o755, 1), "{why}");
                mounted.unmount();
                let mounted = mount_f_checked_by(checked_by, flags, Credentials::default());
                change(f(&mounted));
                assert_eq!(permissions(&mounted), SET_IDS, "user 0 keeps them: {why}");
                mounted.unmount();
            }
        }
    }
}

#[test]
fn set_group_id_without_execution_means_something_else_and_stays() {
    for flags in [0, init::HANDLE_KILLPRIV, init::HANDLE_KILLPRIV_V2] {
        let mounted = mount_f(flags, user());
        mounted.server(|server| server.attr_mut("f").permissions = 0o6745);
        f(&mounted).open(OpenFlags::WRITE_ONLY).unwrap().write_at(0, b"x").unwrap();
        assert_eq!(permissions(&mounted), 0o2745);
        mounted.unmount();
    }
}

#[test]
fn the_bits_are_looked_for_once_for_each_open_file() {
    let mounted = mount_f(0, user());
    let file = f(&mounted).open(OpenFlags::WRITE_ONLY).unwrap();
    let (_, sent) = mounted.sent_by(|| {
        for _ in 0..3 {
            file.write_at(0, b"x").unwrap();
        }
    });
    assert_eq!(sent, [opcode::GETATTR, opcode::SETATTR, opcode::WRITE, opcode::WRITE, opcode::WRITE]);
    drop(file);
    let file = f(&mounted).open(OpenFlags::WRITE_ONLY).unwrap();
    let (_, sent) = mounted.sent_by(|| file.write_at(0, b"x").unwrap());
    assert_eq!(sent, [opcode::GETATTR, opcode::WRITE], "there are none to take away");
    drop(file);
    mounted.unmount();
}

#[test]
fn nothing_is_written_if_the_bits_cannot_be_taken_away() {
    let mounted = mount_f(0, user());
    let file = f(&mounted).open(OpenFlags::WRITE_ONLY).unwrap();
    mounted.server(|server| {
        server.fault(opcode::SETATTR, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(file.write_at(0, b"x"), refused(Errno::EIO));
    assert_eq!(mounted.count(opcode::WRITE), 0);
    assert_eq!(file.write_at(0, b"x"), Ok(1), "they are looked for again");
    assert_eq!(permissions(&mounted), 0o755);
    drop(file);
    mounted.unmount();
}

#[test]
fn both_kinds_of_servers_are_told_what_the_second_kind_needs() {
    let mounted = mount_f(KILLING[0] | KILLING[1], user());
    f(&mounted).open(OpenFlags::WRITE_ONLY).unwrap().write_at(0, b"x").unwrap();
    assert_eq!(mounted.server(|server| server.kill_requests(opcode::WRITE)), 1);
    assert_eq!(permissions(&mounted), 0o755);
    mounted.unmount();
}
