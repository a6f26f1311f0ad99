//! A large file through windows that are smaller and larger.

use super::common::Daemon;
use super::content::content;
use super::{MIB, daemon_in_memory, mount, options, requests};
use rustix::process::Signal;
use std::fs;
use virtio_fs::CacheMode;
use virtio_fs::fs::File;

const BYTES: usize = 256 * MIB + 1234;

fn expect_content(file: &File, expected: &[u8]) {
    let mut piece = vec![0; MIB];
    let mut at = 0;
    loop {
        let bytes = file.read_at(at as u64, &mut piece).unwrap();
        assert!(expected.get(at..at + bytes) == Some(&piece[..bytes]), "from {at} on, {bytes} bytes");
        at += bytes;
        if bytes == 0 {
            break;
        }
    }
    assert_eq!(at, expected.len());
}

#[test]
fn a_large_file_is_read_in_sequence_through_a_window_of_any_size() {
    let expected = content(BYTES);
    let mut daemon: Option<Daemon> = None;
    for (window, fits) in [("2M", false), ("16M", false), ("64M", false), ("256M", true), ("1G", true)] {
        let arguments = ["--window", window];
        let served = match daemon.take() {
            None => daemon_in_memory(&arguments, |share| fs::write(share.join("file"), &expected).unwrap()),
            Some(daemon) => {
                daemon.signal(Signal::TERM);
                Daemon::start_in(daemon.ends().1, &arguments)
            }
        };
        let fs = mount(&served, &options(CacheMode::Auto));
        let file = fs.open("file").unwrap();
        expect_content(&file, &expected);
        let first = requests(&fs, &["SETUPMAPPING"]);
        assert_eq!(requests(&fs, &["READ"]), 1, "{window}: the end of the file");
        assert!((1..=BYTES.div_ceil(2 * MIB) as u64).contains(&first), "{window}: {first} mappings");
        expect_content(&file, &expected);
        let second = requests(&fs, &["SETUPMAPPING"]) - first;
        assert!(!fits || second == 0, "{window}: {second} mappings in the second pass");
        assert!(second <= BYTES.div_ceil(2 * MIB) as u64, "{window}: {second} mappings in the second pass");
        println!("window {window}: {first} mappings, then {second}");
        // As the daemon counts.
        assert_eq!((served.stat("messages setupmapping"), served.stat("maps refused")), (first + second, 0));
        drop(file);
        fs.unmount().unwrap();
        daemon = Some(served);
    }
}
