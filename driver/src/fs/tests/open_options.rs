//! How files are opened and made.

use super::*;
use crate::vnode::OpenFlags;
use std::io::ErrorKind;

const CONTENT: &[u8] = b"0123456789";

fn mount() -> Mounted {
    Mounted::new(|server| {
        server.file("f", CONTENT).dir("d/sub");
    })
}

/// The options of the bits of a number.
fn options(bits: u32) -> OpenOptions {
    let has = |bit: u32| bits & 1 << bit != 0;
    let mut options = OpenOptions::new();
    options.read(has(0)).write(has(1)).append(has(2)).truncate(has(3)).create(has(4)).create_new(has(5));
    options
}

#[test]
fn options_exclude_each_other_as_those_of_std_do() {
    let mounted = mount();
    for bits in 0..64 {
        let has = |bit: u32| bits & 1 << bit != 0;
        let mut theirs = std::fs::OpenOptions::new();
        theirs.read(has(0)).write(has(1)).append(has(2)).truncate(has(3)).create(has(4)).create_new(has(5));
        let expected = match theirs.open("/nowhere/nowhere").unwrap_err().kind() {
            ErrorKind::InvalidInput => Errno::EINVAL,
            ErrorKind::NotFound => Errno::ENOENT,
            other => panic!("{other}"),
        };
        let got = options(bits).open(&mounted.fs, "nowhere/nowhere").unwrap_err().errno();
        assert_eq!(got, expected, "{:?}", options(bits));
    }
    mounted.unmount();
}

#[test]
fn options_become_the_flags_of_open() {
    use OpenFlags as O;
    let mounted = mount();
    for (bits, flags) in [
        (0b1, O::READ_ONLY),
        (0b10, O::WRITE_ONLY),
        (0b11, O::READ_WRITE),
        (0b100, O::WRITE_ONLY | O::APPEND),
        (0b110, O::WRITE_ONLY | O::APPEND),
        (0b101, O::READ_WRITE | O::APPEND),
        (0b1010, O::WRITE_ONLY | O::TRUNCATE),
        (0b10010, O::WRITE_ONLY | O::CREATE),
        (0b11011, O::READ_WRITE | O::CREATE | O::TRUNCATE),
    ] {
        let file = options(bits).open(&mounted.fs, "f").unwrap();
        assert_eq!(file.as_open_file().flags(), flags);
        let sent = mounted.server(|server| server.last_request(opcode::OPEN).unwrap()[40..44].to_vec());
        assert_eq!(sent, (flags - O::CREATE).bits().to_ne_bytes());
        let expected = if flags.contains(O::TRUNCATE) { &b""[..] } else { CONTENT };
        assert_eq!(mounted.server(|server| server.content("f")), expected);
        mounted.server(|server| {
            server.file("f", CONTENT);
        });
    }
    let new = options(0b110010).open(&mounted.fs, "new").unwrap();
    assert_eq!(new.as_open_file().flags(), O::WRITE_ONLY | O::CREATE | O::EXCLUSIVE);
    drop(new);
    mounted.unmount();
}

#[test]
fn custom_flags_add_to_the_options_and_do_not_replace_them() {
    use OpenFlags as O;
    let mounted = mount();
    let custom = O::SYNC | O::NOFOLLOW | O::READ_WRITE | O::TRUNCATE | O::APPEND | O::CREATE | O::EXCLUSIVE;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(custom).open(&mounted.fs, "f").unwrap();
    assert_eq!(file.as_open_file().flags(), O::SYNC | O::NOFOLLOW);
    assert_eq!(file.write_at(0, b"x"), Err(Error::Invalid(Errno::EBADF)));
    drop(file);
    options.custom_flags(O::DIRECTORY);
    assert_eq!(options.open(&mounted.fs, "f").err(), Some(Error::Invalid(Errno::ENOTDIR)));
    mounted.unmount();
}

#[test]
fn the_mode_is_that_of_a_new_file_before_the_umask() {
    let mounted = mount();
    let fs = mounted.fs.with_credentials(crate::Credentials { umask: 0o027, ..Default::default() });
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    options.open(&fs, "default").unwrap();
    options.mode(0o4711).open(&fs, "set").unwrap();
    options.open(&fs, "f").unwrap();
    fs.create_dir("dir").unwrap();
    fs.mknod("fifo", FileType::Fifo, 0o666, 0).unwrap();
    for (path, permissions) in [("default", 0o640), ("set", 0o4710), ("f", 0o644), ("dir", 0o750), ("fifo", 0o640)] {
        assert_eq!(mounted.server(|server| server.attr(path).permissions), permissions, "{path}");
    }
    drop(fs);
    mounted.unmount();
}

#[test]
fn create_new_makes_a_file_and_never_opens_one() {
    let mounted = mount();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options.open(&mounted.fs, "new").unwrap();
    for path in ["new", "f", "d"] {
        assert_eq!(options.open(&mounted.fs, path).err(), Some(Error::Refused(Errno::EEXIST)), "{path}");
    }
    assert_eq!(options.open(&mounted.fs, "nowhere/new").err(), Some(Error::Refused(Errno::ENOENT)));
    mounted.unmount();
}

/// Links that lead to files that are missing, directly and not.
fn mount_links() -> Mounted {
    Mounted::new(|server| {
        server.file("f", CONTENT).dir("d/sub");
        for (link, target) in [
            ("to-f", "f"),
            ("relative", "missing-1"),
            ("absolute", "/d/missing-2"),
            ("chain", "chain-2"),
            ("chain-2", "d/chain-3"),
            ("d/chain-3", "../d/sub/missing-3"),
            ("d/up", "../missing-4"),
            ("d/near", "missing-6"),
            ("d/sub/via", "../near"),
            ("d/sub/to-d", "/d"),
            ("dots", "d/./sub/../missing-5"),
            ("to-nowhere", "nowhere/missing"),
            ("to-dir", "d"),
            ("to-root", "/"),
            ("to-new-dir", "missing/"),
            ("self", "self"),
            ("ping", "d/pong"),
            ("d/pong", "../ping"),
        ] {
            server.symlink(link, target);
        }
    })
}

#[test]
fn a_file_is_made_where_a_symbolic_link_leads() {
    for (path, made) in [
        ("relative", "missing-1"),
        ("/relative", "missing-1"),
        ("d/../relative", "missing-1"),
        ("absolute", "d/missing-2"),
        ("chain", "d/sub/missing-3"),
        ("d/up", "missing-4"),
        ("d/sub/to-d/up", "missing-4"),
        ("dots", "d/missing-5"),
        ("d/near", "d/missing-6"),
        ("/d//sub/../near", "d/missing-6"),
        ("d/sub/via", "d/missing-6"),
        ("to-f", "f"),
    ] {
        let mounted = mount_links();
        mounted.fs.write(path, "new").unwrap();
        assert_eq!(mounted.server(|server| server.content(made)), b"new", "{path}");
        assert!(mounted.fs.symlink_metadata(path).unwrap().is_symlink());
        mounted.unmount();
    }
}

#[test]
fn a_link_that_leads_to_no_place_for_a_file_says_why() {
    let mounted = mount_links();
    for (path, errno) in [
        ("to-nowhere", Errno::ENOENT),
        ("to-dir", Errno::EISDIR),
        ("to-root", Errno::EISDIR),
        ("to-new-dir", Errno::EISDIR),
        ("self", Errno::ELOOP),
        ("ping", Errno::ELOOP),
    ] {
        assert_eq!(mounted.fs.write(path, "").map_err(Error::errno), Err(errno), "{path}");
    }
    mounted.unmount();
}

#[test]
fn a_link_is_not_followed_by_who_says_so() {
    let mounted = mount_links();
    let mut new = OpenOptions::new();
    new.write(true).create_new(true);
    let mut nofollow = OpenOptions::new();
    nofollow.write(true).custom_flags(OpenFlags::NOFOLLOW);
    for path in ["relative", "to-f", "to-dir", "self"] {
        assert_eq!(new.open(&mounted.fs, path).map(drop).map_err(Error::errno), Err(Errno::EEXIST), "{path}");
        for creates in [false, true] {
            let opened = nofollow.create(creates).open(&mounted.fs, path);
            assert_eq!(opened.map(drop).map_err(Error::errno), Err(Errno::ELOOP), "{path}");
        }
    }
    assert!(!mounted.server(|server| server.exists("missing-1")));
    nofollow.create(true).open(&mounted.fs, "d/../f").unwrap();
    mounted.unmount();
}

#[test]
fn forty_links_lead_to_a_new_file_and_one_more_is_a_loop() {
    let mounted = Mounted::new(|server| {
        for number in 1..=41 {
            server.symlink(number.to_string(), (number - 1).to_string());
        }
    });
    assert_eq!(mounted.fs.write("41", "").map_err(Error::errno), Err(Errno::ELOOP));
    mounted.fs.write("40", "made").unwrap();
    assert_eq!(mounted.fs.read("40").unwrap(), b"made");
    assert_eq!(mounted.server(|server| server.content("0")), b"made");
    mounted.unmount();
}

#[test]
fn what_is_no_regular_file_is_not_opened_for_writing() {
    let mounted = mount();
    mounted.server(|server| {
        server.special("fifo", FileType::Fifo);
    });
    let mut options = OpenOptions::new();
    for creates in [false, true] {
        options.write(true).create(creates);
        assert_eq!(options.open(&mounted.fs, "d").map(drop).map_err(Error::errno), Err(Errno::EISDIR));
        assert_eq!(options.open(&mounted.fs, "fifo").map(drop).map_err(Error::errno), Err(Errno::EOPNOTSUPP));
        assert_eq!(options.open(&mounted.fs, "f/x").map(drop).map_err(Error::errno), Err(Errno::ENOTDIR));
    }
    mounted.unmount();
}
