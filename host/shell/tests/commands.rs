//! The shell's commands over the real daemon: what they print, how they end, and what the host sees afterwards.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_fs::{Credentials, MountOptions, VirtioFs};
use virtio_fs_shell::{FAILURE, MISUSE, SUCCESS, Shell, Terminal};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

/// What was printed, and what is to be typed.
#[derive(Default)]
struct Recorder {
    printed: Vec<u8>,
    typed: VecDeque<u8>,
}

impl Terminal for Recorder {
    fn write(&mut self, bytes: &[u8]) {
        self.printed.extend_from_slice(bytes);
    }

    fn read(&mut self) -> Option<u8> {
        self.typed.pop_front()
    }
}

/// A directory of the host, removed with this value.
struct Share(PathBuf);

impl Share {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("virtio-fs-shell-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Mounts the directory, lets a shell do something over it, and ends the session. Gives the status and what was
    /// printed.
    fn shell(&self, typed: &str, work: impl FnOnce(&mut Shell<'_>) -> u8) -> (u8, String) {
        let daemon = Daemon::start(&self.0, &DaemonOptions::default()).unwrap();
        let (transport, platform) = connect(daemon.socket(), "share").unwrap();
        let credentials = Credentials { umask: 0o022, ..Credentials::default() };
        let options = MountOptions { credentials, ..MountOptions::default() };
        let fs = VirtioFs::mount::<GuestHal>(transport, platform.clone(), &options).unwrap();
        let mut terminal = Recorder { typed: typed.bytes().collect(), ..Recorder::default() };
        let status = work(&mut Shell::new(fs.clone(), platform, &mut terminal));
        fs.unmount().expect("the shell keeps nothing open");
        (status, String::from_utf8(terminal.printed).unwrap())
    }

    fn run(&self, commands: &str) -> (u8, String) {
        self.shell("", |shell| shell.run(commands.as_bytes()))
    }

    /// Runs commands that are to succeed. Gives what they printed.
    fn succeed(&self, commands: &str) -> String {
        let (status, printed) = self.run(commands);
        assert_eq!(status, SUCCESS, "{commands}: {printed}");
        printed
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn output_goes_where_it_is_redirected_to() {
    let share = Share::new();
    assert_eq!(share.succeed("echo one two > f; echo 'three  four' >> f; cat f"), "one two\nthree  four\n");
    assert_eq!(
        share.succeed("> g echo; cat f f >> g; cat nothing > h || cat g")[..],
        *"cat: nothing: no such file or \
        directory (ENOENT)\n\none two\nthree  four\none two\nthree  four\n"
    );
    assert_eq!(fs::read(share.path("h")).unwrap(), b"");
    // More than is collected at a time.
    fs::write(share.path("big"), vec![7; 300_000]).unwrap();
    share.succeed("cat big > copy");
    assert_eq!(fs::read(share.path("copy")).unwrap(), vec![7; 300_000]);
}

#[test]
fn the_status_is_that_of_the_last_command_that_ran() {
    let share = Share::new();
    assert_eq!(share.run("cat none; echo").0, SUCCESS);
    assert_eq!(share.run("echo && cat none").0, FAILURE);
    assert_eq!(
        share.run("cat none && echo unseen || echo seen"),
        (SUCCESS, "cat: none: no such file or directory (ENOENT)\nseen\n".into())
    );
    assert_eq!(share.run("nonsense").0, MISUSE);
    assert_eq!(share.run("rm -q x"), (MISUSE, "rm: usage: rm [-rf] PATH...\n".into()));
    assert_eq!(share.run("exit 9; touch unseen").0, 9);
    assert_eq!(share.run("exit 101").0, MISUSE);
    assert!(!share.path("unseen").exists());
}

#[test]
fn a_command_goes_on_after_a_path_that_fails() {
    let share = Share::new();
    fs::write(share.path("f"), "f\n").unwrap();
    assert_eq!(share.run("cat none f"), (FAILURE, "cat: none: no such file or directory (ENOENT)\nf\n".into()));
    assert_eq!(share.run("rm none f").0, FAILURE);
    assert!(!share.path("f").exists());
    assert_eq!(share.run("rm -f none").0, SUCCESS);
}

#[test]
fn ls_lists_sorted_names_without_hidden_ones_and_follows_a_link_to_a_directory() {
    let share = Share::new();
    fs::create_dir(share.path("d")).unwrap();
    for name in ["d/b", "d/a", "d/.hidden"] {
        fs::write(share.path(name), "").unwrap();
    }
    symlink("d", share.path("link")).unwrap();
    assert_eq!(share.succeed("ls d"), "a\nb\n");
    assert_eq!(share.succeed("ls -a link"), ".hidden\na\nb\n");
    assert_eq!(share.succeed("ls -R"), ".:\nd\nlink\n\n./d:\na\nb\n");
    let long = share.succeed("ls -l link d/a");
    assert!(long.starts_with("lrwxrwxrwx "), "{long}");
    assert!(long.lines().next().unwrap().ends_with(" link -> d"), "{long}");
    assert!(long.lines().nth(1).unwrap().starts_with("-rw"), "{long}");
}

#[test]
fn names_that_are_no_text_are_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let share = Share::new();
    fs::write(share.0.join(std::ffi::OsStr::from_bytes(b"a\xff\n")), "").unwrap();
    assert_eq!(share.succeed("ls"), "a\\xff\\n\n");
}

#[test]
fn find_and_tree_and_du_see_all_that_is_below() {
    let share = Share::new();
    fs::create_dir_all(share.path("a/b")).unwrap();
    fs::write(share.path("a/b/x.rs"), vec![1; 8192]).unwrap();
    fs::hard_link(share.path("a/b/x.rs"), share.path("a/y.rs")).unwrap();
    symlink("b", share.path("a/l.rs")).unwrap();
    assert_eq!(share.succeed("find a -name '*.rs' -type f"), "a/b/x.rs\na/y.rs\n");
    assert_eq!(share.succeed("find a/b"), "a/b\na/b/x.rs\n");
    assert_eq!(share.run("find a -name").0, MISUSE);
    assert!(share.succeed("tree a").ends_with("└── y.rs\n1 directories, 3 others\n"));
    // What has two names counts once.
    let count = |path: &str| fs::symlink_metadata(share.path(path)).unwrap().blocks();
    let blocks = count("a") + count("a/b") + count("a/y.rs") + count("a/l.rs");
    assert_eq!(share.succeed("du -s a"), format!("{:10} a\n", blocks / 2));
}

#[test]
fn copies_have_content_and_permissions_whoever_copies() {
    let share = Share::new();
    let content: Vec<u8> = (0..20_000_000_u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    fs::create_dir_all(share.path("from/d")).unwrap();
    fs::write(share.path("from/big"), &content).unwrap();
    fs::write(share.path("from/d/empty"), "").unwrap();
    fs::set_permissions(share.path("from/big"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("big", share.path("from/link")).unwrap();
    for (options, to) in [("-r", "one"), ("-rw", "two")] {
        share.succeed(&format!("cp {options} from {to}"));
        assert!(fs::read(share.path(to).join("big")).unwrap() == content);
        assert_eq!(mode(share.path(to).join("big")), 0o640);
        assert_eq!(fs::read_link(share.path(to).join("link")).unwrap(), Path::new("big"));
        assert_eq!(fs::read(share.path(to).join("d/empty")).unwrap(), b"");
    }
    // Into a directory that is there; a link that is named is followed; a shorter file replaces a longer one.
    share.succeed("echo short > short; cp short one/big; cp -w short two/big; cp from/link short two/d");
    assert_eq!(fs::read(share.path("one/big")).unwrap(), b"short\n");
    assert_eq!(fs::read(share.path("two/big")).unwrap(), b"short\n");
    assert!(!share.path("two/d/link").is_symlink() && fs::read(share.path("two/d/link")).unwrap() == content);
}

#[test]
fn what_is_written_goes_through_a_symbolic_link() {
    let share = Share::new();
    symlink("target", share.path("link")).unwrap();
    share
        .succeed("echo 1 > link; echo 2 >> link; echo 3 > f; cat target > g; cp f link; cat target >> g; cp -w g link");
    assert_eq!(fs::read(share.path("target")).unwrap(), b"1\n2\n3\n");
    assert!(share.path("link").is_symlink());
}

#[test]
fn nothing_is_copied_onto_or_into_itself() {
    let share = Share::new();
    fs::create_dir(share.path("d")).unwrap();
    fs::write(share.path("d/f"), "content").unwrap();
    fs::hard_link(share.path("d/f"), share.path("same")).unwrap();
    for commands in ["cp d/f d/f", "cp -w d/f d/f", "cp d/f same", "cp -w d/f same", "cp -r d d/below", "cp -r d d"] {
        let (status, printed) = share.run(commands);
        assert_eq!(status, FAILURE, "{commands}");
        assert!(printed.contains("(EINVAL)"), "{commands}: {printed}");
    }
    assert_eq!(fs::read(share.path("d/f")).unwrap(), b"content");
}

#[test]
fn special_files_are_copied_as_what_they_are() {
    let share = Share::new();
    rustix::fs::mknodat(rustix::fs::CWD, share.path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    share.succeed("cp -r pipe copy");
    assert!(fs::symlink_metadata(share.path("copy")).unwrap().file_type().is_fifo());
    assert!(share.run("cp pipe other").1.contains("(EOPNOTSUPP)"));
}

#[test]
fn names_are_moved_removed_linked_and_exchanged() {
    let share = Share::new();
    share.succeed("mkdir -p a/b c; mkdir -p a/b; echo 1 > a/f; echo 2 > g; mv a/f g c; ls c > list");
    assert_eq!(fs::read(share.path("list")).unwrap(), b"f\ng\n");
    share.succeed("mv -x c/f c/g; ln c/f hard; ln -s c/f soft; ln -s ../list c; readlink soft c/list > links");
    assert_eq!(fs::read(share.path("hard")).unwrap(), b"2\n");
    assert_eq!(fs::metadata(share.path("hard")).unwrap().nlink(), 2);
    assert_eq!(fs::read(share.path("links")).unwrap(), b"c/f\n../list\n");
    assert!(share.run("mv -n list links").1.contains("(EEXIST)"));
    assert!(share.run("rm c").1.contains("(EISDIR)"));
    assert!(share.run("rmdir a").1.contains("(ENOTEMPTY)"));
    share.succeed("rmdir a/b a; rm -r c soft; rm hard list links");
    assert_eq!(fs::read_dir(&share.0).unwrap().count(), 0);
}

#[test]
fn attributes_are_changed() {
    let share = Share::new();
    share.succeed("touch f g; chmod 4751 f; chown 0:0 f; truncate -s 5K f; fallocate -o 4K -l 4K g; touch f");
    assert_eq!(fs::metadata(share.path("f")).unwrap().len(), 5 << 10);
    assert_eq!(fs::metadata(share.path("g")).unwrap().len(), 8 << 10);
    assert_eq!(mode(share.path("g")), 0o644);
    share.succeed("chmod 751 g; fallocate -p -l 4K g; fallocate -k -l 64K g");
    assert_eq!(mode(share.path("g")), 0o751);
    assert_eq!(fs::metadata(share.path("g")).unwrap().len(), 8 << 10);
    let stat = share.succeed("chmod 600 f; stat f");
    assert!(stat.contains("  mode: 0600 -rw-------\n") && stat.contains("  size: 5120 bytes, "), "{stat}");
    assert_eq!(share.run("chmod 9 f").0, MISUSE);
}

#[test]
fn bytes_are_shown_in_several_ways() {
    let share = Share::new();
    fs::write(share.path("f"), b"0123456789abcdefGH\n").unwrap();
    assert_eq!(share.succeed("head -c 4 f"), "0123");
    assert_eq!(
        share.succeed("hexdump -s 14 -n 4 f"),
        "0000000e  65 66 47 48                                       |efGH|\n00000012\n"
    );
    let hash = "f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2";
    assert_eq!(share.succeed("echo test > t; sha256sum t"), format!("{hash}  t\n"));
}

#[test]
fn relative_paths_start_where_cd_went() {
    let share = Share::new();
    share.succeed("mkdir -p a/b; cd a/b; echo 1 > f; cd ..; echo 2 > f; cd ../..; echo 3 > f");
    for (path, content) in [("a/b/f", "1\n"), ("a/f", "2\n"), ("f", "3\n")] {
        assert_eq!(fs::read_to_string(share.path(path)).unwrap(), content);
    }
    assert_eq!(share.succeed("cd a/./b/../b; pwd; cd; pwd"), "/a/b\n/\n");
    assert!(share.run("cd f").1.contains("(ENOTDIR)"));
}

#[test]
fn fsinfo_counts_requests() {
    let share = Share::new();
    let printed = share.succeed("echo 12345 > f; repeat 5 stat f > g; fsinfo");
    for line in ["  CREATE: 2", "  WRITE: 2", "  INIT: 1", "interrupts: none, the driver polls"] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
}

/// The name is known since the file was made, and its content since it was read: but for the very first, the two reads of
/// each `cat`, one of which finds the end.
#[test]
fn fsinfo_counts_what_needed_no_request_and_drop_forgets() {
    let share = Share::new();
    let printed = share.succeed("echo 12345 > f; repeat 3 cat f; fsinfo; drop; fsinfo");
    let (before, after) = printed.split_once("dropped 1 names, ").unwrap_or_else(|| panic!("{printed}"));
    for line in ["  READ: 1", "names found without a request: 3", "reads without a request: 5"] {
        assert!(before.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    for line in ["cached: 0 names, 0 bytes", "to be written: 0 bytes", "mapped: 0 ranges, 0 bytes"] {
        assert!(after.lines().any(|printed| printed == line), "{line}: {printed}");
    }
}

#[test]
fn what_is_typed_is_edited_and_run() {
    let share = Share::new();
    let typed = "echo 1 > ff\x7f\r\x1b[A\x1b[D2\r\x03cat nonf\x17f2\nnonsense\nls\n\x04";
    let (status, printed) = share.shell(typed, |shell| shell.interact());
    assert_eq!(status, SUCCESS, "{printed}");
    assert!(printed.contains("/ # nonsense\nnonsense: no such command"), "{printed}");
    assert!(printed.ends_with("[2] / # ls\n2f\nf\n/ # \n"), "{printed}");
}
