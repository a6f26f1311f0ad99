//! The host and the driver look at the same bytes.

use super::content::{Random, content};
use super::{MIB, MODES, daemon_in_memory, mount, options, requests};
use std::fs;
use std::os::unix::fs::FileExt;
use virtio_fs::fs::OpenOptions;
use virtio_fs::{Access, CacheMode};

const OF_DATA: [&str; 5] = ["READ", "WRITE", "SETUPMAPPING", "FSYNC", "FLUSH"];

#[test]
fn what_host_and_guest_write_into_mapped_extents_the_other_sees_at_once() {
    let daemon = daemon_in_memory(&["--window", "8M"], |share| {
        fs::write(share.join("file"), content(4 * MIB)).unwrap();
    });
    let host = fs::File::options().read(true).write(true).open(daemon.file("file")).unwrap();
    for mode in MODES {
        let mut expected = fs::read(daemon.file("file")).unwrap();
        let fs = mount(&daemon, &options(mode));
        let file = OpenOptions::new().read(true).write(true).open(&fs, "file").unwrap();
        // All of it is mapped for writing.
        for at in (0..4 * MIB).step_by(MIB) {
            assert_eq!(file.write_at(at as u64, &expected[at..at + MIB]).unwrap(), MIB);
        }
        let before = requests(&fs, &OF_DATA);
        assert!(requests(&fs, &["SETUPMAPPING"]) > 0 && requests(&fs, &["WRITE"]) == 0, "{mode:?}");
        let mut random = Random::new(1);
        for round in 0..2000_u64 {
            let bytes = 1 + random.below(10_000) as usize;
            let at = random.below((4 * MIB - bytes) as u64);
            let data: Vec<u8> = (0..bytes as u64).map(|byte| (round * 31 + byte * 7) as u8).collect();
            let mut seen = vec![0; bytes];
            if round % 2 == 0 {
                host.write_all_at(&data, at).unwrap();
                assert_eq!(file.read_at(at, &mut seen).unwrap(), bytes);
            } else {
                assert_eq!(file.write_at(at, &data).unwrap(), bytes);
                host.read_exact_at(&mut seen, at).unwrap();
            }
            assert!(seen == data, "{mode:?}, round {round}: {bytes} bytes at {at}");
            expected[at as usize..][..bytes].copy_from_slice(&data);
        }
        assert_eq!(requests(&fs, &OF_DATA), before, "{mode:?}");
        assert!(fs::read(daemon.file("file")).unwrap() == expected);
        drop(file);
        fs.unmount().unwrap();
    }
}

#[test]
fn what_is_mapped_anew_is_what_the_host_wrote_before() {
    const BYTES: usize = 8 * MIB;
    let daemon = daemon_in_memory(&["--window", "2M"], |share| {
        fs::write(share.join("file"), content(BYTES)).unwrap();
    });
    let host = fs::File::options().write(true).open(daemon.file("file")).unwrap();
    let fs = mount(&daemon, &options(CacheMode::Auto));
    let file = fs.open("file").unwrap();
    let mut random = Random::new(2);
    for round in 1..=500_u64 {
        let bytes = 8 + random.below(200_000) as usize;
        // Each time in another place than the last time, which drives that out.
        let chunk = random.below(3) + round % 2;
        let at = chunk * 2 * MIB as u64 + random.below((2 * MIB - bytes) as u64);
        let data: Vec<u8> = round.to_ne_bytes().into_iter().cycle().take(bytes).collect();
        host.write_all_at(&data, at).unwrap();
        let before = requests(&fs, &["SETUPMAPPING"]);
        let mut seen = vec![0; bytes];
        if round % 3 == 0 {
            let mapping = file.map(at..at + bytes as u64, Access::READ).unwrap();
            mapping.read_at(0, &mut seen).unwrap();
            assert_eq!(requests(&fs, &["SETUPMAPPING"]), before + 1);
        } else {
            // So much at a time is mapped at once.
            let mut all = vec![0; 2 * MIB];
            assert_eq!(file.read_at(chunk * 2 * MIB as u64, &mut all).unwrap(), all.len());
            seen.copy_from_slice(&all[at as usize % (2 * MIB)..][..bytes]);
        }
        assert!(seen == data, "round {round}: stale at {at}");
    }
    let (maps, reads) = (requests(&fs, &["SETUPMAPPING"]), requests(&fs, &["READ"]));
    println!("{maps} mappings, {reads} READs");
    assert!(maps >= 250 && reads == 0, "{maps} mappings, {reads} READs");
    drop(file);
    fs.unmount().unwrap();
}
