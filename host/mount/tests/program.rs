//! How the program starts and ends.

mod common;

use common::{Folder, Mount, is_mounted, program, run, script, until, within};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// What the program says, and its exit status, when it does not get as far as mounting.
fn refusal(arguments: &[&str]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = program().args(arguments).output().unwrap();
    assert!(stdout.is_empty());
    (String::from_utf8(stderr).unwrap(), status.code())
}

#[test]
fn wrong_arguments_are_refused_with_a_word_on_how_to_get_help() {
    let (text, status) = refusal(&["--wrong"]);
    assert_eq!(status, Some(2));
    assert!(text.contains("--wrong") && text.contains("--help"), "{text}");
}

#[test]
fn the_help_names_every_option() {
    let help = run(program().arg("--help"));
    let words: Vec<_> = help.split([' ', '\n', ',', '`']).collect();
    for option in [
        "-f",
        "--foreground",
        "-r",
        "--read-only",
        "--permissions",
        "--owner-only",
        "--allow-other",
        "--kernel-cache",
        "--queues",
        "--request-timeout",
        "--threads",
        "--log",
        "--log-requests",
        "-h",
        "--help",
        "-V",
        "--version",
        "--cache",
        "--writeback",
        "--entry-timeout",
        "--attr-timeout",
        "--negative-timeout",
        "--coherence",
        "--backstop",
        "--cache-size",
        "--cache-entries",
        "--eager-open",
        "VIRTIOFSD",
        "RUST_LOG",
    ] {
        assert!(words.contains(&option), "{option}");
    }
    assert!(run(program().arg("--version")).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_cannot_be_mounted_is_named_in_foreground_and_background() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    let (file, inside, missing) = (share.join("file"), share.join("inside"), folder.path().join("missing"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&inside).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for (source, target, named) in [
        (&share, &missing, "missing: No such file"),
        (&missing, &point, "missing: No such file"),
        (&share, &file, "file is no directory to mount on"),
        (&file, &point, "neither a directory nor a socket"),
        (&share, &inside, "its daemon would wait for itself"),
        (&share, &share, "its daemon would wait for itself"),
    ] {
        for arguments in [&["-f", &text(source), &text(target)][..], &[&text(source), &text(target)]] {
            let (said, status) = refusal(arguments);
            assert!(said.contains(named), "{arguments:?}: {said}");
            assert_eq!(status, Some(1));
        }
    }
    assert!(!is_mounted(&point));
}

#[test]
fn a_daemon_that_does_not_start_is_reported_with_its_log() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    let (said, status) = refusal(&[share.to_str().unwrap(), point.to_str().unwrap(), "--", "--no-such-argument"]);
    assert!(said.contains("--no-such-argument"), "{said}");
    assert_eq!(status, Some(1));
}

#[test]
fn sigterm_and_sigint_unmount() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut mount = Mount::new();
        fs::write(mount.share.join("file"), "content").unwrap();
        assert_eq!(fs::read(mount.point.join("file")).unwrap(), b"content");
        mount.signal(signal);
        assert_eq!(mount.ended().code(), Some(0), "{signal:?}");
        assert!(!is_mounted(&mount.point));
    }
}

#[test]
fn umount_ends_the_program() {
    let mut mount = Mount::new();
    run(within(10, "umount").arg(&mount.point));
    assert_eq!(mount.ended().code(), Some(0));
}

#[test]
fn what_was_mounted_there_before_stays_mounted() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    let mount = || run(within(10, env!("CARGO_BIN_EXE_virtio-fs-mount")).arg(&share).arg(&point));
    mount();
    mount();
    let mounted = || fs::read_to_string("/proc/self/mounts").unwrap().matches(point.to_str().unwrap()).count();
    assert_eq!(mounted(), 2);
    run(within(10, "umount").arg(&point));
    // The program of the upper one is through with it before its daemon ends.
    assert!(until(|| daemons_of(&share) == 1));
    assert_eq!(mounted(), 1);
    fs::write(share.join("file"), "content").unwrap();
    assert_eq!(fs::read(point.join("file")).unwrap(), b"content");
    run(within(10, "umount").arg(&point));
    assert!(until(|| daemons_of(&share) == 0));
}

/// How many processes have the folder in their command line.
fn daemons_of(share: &Path) -> usize {
    let share = share.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = processes.filter_map(|path| fs::read(path).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("--shared-dir\0{share}"))).count()
}

#[test]
fn a_mount_in_use_goes_out_of_sight_and_ends_with_its_last_user() {
    let mut mount = Mount::new();
    fs::write(mount.share.join("file"), "content").unwrap();
    let mut file = File::open(mount.point.join("file")).unwrap();
    mount.signal(Signal::TERM);
    assert!(until(|| !is_mounted(&mount.point)));
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    drop(file);
    assert_eq!(mount.ended().code(), Some(0));
}

#[test]
fn a_copy_in_another_mount_namespace_does_not_keep_it_from_ending() {
    let mut mount = Mount::new();
    let alone = "mount --make-rprivate / && exec sleep 60";
    let mut other = Command::new("unshare").args(["--mount", "sh", "-c", alone]).spawn().unwrap();
    let sleeps = format!("/proc/{}/comm", other.id());
    assert!(until(|| fs::read_to_string(&sleeps).is_ok_and(|name| name == "sleep\n")));
    mount.signal(Signal::TERM);
    let code = mount.ended().code();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(code, Some(0));
}

#[test]
fn a_second_signal_ends_a_mount_in_use() {
    let mut mount = Mount::new();
    fs::write(mount.share.join("file"), "content").unwrap();
    let mut file = File::open(mount.point.join("file")).unwrap();
    mount.signal(Signal::TERM);
    assert!(until(|| !is_mounted(&mount.point)));
    mount.signal(Signal::TERM);
    assert_eq!(mount.ended().code(), Some(1));
    assert!(file.read(&mut [0]).is_err());
}

#[test]
fn in_the_background_the_mount_is_live_when_the_command_returns() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    fs::write(share.join("file"), "content").unwrap();
    let log = folder.path().join("log");
    let mut command = within(10, env!("CARGO_BIN_EXE_virtio-fs-mount"));
    run(command.arg("--log-requests").arg("--log").arg(&log).arg(&share).arg(&point));
    assert!(is_mounted(&point));
    assert_eq!(fs::read(point.join("file")).unwrap(), b"content");
    run(within(10, "umount").arg(&point));
    assert!(fs::read_to_string(&log).unwrap().contains("LOOKUP"), "requests are logged");
}

#[test]
fn without_its_log_it_does_not_stay_in_the_background() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    let (said, status) = refusal(&["--log", "/nonexistent/log", share.to_str().unwrap(), point.to_str().unwrap()]);
    assert!(said.contains("/nonexistent/log"), "{said}");
    assert_eq!(status, Some(1));
    assert!(!is_mounted(&point));
}

#[test]
fn a_daemon_that_is_killed_ends_the_mount() {
    let mut mount = Mount::new();
    fs::write(mount.share.join("file"), "content").unwrap();
    let mut file = File::open(mount.point.join("file")).unwrap();
    kill_process(mount.daemon(), Signal::KILL).unwrap();
    let start = Instant::now();
    assert!(file.read(&mut [0; 8]).is_err(), "who uses it gets an error");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(mount.ended().code(), Some(1));
    assert!(!is_mounted(&mount.point));
}

#[test]
fn a_daemon_that_stops_answering_ends_the_mount_after_the_request_timeout() {
    let mut mount = Mount::with(&["--request-timeout", "1"]);
    let file = mount.point.join("file");
    fs::write(&file, "content").unwrap();
    kill_process(mount.daemon(), Signal::STOP).unwrap();
    // It may answer some more before it stops.
    assert!(until(|| fs::metadata(&file).is_err()));
    assert_eq!(mount.ended().code(), Some(1));
    assert!(!is_mounted(&mount.point));
}

#[test]
fn a_running_daemon_is_used_by_its_socket_and_its_end_is_noticed_by_the_next_user() {
    let folder = Folder::new();
    let (share, point) = (folder.folder("share"), folder.folder("point"));
    fs::write(share.join("file"), "content").unwrap();
    let daemon = virtio_fs_vhost_user::Daemon::start(&share, &Default::default()).unwrap();
    let mut program = program().arg("-f").arg(daemon.socket()).arg(&point).spawn().unwrap();
    assert!(until(|| is_mounted(&point)));
    assert_eq!(fs::read(point.join("file")).unwrap(), b"content");
    daemon.kill();
    assert!(fs::read(point.join("file")).is_err());
    assert!(until(|| program.try_wait().unwrap().is_some()));
    assert!(!is_mounted(&point));
}

#[test]
fn a_read_only_mount_refuses_changes() {
    let mount = Mount::with(&["--read-only"]);
    fs::write(mount.share.join("file"), "content").unwrap();
    assert_eq!(fs::read(mount.point.join("file")).unwrap(), b"content");
    let error = File::options().write(true).open(mount.point.join("file")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let listed = script(10, Path::new("/"), "cat /proc/self/mounts");
    let line = listed.lines().find(|line| line.contains(mount.point.to_str().unwrap())).unwrap();
    assert!(line.contains("fuse.virtio-fs-mount ro,"), "{line}");
    mount.end();
}

#[test]
fn more_queues_than_the_daemon_has_are_no_reason_not_to_mount() {
    let mount = Mount::with(&["--queues", "4"]);
    fs::write(mount.point.join("file"), "content").unwrap();
    assert_eq!(fs::read(mount.share.join("file")).unwrap(), b"content");
    mount.end();
}

#[test]
fn who_may_do_what_is_decided_by_the_side_that_was_named() {
    for (side, may_read) in [("driver", false), ("server", true)] {
        let mount = Mount::with(&["--permissions", side]);
        let file = mount.share.join("file");
        fs::write(&file, "content").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = within(10, "setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]).arg(mount.point.join("file"));
        // virtiofsd reads as root, whoever asks.
        let output = command.output().unwrap();
        assert_eq!(output.status.success(), may_read, "{side}: {}", String::from_utf8_lossy(&output.stderr));
        mount.end();
    }
}

#[test]
fn with_a_kernel_cache_the_kernel_believes_what_it_was_told() {
    let mount = Mount::with(&["--kernel-cache", "3600"]);
    fs::write(mount.share.join("file"), "content").unwrap();
    let length = || fs::metadata(mount.point.join("file")).unwrap().len();
    assert_eq!(length(), 7);
    File::options().append(true).open(mount.share.join("file")).unwrap().write_all(b"more").unwrap();
    assert_eq!(length(), 7);
    mount.end();

    let mount = Mount::new();
    fs::write(mount.share.join("file"), "content").unwrap();
    assert_eq!(fs::metadata(mount.point.join("file")).unwrap().len(), 7);
    File::options().append(true).open(mount.share.join("file")).unwrap().write_all(b"more").unwrap();
    assert_eq!(fs::metadata(mount.point.join("file")).unwrap().len(), 11, "without one it asks");
    mount.end();
}

#[test]
fn what_is_written_is_on_the_host_when_the_file_is_closed() {
    for options in [&["--cache", "auto"][..], &["--cache", "always", "--writeback"]] {
        let mount = Mount::with(options);
        let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
        fs::create_dir(mount.point.join("folder")).unwrap();
        fs::write(mount.point.join("folder/file"), &content).unwrap();
        assert!(fs::read(mount.share.join("folder/file")).unwrap() == content, "{options:?}");
        File::options().append(true).open(mount.point.join("folder/file")).unwrap().write_all(b"more").unwrap();
        assert!(fs::read(mount.share.join("folder/file")).unwrap().ends_with(b"more"), "{options:?}");
        fs::rename(mount.point.join("folder/file"), mount.point.join("moved")).unwrap();
        assert!(fs::read(mount.point.join("moved")).unwrap().starts_with(&content), "{options:?}");
        mount.end();
    }
}

#[test]
fn with_writeback_what_is_written_waits_for_sync_or_some_seconds() {
    let mount = Mount::with(&["--cache", "always", "--writeback"]);
    let on_the_host = || fs::read(mount.share.join("file")).unwrap();
    let mut file = File::create(mount.point.join("file")).unwrap();
    file.write_all(b"one").unwrap();
    assert_eq!(fs::metadata(mount.point.join("file")).unwrap().len(), 3);
    assert_eq!(on_the_host(), b"");
    file.sync_data().unwrap();
    assert_eq!(on_the_host(), b"one");
    file.write_all(b"two").unwrap();
    assert_eq!(on_the_host(), b"one");
    assert!(until(|| on_the_host() == b"onetwo"), "nobody closes it");
    drop(file);
    mount.end();
}

#[test]
fn with_a_cache_the_driver_believes_what_the_daemon_said_for_as_long_as_it_is_told_to() {
    /// When a change that the host makes is seen.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Seen {
        AtOnce,
        Soon,
        Never,
    }

    let nothing = ["--cache", "auto", "--entry-timeout", "0", "--attr-timeout", "0"];
    for (options, seen) in
        [(&nothing[..], Seen::AtOnce), (&["--cache", "auto"], Seen::Soon), (&["--cache", "always"], Seen::Never)]
    {
        let mount = Mount::with(options);
        let path = mount.point.join("file");
        fs::write(mount.share.join("file"), "content").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        File::options().append(true).open(mount.share.join("file")).unwrap().write_all(b" and more").unwrap();
        let is_seen = || fs::metadata(&path).unwrap().len() == 16 && fs::read(&path).unwrap() == b"content and more";
        if seen == Seen::Never {
            // Longer than the daemon wants it to be believed.
            std::thread::sleep(Duration::from_millis(1500));
        }
        let seen_now = is_seen();
        assert!(if seen == Seen::AtOnce { seen_now } else { seen == Seen::Soon || !seen_now }, "{seen:?}");
        assert!(seen == Seen::Never || until(is_seen), "{seen:?}");
        mount.end();
    }
}
