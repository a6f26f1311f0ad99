//! What the fake server says of how long, and whether, its answers may be kept.

use super::raw::*;
use super::*;

/// `fuse_entry_out`: the time to live of the name and of the attributes.
fn entry_ttls(body: &[u8]) -> (Duration, Duration) {
    let ttl = |seconds, nanoseconds| Duration::new(u64_at(body, seconds), u32_at(body, nanoseconds));
    (ttl(16, 32), ttl(24, 36))
}

/// `fuse_attr_out` and `fuse_statx_out`: the time to live of the attributes.
fn attr_ttl(body: &[u8]) -> Duration {
    Duration::new(u64_at(body, 0), u32_at(body, 8))
}

/// The arguments of CREATE and, without the name, of TMPFILE.
fn create(flags: u32) -> Put {
    put().u32(flags).u32(0o100_644).u32(0).u32(0)
}

/// The root's listing with attributes.
fn listing(raw: &mut Raw) -> Vec<u8> {
    let fh = u64_at(&raw.ok(opcode::OPENDIR, ROOT, put().u32(0).u32(0)), 0);
    raw.ok(opcode::READDIRPLUS, ROOT, put().u64(fh).u64(0).u32(4096).bytes(&[0; 20]))
}

#[test]
fn every_entry_tells_how_long_its_name_and_attributes_may_be_believed() {
    let mut raw = Raw::new(server(), 0);
    let ttls = (Duration::new(3, 4), Duration::new(u64::MAX, 999_999_999));
    (raw.server.options.entry_ttl, raw.server.options.attr_ttl) = ttls;
    let f = raw.lookup("d/f");
    for (opcode, args) in [
        (opcode::LOOKUP, put().name("d")),
        (opcode::MKNOD, put().u32(0o010_644).u32(0).u32(0).u32(0).name("fifo")),
        (opcode::MKDIR, put().u32(0o755).u32(0).name("dir")),
        (opcode::SYMLINK, put().name("link").name("to")),
        (opcode::LINK, put().u64(f).name("hard")),
        (opcode::CREATE, create(0o102).name("file")),
        (opcode::TMPFILE, create(2).name("/")),
    ] {
        assert_eq!(entry_ttls(&raw.ok(opcode, ROOT, args)), ttls, "{}", opcode::name(opcode));
    }
    let listing = listing(&mut raw);
    let mut reader = DirentReader { plus: true, position: 0 };
    let entries: Vec<_> =
        core::iter::from_fn(|| reader.next(&listing)).filter_map(|next| next.unwrap().entry).collect();
    assert_eq!(entries.len(), 8);
    assert!(entries.iter().all(|entry| (entry.entry_ttl, entry.attr_ttl) == ttls));
    raw.no_violations();
}

#[test]
fn attributes_tell_how_long_they_may_be_believed() {
    let mut raw = Raw::new(server(), 0);
    raw.server.options.statx = true;
    let f = raw.lookup("d/f");
    for ttl in [Duration::ZERO, Duration::new(5, 6)] {
        raw.server.options.attr_ttl = ttl;
        assert_eq!(attr_ttl(&raw.ok(opcode::GETATTR, f, put().bytes(&[0; 16]))), ttl);
        assert_eq!(attr_ttl(&raw.ok(opcode::SETATTR, f, setattr(0, &[]))), ttl);
        assert_eq!(attr_ttl(&raw.ok(opcode::STATX, f, put().bytes(&[0; 24]))), ttl);
    }
}

#[test]
fn all_may_be_believed_for_a_second_unless_told_otherwise() {
    let mut raw = Raw::new(server(), 0);
    let second = Duration::from_secs(1);
    assert_eq!(entry_ttls(&raw.ok(opcode::LOOKUP, ROOT, put().name("d"))), (second, second));
    assert_eq!(attr_ttl(&raw.ok(opcode::GETATTR, ROOT, put().bytes(&[0; 16]))), second);
    assert_eq!(raw.err(opcode::LOOKUP, ROOT, put().name("none")), Errno::ENOENT);
}

#[test]
fn an_entry_tells_the_generation_of_its_inode() {
    let mut raw = Raw::new(server(), 0);
    raw.server.set_generation("d/f", 7);
    let d = raw.lookup("d");
    let f = raw.ok(opcode::LOOKUP, d, put().name("f"));
    assert_eq!(u64_at(&f, 8), 7);
    raw.server.set_generation("d/f", 8);
    let again = raw.ok(opcode::LOOKUP, d, put().name("f"));
    assert_eq!((u64_at(&again, 0), u64_at(&again, 8)), (u64_at(&f, 0), 8), "of the same nodeid");
    raw.no_violations();
}

/// The flags in the replies to OPEN, CREATE, TMPFILE and OPENDIR.
fn fopen_flags(raw: &mut Raw) -> [u32; 4] {
    let f = raw.lookup("d/f");
    let replies = [
        (raw.ok(opcode::OPEN, f, put().u32(0).u32(0)), 8),
        (raw.ok(opcode::CREATE, ROOT, create(0o102).name("file")), 128 + 8),
        (raw.ok(opcode::TMPFILE, ROOT, create(2).name("/")), 128 + 8),
        (raw.ok(opcode::OPENDIR, ROOT, put().u32(0).u32(0)), 8),
    ];
    replies.map(|(body, at)| u32_at(&body, at))
}

#[test]
fn files_and_directories_have_flags_of_their_own() {
    let mut raw = Raw::new(server(), 0);
    assert_eq!(fopen_flags(&mut raw), [0; 4]);
    (raw.server.options.fopen_flags, raw.server.options.opendir_flags) = (0x42, 0x0a);
    assert_eq!(fopen_flags(&mut raw), [0x42, 0x42, 0x42, 0x0a]);
    raw.no_violations();
}

#[test]
fn the_driver_hears_of_the_flags_of_files_and_directories() {
    let mut server = server();
    (server.options.fopen_flags, server.options.opendir_flags) = (0x42, 0x0a);
    let mut client = Client::new(server);
    let opened = client.call(ROOT, &Opendir { flags: OpenFlags::empty() }, 0).unwrap().0;
    assert_eq!(opened.flags, FopenFlags::KEEP_CACHE | FopenFlags::CACHE_DIR);
    let f = client.lookup(ROOT, "d").and_then(|d| client.lookup(d, "f")).unwrap();
    let opened = client.call(f, &Open { flags: OpenFlags::empty(), kill_suidgid: false }, 0).unwrap().0;
    assert_eq!(opened.flags, FopenFlags::KEEP_CACHE | FopenFlags::PARALLEL_DIRECT_WRITES);
}

#[test]
fn init_settles_the_flags_about_caches_that_the_server_knows() {
    let caches = InitFlags::AUTO_INVAL_DATA | InitFlags::WRITEBACK_CACHE | InitFlags::EXPLICIT_INVAL_DATA;
    let mut client = Client::new(server());
    let mut settled = |more: InitFlags| {
        client.channel.server().lock().options.init_flags |= more.bits();
        let (_, data) = client.call(0, &Init { flags: InitFlags::all(), max_readahead_bytes: 0 }, 256).unwrap();
        InitReply::decode(&data).unwrap().flags() & caches
    };
    assert_eq!(settled(InitFlags::empty()), InitFlags::AUTO_INVAL_DATA);
    assert_eq!(settled(caches), caches);
}
