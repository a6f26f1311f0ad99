//! Files that the host cuts off.

use super::common::eventually;
use super::content::content;
use super::{MIB, daemon_in_memory, mount, options};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use virtio_fs::{Access, CacheMode, Errno, Error, VirtioFs};
use virtio_fs_vhost_user::{GuestHal, connect};

/// Attributes are good for a second.
const LONGER_THAN_ATTRIBUTES: Duration = Duration::from_millis(1100);

#[test]
fn what_the_host_cut_off_before_it_could_be_known_is_not_there() {
    let daemon = daemon_in_memory(&["--window", "8M"], |share| {
        fs::write(share.join("file"), content(4 * MIB)).unwrap();
        fs::write(share.join("other"), content(4 * MIB)).unwrap();
    });
    let host = |name, bytes| fs::File::options().write(true).open(daemon.file(name)).unwrap().set_len(bytes).unwrap();
    let mounted = mount(&daemon, &options(CacheMode::Auto));
    let [file, other] = ["file", "other"].map(|name| mounted.open(name).unwrap());
    let expected = content(4 * MIB);
    let mut all = vec![0; 4 * MIB];
    for file in [&file, &other] {
        assert_eq!(file.read_at(0, &mut all).unwrap(), all.len());
    }
    let mapping = file.map(2 * MIB as u64..3 * MIB as u64, Access::READ).unwrap();
    host("file", MIB as u64 + 10);
    host("other", 0);
    std::thread::sleep(LONGER_THAN_ATTRIBUTES);
    // Without that the test would end by SIGBUS.
    let mut piece = vec![0; 2 * MIB];
    let mut done = 0;
    while let bytes @ 1.. = file.read_at(done as u64, &mut piece).unwrap() {
        assert!(piece[..bytes] == expected[done..done + bytes]);
        done += bytes;
    }
    assert_eq!(done, MIB + 10);
    assert_eq!(mapping.read_at(0, &mut [0; 8]), Err(Error::Invalid(Errno::ENXIO)));
    assert_eq!(other.read_at(0, &mut piece).unwrap(), 0);
    // It grows again: holes.
    host("file", 4 * MIB as u64);
    std::thread::sleep(LONGER_THAN_ATTRIBUTES);
    assert_eq!(file.read_at(2 * MIB as u64, &mut piece).unwrap(), piece.len());
    assert!(piece.iter().all(|&byte| byte == 0));
    drop((mapping, file, other));
    mounted.unmount().unwrap();
}

/// This program, run again: it reads a file for a while that the host cuts off.
#[test]
#[ignore = "it is run by another test"]
fn reader_of_a_file_that_is_cut_off() {
    let folder = std::env::var_os("VIRTIO_FS_DAEMON_TEST_READER").expect("the other test's folder");
    let folder = Path::new(&folder);
    let (transport, platform) = connect(folder.join("socket"), "share").unwrap();
    let fs = VirtioFs::mount::<GuestHal>(transport, platform, &options(CacheMode::Auto)).unwrap();
    let file = fs.open("file").unwrap();
    let expected = content(4 * MIB);
    let mut piece = vec![0; 4 * MIB];
    let mut rounds = 0;
    while !folder.join("stop").exists() {
        let bytes = file.read_at(0, &mut piece).unwrap();
        // What was cut off and came back are zeros.
        let differs = (0..bytes).step_by(512).find(|&at| piece[at] != expected[at] && piece[at] != 0);
        assert_eq!(differs, None);
        rounds += 1;
        if rounds == 10 {
            fs::write(folder.join("ready"), "").unwrap();
        }
    }
    fs.unmount().unwrap();
}

#[test]
fn who_reads_while_the_host_cuts_a_file_off_succeeds_or_ends_by_sigbus() {
    let fill = |share: &Path| fs::write(share.join("file"), content(4 * MIB)).unwrap();
    let mut daemon = daemon_in_memory(&["--window", "8M"], fill);
    let folder = daemon.socket().parent().unwrap().to_owned();
    let mut reader = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "truncation::reader_of_a_file_that_is_cut_off"])
        .env("VIRTIO_FS_DAEMON_TEST_READER", &folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the reader has mapped the file", || folder.join("ready").exists());
    let host = fs::File::options().write(true).open(daemon.file("file")).unwrap();
    for round in 0..20 {
        host.set_len(if round % 2 == 0 { MIB as u64 } else { 4 * MIB as u64 }).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(folder.join("stop"), "").unwrap();
    let mut status = None;
    eventually("the reader ends", || {
        status = reader.try_wait().unwrap();
        status.is_some()
    });
    let status = status.unwrap();
    assert!(status.success() || status.signal() == Some(rustix::process::Signal::BUS.as_raw()), "{status}");
    // The daemon serves the next one.
    daemon.waits_for_a_front_end(2);
    fill(&daemon.share());
    let fs = mount(&daemon, &options(CacheMode::Auto));
    assert!(fs.read("file").unwrap() == content(4 * MIB));
    fs.unmount().unwrap();
}

#[test]
fn what_write_back_has_not_made_longer_yet_is_not_looked_at_through_a_mapping() {
    use virtio_fs::{CacheOptions, MountOptions, fs::OpenOptions};
    let daemon = daemon_in_memory(&["--window", "8M"], |share| fs::write(share.join("file"), content(MIB)).unwrap());
    let cache = CacheOptions { mode: CacheMode::Auto, writeback: true, ..CacheOptions::default() };
    let mounted = mount(&daemon, &MountOptions { cache, ..options(CacheMode::Auto) });
    let file = OpenOptions::new().read(true).write(true).open(&mounted, "file").unwrap();
    let mapping = file.map(0..8192, Access::READ).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(file.write_at(100_000, b"behind").unwrap(), 6);
    let mut seen = [1; 8];
    match mapping.read_at(0, &mut seen) {
        Ok(()) => assert_eq!(seen, [0; 8]),
        Err(error) => assert_eq!(error, Error::Invalid(Errno::ENXIO)),
    }
    drop((mapping, file));
    mounted.unmount().unwrap();
}

#[test]
fn what_was_cut_off_is_not_looked_at_through_an_older_mapping_when_write_back_makes_the_file_longer() {
    use virtio_fs::{CacheOptions, MountOptions, fs::OpenOptions};
    let daemon = daemon_in_memory(&["--window", "8M"], |share| fs::write(share.join("file"), content(MIB)).unwrap());
    let cache = CacheOptions { mode: CacheMode::Auto, writeback: true, ..CacheOptions::default() };
    let mounted = mount(&daemon, &MountOptions { cache, ..options(CacheMode::Auto) });
    let file = OpenOptions::new().read(true).write(true).open(&mounted, "file").unwrap();
    let older = file.map(0..MIB as u64, Access::READ).unwrap();
    file.set_len(8192).unwrap();
    let newer = file.map(0..8192, Access::READ).unwrap();
    assert_eq!(file.write_at(2 * MIB as u64, b"behind").unwrap(), 6);
    let mut seen = [1; 8];
    older.read_at(MIB as u64 / 2, &mut seen).unwrap();
    assert_eq!(seen, [0; 8]);
    drop((older, newer, file));
    mounted.unmount().unwrap();
}
