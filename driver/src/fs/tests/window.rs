//! Reading and writing through the DAX window.

mod mappings;
mod random;

use super::*;
use crate::test_utils::{FakeChannel, XorShift};
use crate::vnode::{Access, AllocateFlags};
use crate::{CacheMode, CacheOptions, Credentials, Dax, MountOptions};
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

/// The server takes the bits away itself when it is told of a WRITE.
#[test]
fn set_id_bits_are_asked_for_once_when_something_is_stored_into_a_mapping_and_not_before() {
    for mode in MODES {
        let mut server = FakeServer::new();
        server.options.init_flags |= crate::InitFlags::HANDLE_KILLPRIV_V2.bits();
        server.file("f", content(4 * MIB)).add_window(8 * MIB, 12);
        let attr = server.attr_mut("f");
        (attr.uid, attr.permissions) = (1000, 0o6755);
        let channel = FakeChannel::new(server);
        let credentials = Credentials { uid: 1000, gid: 1000, ..Credentials::default() };
        let options = MountOptions { credentials, permissions: crate::Permissions::Server, ..options(mode) };
        let mounted = Mounted { fs: crate::test_utils::mount(channel.clone(), &options).unwrap(), channel };
        let permissions = || mounted.server(|server| server.attr("f").permissions);
        let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
        let behind = (4 * MIB) as u64;
        // What makes the file longer is not mapped. Where it ends may be asked for.
        let sent = mounted.sent_by(|| file.write_all_at(behind, b"longer").unwrap()).1;
        assert_eq!(sent, [opcode::WRITE], "{mode:?}");
        mounted.server(|server| server.attr_mut("f").permissions = 0o6755);
        let (written, sent) = mounted.sent_by(|| file.write_at(0, &content(MIB)));
        written.unwrap();
        assert!(sent.contains(&opcode::SETUPMAPPING) && sent.contains(&opcode::SETATTR), "{mode:?}: {sent:?}");
        assert_eq!(permissions(), 0o755, "{mode:?}");
        assert_eq!(mounted.sent_by(|| file.write_all_at(100, b"again").unwrap()).1, [], "{mode:?}");
        drop(file);
        mounted.unmount();
    }
}

#[test]
fn what_is_mapped_is_counted_as_long_as_somebody_uses_it() {
    let mounted = mount(CacheMode::Auto, 8 * MIB, 4 * MIB);
    let used = || {
        let statistics = mounted.fs.statistics();
        (statistics.mappings, statistics.mapped_bytes)
    };
    assert_eq!(used(), (0, 0));
    let file = OpenOptions::new().read(true).write(true).open(&mounted.fs, "f").unwrap();
    file.read_at(0, &mut vec![0; 2 * MIB]).unwrap();
    assert_eq!(used(), (1, 2 * MIB as u64));
    let mapping = file.as_open_file().map(0..4096, Access::READ).unwrap();
    assert_eq!(used(), (2, 2 * MIB as u64 + 4096));
    drop(mapping);
    mounted.fs.drop_caches();
    assert_eq!(used(), (0, 0));
    drop(file);
    mounted.unmount();
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
