//! Conformance suites of others, run on the mount as root.
//!
//! `pjdfstest` 0.2.2 and `fsx` 0.3.2 are programs of the Rust registry. The environment variables PJDFSTEST and FSX say
//! where they are, and VIRTIO_FS_FSX_OPERATIONS how much each run of fsx does. VIRTIO_FS_DAEMON says where the daemon with a
//! window is, which `cargo build -p virtio-fs-daemon` makes.

mod common;

use common::{Mount, run, suite, within};
use rustix::fs::{FallocateFlags, OFlags};
use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// All that Linux has. The users and groups are those of every Debian.
const PJDFSTEST_CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

/// What the same tests say of a FUSE file system that only passes everything through: 13 want to remount, 2 want a
/// second file system, 1 a limit of links that FUSE does not tell.
const PJDFSTEST_SUMMARY: &str = "Summary: 0 failed, 16 skipped, 382 passed, 0 expected failures, 398 total";

#[test]
fn pjdfstest_finds_what_it_finds_on_the_shared_directory_itself() {
    pjdfstest(&[]);
}

/// The caches are at work, and what they know is never believed without a question.
#[test]
fn pjdfstest_finds_the_same_with_caches_of_which_all_expires_at_once() {
    pjdfstest(&["--cache", "auto", "--entry-timeout", "0", "--attr-timeout", "0"]);
}

fn pjdfstest(options: &[&str]) {
    let pjdfstest = suite("PJDFSTEST", "pjdfstest@0.2.2");
    let mount = Mount::with(options);
    let configuration = mount.beside.join("pjdfstest.toml");
    fs::write(&configuration, PJDFSTEST_CONFIGURATION).unwrap();
    fs::set_permissions(&mount.share, fs::Permissions::from_mode(0o1777)).unwrap();

    let mut command = within(120, pjdfstest);
    let output = command.arg("-c").arg(&configuration).arg("-p").arg(&mount.point).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().find(|line| line.starts_with("Summary"));
    assert_eq!(summary, Some(PJDFSTEST_SUMMARY), "{text}{}", String::from_utf8_lossy(&output.stderr));
    mount.end();
}

/// Everything that it knows, but for what Linux lacks.
const FSX_CONFIGURATION: &str = "
[weights]
close_open = 1
read = 10
write = 10
mapread = 5
mapwrite = 5
invalidate = 1
truncate = 5
fsync = 1
fdatasync = 1
posix_fallocate = 3
punch_hole = 3
sendfile = 3
posix_fadvise = 1
copy_file_range = 5
";

/// How much fsx does in one run. It never unmaps what it maps, and gets slower and slower.
const FSX_RUN_OPERATIONS: u32 = 10_000;
/// How much fsx does with each mount, unless the environment variable VIRTIO_FS_FSX_OPERATIONS says another number.
const FSX_OPERATIONS: u32 = 20_000;

fn fsx(options: &[&str], operations: u32) {
    let mount = Mount::with(options);
    fsx_on(&mount, "", operations);
    mount.end();
}

/// Runs fsx on a mount, with further `settings`.
fn fsx_on(mount: &Mount, settings: &str, operations: u32) {
    let fsx = suite("FSX", "fsx@0.3.2");
    let operations =
        std::env::var("VIRTIO_FS_FSX_OPERATIONS").map_or(operations, |number| number.parse().expect("a number"));
    let configuration = mount.beside.join("fsx.toml");
    fs::write(&configuration, [settings, FSX_CONFIGURATION].concat()).unwrap();
    let seeds = operations.div_ceil(FSX_RUN_OPERATIONS).max(2);
    for seed in 1..=seeds {
        let mut command = within(120, &fsx);
        command.arg("-f").arg(&configuration).arg("-P").arg(&mount.beside);
        command.args(["-S", &seed.to_string(), "-N", &(operations / seeds).to_string()]).arg(mount.point.join("file"));
        let text = run(&mut command);
        assert!(text.contains("All operations completed A-OK!"), "{text}");
    }
}

#[test]
fn fsx_reads_back_what_it_wrote() {
    fsx(&[], FSX_OPERATIONS);
}

/// With room for 16 pages, in which what is written has to go while more is being written, and with much.
fn fsx_with_caches(options: &[&str]) {
    for size in ["256K", "64M"] {
        fsx(&[options, &["--cache-size", size]].concat(), FSX_OPERATIONS / 2);
    }
}

#[test]
fn fsx_reads_back_what_it_wrote_with_a_cache() {
    fsx_with_caches(&["--cache", "auto"]);
}

#[test]
fn fsx_reads_back_what_it_wrote_with_a_cache_that_is_always_right() {
    fsx_with_caches(&["--cache", "always"]);
}

#[test]
fn fsx_reads_back_what_it_wrote_when_writes_are_collected() {
    fsx_with_caches(&["--cache", "auto", "--writeback"]);
}

#[test]
fn fsx_reads_back_what_it_wrote_when_writes_are_collected_with_a_cache_that_is_always_right() {
    fsx_with_caches(&["--cache", "always", "--writeback"]);
}

#[test]
fn fsx_reads_back_what_it_wrote_with_a_kernel_cache() {
    fsx(&["--kernel-cache", "1"], 4_000);
}

/// Files of fsx that a window of 2 MiB has no room for, and one of 64 MiB has.
const FSX_LARGE: &str = "flen = 6291456\n";

/// Calls `run` with a mount whose daemon has a window of this size, into which something has to be mapped.
fn with_window(window: &str, options: &[&str], run: impl FnOnce(&Mount)) {
    let daemon = suite("VIRTIO_FS_DAEMON", "--path host/daemon");
    let folder = common::Folder::new();
    let statistics = folder.path().join("statistics");
    let mut program = common::program();
    program.env("VIRTIOFSD", format!("{} --window {window} --stats {}", daemon.display(), statistics.display()));
    let mount = Mount::by(program, &[&["--dax", "always"], options].concat());
    run(&mount);
    // They are written each second.
    let maps =
        || fs::read_to_string(&statistics).is_ok_and(|text| text.contains("\"made\":") && !text.contains("\"made\":0"));
    assert!(common::until(maps), "nothing was mapped: {:?}", fs::read_to_string(&statistics));
    mount.end();
}

/// Until fsx has ended, its file is read on the mount past the window and by the host, which says, too, that it was modified
/// and allocates room for it: nothing that fsx would see, but the driver has to look again.
fn fsx_with_others(mount: &Mount, operations: u32) -> u64 {
    let (on_mount, on_host) = (mount.point.join("file"), mount.share.join("file"));
    fs::write(&on_host, "").unwrap();
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut rounds = 0;
            let mut buffer = vec![0; 10_000];
            while !has_ended.load(Ordering::Relaxed) {
                let direct = fs::File::options().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&on_mount);
                let (direct, host) =
                    (direct.unwrap(), fs::File::options().write(true).read(true).open(&on_host).unwrap());
                for at in (0..6 << 20).step_by(1 << 19) {
                    direct.read_at(&mut buffer, at).unwrap();
                    host.read_at(&mut buffer, at).unwrap();
                }
                host.set_modified(SystemTime::now() - Duration::from_secs(rounds)).unwrap();
                rustix::fs::fallocate(&host, FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
                rounds += 1;
            }
            rounds
        });
        // Whatever comes of it, the others must end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fsx_on(mount, FSX_LARGE, operations)));
        has_ended.store(true, Ordering::Relaxed);
        let rounds = others.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        rounds
    })
}

const FSX_WINDOW_OPERATIONS: u32 = 2_500;

fn fsx_through_a_window(window: &str) {
    for options in [&[][..], &["--cache", "auto"], &["--cache", "always"]] {
        with_window(window, options, |mount| {
            let rounds = fsx_with_others(mount, FSX_WINDOW_OPERATIONS);
            println!("{window}, {options:?}: others looked {rounds} times");
            assert!(rounds > 10, "{rounds}");
        });
    }
    // Who collects writes takes what others do to the file for changes of theirs.
    for mode in ["auto", "always"] {
        let options = ["--cache", mode, "--writeback"];
        with_window(window, &options, |mount| fsx_on(mount, FSX_LARGE, FSX_WINDOW_OPERATIONS));
    }
}

#[test]
fn fsx_reads_back_what_it_wrote_through_a_window_smaller_than_its_file_while_others_look() {
    fsx_through_a_window("2M");
}

#[test]
fn fsx_reads_back_what_it_wrote_through_a_window_larger_than_its_file_while_others_look() {
    fsx_through_a_window("64M");
}
