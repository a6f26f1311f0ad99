//! How many messages it takes: not more than without a window.

use super::content::{Random, content};
use super::{MIB, MODES, daemon_in_memory, mount, options, requests, without_window};
use std::fs;
use virtio_fs::fs::File;
use virtio_fs::{MountOptions, VirtioFs};

const BYTES: usize = 64 * MIB;
const PASSES: u64 = 3;

/// 4,096 random reads of 4 KiB, others in each pass.
fn read_at_random(file: &File, expected: &[u8], pass: u64) {
    let mut random = Random::new(pass);
    let mut piece = [0; 4096];
    for _ in 0..4096 {
        let at = random.below((expected.len() - piece.len()) as u64 + 1);
        assert_eq!(file.read_at(at, &mut piece).unwrap(), piece.len());
        assert!(piece == expected[at as usize..][..piece.len()], "at {at}");
    }
}

/// READs and mappings after each pass.
fn random_passes(fs: VirtioFs, expected: &[u8]) -> Vec<(u64, u64)> {
    let file = fs.open("file").unwrap();
    let mut counts = Vec::new();
    for pass in 1..=PASSES {
        read_at_random(&file, expected, pass);
        counts.push((requests(&fs, &["READ"]), requests(&fs, &["SETUPMAPPING", "REMOVEMAPPING"])));
    }
    drop(file);
    fs.unmount().unwrap();
    counts
}

#[test]
fn random_reads_of_a_file_that_fits_into_the_window_map_it_once() {
    let expected = content(BYTES);
    let daemon = daemon_in_memory(&["--window", "64M"], |share| fs::write(share.join("file"), &expected).unwrap());
    for mode in MODES {
        let counts = random_passes(mount(&daemon, &options(mode)), &expected);
        println!("{mode:?}: {counts:?}");
        assert!((1..=32).contains(&counts[0].1), "{mode:?}: {counts:?}");
        assert!(counts.iter().all(|count| *count == counts[0]), "{mode:?}: {counts:?}");
    }
}

#[test]
fn random_reads_of_a_file_larger_than_the_window_send_no_more_messages_than_without() {
    let expected = content(BYTES);
    for window in ["32M", "16M"] {
        let fill = |share: &std::path::Path| fs::write(share.join("file"), &expected).unwrap();
        let daemon = daemon_in_memory(&["--window", window], fill);
        for mode in MODES {
            let [with, without] =
                [options(mode), without_window(mode)].map(|options| random_passes(mount(&daemon, &options), &expected));
            println!("{window}, {mode:?}: {with:?}, without {without:?}");
            for (with, without) in with.iter().zip(&without) {
                assert!(with.1 > 0 && without.1 == 0, "{window}, {mode:?}: is the window used?");
                assert!(with.0 + with.1 <= without.0, "{window}, {mode:?}: {with:?}, without {without:?}");
            }
        }
    }
}

#[test]
fn small_files_that_are_read_once_are_not_mapped_and_cost_what_they_do_without_a_window() {
    let expected = content(8192);
    let bytes = |number: usize| 1024 + number * 7168 / 499;
    let daemon = daemon_in_memory(&["--window", "64M"], |share| {
        (0..500).for_each(|number| fs::write(share.join(format!("{number}")), &expected[..bytes(number)]).unwrap());
    });
    let messages = |options: &MountOptions| {
        let fs = mount(&daemon, options);
        for number in 0..500 {
            assert!(fs.read(format!("{number}")).unwrap() == expected[..bytes(number)], "{number}");
        }
        let statistics = fs.statistics();
        fs.unmount().unwrap();
        // When inodes are forgotten depends on the time.
        statistics.requests().filter(|(name, _)| !name.contains("FORGET")).collect::<Vec<_>>()
    };
    for mode in MODES {
        let with = messages(&options(mode));
        assert_eq!(with, messages(&without_window(mode)), "{mode:?}");
        assert!(with.contains(&("READ", 500)) && with.iter().all(|(name, _)| *name != "SETUPMAPPING"), "{with:?}");
    }
}
