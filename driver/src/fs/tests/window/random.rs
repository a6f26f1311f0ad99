//! Random operations, against vectors.

use super::*;

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
