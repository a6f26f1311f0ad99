//! The fake server among requests that break rules, and told to break rules itself.

use super::*;

const ROOM: usize = 4096;

/// The bytes of a request.
fn raw(opcode: u32, unique: u64, nodeid: u64, args: &[u8]) -> Vec<u8> {
    let len = (40 + args.len()) as u32;
    let header = InHeader { len, opcode, unique, nodeid, uid: 0, gid: 0, pid: 0, total_extlen: 0, padding: 0 };
    [header.as_bytes(), args].concat()
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_ne_bytes(bytes.try_into().unwrap())
}

#[test]
fn a_request_that_breaks_a_rule_is_refused_and_noted() {
    let init = {
        let args = [7_u32, 45, 0, 0].map(u32::to_ne_bytes).concat();
        [args, vec![0; 48]].concat()
    };
    let get = |unique| raw(opcode::GETATTR, unique, 1, &[0; 16]);
    let mut wrong_len = get(10);
    wrong_len[0] += 1;
    let mut extended = get(12);
    extended[36] = 1;
    let mut overlong = get(38);
    overlong[36] = 3;
    let mut padded = get(40);
    padded[38] = 1;
    for (request, why) in [
        (vec![0; 39], "shorter than its header"),
        (get(0), "unique is 0"),
        (get(2), "unique was used before"),
        (wrong_len, "len is 57, but 56 bytes came"),
        (extended, "extensions were not negotiated"),
        (overlong, "longer than the request"),
        (padded, "padding"),
        (raw(opcode::GETATTR, 14, 5, &[0; 16]), "nodeid 5 is not known"),
        (raw(opcode::GETATTR, 16, 0, &[0; 16]), "nodeid 0 is not known"),
        (raw(opcode::GETATTR, 18, 1, &[0; 15]), "cut short"),
        (raw(opcode::GETATTR, 20, 1, &[0; 17]), "1 bytes follow"),
        (raw(opcode::LOOKUP, 22, 1, b"d"), "NUL"),
        (raw(opcode::LOOKUP, 24, 1, b"\0"), "empty"),
        (raw(opcode::LOOKUP, 26, 1, b"..\0"), "\"..\""),
        (raw(opcode::LOOKUP, 28, 1, b"a/b\0"), "slash"),
        (raw(opcode::LOOKUP, 30, 1, &[[b'x'; 256].as_slice(), b"\0"].concat()), "256 bytes"),
        (raw(opcode::LOOKUP, 32, 1, b"d\0e\0"), "2 bytes follow"),
        (raw(opcode::OPEN, 34, 1, &[0o100, 0, 0, 0, 0, 0, 0, 0]), "flags 0o100"),
        (raw(opcode::READ, 36, 1, &[0; 40]), "fh 0 is not open"),
        (raw(opcode::RELEASE, 38, 1, &[0; 24]), "fh 0 is not open"),
    ] {
        let mut server = server();
        server.handle(&raw(opcode::INIT, 2, 0, &init), ROOM);
        assert!(server.violations().is_empty());
        let reply = server.handle(&request, ROOM).into_reply().unwrap();
        assert_eq!((reply.len(), number(&reply[4..8])), (16, -22), "{why}");
        assert_eq!(server.violations().len(), 1, "{why}");
        assert!(server.violations()[0].contains(why), "{why}: {:?}", server.violations());
    }

    let mut server = server();
    let reply = server.handle(&get(4), ROOM).into_reply().unwrap();
    assert_eq!(number(&reply[4..8]), -5);
    server.handle(&raw(opcode::INIT, 2, 0, &init), ROOM);
    assert_eq!(server.handle(&raw(opcode::DESTROY, 6, 0, &[]), ROOM), Outcome::NoReply);
    server.handle(&get(8), ROOM);
    server.handle(&raw(opcode::INIT, 2, 0, &init), 79);
    server.handle(&raw(9999, 4, 0, &[]), ROOM);
    let violations = server.violations().to_vec();
    assert_eq!(violations.len(), 3, "{violations:?}");
    assert!(violations[0].contains("before INIT"));
    assert!(violations[1].contains("after DESTROY"));
    assert!(violations[2].contains("80 bytes has room for 79"));
}

#[test]
fn random_requests_never_panic() {
    let mut random = XorShift::new(1);
    let mut client = raw::Raw::new(server(), u64::MAX);
    client.server.options.statx = true;
    client.server.options.space_bytes = 1 << 20;
    client.server.symlink("l", "x").submount("m");
    let nodeids = ["l", "d", "pipe", "d/f", "d/empty", "m"].map(|path| client.lookup(path));
    let handles = [0, 1, 2].map(|flags| client.open("d/f", flags));
    assert_eq!((nodeids.iter().max(), handles[2].1), (Some(&7), 2));
    for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
        // Neither INIT nor DESTROY: these end the session.
        let opcode = match 1 + random.below(55) as u32 {
            opcode::INIT | opcode::DESTROY => opcode::LOOKUP,
            other => other,
        };
        let mut args = vec![0; 8 * random.below(9)];
        if random.below(2) == 0 {
            random.fill(&mut args);
        } else {
            args.chunks_mut(4).for_each(|number| number[0] = random.below(5) as u8);
        }
        args.extend([&b""[..], b"a\0", b"f\0", b"user.a\0", b"empty\0f\0"][random.below(5)]);
        let extensions = vec![0; 8 * (random.below(10) / 9)];
        client.send_extended(opcode, random.below(9) as u64, raw::Put(args), &extensions);
    }
    let server = client.server;
    assert!(server.count(opcode::SETATTR) > 100 || cfg!(miri));
}

#[test]
fn requests_cut_short_never_panic() {
    let mut random = XorShift::new(2);
    let mut server = server();
    for round in 0..if cfg!(miri) { 200 } else { 10_000 } {
        let mut request = raw(random.below(60) as u32, round, random.below(6) as u64, &vec![0; random.below(80)]);
        request.truncate(random.below(130));
        server.handle(&request, random.below(300));
    }
}

#[test]
fn a_fault_spoils_the_reply_that_it_was_meant_for() {
    for (fault, expected) in [
        (Fault::Refuse(Errno::EIO), Error::Refused(Errno::EIO)),
        (Fault::Error(-13), Error::Protocol("an error reply has a body")),
        (Fault::Error(13), Error::Protocol("a reply's error is out of range")),
        (Fault::Unique(9), Error::Protocol("a reply answers another request")),
        (Fault::Len(17), Error::Protocol("a reply's length is not what the device wrote")),
        (Fault::Cut(100), Error::Protocol("a reply's length is not what the device wrote")),
        (Fault::Cut(15), Error::Protocol("a reply is shorter than its header")),
        (Fault::Cut(0), Error::Protocol("a reply is shorter than its header")),
        (Fault::CutBody(127), Error::Protocol("a reply is cut short")),
        (Fault::Body(vec![0; 127]), Error::Protocol("a reply is cut short")),
        (Fault::Body(vec![0; 129]), Error::Device("the device was reset")),
    ] {
        let mut server = server();
        server.fault(opcode::LOOKUP, 1, fault.clone());
        let mut client = Client::new(server);
        let d = client.lookup(1, "d").unwrap();
        assert_eq!(client.lookup(d, "f"), Err(expected), "{fault:?}");
        let after = client.lookup(d, "f");
        match expected {
            Error::Refused(_) => assert!(after.is_ok()),
            _ => assert_eq!(after, Err(Error::Device("the device was reset")), "{fault:?}"),
        }
    }
}

#[test]
fn a_refused_lookup_is_not_counted() {
    let mut server = server();
    server.fault(opcode::LOOKUP, 0, Fault::Refuse(Errno::EINTR));
    let mut client = Client::new(server);
    assert_eq!(client.lookup(1, "d"), Err(Error::Refused(Errno::EINTR)));
    assert_eq!(client.channel.server().lock().known_nodes(), 0);
}

#[test]
fn a_hook_sees_and_changes_every_reply() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let mut server = server();
    server.tamper(|opcode, reply| {
        SEEN.fetch_add(1, Ordering::Relaxed);
        if opcode == opcode::READLINK {
            reply[16] = b'D';
        }
    });
    let mut client = Client::new(server);
    let l = client.lookup(1, "l").unwrap();
    assert_eq!(client.call(l, &Readlink, 100).unwrap().1, b"D/f");
    assert_eq!(SEEN.load(Ordering::Relaxed), 3);
}
