//! The kernel's command line: words separated by white space, `key=value` or positional. What follows the word `-c` is
//! text for a program of the kernel's, and no words.

use virtio_fs::{CacheMode, CacheOptions, Errno, Error};

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

/// What is to be cached, by the words `cache=none`, `cache=auto` or `cache=always`, and `writeback`.
///
/// # Errors
///
/// `EINVAL` if there is no such mode.
pub(crate) fn cache(command_line: &str) -> Result<CacheOptions, Error> {
    let mode = match value(command_line, "cache") {
        None => CacheMode::default(),
        Some("none") => CacheMode::None,
        Some("auto") => CacheMode::Auto,
        Some("always") => CacheMode::Always,
        Some(_) => return Err(Error::Invalid(Errno::EINVAL)),
    };
    let writeback = positional(command_line).any(|word| word == "writeback");
    Ok(CacheOptions { mode, writeback, ..CacheOptions::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(cache("tag=share"), Ok(CacheOptions::default()));
        let expected = CacheOptions { mode: CacheMode::Always, writeback: true, ..CacheOptions::default() };
        assert_eq!(cache("writeback cache=always"), Ok(expected));
        assert_eq!(
            cache("cache=none -c writeback").map(|cache| (cache.mode, cache.writeback)),
            Ok((CacheMode::None, false))
        );
        assert_eq!(cache("cache=never"), Err(Error::Invalid(Errno::EINVAL)));
    }

    #[test]
    fn positional_words_keep_their_order() {
        assert!(positional("cat log=debug /etc/hostname  -n").eq(["cat", "/etc/hostname", "-n"]));
    }
}
