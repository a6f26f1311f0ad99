//! What the command line means.

use super::*;
use crate::version_table::{Size, Target};

fn parse(words: &str) -> Result<Command, String> {
    Command::parse(words.split(' ').map(OsString::from)).map_err(|error| error.to_string())
}

fn options(words: &str) -> Options {
    match parse(&format!("--shared-dir d --socket-path s {words}")) {
        Ok(Command::Serve(options)) => *options,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn directory_and_socket_are_enough() {
    let Ok(Command::Serve(options)) = parse("--socket-path=/run/s --shared-dir=-d") else { panic!() };
    assert_eq!((&*options.shared_dir, options.socket.to_str()), ("-d", Some("/run/s")));
    assert_eq!((&*options.tag, options.request_queues, options.window), ("share", 1, None));
    assert_eq!((options.dax, options.sandbox), (DaxRule::Never, SandboxMode::Namespace));
    assert!(!options.readonly && !options.xattr && !options.map_past_eof && options.faults.is_empty());
    assert!(options.announce_submounts && options.readdirplus && options.stats.is_none());
}

#[test]
fn each_option_is_understood() {
    let all = "--tag t --request-queues 3 --window 3M --map-alignment 64K --max-maps 7 --dax inode=*.db --map-past-eof";
    let device = options(all);
    assert_eq!((&*device.tag, device.request_queues, device.window), ("t", 3, Some(3 << 20)));
    assert_eq!((device.map_alignment.bytes(), device.max_maps, device.map_past_eof), (64 << 10, 7, true));
    assert!(matches!(device.dax, DaxRule::Names(globs) if globs.len() == 1));

    let files = options("--readonly --cache never --writeback --killpriv-v2 --no-announce-submounts --no-readdirplus");
    assert!(files.readonly && files.writeback && files.killpriv_v2 && !files.announce_submounts && !files.readdirplus);
    assert!(matches!(files.cache, CachePolicy::Never));
    let files = options("--allow-direct-io --inode-file-handles never --xattr");
    assert!(files.allow_direct_io && files.xattr && files.inode_file_handles == InodeFileHandlesMode::Never);

    let process =
        options("--sandbox chroot --modcaps +sys_admin --rlimit-nofile 0 --log-level off --thread-pool-size 0");
    assert_eq!((process.sandbox, process.modcaps.as_deref()), (SandboxMode::Chroot, Some("+sys_admin")));
    assert_eq!((process.rlimit_nofile, process.log_level), (Some(0), LevelFilter::Off));
    assert_eq!(options("--inject read:drop --inject any:kill").faults.len(), 2);
}

#[test]
fn a_mode_may_follow_its_option_and_lists_and_labels_are_extended_attributes() {
    let lists = options("--posix-acl --readonly");
    assert!(lists.posix_acl == NegotiationMode::Always && lists.xattr && lists.readonly);
    assert!(!options("--posix-acl=never").xattr);
    let labels = options("--security-label=auto");
    assert!(labels.security_label == NegotiationMode::Auto && labels.xattr);
}

#[test]
fn a_window_has_any_size_and_all_files_are_marked_unless_a_rule_says_otherwise() {
    for (words, size) in [("1", 1), ("4097", 4097), ("5K", 5 << 10), ("1022M", 1022 << 20), ("1024G", 1 << 40)] {
        let options = options(&format!("--window {words}"));
        assert_eq!((options.window, options.dax, options.map_alignment.bytes()), (Some(size), DaxRule::Always, 4096));
    }
    assert_eq!(options("--window 1M --dax never").dax, DaxRule::Never);
}

#[test]
fn a_version_table_has_a_size_or_a_path() {
    let target = |words: &str| options(words).version_table;
    assert_eq!(target("--readonly"), None);
    let sizes = [("8K", 8 << 10), ("516K", 516 << 10), ("1G", 1 << 30), ("9000", 9000)];
    for (word, bytes) in sizes {
        let size = Size::fitting(bytes).unwrap();
        assert_eq!(target(&format!("--version-table {word}")), Some(Target::Private(size)), "{word}");
    }
    for path in ["./8K", "/run/table", "table"] {
        let shared = |size| Some(Target::Shared(path.into(), size));
        assert_eq!(target(&format!("--version-table {path}")), shared(Size::DEFAULT));
        let size = Size::fitting(8192).unwrap();
        assert_eq!(target(&format!("--version-table-size 8K --version-table {path}")), shared(size));
    }
}

#[test]
fn statistics_go_to_a_file_or_a_socket() {
    assert_eq!(options("--stats a/b").stats, Some(StatisticsTarget::File("a/b".into())));
    assert_eq!(options("--stats unix:a/b").stats, Some(StatisticsTarget::Socket("a/b".into())));
}

#[test]
fn wrong_arguments_are_named() {
    for (words, named) in [
        ("--window 0", "--window"),
        ("--window M", "K, M or G"),
        ("--window 1T", "1T"),
        ("--window 1025G", "1025G"),
        ("--window 99999999999999999999G", "99999999999999999999G"),
        ("--window 1M --map-alignment 3K", "3K"),
        ("--window 1M --map-alignment 2K", "2K"),
        ("--window 1M --map-alignment 4M", "4M"),
        ("--window 1M --max-maps 0", "above 0"),
        ("--window 1M --dax inode=", "pattern"),
        ("--window 1M --dax xattr=user.dax", "needs --xattr"),
        ("--window 1M --map-past-eof --readonly", "--readonly forbids"),
        ("--map-past-eof", "--map-past-eof needs --window"),
        ("--dax always", "--dax needs --window"),
        ("--host-changes none", "--host-changes needs --version-table"),
        ("--version-table 1M --host-changes some", "fanotify, inotify or none"),
        ("--max-maps 3", "--max-maps needs --window"),
        ("--map-alignment 4K", "--map-alignment needs --window"),
        ("--version-table 8191", "from 8K"),
        ("--version-table 8Q", "8Q"),
        ("--version-table=", "a size or a path"),
        ("--version-table t --version-table-size 4K", "from 8K"),
        ("--version-table-size 1M", "needs --version-table PATH"),
        ("--version-table 1M --version-table-size 1M", "needs --version-table PATH"),
        ("--version-table 1M --no-announce-submounts", "--no-announce-submounts"),
        ("--request-queues 0", "1 to 63"),
        ("--request-queues 64", "1 to 63"),
        ("--tag 0123456789012345678901234567890123456", "1 to 36"),
        ("--cache sometimes", "sometimes"),
        ("--sandbox cage", "cage"),
        ("--posix-acl=perhaps", "perhaps"),
        ("--inode-file-handles all", "all"),
        ("--inject reed:drop", "reed"),
        ("--log-level loud", "loud"),
        ("--thread-pool-size many", "many"),
        ("--readonly=1", "--readonly"),
        ("--wrong", "--wrong"),
        ("word", "word"),
    ] {
        let error = parse(&format!("--shared-dir d --socket-path s {words}")).expect_err(words);
        assert!(error.contains(named), "{words}: {error}");
    }
    assert!(parse("--shared-dir d").unwrap_err().contains("--socket-path is missing"));
    assert!(parse("--socket-path s").unwrap_err().contains("--shared-dir is missing"));
}

#[test]
fn help_comes_first_and_tells_of_every_option() {
    assert!(matches!(parse("--readonly --help"), Ok(Command::Help)));
    assert!(matches!(parse("-V"), Ok(Command::Version)));
    let source = include_str!("options.rs");
    let names = source.split("Long(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let missing: Vec<_> = names.filter(|name| !HELP.contains(&format!("--{name}"))).collect();
    assert_eq!(missing, [""; 0]);
}
