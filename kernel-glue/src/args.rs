//! The kernel's command line: words separated by white space, `key=value` or positional. What follows the word `-c` is
//! text for a program of the kernel's, and no words.

use core::time::Duration;
use virtio_fs::{CacheMode, Coherence, Dax, MountOptions};

/// What separates the words from the text behind them.
const COMMAND: &str = "-c";

/// The words, and the text behind `-c`, if there is that word.
fn split(command_line: &str) -> (&str, Option<&str>) {
    for (start, _) in command_line.match_indices(COMMAND) {
        let (before, after) = (&command_line[..start], &command_line[start + COMMAND.len()..]);
        if (before.is_empty() || before.ends_with(char::is_whitespace))
            && (after.is_empty() || after.starts_with(char::is_whitespace))
        {
            return (before, Some(after.trim_start()));
        }
    }
    (command_line, None)
}

/// The text behind the word `-c`, as it stands.
pub(crate) fn command(command_line: &str) -> Option<&str> {
    split(command_line).1
}

fn words(command_line: &str) -> core::str::SplitAsciiWhitespace<'_> {
    split(command_line).0.split_ascii_whitespace()
}

/// The value of the last `key=value` word with that key: a later word overrides an earlier one.
pub(crate) fn value<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    words(command_line).rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The words without `=`, in order.
pub(crate) fn positional(command_line: &str) -> impl Iterator<Item = &str> {
    words(command_line).filter(|word| !word.contains('='))
}

/// A word, or a part of one, that says nothing of a mount that is understood.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong<'a> {
    pub(crate) option: &'a str,
    pub(crate) why: &'static str,
}

/// How to mount, by the words `cache=MODE`, `writeback`, and `mount=NAME=VALUE[,NAME=VALUE...]`, whose names are those of
/// [`MountOptions`] and [`CacheOptions`](virtio_fs::CacheOptions).
pub(crate) fn mount(command_line: &str) -> Result<MountOptions, Wrong<'_>> {
    let mut options = MountOptions::default();
    if let Some(mode) = value(command_line, "cache") {
        options.cache.mode = cache_mode(mode).map_err(|why| Wrong { option: mode, why })?;
    }
    options.cache.writeback = positional(command_line).any(|word| word == "writeback");
    for option in value(command_line, "mount").into_iter().flat_map(|said| said.split(',')) {
        set(&mut options, option).map_err(|why| Wrong { option, why })?;
    }
    Ok(options)
}

/// Does what one `NAME=VALUE` says; an error says what is wrong with it.
fn set(options: &mut MountOptions, option: &str) -> Result<(), &'static str> {
    let (name, value) = option.split_once('=').ok_or("it is no NAME=VALUE")?;
    let cache = &mut options.cache;
    match name {
        "entry_timeout" => cache.entry_timeout = Some(seconds(value)?),
        "attr_timeout" => cache.attr_timeout = Some(seconds(value)?),
        "negative_timeout" => cache.negative_timeout = Some(seconds(value)?),
        "coherence" => cache.coherence = coherence(value)?,
        "backstop" => cache.backstop = seconds(value)?,
        "max_entries" => cache.max_entries = value.parse().map_err(|_| "its value is a whole number")?,
        "max_data_bytes" => cache.max_data_bytes = bytes(value)?,
        "dirty_age" => cache.dirty_age = seconds(value)?,
        "lazy_open" => cache.lazy_open = on_or_off(value)?,
        "read_only" => options.read_only = on_or_off(value)?,
        "dax" => options.dax = dax(value)?,
        _ => return Err("there is no mount option of this name"),
    }
    Ok(())
}

fn cache_mode(word: &str) -> Result<CacheMode, &'static str> {
    match word {
        "none" => Ok(CacheMode::None),
        "auto" => Ok(CacheMode::Auto),
        "always" => Ok(CacheMode::Always),
        _ => Err("cache is none, auto or always"),
    }
}

fn coherence(word: &str) -> Result<Coherence, &'static str> {
    match word {
        "ttl" => Ok(Coherence::Ttl),
        "table" => Ok(Coherence::VersionTable),
        _ => Err("its value is ttl or table"),
    }
}

fn dax(word: &str) -> Result<Dax, &'static str> {
    match word {
        "never" => Ok(Dax::Never),
        "inode" => Ok(Dax::Inode),
        "always" => Ok(Dax::Always),
        _ => Err("its value is never, inode or always"),
    }
}

fn on_or_off(word: &str) -> Result<bool, &'static str> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("its value is on or off"),
    }
}

fn seconds(word: &str) -> Result<Duration, &'static str> {
    word.parse().map(Duration::from_secs).map_err(|_| "its value is a whole number of seconds")
}

fn bytes(word: &str) -> Result<usize, &'static str> {
    let (digits, unit) = match word.as_bytes().last() {
        Some(b'K') => (&word[..word.len() - 1], 1 << 10),
        Some(b'M') => (&word[..word.len() - 1], 1 << 20),
        _ => (word, 1),
    };
    let bytes = digits.parse().ok().and_then(|number: usize| number.checked_mul(unit));
    bytes.ok_or("its value is a number of bytes, also with K or M behind it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_fs::CacheOptions;

    #[test]
    fn a_value_ends_at_white_space_and_may_contain_an_equals_sign() {
        assert_eq!(value("  log=debug\ttag=a=b  c", "tag"), Some("a=b"));
    }

    #[test]
    fn a_key_is_matched_as_a_whole() {
        assert_eq!(value("mytag=1 tag tags=2", "tag"), None);
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(value("tag=", "tag"), Some(""));
    }

    #[test]
    fn the_last_word_of_a_key_counts() {
        assert_eq!(value("log=warn log=trace", "log"), Some("trace"));
    }

    #[test]
    fn what_follows_a_dash_c_is_no_word_but_text() {
        let line = "tag=share log=info -c  echo tag=b  \"c d\" -c";
        assert_eq!(command(line), Some("echo tag=b  \"c d\" -c"));
        assert_eq!(value(line, "tag"), Some("share"));
        assert!(positional(line).next().is_none());
        assert_eq!(command("-c"), Some(""));
        assert_eq!(command("a-c -cx x-c tag=-c"), None);
    }

    #[test]
    fn what_is_cached_is_a_mode_and_whether_writes_are_collected() {
        let cache = |line| mount(line).map(|options| options.cache);
        assert_eq!(cache("tag=share"), Ok(CacheOptions::default()));
        let expected = CacheOptions { mode: CacheMode::Always, writeback: true, ..CacheOptions::default() };
        assert_eq!(cache("writeback cache=always"), Ok(expected));
        assert_eq!(
            cache("cache=none -c writeback").map(|cache| (cache.mode, cache.writeback)),
            Ok((CacheMode::None, false))
        );
        assert_eq!(cache("cache=never").map_err(|wrong| wrong.option), Err("never"));
    }

    #[test]
    fn each_mount_option_is_understood() {
        let timeouts = "entry_timeout=0,attr_timeout=2,negative_timeout=3,dirty_age=4";
        let timeouts = format!("{timeouts},backstop=5,coherence=ttl");
        let line = format!("mount={timeouts},max_entries=9,max_data_bytes=64K,lazy_open=off,read_only=on,dax=always");
        let options = mount(&line).unwrap();
        let expected = CacheOptions {
            entry_timeout: Some(Duration::ZERO),
            attr_timeout: Some(Duration::from_secs(2)),
            negative_timeout: Some(Duration::from_secs(3)),
            dirty_age: Duration::from_secs(4),
            backstop: Duration::from_secs(5),
            coherence: Coherence::Ttl,
            max_entries: 9,
            max_data_bytes: 64 << 10,
            lazy_open: false,
            ..CacheOptions::default()
        };
        assert_eq!((options.cache, options.read_only, options.dax), (expected, true, Dax::Always));
        let data_bytes = |line| mount(line).unwrap().cache.max_data_bytes;
        assert_eq!([data_bytes("mount=max_data_bytes=5"), data_bytes("mount=max_data_bytes=3M")], [5, 3 << 20]);
        for (word, dax) in [("never", Dax::Never), ("inode", Dax::Inode)] {
            assert_eq!(mount(&format!("mount=dax={word}")).unwrap().dax, dax);
        }
        assert_eq!(mount("mount=coherence=table").unwrap().cache, CacheOptions::default());
        let options = mount("cache=always mount=dax=never,lazy_open=on,read_only=off").unwrap();
        assert_eq!((options.cache.mode, options.dax), (CacheMode::Always, Dax::Never));
        assert!(options.cache.lazy_open && !options.read_only);
    }

    #[test]
    fn wrong_mount_options_are_named() {
        for (said, option) in [
            ("entri_timeout=1", "entri_timeout=1"),
            ("dax=never,dax", "dax"),
            ("dax=sometimes", "dax=sometimes"),
            ("lazy_open=0,dax=never", "lazy_open=0"),
            ("dirty_age=1.5", "dirty_age=1.5"),
            ("backstop=hour", "backstop=hour"),
            ("coherence=time", "coherence=time"),
            ("attr_timeout=-1", "attr_timeout=-1"),
            ("max_entries=", "max_entries="),
            ("max_data_bytes=M", "max_data_bytes=M"),
            ("max_data_bytes=99999999999999M", "max_data_bytes=99999999999999M"),
            ("dax=never,", ""),
            ("", ""),
        ] {
            let line = format!("tag=share mount={said}");
            assert_eq!(mount(&line).expect_err(said).option, option);
        }
    }

    #[test]
    fn positional_words_keep_their_order() {
        assert!(positional("cat log=debug /etc/hostname  -n").eq(["cat", "/etc/hostname", "-n"]));
    }
}
