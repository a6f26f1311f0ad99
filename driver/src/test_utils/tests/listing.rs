//! Listings of the fake server.

use super::*;

/// A name, and the nodeid that was counted.
type Listed = (Vec<u8>, Option<u64>);

/// Lists a directory with replies of `size_bytes`.
fn list(client: &mut Client, nodeid: u64, plus: bool, size_bytes: u32) -> Result<Vec<Listed>, Error> {
    let fh = client.call(nodeid, &Opendir { flags: OpenFlags::empty() }, 0)?.0.fh;
    let mut entries = Vec::new();
    let mut cookie = 0;
    loop {
        let result = if plus {
            client.call(nodeid, &Readdirplus { fh, cookie, size_bytes }, size_bytes as usize)
        } else {
            client.call(nodeid, &Readdir { fh, cookie, size_bytes }, size_bytes as usize)
        };
        let listing = match result {
            Ok((_, listing)) if listing.is_empty() => break,
            Ok((_, listing)) => listing,
            Err(error) => {
                client.call(nodeid, &Releasedir { fh, flags: OpenFlags::empty() }, 0)?;
                return Err(error);
            }
        };
        let mut reader = DirentReader { plus, position: 0 };
        while let Some(dirent) = reader.next(&listing) {
            let dirent = dirent.unwrap();
            cookie = dirent.cookie;
            entries.push((dirent.name.to_vec(), dirent.entry.map(|entry| entry.nodeid.0)));
        }
    }
    client.call(nodeid, &Releasedir { fh, flags: OpenFlags::empty() }, 0)?;
    Ok(entries)
}

#[test]
fn a_listing_is_the_same_with_any_size_of_reply() {
    let mut server = FakeServer::new();
    let names: Vec<_> = (0..40_usize).map(|i| format!("{:x>1$}", i, 1 + i * 5)).collect();
    for name in &names {
        server.file(name, "");
    }
    let expected: Vec<_> = [".", ".."].into_iter().chain(names.iter().map(|name| &name[..])).collect();
    let mut client = Client::new(server);
    for plus in [false, true] {
        for size_bytes in [376, 377, 400, 1000, 4096, 1 << 16] {
            let entries = list(&mut client, 1, plus, size_bytes).unwrap();
            let listed: Vec<_> = entries.iter().map(|(name, _)| core::str::from_utf8(name).unwrap()).collect();
            assert_eq!(listed, expected, "in replies of {size_bytes} bytes");
        }
    }
    assert!(client.violations().is_empty());
    // The names of 1 to 196 bytes need up to 224 bytes, and 128 more with READDIRPLUS.
    assert_eq!(list(&mut client, 1, false, 223), Err(Error::Refused(Errno::EINVAL)));
    assert_eq!(list(&mut client, 1, true, 351), Err(Error::Refused(Errno::EINVAL)));
    assert!(client.violations().is_empty());
}

#[test]
fn readdirplus_counts_one_lookup_of_each_entry_but_dot_and_dot_dot() {
    let mut client = Client::new(server());
    let entries = list(&mut client, 1, true, 4096).unwrap();
    let counted: Vec<_> = entries.iter().filter_map(|&(_, nodeid)| nodeid).collect();
    assert_eq!(entries.len(), 5);
    assert_eq!(counted.len(), 3);
    list(&mut client, 1, true, 4096).unwrap();
    let server = client.channel.server();
    assert!(counted.iter().all(|&nodeid| server.lock().nlookup(NodeId(nodeid)) == 2));
    assert_eq!(server.lock().known_nodes(), 3);
    server.lock().options.readdirplus = false;
    assert_eq!(list(&mut client, 1, true, 4096), Err(Error::Refused(Errno::ENOSYS)));
    assert!(client.violations().is_empty());
}

#[test]
fn a_listing_goes_on_behind_an_entry_that_is_gone() {
    let mut server = FakeServer::new();
    server.file("a", "").file("b", "").file("c", "");
    let mut client = Client::new(server);
    let fh = client.call(1, &Opendir { flags: OpenFlags::empty() }, 0).unwrap().0.fh;
    let mut next = |cookie| {
        let (_, listing) = client.call(1, &Readdir { fh, cookie, size_bytes: 32 }, 32).unwrap();
        let dirent = DirentReader { plus: false, position: 0 }.next(&listing)?.unwrap();
        Some((dirent.name.to_vec(), dirent.cookie))
    };
    let mut cookie = 0;
    for _ in 0..4 {
        cookie = next(cookie).unwrap().1;
    }
    assert_eq!(next(cookie).unwrap().0, b"c");
    client.channel.server().lock().remove("b").remove("a");
    let (_, listing) = client.call(1, &Readdir { fh, cookie, size_bytes: 32 }, 32).unwrap();
    assert_eq!(DirentReader { plus: false, position: 0 }.next(&listing).unwrap().unwrap().name, b"c");
    let bad = Readdir { fh, cookie: 3, size_bytes: 32 };
    assert_eq!(client.call(1, &bad, 32).err(), Some(Error::Refused(Errno::EINVAL)));
    assert_eq!(client.violations().len(), 1, "a cookie that was never given");
}
