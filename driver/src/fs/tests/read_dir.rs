//! Listings.

use super::*;
use crate::vnode::OpenFlags;

fn mount(readdirplus: bool) -> Mounted {
    Mounted::new(|server| {
        server.options.readdirplus = readdirplus;
        server.file("file", "content").dir("dir").symlink("link", "file").dir("empty");
    })
}

#[test]
fn a_listing_has_neither_dot_nor_dot_dot() {
    for readdirplus in [true, false] {
        let mounted = mount(readdirplus);
        let entries: Vec<_> = mounted.fs.read_dir("/").unwrap().map(|entry| entry.unwrap()).collect();
        let listed: Vec<_> = entries.iter().map(|entry| (entry.file_name(), entry.file_type().unwrap())).collect();
        let expected: [(&[u8], FileType); 4] = [
            (b"file", FileType::Regular),
            (b"dir", FileType::Directory),
            (b"link", FileType::Symlink),
            (b"empty", FileType::Directory),
        ];
        assert_eq!(listed, expected);
        assert_eq!(mounted.fs.read_dir("empty/.").unwrap().count(), 0);
        drop(entries);
        mounted.unmount();
    }
}

#[test]
fn metadata_comes_with_the_listing_or_is_looked_up() {
    for readdirplus in [true, false] {
        let mounted = mount(readdirplus);
        let entries: Vec<_> = mounted.fs.read_dir("/").unwrap().map(|entry| entry.unwrap()).collect();
        let (_, sent) = mounted.sent_by(|| {
            assert_eq!(entries[0].metadata().unwrap().len(), 7);
            assert!(entries[2].metadata().unwrap().is_symlink(), "links are not followed");
            assert_eq!(entries[0].node().unwrap().file_type(), FileType::Regular);
        });
        assert_eq!(sent.len(), if readdirplus { 0 } else { 3 });
        mounted.server(|server| {
            server.remove("file");
        });
        let gone = entries[0].metadata().err();
        assert_eq!(gone, (!readdirplus).then_some(Error::Refused(Errno::ENOENT)));
        drop(entries);
        mounted.unmount();
    }
}

#[test]
fn entries_are_good_for_longer_than_their_listing() {
    let mounted = mount(true);
    let entry = mounted.fs.read_dir("/").unwrap().next().unwrap().unwrap();
    assert_eq!(mounted.count(opcode::RELEASEDIR), 1);
    assert_eq!(entry.node().unwrap().open(OpenFlags::READ_ONLY).unwrap().read_at(0, &mut [0; 9]), Ok(7));
    drop(entry);
    mounted.unmount();
}

#[test]
fn a_listing_ends_after_its_first_error() {
    let mounted = mount(true);
    mounted.server(|server| {
        server.fault(opcode::READDIR, 0, Fault::Refuse(Errno::EIO));
    });
    let mut listing = mounted.fs.read_dir("/").unwrap();
    assert_eq!(listing.by_ref().take(4).filter(Result::is_ok).count(), 4);
    assert_eq!(listing.next().unwrap().err(), Some(Error::Refused(Errno::EIO)));
    assert!(listing.next().is_none());
    assert!(listing.next().is_none());
    drop(listing);
    mounted.unmount();
}

#[test]
fn a_listing_goes_on_from_the_position_of_its_cursor() {
    let mounted = mount(true);
    let mut dir = mounted.fs.root().opendir().unwrap();
    for _ in 0..4 {
        dir.next_entry().unwrap().unwrap();
    }
    let names: Vec<_> = ReadDir::from(dir).map(|entry| entry.unwrap().file_name().to_vec()).collect();
    assert_eq!(names, [&b"link"[..], b"empty"]);
    mounted.unmount();
}
