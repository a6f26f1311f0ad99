//! A daemon that answers with errors, late, or not at all, and one that is gone.

use super::common::{Daemon, Folder, PATIENCE, eventually};
use super::content::content;
use super::{MIB, MODES, daemon_in_memory, mount, options, requests};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use virtio_fs::fs::{File, OpenOptions};
use virtio_fs::virtio::{DeviceOptions, Transport};
use virtio_fs::{Access, CacheMode, Errno, Error, Hal, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{GuestHal, connect};

const BYTES: usize = 4 * MIB + 100;

fn fill(share: &Path) {
    fs::write(share.join("file"), content(BYTES)).unwrap();
}

fn open(fs: &VirtioFs) -> File {
    OpenOptions::new().read(true).write(true).open(fs, "file").unwrap()
}

fn expect_content(file: &File, expected: &[u8]) {
    let mut all = vec![0; expected.len() + 1];
    let mut done = 0;
    while done < expected.len() {
        let end = all.len().min(done + MIB);
        done += match file.read_at(done as u64, &mut all[done..end]).unwrap() {
            0 => panic!("it ends at {done}"),
            bytes => bytes,
        };
    }
    assert!(all[..done] == *expected);
}

/// Another daemon in place of one that is gone, and a new mount: what the file has, and that it is mapped.
fn expect_content_afterwards(folder: Folder, expected: &[u8]) {
    let daemon = Daemon::start_in(folder, &["--window", "8M"]);
    let fs = mount(&daemon, &options(CacheMode::Auto));
    expect_content(&open(&fs), expected);
    assert!(requests(&fs, &["SETUPMAPPING"]) > 0);
    assert!(fs::read(daemon.file("file")).unwrap() == *expected);
    fs.unmount().unwrap();
}

#[test]
fn files_that_are_not_mapped_are_read_and_written_by_requests() {
    for error in ["EIO", "ENOMEM", "ENOSYS"] {
        let fault = format!("setupmapping:error={error}");
        let daemon = daemon_in_memory(&["--window", "8M", "--inject", &fault], fill);
        for mode in MODES {
            let mut expected = fs::read(daemon.file("file")).unwrap();
            let fs = mount(&daemon, &options(mode));
            let file = open(&fs);
            for round in 0..3_u8 {
                let at = 100_000 * usize::from(round);
                expect_content(&file, &expected);
                file.write_all_at(at as u64, &vec![round; 2 * MIB]).unwrap();
                expected[at..at + 2 * MIB].fill(round);
            }
            expect_content(&file, &expected);
            assert!(file.map(0..4096, Access::READ).is_err());
            let asked = requests(&fs, &["SETUPMAPPING"]);
            assert!((1..=7).contains(&asked), "{error}, {mode:?}: asked {asked} times");
            file.close().unwrap();
            assert!(fs::read(daemon.file("file")).unwrap() == expected, "{error}, {mode:?}");
            fs.unmount().unwrap();
        }
        assert_eq!(daemon.stat("maps made"), 0);
    }
}

#[test]
fn what_is_read_and_written_while_a_mapping_is_late_is_right() {
    for mode in MODES {
        let daemon = daemon_in_memory(&["--window", "8M", "--inject", "setupmapping:delay=150"], fill);
        let mut expected = content(BYTES);
        let fs = mount(&daemon, &options(mode));
        let file = open(&fs);
        std::thread::scope(|scope| {
            let mapper = scope.spawn(|| file.read_at(0, &mut vec![0; MIB]).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            for at in [5_000, 700_000] {
                file.write_all_at(at as u64, b"meanwhile").unwrap();
                expected[at..at + 9].copy_from_slice(b"meanwhile");
                let mut seen = [0; 9];
                file.read_at(at as u64, &mut seen).unwrap();
                assert_eq!(&seen, b"meanwhile", "{mode:?}");
            }
            assert_eq!(mapper.join().unwrap(), MIB);
        });
        expect_content(&file, &expected);
        assert!(daemon.stat("maps live") > 0);
        file.close().unwrap();
        assert!(fs::read(daemon.file("file")).unwrap() == expected, "{mode:?}");
        fs.unmount().unwrap();
    }
}

#[test]
fn a_mapping_that_is_never_answered_ends_the_mount_and_a_new_one_is_right() {
    let faults = ["--window", "8M", "--inject", "setupmapping,after=1,times=1:drop"];
    let daemon = daemon_in_memory(&faults, fill);
    let device = DeviceOptions { request_timeout: Duration::from_millis(300), ..DeviceOptions::default() };
    let fs = mount(&daemon, &MountOptions { device, ..options(CacheMode::Auto) });
    let file = open(&fs);
    file.write_all_at(0, &vec![9; MIB]).unwrap();
    let mapping = file.map(0..4096, Access::READ);
    assert!(matches!(mapping, Err(Error::Device(_))), "{mapping:?}");
    let start = Instant::now();
    // The device was reset with a mapping that was in use: nobody looks there.
    assert!(matches!(file.read_at(0, &mut [0; 100]), Err(Error::Device(_))));
    assert!(matches!(file.write_at(0, &[0; 100]), Err(Error::Device(_))));
    assert!(matches!(fs.root().statfs(), Err(Error::Device(_))));
    assert!(start.elapsed() < PATIENCE);
    drop((file, fs));
    daemon.signal(Signal::KILL);
    let mut expected = content(BYTES);
    expected[..MIB].fill(9);
    expect_content_afterwards(daemon.ends().1, &expected);
}

/// What times out is none of the window's requests, and the daemon goes on to serve.
#[test]
fn a_reset_with_mappings_in_use_ends_them_and_the_same_daemon_serves_a_new_mount() {
    for mode in MODES {
        let faults = ["--window", "8M", "--inject", "statfs,times=1:drop"];
        let mut daemon = daemon_in_memory(&faults, fill);
        let device = DeviceOptions { request_timeout: Duration::from_millis(300), ..DeviceOptions::default() };
        let (transport, platform) = connect(daemon.socket(), "share").expect("a connection");
        let window = transport.shared_memory(0).expect("a window");
        let mount_options = MountOptions { device, ..options(mode) };
        let fs = VirtioFs::mount::<GuestHal>(transport, platform, &mount_options).expect("a mount");
        let file = open(&fs);
        file.write_all_at(0, &vec![9; 3 * MIB]).unwrap();
        let mapping = file.map(8192..20_000, Access::READ | Access::WRITE).unwrap();
        mapping.write_at(8, &[6; 100]).unwrap();
        assert!(daemon.stat("maps live") >= 2, "{mode:?}");
        assert!(matches!(fs.root().statfs(), Err(Error::Device(_))), "{mode:?}");

        let is_gone =
            |result: Result<(), Error>| assert!(matches!(result, Err(Error::Device(_))), "{mode:?}: {result:?}");
        let mut seen = [0; 100];
        is_gone(mapping.read_at(8, &mut seen));
        is_gone(mapping.write_at(8, &[1; 100]));
        is_gone(mapping.load_u32(8).map(drop));
        is_gone(mapping.load_u64(8).map(drop));
        is_gone(mapping.store_u32(8, 1));
        is_gone(mapping.store_u64(8, 1));
        is_gone(mapping.fetch_add_u32(8, 1).map(drop));
        is_gone(mapping.fetch_add_u64(8, 1).map(drop));
        is_gone(mapping.compare_exchange_u32(8, 0, 1).map(drop));
        is_gone(mapping.compare_exchange_u64(8, 0, 1).map(drop));
        is_gone(mapping.flush());
        is_gone(file.read_at(0, &mut seen).map(drop));
        is_gone(file.write_at(0, &seen).map(drop));
        is_gone(file.map(0..4096, Access::READ).map(drop));
        // Nothing is mapped there any more, and nobody has written where it was.
        let words = window.length_bytes as usize / 8;
        // SAFETY: inside the region, whose transport lives as long as the mount.
        let place = unsafe { GuestHal::mmio_phys_to_virt(window.address, window.length_bytes as usize) };
        // SAFETY: as above.
        let is_untouched = (0..words).all(|word| unsafe { place.cast::<u64>().add(word).read_volatile() } == 0);
        assert!(is_untouched, "{mode:?}");
        drop((mapping, file, fs));

        let mut expected = content(BYTES);
        expected[..3 * MIB].fill(9);
        expected[8200..8300].fill(6);
        assert!(fs::read(daemon.file("file")).unwrap() == expected, "{mode:?}");
        daemon.waits_for_a_front_end(2);
        assert_eq!(daemon.stat("maps live"), 0);
        let fs = mount(&daemon, &options(mode));
        expect_content(&open(&fs), &expected);
        assert!(requests(&fs, &["SETUPMAPPING"]) > 0);
        fs.unmount().unwrap();
    }
}

#[test]
fn a_daemon_that_dies_with_mappings_in_use_takes_nothing_with_it() {
    for fault in [None, Some("setupmapping,after=3:kill")] {
        let mut arguments = vec!["--window", "8M"];
        arguments.extend(fault.iter().flat_map(|fault| ["--inject", *fault]));
        let daemon = daemon_in_memory(&arguments, fill);
        let fs = mount(&daemon, &options(CacheMode::Auto));
        let file = open(&fs);
        file.write_all_at(0, &vec![8; 3 * MIB]).unwrap();
        let mapping = file.map(8192..20_000, Access::READ | Access::WRITE).unwrap();
        mapping.write_at(0, &[7; 5000]).unwrap();
        let mut expected = content(BYTES);
        expected[..3 * MIB].fill(8);
        expected[8192..13_192].fill(7);
        if fault.is_none() {
            daemon.signal(Signal::KILL);
        } else {
            let asked = (0..4).map(|_| file.map(0..4096, Access::READ).map(drop)).find(Result::is_err);
            assert!(matches!(asked, Some(Err(Error::Device(_)))), "{asked:?}");
        }
        let (_, folder) = daemon.ends();
        // What is mapped is there until the driver knows.
        let mut seen = [0; 100];
        match file.read_at(0, &mut seen) {
            Ok(bytes) => assert!(seen[..bytes] == expected[..bytes] && bytes == 100),
            Err(error) => assert!(matches!(error, Error::Device(_)), "{error}"),
        }
        match mapping.read_at(0, &mut seen) {
            Ok(()) => assert_eq!(seen, [7; 100]),
            Err(error) => assert!(matches!(error, Error::Device(_)), "{error}"),
        }
        assert!(matches!(fs.root().statfs(), Err(Error::Device(_))));
        assert!(matches!(mapping.read_at(0, &mut seen), Err(Error::Device(_))));
        assert!(matches!(mapping.fetch_add_u64(0, 1), Err(Error::Device(_))));
        drop((mapping, file, fs));
        expect_content_afterwards(folder, &expected);
    }
}

#[test]
fn a_mapping_keeps_its_mount_until_it_is_dropped_and_then_nothing_is_mapped() {
    let daemon = daemon_in_memory(&["--window", "8M"], fill);
    let fs = mount(&daemon, &options(CacheMode::Auto));
    let file = open(&fs);
    expect_content(&file, &content(BYTES));
    let mapping = file.map(0..8192, Access::READ | Access::WRITE).unwrap();
    drop(file);
    assert_eq!(fs.unmount(), Err(Error::Invalid(Errno::EBUSY)));
    mapping.store_u64(8, 5).unwrap();
    assert!(daemon.stat("maps live") > 0);
    drop(mapping);
    eventually("nothing is mapped", || daemon.stat("maps live") == 0);
    let fs = mount(&daemon, &options(CacheMode::Auto));
    let mut expected = content(BYTES);
    expected[8..16].copy_from_slice(&5_u64.to_ne_bytes());
    expect_content(&open(&fs), &expected);
    fs.unmount().unwrap();
}
