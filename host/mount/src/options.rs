//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use virtio_fs::virtio::DeviceOptions;
use virtio_fs::{CacheMode, CacheOptions, Coherence, Dax, Permissions};

pub(crate) const HELP: &str = "\
usage: virtio-fs-mount [OPTION]... SOURCE MOUNTPOINT [-- VIRTIOFSD-ARGUMENT...]

Mounts what the virtio-fs driver sees, so that any program can be tried on it, and the driver run under a debugger.

  SOURCE                    a directory, for which a virtiofsd is started, or the vhost-user socket of a running daemon
  MOUNTPOINT                a directory

  -f, --foreground          do not go to the background once the mount is live
  -r, --read-only           the driver refuses whatever would change something
      --cache MODE          what the driver keeps of names, attributes and data: `none` (default, so that the driver asks
                            the daemon each time), `auto` or `always`; the next options need one of the last two
      --writeback           writes are collected, for directories that nobody else writes to
      --dirty-age SECS      with --writeback: for how long the daemon may have to wait for what was written to a file that
                            stays open (default: 5)
      --entry-timeout SECS  how long the driver believes that a name leads where it led (default: as the mode and the
                            daemon say), `--attr-timeout SECS` the same for attributes, and `--negative-timeout SECS` for
                            names that lead nowhere
      --coherence HOW       how the driver knows what others change: `table` (default: by the device's metadata version
                            table, if it has one; `virtio-fs-daemon --version-table` has) or `ttl` (by these times)
      --backstop SECS       for how long it believes at most what is valid by the table (default: 3600)
      --cache-size BYTES    how much data is kept at most; K or M may follow the number (default: 16M)
      --cache-entries N     how many names are kept at most (default: 10000)
      --eager-open          open files at the daemon when they are opened, not when a request needs that
      --dax FILES           which files are read and written through the device's DAX window, if it has one: `never`,
                            `inode` (default: those that the daemon marks) or `always`
      --permissions WHO     who checks permissions: `driver` (default) or `server`
      --owner-only          only the user who mounts may use it (always so, but for root, without --allow-other)
      --allow-other         all users may use it (root: default; others need `user_allow_other` in /etc/fuse.conf)
      --kernel-cache SECS   the kernel keeps names, attributes and data, and believes them for SECS seconds; it then
                            checks permissions itself. Default: 0, so that the driver is asked each time; for more, the
                            kernel does not see what others change for so long, whatever the driver knows
      --queues N            use up to N request queues of the device (default: 1, which is what virtiofsd has)
      --request-timeout S   give the daemon up when it answers nothing for S seconds (default: 60)
      --threads N           serve N of the kernel's requests at a time (default: 8)
      --log FILE            add to FILE what is logged in the background; there is no log otherwise
      --log-requests        log each request of the kernel and of the driver
  -h, --help                print this text
  -V, --version             print the version

The arguments behind `--` go to the virtiofsd that is started, which has `--xattr` anyway. The program is the one in
the environment variable VIRTIOFSD, or the one installed. RUST_LOG sets what is logged (default: warnings).

It is unmounted by `umount MOUNTPOINT`, or when this program gets SIGINT, SIGTERM or SIGHUP. If it is in use then, it is
no longer seen, and ends when its last user does, or at the second signal. It ends by itself when the daemon is gone.
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Version,
    Mount(Box<Options>),
}

/// How to mount what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) source: PathBuf,
    pub(crate) mountpoint: PathBuf,
    pub(crate) daemon_arguments: Vec<OsString>,
    pub(crate) foreground: bool,
    pub(crate) read_only: bool,
    /// What the driver keeps.
    pub(crate) cache: CacheOptions,
    pub(crate) dax: Dax,
    pub(crate) permissions: Permissions,
    /// `None`: as it is the custom for this user.
    pub(crate) allow_other: Option<bool>,
    pub(crate) kernel_cache: Duration,
    pub(crate) request_queues: u16,
    pub(crate) request_timeout: Duration,
    pub(crate) threads: usize,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_requests: bool,
}

impl Command {
    /// Reads the arguments, without the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;

        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        let daemon_arguments = arguments.split_off(end).into_iter().skip(1).collect();
        let mut options = Options {
            source: PathBuf::new(),
            mountpoint: PathBuf::new(),
            daemon_arguments,
            foreground: false,
            read_only: false,
            cache: CacheOptions { mode: CacheMode::None, ..CacheOptions::default() },
            dax: Dax::default(),
            permissions: Permissions::Driver,
            allow_other: None,
            kernel_cache: Duration::ZERO,
            request_queues: 1,
            request_timeout: DeviceOptions::default().request_timeout,
            threads: 8,
            log: None,
            log_requests: false,
        };
        let mut paths = Vec::new();
        // The last option that means nothing without a cache.
        let mut of_cache = None;
        let mut has_dirty_age = false;
        let mut has_backstop = false;
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::Version),
                Short('f') | Long("foreground") => options.foreground = true,
                Short('r') | Long("read-only") => options.read_only = true,
                Long("cache") => options.cache.mode = parser.value()?.parse_with(cache_mode)?,
                Long("writeback") => {
                    options.cache.writeback = true;
                    of_cache = Some("--writeback");
                }
                Long("dirty-age") => {
                    options.cache.dirty_age = seconds(&mut parser)?;
                    has_dirty_age = true;
                }
                Long("entry-timeout") => {
                    options.cache.entry_timeout = Some(seconds(&mut parser)?);
                    of_cache = Some("--entry-timeout");
                }
                Long("attr-timeout") => {
                    options.cache.attr_timeout = Some(seconds(&mut parser)?);
                    of_cache = Some("--attr-timeout");
                }
                Long("negative-timeout") => {
                    options.cache.negative_timeout = Some(seconds(&mut parser)?);
                    of_cache = Some("--negative-timeout");
                }
                Long("coherence") => {
                    options.cache.coherence = parser.value()?.parse_with(coherence)?;
                    of_cache = Some("--coherence");
                }
                Long("backstop") => {
                    options.cache.backstop = seconds(&mut parser)?;
                    of_cache = Some("--backstop");
                    has_backstop = true;
                }
                Long("cache-size") => {
                    options.cache.max_data_bytes = parser.value()?.parse_with(size)?;
                    of_cache = Some("--cache-size");
                }
                Long("cache-entries") => {
                    options.cache.max_entries = parser.value()?.parse()?;
                    of_cache = Some("--cache-entries");
                }
                Long("eager-open") => {
                    options.cache.lazy_open = false;
                    of_cache = Some("--eager-open");
                }
                Long("dax") => options.dax = parser.value()?.parse_with(dax)?,
                Long("permissions") => options.permissions = parser.value()?.parse_with(permissions)?,
                Long("owner-only") => options.allow_other = Some(false),
                Long("allow-other") => options.allow_other = Some(true),
                Long("kernel-cache") => options.kernel_cache = seconds(&mut parser)?,
                Long("queues") => options.request_queues = parser.value()?.parse_with(positive)?,
                Long("request-timeout") => {
                    options.request_timeout = Duration::from_secs(parser.value()?.parse_with(positive)?.into());
                }
                Long("threads") => options.threads = parser.value()?.parse_with(positive)?.into(),
                Long("log") => options.log = Some(parser.value()?.into()),
                Long("log-requests") => options.log_requests = true,
                Value(path) => paths.push(PathBuf::from(path)),
                _ => return Err(argument.unexpected()),
            }
        }
        let [source, mountpoint] = <[PathBuf; 2]>::try_from(paths).map_err(|paths| match paths.len() {
            0 => "SOURCE and MOUNTPOINT are missing",
            1 => "MOUNTPOINT is missing",
            _ => "there is more than SOURCE and MOUNTPOINT",
        })?;
        if options.log_requests && !options.foreground && options.log.is_none() {
            return Err("--log-requests needs --foreground or --log".into());
        }
        if let Some(option) = of_cache.filter(|_| options.cache.mode == CacheMode::None) {
            return Err(format!("{option} needs --cache auto or --cache always").into());
        }
        if has_dirty_age && !options.cache.writeback {
            return Err("--dirty-age needs --writeback".into());
        }
        if has_backstop && options.cache.coherence == Coherence::Ttl {
            return Err("--backstop needs --coherence table".into());
        }
        Ok(Self::Mount(Box::new(Options { source, mountpoint, ..options })))
    }
}

fn cache_mode(word: &str) -> Result<CacheMode, &'static str> {
    match word {
        "none" => Ok(CacheMode::None),
        "auto" => Ok(CacheMode::Auto),
        "always" => Ok(CacheMode::Always),
        _ => Err("it is `none`, `auto` or `always`"),
    }
}

fn coherence(word: &str) -> Result<Coherence, &'static str> {
    match word {
        "ttl" => Ok(Coherence::Ttl),
        "table" => Ok(Coherence::VersionTable),
        _ => Err("it is `ttl` or `table`"),
    }
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    Ok(Duration::from_secs(lexopt::ValueExt::parse(&parser.value()?)?))
}

fn size(word: &str) -> Result<usize, &'static str> {
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'K') => (&word[..word.len() - 1], 1 << 10),
        Some(b'M') => (&word[..word.len() - 1], 1 << 20),
        _ => (word, 1),
    };
    let bytes = digits.parse().ok().and_then(|number: usize| number.checked_mul(unit));
    bytes.ok_or("it is a number of bytes, or one with K or M behind it")
}

fn dax(word: &str) -> Result<Dax, &'static str> {
    match word {
        "never" => Ok(Dax::Never),
        "inode" => Ok(Dax::Inode),
        "always" => Ok(Dax::Always),
        _ => Err("it is `never`, `inode` or `always`"),
    }
}

fn permissions(word: &str) -> Result<Permissions, &'static str> {
    match word {
        "driver" => Ok(Permissions::Driver),
        "server" => Ok(Permissions::Server),
        _ => Err("it is `driver` or `server`"),
    }
}

fn positive(word: &str) -> Result<u16, &'static str> {
    word.parse().ok().filter(|&number| number > 0).ok_or("it is a number from 1 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Command, String> {
        Command::parse(words.split(' ').map(OsString::from)).map_err(|error| error.to_string())
    }

    fn options(words: &str) -> Options {
        match parse(words) {
            Ok(Command::Mount(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_and_a_mount_point_are_enough() {
        let options = options("dir mnt");
        assert_eq!((options.source, options.mountpoint), ("dir".into(), "mnt".into()));
        assert_eq!((options.permissions, options.kernel_cache), (Permissions::Driver, Duration::ZERO));
        assert_eq!((options.cache.mode, options.dax), (CacheMode::None, Dax::Inode));
        assert!(!options.foreground && !options.read_only && options.daemon_arguments.is_empty());
    }

    #[test]
    fn each_option_is_understood_before_and_behind_the_paths() {
        let before = "-f -r --permissions server --owner-only --kernel-cache 3 --queues=2 --request-timeout 5";
        let behind = "--threads 4 --log file --log-requests";
        let options = options(&format!("{before} dir mnt {behind}"));
        assert!(options.foreground && options.read_only && options.log_requests);
        assert_eq!((options.permissions, options.allow_other), (Permissions::Server, Some(false)));
        assert_eq!((options.kernel_cache, options.request_timeout), (Duration::from_secs(3), Duration::from_secs(5)));
        assert_eq!((options.request_queues, options.threads), (2, 4));
        assert_eq!(options.log, Some("file".into()));
    }

    #[test]
    fn what_the_driver_keeps_is_said_in_any_order() {
        let words =
            "--entry-timeout 0 --attr-timeout=2 --negative-timeout 3 --writeback --cache-size 64K --cache-entries 9";
        let cache = options(&format!("{words} --eager-open --cache always dir mnt")).cache;
        let expected = CacheOptions {
            mode: CacheMode::Always,
            entry_timeout: Some(Duration::ZERO),
            attr_timeout: Some(Duration::from_secs(2)),
            negative_timeout: Some(Duration::from_secs(3)),
            max_entries: 9,
            max_data_bytes: 64 << 10,
            writeback: true,
            lazy_open: false,
            ..CacheOptions::default()
        };
        assert_eq!(cache, expected);
        let auto = CacheOptions { mode: CacheMode::Auto, ..CacheOptions::default() };
        assert_eq!(options("--cache auto dir mnt").cache, auto);
        let patient = CacheOptions { writeback: true, dirty_age: Duration::from_secs(60), ..auto };
        assert_eq!(options("--dirty-age 60 dir mnt --cache auto --writeback").cache, patient);
        let by_time = CacheOptions { coherence: Coherence::Ttl, ..CacheOptions::default() };
        assert_eq!(options("--cache auto --coherence ttl dir mnt").cache, by_time);
        let by_table = CacheOptions { backstop: Duration::from_secs(60), ..CacheOptions::default() };
        assert_eq!(options("--backstop 60 --coherence table dir mnt --cache auto").cache, by_table);
        assert_eq!(options("--cache auto --cache-size 3M dir mnt").cache.max_data_bytes, 3 << 20);
        assert_eq!(options("--cache auto --cache-size 5 dir mnt").cache.max_data_bytes, 5);
    }

    #[test]
    fn which_files_go_through_the_window_is_said_in_a_word() {
        for (word, dax) in [("never", Dax::Never), ("inode", Dax::Inode), ("always", Dax::Always)] {
            assert_eq!(options(&format!("--dax {word} dir mnt")).dax, dax);
        }
    }

    #[test]
    fn what_stands_behind_the_dashes_is_for_virtiofsd() {
        let options = options("-f dir mnt -- --posix-acl -f -- x");
        assert_eq!(options.daemon_arguments, ["--posix-acl", "-f", "--", "x"]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (words, named) in [
            ("dir", "MOUNTPOINT is missing"),
            ("-f", "SOURCE and MOUNTPOINT are missing"),
            ("a b c", "more than"),
            ("a b --wrong", "--wrong"),
            ("a b --permissions nobody", "nobody"),
            ("a b --cache sometimes", "sometimes"),
            ("a b --writeback", "--writeback needs --cache auto"),
            ("a b --cache auto --dirty-age 1", "--dirty-age needs --writeback"),
            ("a b --cache auto --writeback --dirty-age soon", "soon"),
            ("a b --cache none --attr-timeout 1", "--attr-timeout needs --cache auto"),
            ("a b --cache auto --entry-timeout -1", "-1"),
            ("a b --coherence table", "--coherence needs --cache auto"),
            ("a b --cache auto --coherence time", "time"),
            ("a b --backstop 9", "--backstop needs --cache auto"),
            ("a b --cache auto --coherence ttl --backstop 9", "--backstop needs --coherence table"),
            ("a b --cache auto --cache-size M", "M"),
            ("a b --cache auto --cache-size 1G", "1G"),
            ("a b --cache auto --cache-size 99999999999999999999", "99999999999999999999"),
            ("a b --cache auto --cache-size 99999999999999M", "99999999999999M"),
            ("a b --dax sometimes", "sometimes"),
            ("a b --queues 0", "0"),
            ("a b --request-timeout 1.5", "1.5"),
            ("a b --foreground=1", "--foreground"),
            ("a b --log-requests", "needs --foreground or --log"),
            ("a b --threads", "--threads"),
        ] {
            let text = parse(words).expect_err(words);
            assert!(text.contains(named), "{words}: {text}");
        }
    }

    #[test]
    fn help_comes_first() {
        assert_eq!(parse("-f --help"), Ok(Command::Help));
        assert_eq!(parse("--version"), Ok(Command::Version));
    }
}
