//! Mappings that programs hold.

use super::*;

#[test]
fn a_mapping_is_one_with_the_file_until_it_is_dropped() {
    for mode in MODES {
        let mounted = mount(mode, 8 * MIB, MIB);
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        file.read_at(0, &mut [0; 10_000]).unwrap();
        let mapping = file.map(4000..300_000, Access::READ | Access::WRITE).unwrap();
        assert_eq!(mapping.range(), 4000..300_000);
        let mut piece = [0; 1000];
        mapping.read_at(100, &mut piece).unwrap();
        assert_eq!(piece, content(MIB)[4100..5100]);
        let sent = mounted.sent_by(|| {
            mapping.write_at(0, b"mapped").unwrap();
            mapping.store_u32(96, 7).unwrap();
            assert_eq!(mapping.fetch_add_u32(96, 1), Ok(7));
            assert_eq!(mapping.compare_exchange_u32(96, 9, 1), Ok(Err(8)));
            assert_eq!(mapping.compare_exchange_u32(96, 8, 10), Ok(Ok(8)));
            assert_eq!(mapping.load_u32(96), Ok(10));
            mapping.store_u64(104, u64::MAX).unwrap();
            assert_eq!(mapping.fetch_add_u64(104, 2), Ok(u64::MAX));
            assert_eq!(mapping.compare_exchange_u64(104, 1, 3), Ok(Ok(1)));
            assert_eq!(mapping.load_u64(104), Ok(3));
        });
        assert_eq!(sent.1, []);
        let mut expected = content(MIB);
        expected[4000..4006].copy_from_slice(b"mapped");
        expected[4096..4100].copy_from_slice(&10_u32.to_ne_bytes());
        expected[4104..4112].copy_from_slice(&3_u64.to_ne_bytes());
        assert!(mounted.server(|server| server.content("f")) == expected);
        // Whoever reads and writes in other ways sees the same, and is seen.
        assert!(read_all(&file, 10_000) == expected, "{mode:?}");
        file.write_all_at(4010, b"written").unwrap();
        // Two places of the fake window with one range of a file are alike whenever the server looks.
        mounted.server(|_| ());
        let mut written = [0; 7];
        mapping.read_at(10, &mut written).unwrap();
        assert_eq!(&written, b"written");
        mapping.flush().unwrap();
        assert_eq!(mounted.count(opcode::FSYNC), 1);
        drop(mapping);
        expected[4010..4017].copy_from_slice(b"written");
        assert!(read_all(&file, 10_000) == expected, "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let mounted = mount(CacheMode::Auto, MIB, 3 * MIB + 100);
    let open = |write| OpenOptions::new().read(true).write(write).open(&mounted.fs, "f").unwrap();
    let errno = |result: Result<crate::vnode::Mapping, Error>| result.map(drop).map_err(Error::errno);
    let reader = open(false);
    assert_eq!(errno(reader.map(0..4096, Access::READ | Access::WRITE)), Err(Errno::EBADF));
    assert_eq!(errno(reader.map(5..5, Access::READ)), Err(Errno::EINVAL));
    assert_eq!(errno(reader.map(0..3 * MIB as u64 + 1, Access::READ)), Err(Errno::ENXIO));
    assert_eq!(errno(reader.map(u64::MAX - 5..u64::MAX, Access::READ)), Err(Errno::ENXIO));
    assert_eq!(errno(reader.map(0..2 * MIB as u64, Access::READ)), Err(Errno::ENOMEM));
    let mapping = reader.map(0..600_000, Access::READ).unwrap();
    assert_eq!(errno(reader.map(0..600_000, Access::READ)), Err(Errno::ENOMEM));
    assert_eq!(mapping.write_at(0, b"x"), Err(Error::Invalid(Errno::EBADF)));
    assert_eq!(mapping.store_u32(0, 1), Err(Error::Invalid(Errno::EBADF)));
    assert_eq!(mapping.fetch_add_u64(0, 1), Err(Error::Invalid(Errno::EBADF)));
    assert_eq!(mapping.load_u32(2), Err(Error::Invalid(Errno::EINVAL)));
    assert_eq!(mapping.read_at(599_999, &mut [0; 2]), Err(Error::Invalid(Errno::EINVAL)));
    // It is pinned: others have what is left, and nothing of it is driven out.
    assert!(read_all(&reader, MIB) == content(3 * MIB + 100));
    mapping.read_at(599_998, &mut [0; 2]).unwrap();
    open(true).set_len(4096).unwrap();
    assert_eq!(mapping.read_at(5000, &mut [0]), Err(Error::Invalid(Errno::ENXIO)));
    mapping.read_at(0, &mut [0; 4096]).unwrap();
    drop(mapping);
    mounted.server(|server| server.options.refused.insert(opcode::SETUPMAPPING, Errno::EIO));
    assert_eq!(errno(reader.map(0..4096, Access::READ)), Err(Errno::EIO));
    drop(reader);
    mounted.unmount();
    let without = Mounted::new(|server| {
        server.file("f", content(MIB));
    });
    assert_eq!(errno(without.fs.open("f").unwrap().map(0..4096, Access::READ)), Err(Errno::ENODEV));
    without.unmount();
}

#[test]
fn what_was_cut_off_is_not_looked_at_in_a_mapping_although_nothing_is_kept_of_the_file() {
    for mode in MODES {
        let mounted = mount(mode, 8 * MIB, MIB);
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        let mapping = file.map(0..MIB as u64, Access::READ | Access::WRITE).unwrap();
        file.set_len(5000).unwrap();
        mounted.fs.drop_caches();
        // Asked for once more, if it is not known.
        assert_eq!(mapping.read_at(4096, &mut [0; 4096]), Err(Error::Invalid(Errno::ENXIO)), "{mode:?}");
        mounted.fs.drop_caches();
        assert_eq!(mapping.store_u32(8192, 1), Err(Error::Invalid(Errno::ENXIO)), "{mode:?}");
        mapping.read_at(0, &mut [0; 4096]).unwrap();
        drop((mapping, file));
        mounted.unmount();
    }
}

/// The window has no room for more than the mapping: others read and write by requests.
#[test]
fn nothing_is_kept_of_what_a_program_has_mapped() {
    for mode in MODES {
        let mut server = FakeServer::new();
        server.file("f", content(MIB)).add_window(MIB, 12);
        let channel = FakeChannel::new(server);
        let cache = CacheOptions { mode, writeback: mode != CacheMode::None, ..CacheOptions::default() };
        let fs = crate::test_utils::mount(channel.clone(), &MountOptions { cache, ..options(mode) }).unwrap();
        let mounted = Mounted { fs, channel };
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        file.read_at(5000, &mut [0; 6]).unwrap();
        let mapping = file.map(0..MIB as u64, Access::READ | Access::WRITE).unwrap();
        for word in [b"stored", b"again!"] {
            mapping.write_at(5000, word).unwrap();
            let mut seen = [0; 6];
            file.read_at(5000, &mut seen).unwrap();
            assert_eq!(&seen, word, "{mode:?}");
            file.write_all_at(70_000, word).unwrap();
            // The fake window is one with the file whenever the server looks.
            mounted.server(|_| ());
            mapping.read_at(70_000, &mut seen).unwrap();
            assert_eq!(&seen, word, "{mode:?}");
        }
        drop(mapping);
        drop(file);
        mounted.unmount();
    }
}
