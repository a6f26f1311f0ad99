//! What the fake server counts and keeps.

use super::*;

const OPEN: Open = Open { flags: OpenFlags::empty(), kill_suidgid: false };

#[test]
fn a_lookup_counts_and_a_forget_takes_back_what_was_counted() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    assert_eq!(client.lookup(1, "d"), Ok(d));
    let f = client.lookup(d, "f").unwrap();
    let server = client.channel.server();
    assert_eq!([d, f].map(|nodeid| server.lock().nlookup(NodeId(nodeid))), [2, 1]);
    assert_eq!(server.lock().nodeid("d/f"), Some(NodeId(f)));

    client.forget(d, 1);
    assert_eq!(server.lock().nlookup(NodeId(d)), 1);
    let list = [ForgetOne { nodeid: d, nlookup: 1 }, ForgetOne { nodeid: f, nlookup: 1 }];
    client.post(0, &BatchForget { count: 2 }, list.as_bytes());
    assert_eq!(server.lock().known_nodes(), 0);
    assert_eq!(server.lock().opcodes()[1..], [1, 1, 1, 2, 42]);
    assert!(client.violations().is_empty());

    assert_ne!(client.lookup(1, "d"), Ok(d), "a forgotten nodeid does not come again");
}

#[test]
fn a_forget_of_more_than_was_looked_up_is_a_violation() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    client.forget(d, 2);
    client.forget(1, 1);
    client.forget(99, 1);
    client.forget(d, 0);
    let list = [ForgetOne { nodeid: 77, nlookup: 1 }, ForgetOne { nodeid: d, nlookup: 1 }];
    client.post(0, &BatchForget { count: 2 }, list.as_bytes());
    client.post(0, &BatchForget { count: 3 }, list.as_bytes());
    client.post(0, &BatchForget { count: 0 }, &[]);
    assert_eq!(client.violations().len(), 7, "{:?}", client.violations());
    assert_eq!(client.channel.server().lock().known_nodes(), 0, "the rest of a batch is forgotten all the same");
}

#[test]
fn a_forget_of_an_open_file_is_a_violation() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    client.call(d, &Opendir { flags: OpenFlags::empty() }, 0).unwrap();
    client.forget(d, 1);
    assert_eq!(client.violations(), ["FORGET (unique 8): forgets nodeid 2, which is open"]);
}

#[test]
fn a_missing_name_is_refused_or_answered_with_a_negative_entry() {
    let mut client = Client::new(server());
    let lookup = Lookup { name: Name::new(b"none").unwrap() };
    assert_eq!(client.call(1, &lookup, 0).err(), Some(Error::Refused(Errno::ENOENT)));
    let ttl = Duration::new(1, 5);
    client.channel.server().lock().options.negative_ttl = Some(ttl);
    assert_eq!(client.call(1, &lookup, 0), Ok((LookedUp::Absent { ttl }, vec![])));
    let pipe = client.lookup(1, "pipe").unwrap();
    assert_eq!(client.call(pipe, &lookup, 0).err(), Some(Error::Refused(Errno::ENOTDIR)));
}

#[test]
fn a_file_is_opened_read_in_pieces_and_closed() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    let f = client.lookup(d, "f").unwrap();
    let (opened, _) = client.call(f, &OPEN, 0).unwrap();
    let fh = opened.fh;
    let mut read =
        |offset| client.call(f, &Read { fh, offset, size_bytes: 4, flags: OpenFlags::empty() }, 4).unwrap().1;
    assert_eq!([read(0), read(4), read(7), read(u64::MAX)], [b"cont".to_vec(), b"ent".to_vec(), vec![], vec![]]);
    assert_eq!(client.channel.server().lock().open_handles(), 1);
    client.call(f, &Getattr { fh: Some(fh) }, 0).unwrap();
    client.call(f, &Release { fh, flags: OpenFlags::empty(), flock_owner: None }, 0).unwrap();
    assert_eq!(client.channel.server().lock().open_handles(), 0);
    assert!(client.violations().is_empty());

    let read = Read { fh, offset: 0, size_bytes: 4, flags: OpenFlags::empty() };
    assert_eq!(client.call(f, &read, 4).err(), Some(Error::Refused(Errno::EINVAL)));
    let (opened, _) = client.call(f, &OPEN, 0).unwrap();
    let read = Read { fh: opened.fh, ..read };
    assert!(client.call(d, &read, 4).is_err());
    assert!(client.call(f, &Read { size_bytes: 5, ..read }, 4).is_err());
    assert!(client.call(f, &Read { size_bytes: 257 << 12, ..read }, 257 << 12).is_err());
    assert!(client.call(f, &Releasedir { fh: opened.fh, flags: OpenFlags::empty() }, 0).is_err());
    assert_eq!(client.violations().len(), 5, "{:?}", client.violations());
}

#[test]
fn opening_what_cannot_be_opened_is_refused_and_no_violation() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    let l = client.lookup(1, "l").unwrap();
    assert_eq!(client.call(d, &OPEN, 0).err(), Some(Error::Refused(Errno::EISDIR)));
    assert_eq!(client.call(l, &OPEN, 0).err(), Some(Error::Refused(Errno::ELOOP)));
    assert_eq!(client.call(l, &Opendir { flags: OpenFlags::empty() }, 0).err(), Some(Error::Refused(Errno::ENOTDIR)));
    assert_eq!(client.call(l, &Readlink, 100).unwrap().1, b"d/f");
    assert_eq!(client.call(d, &Readlink, 100).err(), Some(Error::Refused(Errno::EINVAL)));
    assert!(client.violations().is_empty());
}

#[test]
fn without_open_and_opendir_requests_go_by_nodeid() {
    let mut client = Client::new(server());
    let d = client.lookup(1, "d").unwrap();
    let f = client.lookup(d, "f").unwrap();
    client.channel.server().lock().options.open = false;
    client.channel.server().lock().options.opendir = false;
    assert_eq!(client.call(f, &OPEN, 0).err(), Some(Error::Refused(Errno::ENOSYS)));
    assert_eq!(client.call(d, &Opendir { flags: OpenFlags::empty() }, 0).err(), Some(Error::Refused(Errno::ENOSYS)));
    let fh = FileHandle(0);
    assert_eq!(
        client.call(f, &Read { fh, offset: 0, size_bytes: 7, flags: OpenFlags::empty() }, 7).unwrap().1,
        b"content"
    );
    assert_ne!(client.call(d, &Readdir { fh, cookie: 0, size_bytes: 512 }, 512).unwrap().1, b"");
    assert!(client.violations().is_empty());
}

#[test]
fn attributes_and_statx_tell_what_was_set() {
    let mut server = server();
    server.options.statx = true;
    server.options.minor = 45;
    let attr = server.attr_mut("d/f");
    attr.permissions = 0o4711;
    attr.rdev = 0x0abc_de12;
    attr.submount = true;
    let attr = *attr;
    assert_eq!(attr.size_bytes, 7);
    let mut client = Client::new(server);
    let d = client.lookup(1, "d").unwrap();
    let f = client.lookup(d, "f").unwrap();
    assert_eq!(client.call(f, &Getattr { fh: None }, 0).unwrap().0.attr, attr);
    let (statx, born) = client.call(f, &Statx { fh: None }, 0).unwrap().0;
    assert_eq!(statx.attr, attr);
    assert_eq!(born.unwrap().seconds, 1_600_000_000);
    client.channel.server().lock().set_born("d/f", None);
    assert_eq!(client.call(f, &Statx { fh: None }, 0).unwrap().0.1, None);
    let (statfs, _) = client.call(1, &Statfs, 0).unwrap();
    assert_eq!(statfs, client.channel.server().lock().options.statfs);
    assert!(client.violations().is_empty());
}
