//! Reading and writing through the DAX window.

use super::*;
use crate::test_utils::{FakeChannel, XorShift};
use crate::vnode::{Access, AllocateFlags};
use crate::{CacheMode, CacheOptions, Dax, MountOptions};
use core::time::Duration;

const MIB: usize = 1 << 20;
const MODES: [CacheMode; 3] = [CacheMode::None, CacheMode::Auto, CacheMode::Always];

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

fn options(mode: CacheMode) -> MountOptions {
    let cache = CacheOptions { mode, ..CacheOptions::default() };
    MountOptions { cache, dax: Dax::Always, ..MountOptions::default() }
}

/// A mount with a file `f`, and a window.
fn mount(mode: CacheMode, window_bytes: usize, file_bytes: usize) -> Mounted {
    let mut server = FakeServer::new();
    server.file("f", content(file_bytes)).add_window(window_bytes, 12);
    let channel = FakeChannel::new(server);
    let fs = crate::test_utils::mount(channel.clone(), &options(mode)).unwrap();
    Mounted { fs, channel }
}

fn read_all(file: &File, piece_bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = vec![0; piece_bytes];
    loop {
        match file.read_at(all.len() as u64, &mut piece).unwrap() {
            0 => return all,
            bytes => all.extend_from_slice(&piece[..bytes]),
        }
    }
}

#[test]
fn a_file_is_read_in_sequence_through_a_window_of_any_size() {
    const BYTES: usize = 9 * MIB + 1234;
    for mode in MODES {
        for (window, extents, again) in [(4096, None, None), (2 * MIB, Some(5), None), (64 * MIB, Some(3), Some(0))] {
            let mounted = mount(mode, window, BYTES);
            let file = mounted.fs.open("f").unwrap();
            assert!(read_all(&file, MIB) == content(BYTES), "{mode:?}, {window}");
            let (maps, reads) = (mounted.count(opcode::SETUPMAPPING), mounted.count(opcode::READ));
            assert!(extents.is_none_or(|extents| maps == extents), "{mode:?}, {window}: {maps} mappings");
            if window > 4096 {
                // The end of the file, and to see that it is one where nothing is kept.
                assert!(reads <= if mode == CacheMode::None { 2 } else { 1 }, "{mode:?}, {window}: {reads} READs");
            }
            assert!(read_all(&file, MIB) == content(BYTES), "{mode:?}, {window}");
            let more = mounted.count(opcode::SETUPMAPPING) - maps;
            assert!(again.is_none_or(|again| more == again), "{mode:?}, {window}: {more} more");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn what_is_mapped_is_read_and_written_without_a_request() {
    for mode in MODES {
        let mounted = mount(mode, 8 * MIB, 4 * MIB);
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        let mut all = vec![0; 4 * MIB];
        file.write_at(0, &content(4 * MIB)).unwrap();
        assert_eq!(mounted.count(opcode::WRITE), 0);
        let sent = mounted.sent_by(|| {
            for at in (0..4 * MIB as u64).step_by(100_000) {
                file.write_all_at(at, b"written").unwrap();
                let mut piece = [0; 9];
                file.read_at(at.saturating_sub(1), &mut piece).unwrap();
            }
            file.read_at(0, &mut all).unwrap();
        });
        assert_eq!(sent.1, [], "{mode:?}");
        assert!(mounted.server(|server| server.content("f")) == all, "{mode:?}");
        // What the host changes is seen at once.
        mounted.server(|server| {
            let mut other = content(4 * MIB);
            other[3 * MIB] ^= 1;
            server.file("f", other);
        });
        let mut byte = [0];
        file.read_at(3 * MIB as u64, &mut byte).unwrap();
        assert_eq!(byte[0], content(4 * MIB)[3 * MIB] ^ 1, "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_is_mapped_is_read_and_written_there_also_when_its_end_has_to_be_asked_for_again() {
    for mode in [CacheMode::None, CacheMode::Auto] {
        let mounted = mount(mode, 8 * MIB, 4 * MIB);
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        file.write_all_at(0, &content(4 * MIB)).unwrap();
        for at in [5000, 3 * MIB as u64] {
            mounted.advance(Duration::from_secs(2));
            let sent = mounted.sent_by(|| file.read_at(at, &mut [0; 4096]).unwrap());
            assert_eq!(sent, (4096, vec![opcode::GETATTR]), "{mode:?}");
            mounted.advance(Duration::from_secs(2));
            let sent = mounted.sent_by(|| file.write_all_at(at, b"written").unwrap());
            assert_eq!(sent.1, [opcode::GETATTR], "{mode:?}");
        }
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn the_end_of_a_file_is_never_mapped_and_a_small_file_not_at_all() {
    let mounted = mount(CacheMode::Auto, 8 * MIB, 4095);
    for _ in 0..5 {
        assert_eq!(mounted.fs.read("f").unwrap(), content(4095));
    }
    for at in 0..20 {
        mounted.fs.write(format!("{at}"), content(8000)).unwrap();
        assert_eq!(mounted.fs.read(format!("{at}")).unwrap(), content(8000));
    }
    assert_eq!(mounted.count(opcode::SETUPMAPPING), 0);
    mounted.unmount();
}

#[test]
fn small_files_that_are_read_or_written_once_cost_no_more_requests_than_without_a_window() {
    for mode in MODES {
        let requests = |dax| {
            let mut server = FakeServer::new();
            for at in 0..21 {
                server.file(format!("{at}"), content(8000));
            }
            server.add_window(8 * MIB, 12);
            let channel = FakeChannel::new(server);
            let options = MountOptions { dax, ..options(mode) };
            let mounted = Mounted { fs: crate::test_utils::mount(channel.clone(), &options).unwrap(), channel };
            let (_, sent) = mounted.sent_by(|| {
                for at in 0..20 {
                    assert_eq!(mounted.fs.read(format!("{at}")).unwrap(), content(8000));
                }
                let file = OpenOptions::new().write(true).open(&mounted.fs, "20").unwrap();
                file.write_all_at(100, b"written").unwrap();
                file.close().unwrap();
            });
            mounted.unmount();
            sent
        };
        assert_eq!(requests(Dax::Always), requests(Dax::Never), "{mode:?}");
    }
}

#[test]
fn a_few_random_reads_map_what_is_wanted_again_and_drive_nothing_out() {
    let mounted = mount(CacheMode::Auto, 4 * MIB, 16 * MIB);
    let file = mounted.fs.open("f").unwrap();
    let mut random = XorShift::new(7);
    let expected = content(16 * MIB);
    for _ in 0..1024 {
        let at = random.below(16 * MIB - 4096) as u64;
        let mut piece = [0; 4096];
        file.read_at(at, &mut piece).unwrap();
        assert!(piece == expected[at as usize..][..4096]);
    }
    let (maps, reads) = (mounted.count(opcode::SETUPMAPPING), mounted.count(opcode::READ));
    assert!(maps <= 4 && reads < 650, "{maps} mappings, {reads} READs");
    // All of it fits into a larger window.
    drop(file);
    mounted.unmount();
    let mounted = mount(CacheMode::Auto, 16 * MIB, 16 * MIB);
    let file = mounted.fs.open("f").unwrap();
    for _ in 0..1024 {
        file.read_at(random.below(16 * MIB - 4096) as u64, &mut [0; 4096]).unwrap();
    }
    let (maps, reads) = (mounted.count(opcode::SETUPMAPPING), mounted.count(opcode::READ));
    assert!(maps <= 8 && reads <= 20, "{maps} mappings, {reads} READs");
    drop(file);
    mounted.unmount();
}

#[test]
fn what_the_host_cuts_off_is_not_looked_at_once_it_can_be_known() {
    for mode in [CacheMode::None, CacheMode::Auto] {
        let mounted = mount(mode, 8 * MIB, 4 * MIB);
        let file = mounted.fs.open("f").unwrap();
        assert!(read_all(&file, MIB) == content(4 * MIB));
        mounted.server(|server| {
            server.file("f", content(MIB + 10));
        });
        mounted.advance(Duration::from_secs(2));
        // Where nothing is mapped the window has other bytes than a file.
        assert!(read_all(&file, MIB) == content(MIB + 10), "{mode:?}");
        mounted.server(|server| {
            server.file("f", content(3 * MIB));
        });
        mounted.advance(Duration::from_secs(2));
        assert!(read_all(&file, MIB) == content(3 * MIB), "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn a_server_that_maps_nothing_is_read_by_requests() {
    for errno in [Errno::ENOSYS, Errno::EINVAL, Errno::EIO, Errno::ENOMEM] {
        for mode in MODES {
            let mounted = mount(mode, 8 * MIB, 4 * MIB);
            mounted.server(|server| server.options.refused.insert(opcode::SETUPMAPPING, errno));
            let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
            for _ in 0..3 {
                assert!(read_all(&file, MIB) == content(4 * MIB), "{errno:?}, {mode:?}");
            }
            file.write_all_at(MIB as u64, &content(2 * MIB)).unwrap();
            assert!(mounted.server(|server| server.content("f"))[MIB..3 * MIB] == content(2 * MIB));
            let asked = mounted.count(opcode::SETUPMAPPING);
            assert!(asked <= 6, "{errno:?}: {asked}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn mappings_of_forgotten_files_are_removed_together() {
    let mounted = mount(CacheMode::Auto, 64 * MIB, 2 * MIB);
    for at in 0..5 {
        mounted.fs.write(format!("{at}"), content(4 * MIB)).unwrap();
        assert!(mounted.fs.read(format!("{at}")).unwrap() == content(4 * MIB));
    }
    assert!(mounted.server(|server| server.mappings()) >= 5);
    mounted.fs.drop_caches();
    mounted.fs.maintain();
    assert_eq!((mounted.count(opcode::REMOVEMAPPING), mounted.server(|server| server.mappings())), (1, 0));
    mounted.fs.maintain();
    assert_eq!(mounted.count(opcode::REMOVEMAPPING), 1);
    assert!(mounted.fs.read("3").unwrap() == content(4 * MIB));
    mounted.unmount();
}

#[test]
fn a_device_that_is_gone_has_no_window() {
    let mounted = mount(CacheMode::Always, 8 * MIB, 4 * MIB);
    let file = mounted.fs.open("f").unwrap();
    assert!(read_all(&file, MIB) == content(4 * MIB));
    mounted.channel.fail_after(0);
    assert!(matches!(mounted.fs.root().statfs(), Err(Error::Device(_))));
    assert!(matches!(file.read_at(0, &mut [0; 10]), Err(Error::Device(_))));
}

#[test]
fn without_a_window_or_a_wish_for_it_nothing_is_mapped() {
    for (window, dax, marked) in [(false, Dax::Always, true), (true, Dax::Never, true), (true, Dax::Inode, false)] {
        let mut server = FakeServer::new();
        server.file("f", content(4 * MIB)).attr_mut("f").dax = marked;
        if window {
            server.add_window(8 * MIB, 12);
        }
        let channel = FakeChannel::new(server);
        let fs = crate::test_utils::mount(channel.clone(), &MountOptions { dax, ..options(CacheMode::Auto) }).unwrap();
        let mounted = Mounted { fs, channel };
        assert!(mounted.fs.read("f").unwrap() == content(4 * MIB));
        assert_eq!(mounted.count(opcode::SETUPMAPPING), 0);
        mounted.unmount();
    }
}

#[test]
fn files_that_the_server_marks_are_mapped() {
    let mut server = FakeServer::new();
    server.file("f", content(4 * MIB)).attr_mut("f").dax = true;
    server.add_window(8 * MIB, 21);
    let channel = FakeChannel::new(server);
    let fs = crate::test_utils::mount(channel.clone(), &MountOptions { dax: Dax::Inode, ..options(CacheMode::Auto) });
    let mounted = Mounted { fs: fs.unwrap(), channel };
    assert!(mounted.fs.read("f").unwrap() == content(4 * MIB));
    assert_eq!((mounted.count(opcode::SETUPMAPPING), mounted.count(opcode::READ)), (2, 0));
    mounted.unmount();
}

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

/// Random operations on two files of one mount and by the host, against vectors.
fn random_operations(seed: u64, mode: CacheMode, window_bytes: usize, alignment: u16, writeback: bool) {
    const LIMIT: usize = 200 << 10;
    let mut server = FakeServer::new();
    server.file("0", "").file("1", "").add_window(window_bytes, alignment);
    server.options.entry_ttl = Duration::from_secs(1000);
    let channel = FakeChannel::new(server);
    let cache = CacheOptions { mode, writeback, max_data_bytes: 1 << 18, ..CacheOptions::default() };
    let fs = crate::test_utils::mount(channel.clone(), &MountOptions { cache, ..options(mode) }).unwrap();
    let mounted = Mounted { fs, channel };
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(&mounted.fs, path).unwrap();
    let mut files = [open("0"), open("1")];
    let mut expected = [Vec::new(), Vec::new()];
    let mut random = XorShift::new(seed);
    for round in 0..400 {
        let which = random.below(2);
        let (file, model) = (&files[which], &mut expected[which]);
        let at = random.below(LIMIT) as u64;
        let bytes = match random.below(3) {
            0 => random.below(100),
            1 => random.below(70_000),
            _ => 4096,
        };
        let at = if random.below(2) == 0 { at & !4095 } else { at };
        match random.below(12) {
            0..4 => {
                let data: Vec<u8> = (0..bytes).map(|byte| (seed as usize + round * 31 + byte) as u8).collect();
                file.write_all_at(at, &data).unwrap();
                let end = at as usize + data.len();
                if !data.is_empty() {
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&data);
                }
            }
            4 => {
                file.set_len(at).unwrap();
                model.resize(at as usize, 0);
            }
            5 => {
                file.allocate(at, bytes as u64 + 1, AllocateFlags::PUNCH_HOLE | AllocateFlags::KEEP_SIZE).unwrap();
                let end = (at as usize + bytes + 1).min(model.len());
                if (at as usize) < end {
                    model[at as usize..end].fill(0);
                }
            }
            6 => {
                mounted.fs.drop_caches();
                mounted.fs.maintain();
            }
            7 => files[which] = open(if which == 0 { "0" } else { "1" }),
            8 if mode != CacheMode::Always => {
                mounted.fs.drop_caches();
                *model = (0..at as usize).map(|byte| (byte / 3 + round) as u8).collect();
                mounted.server(|server| {
                    server.file(if which == 0 { "0" } else { "1" }, model.clone());
                });
                mounted.fs.drop_caches();
                mounted.advance(Duration::from_secs(2));
            }
            _ => {
                let mut buffer = vec![0xee; bytes];
                let read = file.read_at(at, &mut buffer).unwrap();
                let start = model.len().min(at as usize);
                let end = model.len().min(at as usize + bytes);
                assert!(buffer[..read] == model[start..end], "seed {seed}, round {round}, {mode:?}, {at}, {bytes}");
            }
        }
    }
    for (file, model) in files.into_iter().zip(&expected) {
        assert!(read_all(&file, 10_000) == *model, "seed {seed}, {mode:?}");
        file.close().unwrap();
    }
    for (path, model) in ["0", "1"].into_iter().zip(&expected) {
        assert!(mounted.server(|server| server.content(path)) == *model, "seed {seed}, {mode:?}: {path} on the host");
    }
    mounted.unmount();
}

#[test]
fn files_are_what_was_written_whatever_is_mapped() {
    for seed in 1..5 {
        for mode in MODES {
            for (window, alignment) in [(4096, 12), (40 << 10, 12), (256 << 10, 14), (MIB, 12)] {
                random_operations(seed, mode, window, alignment, seed % 2 == 0);
            }
        }
    }
}
