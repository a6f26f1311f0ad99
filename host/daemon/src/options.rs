//! The command line.

use crate::dax_rule::DaxRule;
use crate::faults::Fault;
use crate::host_changes::Way;
use crate::regions::MapAlignment;
use crate::version_table;
use log::LevelFilter;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use virtiofsd::passthrough::{CachePolicy, InodeFileHandlesMode, NegotiationMode};
use virtiofsd::sandbox::SandboxMode;

pub(crate) const HELP: &str = include_str!("help.txt");

/// The longest tag (VIRTIO 1.3 §5.11.4).
const TAG_BYTES: usize = 36;
/// A thread's queues are bits of a `u64`, and the first is the high-priority queue.
const MOST_REQUEST_QUEUES: usize = 63;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Serve(Box<Options>),
}

/// Where statistics go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StatisticsTarget {
    File(PathBuf),
    Socket(PathBuf),
}

/// How to serve what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) shared_dir: String,
    pub(crate) socket: PathBuf,
    pub(crate) tag: String,
    pub(crate) request_queues: usize,
    /// Bytes, not rounded yet.
    pub(crate) window: Option<u64>,
    pub(crate) map_alignment: MapAlignment,
    pub(crate) max_maps: usize,
    pub(crate) dax: DaxRule,
    pub(crate) map_past_eof: bool,
    pub(crate) version_table: Option<version_table::Target>,
    pub(crate) host_changes: Way,
    pub(crate) readonly: bool,
    pub(crate) cache: CachePolicy,
    pub(crate) writeback: bool,
    pub(crate) xattr: bool,
    pub(crate) posix_acl: NegotiationMode,
    pub(crate) security_label: NegotiationMode,
    pub(crate) killpriv_v2: bool,
    pub(crate) announce_submounts: bool,
    pub(crate) readdirplus: bool,
    pub(crate) allow_direct_io: bool,
    pub(crate) inode_file_handles: InodeFileHandlesMode,
    pub(crate) sandbox: SandboxMode,
    pub(crate) modcaps: Option<String>,
    pub(crate) rlimit_nofile: Option<u64>,
    pub(crate) stats: Option<StatisticsTarget>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) log_level: LevelFilter,
}

impl Command {
    /// Reads the arguments, without the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut last = String::new();
        Self::parse_until_wrong(arguments, &mut last).map_err(|error| match error {
            // It does not say whose value that is.
            lexopt::Error::ParsingFailed { value, error } => format!("--{last} {value}: {error}").into(),
            error => error,
        })
    }

    /// Leaves the option that was looked at last in `last`.
    fn parse_until_wrong(
        arguments: impl IntoIterator<Item = OsString>,
        last: &mut String,
    ) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;

        let (mut shared_dir, mut socket) = (None, None);
        let (mut dax, mut map_alignment, mut max_maps) = (None, None, None);
        let (mut version_table_size, mut host_changes) = (None, None);
        let mut options = Options {
            shared_dir: String::new(),
            socket: PathBuf::new(),
            tag: "share".into(),
            request_queues: 1,
            window: None,
            map_alignment: MapAlignment::PAGE,
            max_maps: 4096,
            dax: DaxRule::Never,
            map_past_eof: false,
            version_table: None,
            host_changes: Way::Auto,
            readonly: false,
            cache: CachePolicy::Auto,
            writeback: false,
            xattr: false,
            posix_acl: NegotiationMode::Never,
            security_label: NegotiationMode::Never,
            killpriv_v2: false,
            announce_submounts: true,
            readdirplus: true,
            allow_direct_io: false,
            inode_file_handles: InodeFileHandlesMode::Prefer,
            sandbox: SandboxMode::Namespace,
            modcaps: None,
            rlimit_nofile: None,
            stats: None,
            faults: Vec::new(),
            log_level: LevelFilter::Info,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            if let Long(name) = argument {
                *last = name.into();
            }
            match argument {
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::Version),
                Long("shared-dir") => shared_dir = Some(parser.value()?.string()?),
                Long("socket-path") => socket = Some(parser.value()?),
                Long("tag") => options.tag = parser.value()?.parse_with(tag)?,
                Long("request-queues") => options.request_queues = parser.value()?.parse_with(request_queues)?,
                Long("window") => options.window = Some(parser.value()?.parse_with(window)?),
                Long("map-alignment") => map_alignment = Some(parser.value()?.parse_with(alignment)?),
                Long("max-maps") => max_maps = Some(parser.value()?.parse_with(positive)?),
                Long("dax") => dax = Some(parser.value()?.parse_with(DaxRule::parse)?),
                Long("map-past-eof") => options.map_past_eof = true,
                Long("version-table") => options.version_table = Some(version_table(parser.value()?)?),
                Long("version-table-size") => version_table_size = Some(parser.value()?.parse_with(table_size)?),
                Long("host-changes") => host_changes = Some(parser.value()?.parse_with(Way::parse)?),
                Long("readonly") => options.readonly = true,
                Long("cache") => options.cache = parser.value()?.parse_with(CachePolicy::from_str)?,
                Long("writeback") => options.writeback = true,
                Long("xattr") => options.xattr = true,
                Long("posix-acl") => options.posix_acl = mode(parser.optional_value())?,
                Long("security-label") => options.security_label = mode(parser.optional_value())?,
                Long("killpriv-v2") => options.killpriv_v2 = true,
                Long("announce-submounts") => options.announce_submounts = true,
                Long("no-announce-submounts") => options.announce_submounts = false,
                Long("no-readdirplus") => options.readdirplus = false,
                Long("allow-direct-io") => options.allow_direct_io = true,
                Long("inode-file-handles") => options.inode_file_handles = parser.value()?.parse_with(file_handles)?,
                Long("sandbox") => options.sandbox = parser.value()?.parse_with(SandboxMode::from_str)?,
                Long("modcaps") => options.modcaps = Some(parser.value()?.string()?),
                Long("rlimit-nofile") => options.rlimit_nofile = Some(parser.value()?.parse()?),
                Long("stats") => options.stats = Some(statistics_target(parser.value()?)),
                Long("inject") => options.faults.push(parser.value()?.parse_with(Fault::parse)?),
                Long("log-level") => options.log_level = parser.value()?.parse()?,
                // Not needed for what it is for: queues are served at the same time.
                Long("thread-pool-size") => drop(parser.value()?.parse::<usize>()?),
                _ => return Err(argument.unexpected()),
            }
        }
        options.shared_dir = shared_dir.ok_or("--shared-dir is missing")?;
        options.socket = socket.ok_or("--socket-path is missing")?.into();
        let of_window = [
            ("--dax", dax.is_some()),
            ("--map-alignment", map_alignment.is_some()),
            ("--max-maps", max_maps.is_some()),
            ("--map-past-eof", options.map_past_eof),
        ];
        if let Some((name, _)) = of_window.iter().find(|(_, given)| *given && options.window.is_none()) {
            return Err(format!("{name} needs --window").into());
        }
        if options.map_past_eof && options.readonly {
            return Err("--map-past-eof changes files, which --readonly forbids".into());
        }
        match (&mut options.version_table, version_table_size) {
            (_, None) => {}
            (Some(version_table::Target::Shared(_, size)), Some(wanted)) => *size = wanted,
            _ => return Err("--version-table-size needs --version-table PATH".into()),
        }
        if host_changes.is_some() && options.version_table.is_none() {
            return Err("--host-changes needs --version-table".into());
        }
        options.host_changes = host_changes.unwrap_or(options.host_changes);
        if options.version_table.is_some() && !options.announce_submounts {
            return Err("--version-table goes by inode numbers, which --no-announce-submounts makes ambiguous".into());
        }
        options.xattr |=
            options.posix_acl != NegotiationMode::Never || options.security_label != NegotiationMode::Never;
        options.dax = dax.unwrap_or(if options.window.is_some() { DaxRule::Always } else { DaxRule::Never });
        if matches!(options.dax, DaxRule::Xattr(_)) && !options.xattr {
            return Err("--dax xattr=NAME needs --xattr".into());
        }
        options.map_alignment = map_alignment.unwrap_or(options.map_alignment);
        options.max_maps = max_maps.unwrap_or(options.max_maps);
        Ok(Self::Serve(Box::new(options)))
    }
}

fn tag(word: &str) -> Result<String, &'static str> {
    let fits = (1..=TAG_BYTES).contains(&word.len()) && !word.contains('\0');
    if fits { Ok(word.into()) } else { Err("a tag has 1 to 36 bytes, none of them NUL") }
}

fn request_queues(word: &str) -> Result<usize, &'static str> {
    let number = word.parse().ok().filter(|number| (1..=MOST_REQUEST_QUEUES).contains(number));
    number.ok_or("it is a number from 1 to 63")
}

fn positive(word: &str) -> Result<usize, &'static str> {
    word.parse().ok().filter(|number| *number > 0).ok_or("it is a number above 0")
}

fn bytes(word: &str) -> Option<u64> {
    let (digits, unit) = match word.as_bytes().last()? {
        b'K' => (&word[..word.len() - 1], 1 << 10),
        b'M' => (&word[..word.len() - 1], 1 << 20),
        b'G' => (&word[..word.len() - 1], 1 << 30),
        _ => (word, 1_u64),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// With more than a TiB something else would fail, and say less.
fn window(word: &str) -> Result<u64, &'static str> {
    let size = bytes(word).filter(|size| (1..=1 << 40).contains(size));
    size.ok_or("it is a number of bytes, up to 1024G, also with K, M or G behind it")
}

fn alignment(word: &str) -> Result<MapAlignment, &'static str> {
    let alignment = bytes(word).and_then(MapAlignment::new);
    alignment.ok_or("it is a power of two from the page size to 2M")
}

/// A size, which begins with a digit, or a path.
fn version_table(word: OsString) -> Result<version_table::Target, lexopt::Error> {
    use lexopt::ValueExt;
    if word.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Ok(version_table::Target::Private(word.parse_with(table_size)?));
    }
    if word.is_empty() {
        return Err("--version-table wants a size or a path".into());
    }
    Ok(version_table::Target::Shared(word.into(), version_table::Size::DEFAULT))
}

fn table_size(word: &str) -> Result<version_table::Size, &'static str> {
    let size = bytes(word).and_then(version_table::Size::fitting);
    size.ok_or("it is a number of bytes, from 8K on, also with K, M or G behind it (a path may begin with ./)")
}

fn mode(word: Option<OsString>) -> Result<NegotiationMode, lexopt::Error> {
    use lexopt::ValueExt;
    word.map_or(Ok(NegotiationMode::Always), |word| word.parse_with(NegotiationMode::from_str))
}

fn file_handles(word: &str) -> Result<InodeFileHandlesMode, &'static str> {
    match word {
        "never" => Ok(InodeFileHandlesMode::Never),
        "prefer" => Ok(InodeFileHandlesMode::Prefer),
        "mandatory" => Ok(InodeFileHandlesMode::Mandatory),
        _ => Err("it is never, prefer or mandatory"),
    }
}

fn statistics_target(word: OsString) -> StatisticsTarget {
    match word.to_str().and_then(|word| word.strip_prefix("unix:")) {
        Some(path) => StatisticsTarget::Socket(path.into()),
        None => StatisticsTarget::File(word.into()),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
